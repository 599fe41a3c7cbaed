"""Read the JSON documents of a store, and check them against their schemas in
:mod:`embstore_schemas`.
"""

import json
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from pkgutil import get_data
from reprlib import Repr
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

_VALUE = "\0"  # stands for the value in the library's messages, which would hold all of it
_REPR = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
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

    NaN, infinity, text that is not valid Unicode and, but for manifests, repeated names are
    rejected.
    """
    if len(data) > MAX_BYTES[kind]:
        raise InvalidDocument(f"it is larger than {MAX_BYTES[kind] // _KIB:,} KiB")
    try:
        hook = None if kind == "manifest" else _object
        document = json.loads(
            data.decode(), object_pairs_hook=hook, parse_float=_finite, parse_constant=_finite
        )
        if b"\\u" in data:  # half a surrogate pair is no Unicode
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidDocument("it is nested too deeply") from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise InvalidDocument(f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise InvalidDocument("it is not a JSON object")
    _check_format(document.get("format"), kind)
    return document


def _check_format(version: Any, kind: Kind) -> None:
    """Raise UnsupportedFormat if the number of a format is newer or older than those of a
    schema.
    """
    schema = _schema(kind)["properties"].get("format", {})
    known = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if not known or not isinstance(version, int) or isinstance(version, bool):
        return
    if version > max(known):
        raise UnsupportedFormat(
            f"has format {_REPR.repr(version)}, and this embstore reads up to {max(known)}."
            " Upgrade: pip install --upgrade embstore."
        )
    if version < min(known):
        raise UnsupportedFormat(
            f"has format {version} of a version before 0.2.0, and this embstore reads from"
            f" {min(known)}. Build the store again in another folder."
        )


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
    """Check a parsed document against its schema; integers must be written without a fraction."""
    validator = _validator(kind)
    if not validator.is_valid(document):
        error = next(iter(validator.iter_errors(document)))
        raise _invalid(
            error.instance_path, error.message.replace(_VALUE, _REPR.repr(error.instance))
        )
    # Which may have 100,000 entries, whose integers are checked where they are read.
    if kind != "manifest":
        _check_integers(document, _schema(kind), ())


def _check_integers(value: Any, schema: Document, place: tuple[str | int, ...]) -> None:
    """Raise InvalidDocument if an integer of a part of a schema has a fraction; JSON Schema accepts
    8.0 as one.
    """
    if isinstance(value, float) and "integer" in schema.get("type", ()):
        raise _invalid(place, f"{value} is written with a fraction")
    members: Iterable[tuple[str | int, Any]] = ()
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list) and "'integer'" in str(
        others := schema.get("items")
    ):  # not every row of an answer
        members = enumerate(value)
    for name, part in members:
        if isinstance(inner := properties.get(name, others), dict):
            _check_integers(part, inner, (*place, name))


def _invalid(place: Iterable[str | int], message: str) -> InvalidDocument:
    """Return the error for a value, given its path in the document."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return InvalidDocument(
        f"{path.removeprefix('.')}: {message}".removeprefix(": ")[:_MAX_MESSAGE_CHARS]
    )


@cache
def _schema(kind: Kind) -> Document:
    schema: Document = json.loads(get_data("embstore_schemas", f"{kind}.schema.json") or b"{}")
    return schema


@cache
def _validator(kind: Kind) -> "Draft202012Validator":
    def made() -> "Draft202012Validator":
        from jsonschema_rs import Draft202012Validator

        return Draft202012Validator(_schema(kind), mask=_VALUE)

    # Where an interrupt comes while it makes its classes, Rust panics; other threads get none.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(made).result()


def _object(pairs: list[tuple[str, Any]]) -> Document:
    """Build an object from its members; raise ValueError for a repeated name."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has a name twice")
    return members


def _finite(text: str) -> float:
    """Parse a float; raise ValueError for one that is none or overflows."""
    if not math.isfinite(value := float(text)):
        raise ValueError(
            "a number is too large" if text[-1].isdecimal() else f"{text} is no number of JSON"
        )
    return value
