"""Read the rows of Parquet files in batches, of the chosen columns only."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from embstore.base.errors import SourceError
from embstore.sources.columns import Columns, choose_columns
from embstore.sources.files import open_binary, unreadable
from embstore.sources.kept import NO_COLUMNS, Keep, KeptColumns
from embstore.sources.rows import NO_VALUES, Blank, Remark, Row, Rows, no_texts

_BATCH_ROWS, _BATCH_BYTES = 4096, 64 << 20

# A column that decompresses to more than this size and this multiple of its size is taken for a decompression bomb, as
# are texts, counted as often as they occur, that come to more than this size and this multiple of that of the file.
_BOMB_BYTES, _BOMB_RATIO = 256 << 20, 200


def open_parquet(path: Path, name: str, columns: Sequence[str], *, keep: Keep = NO_COLUMNS) -> Rows:
    """Return a function that yields the rows of a Parquet file.

    Raises:
        SourceError: The file is damaged or has no rows, or a column is not of strings.
        UnknownNameError: A requested column does not exist.
        UsageError: No column was requested, and there is no default.
    """
    with _parquet_file(path, name) as file:
        schema = file.schema_arrow
        chosen = choose_columns(name, schema.names, columns)
        for column in chosen.names:
            _check_string(schema.field(column).type, column, name)
        kept = keep.choose(name, schema.names, chosen.names)
        for column in list(kept.names):
            if not _is_scalar(schema.field(column).type):
                kept.leave_out(column, f"it is of type {schema.field(column).type}")
        if file.metadata.num_rows == 0:
            raise no_texts(name, has_columns=True)
    return partial(_read, path, chosen, kept)


def _read(path: Path, columns: Columns, kept: KeptColumns) -> Iterator[Row | Blank | Remark]:
    """Yield the rows of a file."""
    yield from kept.remarks()
    with _batches(path, columns.source, [*columns.names, *kept.names]) as batches:
        number, count = 1, _Count(path, columns.source)
        while (batch := _next_batch(batches, columns.source)) is not None:
            texts = [_values(batch.column(key), columns, key, number) for key in columns.names]
            others = [_values(batch.column(key), columns, key, number) for key in kept.names]
            count.add(*texts, *others)
            for row, values in enumerate(zip(*texts, strict=True)):
                found = {name: column[row] for name, column in zip(kept.names, others, strict=True)} or NO_VALUES
                yield from columns.texts(number, values, found)
                number += 1


def parquet_records(
    path: Path, name: str, columns: Sequence[str], option: str
) -> Iterator[tuple[int, Sequence[object]]]:
    """Yield the number of each row, from 1, and its values in some columns, which may be of any type.

    Args:
        path: Path of the file.
        name: Name of the source in messages.
        columns: Columns to read.
        option: Command-line option that names the columns, for messages.

    Raises:
        SourceError: The file is damaged.
        UnknownNameError: A column does not exist.
    """
    with _parquet_file(path, name) as file:
        chosen = choose_columns(name, file.schema_arrow.names, columns, option=option)
    with _batches(path, name, columns) as batches:
        number, count = 1, _Count(path, name)
        while (batch := _next_batch(batches, name)) is not None:
            values = [_values(batch.column(key), chosen, key, number) for key in columns]
            count.add(*values)
            for row in zip(*values, strict=True):
                yield number, row
                number += 1


@contextmanager
def _parquet_file(path: Path, name: str, dictionaries: Sequence[str] = ()) -> Iterator[Any]:
    """Open a Parquet file within a ``with`` block.

    Args:
        path: Path of the file.
        name: Name of the source in messages.
        dictionaries: Columns to read as dictionary-encoded.
    """
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    with open_binary(path, name) as stream:
        try:
            file = pq.ParquetFile(stream, read_dictionary=list(dictionaries))
        except (pa.ArrowException, OSError) as error:
            raise _damaged(name, error) from error
        with file:
            yield file


@contextmanager
def _batches(path: Path, name: str, columns: Sequence[str]) -> Iterator[Iterator[Any]]:
    """Provide the batches of some columns, small enough that each decompresses to about 64 MiB at most.

    Raises:
        SourceError: A column is a decompression bomb.
    """
    with _parquet_file(path, name) as file:
        chunks = [chunk for column in columns for chunk in _chunks(file.metadata, column)]
    for chunk in chunks:
        chunk.check(name)
    rows = min((_BATCH_BYTES // max(1, chunk.max_bytes_per_row) for chunk in chunks), default=_BATCH_ROWS)
    dictionaries = list(dict.fromkeys(chunk.column for chunk in chunks if chunk.has_dictionary))
    with _parquet_file(path, name, dictionaries) as file:
        yield file.iter_batches(min(_BATCH_ROWS, max(1, rows)), columns=list(columns))


class _Count:
    """The characters of a file's texts, counted as they come: a dictionary repeats a long text for one bit."""

    def __init__(self, path: Path, name: str) -> None:
        self._size, self._name, self._n = path.stat().st_size, name, 0

    def add(self, *columns: list[Any]) -> None:
        """Add the texts of columns of a batch; raise SourceError if they are a decompression bomb by now."""
        self._n += sum(len(value) for values in columns for value in values if isinstance(value, str))
        if self._n > max(_BOMB_BYTES, _BOMB_RATIO * self._size):
            raise SourceError(
                f"{self._name}: {self._size:,} bytes unpack to {self._n:,} characters or more, over {_BOMB_RATIO} "
                "times as many, and are not read. If it is what you want, write the texts as .txt or .csv."
            )


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A column chunk: one column of one row group.

    Attributes:
        column: Name of the column.
        row_group: Number of the row group, from 1.
        n_rows: Number of rows.
        compressed_bytes: Size in the file.
        encoded_bytes: Size of the encoded values after decompression.
        encodings: Encodings of the pages.
    """

    column: str
    row_group: int
    n_rows: int
    compressed_bytes: int
    encoded_bytes: int
    encodings: tuple[str, ...]

    @property
    def has_dictionary(self) -> bool:
        """Whether the values may be dictionary-encoded, with equal ones in the file once."""
        return any("DICTIONARY" in encoding for encoding in self.encodings)

    @property
    def max_bytes_per_row(self) -> int:
        """Estimated bytes per row; the maximum for delta encoding, where a value may extend the previous one."""
        return self.encoded_bytes if "DELTA_BYTE_ARRAY" in self.encodings else self.encoded_bytes // max(1, self.n_rows)

    def check(self, name: str) -> None:
        """Raise SourceError if the chunk decompresses to over 256 MiB and over 200 times its compressed size."""
        if self.encoded_bytes > max(_BOMB_BYTES, _BOMB_RATIO * self.compressed_bytes):
            raise SourceError(
                f"{name}: the column {self.column!r} of row group {self.row_group} would unpack from "
                f"{self.compressed_bytes:,} to {self.encoded_bytes:,} bytes, and is not read. If it is what you want, "
                "write the file again in smaller row groups."
            )


def _chunks(metadata: Any, column: str) -> Iterator[_Chunk]:
    """Yield the chunks of a column in each row group, from the footer; of a nested column, those of all its leaves."""
    if metadata.num_row_groups == 0:
        return
    first = metadata.row_group(0)
    leaves = [i for i in range(first.num_columns) if first.column(i).path_in_schema.split(".")[0] == column]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for leaf in (group.column(i) for i in leaves):
            sizes = (leaf.total_compressed_size, leaf.total_uncompressed_size)
            yield _Chunk(column, number + 1, group.num_rows, *sizes, tuple(leaf.encodings))


def _next_batch(batches: Iterator[Any], name: str) -> Any | None:
    """Return the next batch, None at the end; raise SourceError if it cannot be read."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

    try:
        return next(batches, None)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> SourceError:
    """Return the SourceError for an error of pyarrow."""
    if isinstance(error, OSError) and error.errno is not None:
        return unreadable(name, error)
    if isinstance(error, MemoryError):
        return SourceError(f"{name} does not fit in memory: {error}. Write it again in smaller row groups.")
    reason = str(error).splitlines()[0].rstrip(".")
    return SourceError(f"{name} is not a Parquet file, or is damaged: {reason}. Write or copy it again.")


def _check_string(kind: Any, column: str, name: str) -> None:
    """Raise SourceError unless the type of a column is string, possibly dictionary-encoded."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)):
        raise SourceError(
            f"{name}: the column {column!r} is of type {kind}, not of strings. Name another with ⦃column⦄."
        )


def _is_scalar(kind: Any) -> bool:
    """Return whether the values of a type are numbers, booleans, strings, dates or times."""
    import pyarrow.types as types  # type: ignore[import-untyped, unused-ignore]

    value = kind.value_type if types.is_dictionary(kind) else kind
    tests = (
        types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string,
        types.is_string_view, types.is_date, types.is_timestamp, types.is_time, types.is_decimal,
    )  # fmt: skip
    return any(test(value) for test in tests)


def _values(array: Any, columns: Columns, key: str, number: int) -> list[Any]:
    """Return the values of a column of a batch.

    Args:
        array: Column of the batch.
        columns: Chosen columns, for messages.
        key: Name of the column.
        number: Number of the first row of the batch.
    """
    try:
        if (dictionary := getattr(array, "dictionary", None)) is None:
            return list(array.to_pylist())
        encoded = array.indices.dictionary_encode()  # only the values that occur in these rows
        values = dictionary.take(encoded.dictionary).to_pylist()
        return [None if index is None else values[index] for index in encoded.indices.to_pylist()]
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
    raise AssertionError("a column that cannot be decoded has no value that cannot be decoded")
