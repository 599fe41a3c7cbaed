"""Read the rows of JSON Lines files, one object per line."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from embstore.base.errors import SourceError, UsageError
from embstore.sources.columns import DEFAULT_COLUMN, Columns, choose_columns, unknown_column
from embstore.sources.kept import NO_COLUMNS, OPTION, Keep, KeptColumns
from embstore.sources.lines import file_lines, strip_terminator
from embstore.sources.rows import EMPTY_LINE, NO_VALUES, Blank, Remark, Row, Rows

_JSON_TYPES = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}


def open_jsonl(path: Path, name: str, columns: Sequence[str], *, keep: Keep = NO_COLUMNS) -> Rows:
    """Return a function that yields the rows of a JSON Lines file.

    The columns are chosen by the first object. Since later objects may have further keys, a requested column that no
    object has is an error only after the last row.

    Raises:
        SourceError: The first object cannot be read.
        UsageError: No column was requested, and there is no default.
    """
    first = next((content for _, content in json_objects(path, name) if content), {})
    if not (first or columns):
        return partial(_read, path, Columns(name, (DEFAULT_COLUMN,)), keep)
    return partial(_read, path, choose_columns(name, list(first), columns, open_ended=True), keep)


def _read(path: Path, columns: Columns, keep: Keep) -> Iterator[Row | Blank | Remark]:
    """Yield the rows of a file."""
    kept = KeptColumns(columns.source, keep, frozenset(columns.names))
    if both := kept.texts.intersection(keep.names):
        raise UsageError(
            f"{OPTION} {min(both)!r} does not fit {columns.source}: the column holds the texts. Leave it out."
        )
    unseen = set(columns.names)
    keys: dict[str, None] = {}
    n_objects = 0
    for number, content in json_objects(path, columns.source):
        if content is None:
            yield Blank(f"{columns.source}:{number}", EMPTY_LINE)
            continue
        n_objects += 1
        if unseen or keep:
            unseen.difference_update(content)
            keys.update(dict.fromkeys(content))
        texts = [_text(content.get(key), key, columns.place(number, key)) for key in columns.names]
        yield from columns.texts(
            number, texts, _kept(content, kept, f"{columns.source}:{number}") if keep else NO_VALUES
        )
    yield from kept.remarks()
    if unseen and n_objects:
        raise unknown_column(columns.source, min(unseen, key=columns.names.index), list(keys))
    if n_objects and not keep.is_all and (never := [name for name in keep.names if name not in keys]):
        raise unknown_column(columns.source, never[0], list(keys), OPTION)


def _kept(content: dict[str, Any], kept: KeptColumns, place: str) -> dict[str, Any]:
    """Return the values of the kept keys of an object."""
    found = {}
    for key, value in content.items():
        if isinstance(value, list | dict) and key not in kept.left_out:
            if key in kept.names or key in kept.keep.names:
                raise SourceError(
                    f"{place}: the value of {key!r} is {_type_name(value)}, which cannot be kept. Leave the column out "
                    f"of {OPTION}, or write a number, boolean or string."
                )
            if kept.keep.is_all and key not in kept.texts:
                kept.leave_out(key, f"it has {_type_name(value)}")
        elif kept.admits(key):
            found[key] = value
    return found


def json_objects(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the number and the object of each line; None for an empty line.

    Raises:
        SourceError: A line is not a JSON object.
    """
    # A lone \r is whitespace in JSON, so only \n ends a line.
    for number, line in enumerate(file_lines(path, name, newline="\n"), 1):
        content = strip_terminator(line)
        yield number, _parse(content, f"{name}:{number}") if content.strip() else None


def _parse(content: str, place: str) -> dict[str, Any]:
    """Parse one line; raise SourceError unless it is a JSON object."""
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.colno}"
    except (ValueError, RecursionError) as error:  # a number of over 4,300 digits, or thousands of nested brackets
        reason = str(error)
    else:
        if isinstance(value, dict):
            return value
        reason = f"the line is {_type_name(value)}, not an object"
    if "\r" in content:
        reason += " (a carriage return without a line feed does not end a line)"
    raise SourceError(f'{place}: not a JSON object: {reason}. Each line must be one object, such as {{"text": …}}.')


def _text(value: object, key: str, place: str) -> str | None:
    """Return a value that is a string or null; raise SourceError for other types."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise SourceError(f"{place}: the value of {key!r} is {_type_name(value)}, not a string. Put it in quotes.")
    return value


def _type_name(value: object) -> str:
    """Return the JSON type of a value, with its article, for messages."""
    if value is None:
        return "null"
    return _JSON_TYPES.get(type(value), "a string")
