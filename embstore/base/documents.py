"""Read the JSON documents of a store, and check them against their schemas in
:mod:`embstore_schemas`.
"""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from pkgutil import get_data
from typing import TYPE_CHECKING, Any, Literal

from embstore.base import checksum, disk
from embstore.base.errors import DamagedError, UnsupportedFormatError

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

Document = dict[str, Any]
"""A JSON object."""

Kind = Literal["manifest", "card", "answer", "map-header"]

_KIB, _MIB = 1 << 10, 1 << 20

# Several times the size of the largest real documents: manifests of 100,000 files, cards of 4,096
# layers, answers of 8 MiB.
MAX_BYTES: dict[Kind, int] = {
    "manifest": 128 * _MIB,
    "card": _MIB,
    "answer": 16 * _MIB,
    "map-header": 32 * _MIB,
}

_MAX_DEPTH = 64  # of documents of other programs

_MAX_MESSAGE_CHARS = 300
_RESTORE = "Restore that file from a copy; embstore verify lists all that are damaged."


class InvalidDocument(ValueError):
    """A document that violates its schema; its text completes a message that ends with "is damaged:
    ".
    """


class UnsupportedFormat(InvalidDocument):
    """A document of a format that this version does not read; its text follows the name of the file
    in a message.
    """


def read(path: Path, kind: Kind, remedy: str = _RESTORE, *, is_sealed: bool = True) -> Document:
    """Read a JSON document, and check its own SHA-256, if it is sealed, and its published
    schema.
    """
    return read_bytes(disk.read(path, MAX_BYTES[kind]), path, kind, remedy, is_sealed=is_sealed)


def read_bytes(
    data: bytes, place: Path | str, kind: Kind, remedy: str, *, is_sealed: bool = True
) -> Document:
    """Return the JSON document in the content of a file, or of an object, after the same checks, if
    it has a hash.
    """
    try:
        document = parse(data, kind)
        if is_sealed:
            checksum.check(place, data, remedy)
        check(document, kind)
    except UnsupportedFormat as error:
        raise UnsupportedFormatError(f"{place} {error}") from error
    except InvalidDocument as error:
        raise DamagedError(f"{place} is damaged: {error}. {remedy}") from error
    return document


def parse(data: bytes, kind: Kind) -> Document:
    """Parse a JSON object strictly; :func:`check` then checks it against its schema.

    NaN, infinity and text that is not valid Unicode are rejected; in cards, fractions too.
    """
    if len(data) > MAX_BYTES[kind]:
        raise InvalidDocument(f"it is larger than {MAX_BYTES[kind] // _KIB:,} KiB")
    try:
        parse_float = _no_fraction if kind == "card" else _finite
        document = json.loads(data.decode(), parse_float=parse_float, parse_constant=_finite)
        if b"\\u" in data:  # half a surrogate pair is no Unicode
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidDocument("it is nested too deeply") from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise InvalidDocument(f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise InvalidDocument("it is not a JSON object")
    version, known = document.get("format"), _schema(kind)["properties"]["format"]["const"]
    if isinstance(version, int) and version > known:
        raise UnsupportedFormat(
            f"has format {version}, and this embstore reads format {known}. Upgrade: pip install"
            " --upgrade embstore."
        )
    return document


def parse_foreign(data: bytes | str, max_bytes: int | None = None) -> Any:
    """Parse a document of another program, in UTF-8; raise InvalidDocument if it is too large, too
    deep or invalid.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise InvalidDocument(f"it is larger than {max_bytes // _KIB:,} KiB")
    try:
        content = json.loads(data if isinstance(data, str) else data.decode())
    except RecursionError:
        raise InvalidDocument("it is nested too deeply") from None
    except ValueError as error:
        raise InvalidDocument(str(error)) from error
    level = [content]
    for _ in range(_MAX_DEPTH):
        parts = (
            part.values() if isinstance(part, dict) else part
            for part in level
            if isinstance(part, dict | list)
        )
        level = [inner for part in parts for inner in part]
    if any(isinstance(part, dict | list) for part in level):
        raise InvalidDocument("it is nested too deeply")
    return content


def check(document: Document, kind: Kind) -> None:
    """Check a parsed document against its schema."""
    validator = _validator(kind)
    if not validator.is_valid(document):
        error = next(iter(validator.iter_errors(document)))
        path = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path
        )
        message = f"{path.removeprefix('.')}: {error.message}".removeprefix(": ")
        raise InvalidDocument(message[:_MAX_MESSAGE_CHARS])


@cache
def _schema(kind: Kind) -> Document:
    schema: Document = json.loads(get_data("embstore_schemas", f"{kind}.schema.json") or b"{}")
    return schema


@cache
def _validator(kind: Kind) -> "Draft202012Validator":
    def made() -> "Draft202012Validator":
        from jsonschema_rs import Draft202012Validator

        return Draft202012Validator(_schema(kind), mask="its value")

    # Where an interrupt comes while it makes its classes, Rust panics; other threads get none.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(made).result()


def _finite(text: str) -> float:
    """Parse a float; raise ValueError for one that is none or overflows."""
    if not math.isfinite(value := float(text)):
        raise ValueError(
            "a number is too large" if text[-1].isdecimal() else f"{text} is no number of JSON"
        )
    return value


def _no_fraction(text: str) -> float:
    """Refuse a number with a fraction, which JSON Schema accepts as an integer if it is 8.0."""
    raise ValueError(f"{text} is written with a fraction")
