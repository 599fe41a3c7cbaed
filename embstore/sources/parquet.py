"""Parquet files to rows, a batch at a time, of the chosen columns only."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from embstore.errors import SourceError
from embstore.sources.columns import Columns, choose_columns
from embstore.sources.lines import open_binary, unreadable
from embstore.sources.rows import Blank, Row, Rows, no_texts

_BATCH_ROWS = 4096


def open_parquet(path: Path, name: str, columns: Sequence[str]) -> Rows:
    """Return the reader of a Parquet file.

    Raises:
        SourceError: the file is damaged or has no rows, or a column is not of strings.
        UnknownNameError: a column is not in the file.
        UsageError: no column was named, and none is the obvious one.
    """
    with _parquet_file(path, name) as file:
        schema = file.schema_arrow
        chosen = choose_columns(name, schema.names, columns)
        for column in chosen.names:
            _check_string(schema.field(column).type, column, name)
        if file.metadata.num_rows == 0:
            raise no_texts(name)
    return partial(_read, path, chosen)


def _read(path: Path, columns: Columns) -> Iterator[Row | Blank]:
    with _parquet_file(path, columns.source) as file:
        number = 1
        batches = file.iter_batches(_BATCH_ROWS, columns=list(columns.names))
        while (batch := _next_batch(batches, columns.source)) is not None:
            texts = [_values(batch.column(key), columns, key, number) for key in columns.names]
            for values in zip(*texts, strict=True):
                yield from columns.texts(number, values)
                number += 1


def parquet_records(
    path: Path, name: str, columns: Sequence[str], option: str
) -> Iterator[tuple[int, Sequence[object]]]:
    """Yield the number of each row, from 1, and its values of some columns of any type.

    Args:
        path: the file.
        name: how messages call it.
        columns: the columns.
        option: by which the user named them.

    Raises:
        SourceError: the file is damaged.
        UnknownNameError: a column is not in the file.
    """
    with _parquet_file(path, name) as file:
        chosen = choose_columns(name, file.schema_arrow.names, columns, option=option)
        number = 1
        batches = file.iter_batches(_BATCH_ROWS, columns=list(columns))
        while (batch := _next_batch(batches, name)) is not None:
            values = [_values(batch.column(key), chosen, key, number) for key in columns]
            for row in zip(*values, strict=True):
                yield number, row
                number += 1


@contextmanager
def _parquet_file(path: Path, name: str) -> Iterator[Any]:
    """Open a Parquet file, and close it in the end."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    with open_binary(path, name) as stream:
        try:
            file = pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(name, error) from error
        with file:
            yield file


def _next_batch(batches: Iterator[Any], name: str) -> Any | None:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

    try:
        return next(batches, None)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> SourceError:
    if isinstance(error, OSError) and error.errno is not None:
        return unreadable(name, error)
    reason = str(error).splitlines()[0].rstrip(".")
    return SourceError(f"{name} is not a Parquet file, or is damaged: {reason}. Write or copy it again.")


def _check_string(kind: Any, column: str, name: str) -> None:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)):
        raise SourceError(
            f"{name}: the column {column!r} is of type {kind}, not of strings. Name another with --column."
        )


def _values(array: Any, columns: Columns, key: str, number: int) -> list[Any]:
    """Return the values of a column of a batch whose first row is ``number``."""
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        pass
    for row, scalar in enumerate(array, number):
        try:
            scalar.as_py()
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise SourceError(
                f"{columns.place(row, key)}: byte 0x{byte:02X} at position {error.start + 1} of the value is "
                "not valid UTF-8. Write the file again with valid strings."
            ) from error
    raise AssertionError("a column that cannot be decoded has a value that cannot")
