"""Parse the JSON documents of a store, and check them against their schemas in :mod:`embstore_schemas`."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pkgutil import get_data
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

Kind = Literal[
    "store", "manifest", "remote-manifest", "remote-list", "card", "index-card", "answer", "lock-holder", "own-dataset",
    "map-header",
]  # fmt: skip

_Path = tuple[str | int | None, ...]

_KIB, _MIB = 1 << 10, 1 << 20

# Several times the size of the largest real documents: cards of 4,096 layers, index cards of 100,000 shards, answers
# of 8 MiB.
MAX_BYTES: dict[Kind, int] = {
    "store": 64 * _KIB, "manifest": 64 * _MIB, "remote-manifest": 256 * _MIB, "remote-list": 256 * _MIB, "card": _MIB,
    "index-card": 32 * _MIB, "answer": 16 * _MIB, "lock-holder": 64 * _KIB, "own-dataset": 64 * _KIB,
    "map-header": 32 * _MIB,
}  # fmt: skip

_MAX_DEPTH = 64  # of documents of other programs

_VALUE = "\0"  # stands for the value in the library's messages, which would hold all of it
_REPR = Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
_MAX_MESSAGE_CHARS = 300


class InvalidDocument(ValueError):
    """A document that violates its schema; its text completes a message that ends with "is damaged: "."""


class UnsupportedFormat(InvalidDocument):
    """A document of a format that this version does not read; its text follows the name of the file in a message."""


def parse(data: bytes, kind: Kind) -> dict[str, Any]:
    """Parse a JSON object strictly; :func:`check` then checks it against its schema.

    NaN, infinity, repeated names and text that is not valid Unicode are rejected.
    """
    if len(data) > MAX_BYTES[kind]:
        raise InvalidDocument(f"it is larger than {MAX_BYTES[kind] // _KIB:,} KiB")
    try:
        document = json.loads(data.decode(), object_pairs_hook=_object, parse_float=_finite, parse_constant=_finite)
        if b"\\u" in data:  # half a surrogate pair is no Unicode
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidDocument("it is nested too deeply") from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise InvalidDocument(f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise InvalidDocument("it is not a JSON object")
    version, newest = _format_of(document), max(_formats(kind), default=None)
    if newest is not None and version is not None and version > newest:
        raise UnsupportedFormat(
            f"has format {_REPR.repr(version)}, and this embstore reads up to {newest}. Upgrade: pip install --upgrade "
            "embstore."
        )
    return document


def parse_foreign(data: bytes | str, max_bytes: int | None = None, parse: Callable[[str], Any] = json.loads) -> Any:
    """Parse a document of another program, in UTF-8; raise InvalidDocument if it is too large, too deep or invalid."""
    if max_bytes is not None and len(data) > max_bytes:
        raise InvalidDocument(f"it is larger than {max_bytes // _KIB:,} KiB")
    try:
        content = parse(data if isinstance(data, str) else data.decode())
    except RecursionError:
        raise InvalidDocument("it is nested too deeply") from None
    except ValueError as error:
        raise InvalidDocument(str(error)) from error
    level = [content]
    for _ in range(_MAX_DEPTH):
        parts = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list))
        level = [inner for part in parts for inner in part]
    if any(isinstance(part, dict | list) for part in level):
        raise InvalidDocument("it is nested too deeply")
    return content


def check(document: dict[str, Any], kind: Kind) -> None:
    """Check a parsed document against its schema; integers must be written without a fraction."""
    version, oldest = _format_of(document), min(_formats(kind), default=None)
    if oldest is not None and version is not None and version < oldest:
        raise UnsupportedFormat(
            f"has format {version} of a version before 0.2.0, and this embstore reads from {oldest}. Build the store "
            "again in another folder."
        )
    validator = _validator(kind)
    if not validator.is_valid(document):
        error = next(iter(validator.iter_errors(document)))
        raise _invalid(error.instance_path, error.message.replace(_VALUE, _REPR.repr(error.instance)))
    for path in _integer_paths(kind):
        for place, value in _values_at(document, path):
            if isinstance(value, float):  # JSON Schema accepts 8.0 as an integer
                raise _invalid(place, f"{value} is written with a fraction")


def _invalid(place: Iterable[str | int | None], message: str) -> InvalidDocument:
    """Return the error for a value, given its path in the document."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return InvalidDocument(f"{path.removeprefix('.')}: {message}".removeprefix(": ")[:_MAX_MESSAGE_CHARS])


@cache
def _schema(kind: Kind) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(get_data("embstore_schemas", f"{kind}.schema.json") or b"{}")
    return schema


@cache
def _validator(kind: Kind) -> "Draft202012Validator":
    from jsonschema_rs import Draft202012Validator

    return Draft202012Validator(_schema(kind), mask=_VALUE)


@cache
def _integer_paths(kind: Kind) -> tuple[_Path, ...]:
    """Return the paths of a document's integers: member names from the root; None stands for every member."""
    return tuple(_find_integers(_schema(kind)))


def _find_integers(schema: Any, path: _Path = ()) -> Iterator[_Path]:
    """Yield the paths of the integers in a part of a schema; ``path`` is that of the part."""
    if not isinstance(schema, dict):
        return
    if "integer" in schema.get("type", ()):
        yield path
    for name, part in schema.get("properties", {}).items():
        yield from _find_integers(part, (*path, name))
    for keyword in ("additionalProperties", "items"):
        yield from _find_integers(schema.get(keyword), (*path, None))


def _values_at(value: Any, path: _Path, place: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Yield each value that a path of :func:`_integer_paths` matches, with its own path."""
    if not path:
        yield place, value
    elif path[0] is None and isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _values_at(part, path[1:], (*place, name))
    elif isinstance(value, dict) and path[0] in value:
        yield from _values_at(value[path[0]], path[1:], (*place, path[0]))


def _formats(kind: Kind) -> list[int]:
    """Return the values of ``format`` that a schema allows; empty if its documents have no format."""
    schema = _schema(kind)["properties"].get("format", {})
    return [schema["const"]] if "const" in schema else schema.get("enum", [])


def _format_of(document: dict[str, Any]) -> int | None:
    """Return the format that a document states; None if it states no number."""
    version = document.get("format")
    return version if isinstance(version, int) and not isinstance(version, bool) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object from its members; raise ValueError for a repeated name."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has a name twice")
    return members


def _finite(text: str) -> float:
    """Parse a float; raise ValueError for one that is none or overflows."""
    if not math.isfinite(value := float(text)):
        raise ValueError("a number is too large" if text[-1].isdecimal() else f"{text} is no number of JSON")
    return value
