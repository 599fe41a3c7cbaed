"""Parse JSON documents, and check them against their published schemas in :mod:`embstore_schemas`."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pkgutil import get_data
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

Kind = Literal["store", "card", "hidden", "index-card", "answer", "lock-holder", "own-dataset"]

_Path = tuple[str | int | None, ...]

_KIB, _MIB = 1 << 10, 1 << 20

# What the largest real documents need several times over: cards of 4,096 layers, 100,000 shards in the card of an
# index, answers of 8 MiB.
MAX_BYTES: dict[Kind, int] = {
    "store": 64 * _KIB,
    "card": _MIB,
    "hidden": 32 * _MIB,
    "index-card": 32 * _MIB,
    "answer": 16 * _MIB,
    "lock-holder": 64 * _KIB,
    "own-dataset": 64 * _KIB,
}

_VALUE = "\0"  # stands for the value in the library's messages, which would hold all of it
_SHOWN = Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60
_SHOWN_CHARACTERS = 300


class InvalidDocument(ValueError):
    """A document that is not as its schema has it; its text goes on after "it is damaged: "."""


class NewerFormat(InvalidDocument):
    """A document of a format that this version does not know yet; its text goes on after the name of the file."""


def parse(data: bytes, kind: Kind) -> dict[str, Any]:
    """Return the JSON object in some bytes; :func:`check` then checks it against its schema.

    Only what :func:`json.dumps` writes in UTF-8 is read: no NaN, no infinity, no name twice, nothing that is not
    Unicode.

    Raises:
        InvalidDocument: They are too many, or not a JSON object.
        NewerFormat: If it has a later format than the schema.
    """
    if len(data) > MAX_BYTES[kind]:
        raise InvalidDocument(f"it is larger than {MAX_BYTES[kind] // _KIB:,} KiB")
    try:
        document = json.loads(
            data.decode(), object_pairs_hook=_object, parse_float=_finite, parse_constant=_refuse_constant
        )
        if b"\\u" in data:  # half a surrogate pair is no Unicode
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidDocument("it is nested too deeply") from None
    except ValueError as error:  # not UTF-8, or not JSON
        raise InvalidDocument(f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise InvalidDocument("it is not a JSON object")
    found, newest = document.get("format"), _newest_format(kind)
    if newest is not None and isinstance(found, int) and not isinstance(found, bool) and found > newest:
        raise NewerFormat(f"has format {_SHOWN.repr(found)}, and this embstore reads up to {newest}")
    return document


def check(document: dict[str, Any], kind: Kind) -> None:
    """Check a document against its schema.

    Raises:
        InvalidDocument: If it is not as the schema has it; says what and where.
    """
    validator = _validator(kind)
    if not validator.is_valid(document):
        error = next(iter(validator.iter_errors(document)))
        raise _invalid(error.instance_path, error.message.replace(_VALUE, _SHOWN.repr(error.instance)))
    for path in _integers(kind):
        for place, value in _values_at(document, path):
            if isinstance(value, float):  # to JSON Schema 8.0 is an integer too
                raise _invalid(place, f"{value} is written with a fraction")


def _invalid(place: Iterable[str | int | None], message: str) -> InvalidDocument:
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return InvalidDocument(f"{named.removeprefix('.')}: {message}".removeprefix(": ")[:_SHOWN_CHARACTERS])


@cache
def _schema(kind: Kind) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(get_data("embstore_schemas", f"{kind}.schema.json") or b"{}")
    return schema


@cache
def _validator(kind: Kind) -> "Draft202012Validator":
    from jsonschema_rs import Draft202012Validator

    return Draft202012Validator(_schema(kind), mask=_VALUE)


@cache
def _integers(kind: Kind) -> tuple[_Path, ...]:
    """Return where integers stand in a document: the names on the way, and None for all members of one."""
    return tuple(_integers_in(_schema(kind)))


def _integers_in(schema: Any, path: _Path = ()) -> Iterator[_Path]:
    if not isinstance(schema, dict):
        return
    if "integer" in schema.get("type", ()):
        yield path
    for name, part in schema.get("properties", {}).items():
        yield from _integers_in(part, (*path, name))
    for keyword in ("additionalProperties", "items"):
        yield from _integers_in(schema.get(keyword), (*path, None))


def _values_at(value: Any, path: _Path, place: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Yield the values at a path, each with its place."""
    if not path:
        yield place, value
    elif path[0] is None and isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _values_at(part, path[1:], (*place, name))
    elif isinstance(value, dict) and path[0] in value:
        yield from _values_at(value[path[0]], path[1:], (*place, path[0]))


def _newest_format(kind: Kind) -> int | None:
    described = _schema(kind)["properties"].get("format", {})
    return described.get("const") or max(described.get("enum", []), default=None)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
