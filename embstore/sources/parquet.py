"""Read the rows of Parquet files in batches, of the chosen columns only."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embstore.base.errors import SourceError
from embstore.sources.files import open_binary, unreadable
from embstore.sources.rows import Record, Table, no_texts

_BATCH_ROWS, _BATCH_BYTES = 4096, 64 << 20
# A column that decompresses to more than this size and this multiple of its size is taken for a decompression bomb, as
# are texts, counted as often as they occur, that come to more than this size and this multiple of that of the file.
_BOMB_BYTES, _BOMB_RATIO = 256 << 20, 200


class ParquetTable(Table):
    """A Parquet file."""

    def __init__(self, path: Path, name: str) -> None:
        with _parquet_file(path, name) as file:
            self._schema = file.schema_arrow
            if file.metadata.num_rows == 0:
                raise no_texts(name, has_columns=True)
        super().__init__(path, name, self._schema.names)

    def check_texts(self, column: str) -> None:
        """Raise SourceError unless the type of a column is string, possibly dictionary-encoded."""
        import pyarrow.types as types  # type: ignore[import-untyped, unused-ignore]

        kind = self._schema.field(column).type
        value = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)):
            raise SourceError(
                f"{self.name}: the column {column!r} is of type {kind}, not of strings. Name another with ⦃column⦄."
            )

    def keeping_problem(self, column: str) -> str | None:
        """Return None if the values are numbers, booleans, strings, dates or times."""
        import pyarrow.types as types  # type: ignore[import-untyped, unused-ignore]

        kind = self._schema.field(column).type
        value = kind.value_type if types.is_dictionary(kind) else kind
        tests = (
            types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string,
            types.is_string_view, types.is_date, types.is_timestamp, types.is_time, types.is_decimal,
        )  # fmt: skip
        return None if any(test(value) for test in tests) else f"it is of type {kind}"

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the rows; small batches are in memory."""
        import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

        with _parquet_file(self.path, self.name) as file:
            n_rows, dictionaries = _plan(file.metadata, columns, self.name)
        number, count = 1, _Count(self.path, self.name)
        with _parquet_file(self.path, self.name, dictionaries) as file:
            batches = file.iter_batches(n_rows, columns=list(columns))
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, OSError) as error:
                    raise _damaged(self.name, error) from error
                if batch is None:
                    return
                values = [_values(batch.column(column), self.name, column, number) for column in columns]
                count.add(*values)
                rows = (dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True))
                yield from enumerate(rows, number)
                number += batch.num_rows


def _plan(metadata: Any, columns: Sequence[str], name: str) -> tuple[int, list[str]]:
    """Return the number of rows that decompress to about 64 MiB at most, and the columns with dictionaries."""
    n_rows, dictionaries = _BATCH_ROWS, list[str]()
    first = metadata.row_group(0) if metadata.num_row_groups else None
    tops = [] if first is None else [first.column(i).path_in_schema.split(".")[0] for i in range(first.num_columns)]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for leaf, column in ((group.column(i), top) for i, top in enumerate(tops) if top in columns):
            compressed, encoded = leaf.total_compressed_size, leaf.total_uncompressed_size
            if encoded > max(_BOMB_BYTES, _BOMB_RATIO * compressed):
                raise SourceError(
                    f"{name}: the column {column!r} of row group {number + 1} would unpack from {compressed:,} to "
                    f"{encoded:,} bytes, and is not read. If it is what you want, write the file again in smaller row "
                    "groups."
                )
            if column not in dictionaries and any("DICTIONARY" in encoding for encoding in leaf.encodings):
                dictionaries.append(column)
            # With delta encoding, a value may extend the previous one: each may have nearly all bytes.
            row_bytes = encoded if "DELTA_BYTE_ARRAY" in leaf.encodings else encoded // max(1, group.num_rows)
            n_rows = min(n_rows, _BATCH_BYTES // max(1, row_bytes))
    return max(1, n_rows), dictionaries


@contextmanager
def _parquet_file(path: Path, name: str, dictionaries: Sequence[str] = ()) -> Iterator[Any]:
    """Open a Parquet file within a ``with`` block."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    with open_binary(path, name) as stream:
        try:
            file = pq.ParquetFile(stream, read_dictionary=list(dictionaries))
        except (pa.ArrowException, OSError) as error:
            raise _damaged(name, error) from error
        with file:
            yield file


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


def _damaged(name: str, error: Exception) -> SourceError:
    """Return the SourceError for an error of pyarrow."""
    if isinstance(error, OSError) and error.errno is not None:
        return unreadable(name, error)
    if isinstance(error, MemoryError):
        return SourceError(f"{name} does not fit in memory: {error}. Write it again in smaller row groups.")
    reason = str(error).splitlines()[0].rstrip(".")
    return SourceError(f"{name} is not a Parquet file, or is damaged: {reason}. Write or copy it again.")


def _values(array: Any, name: str, column: str, first: int) -> list[Any]:
    """Return the values of a column of a batch, whose first row has the number ``first``."""
    try:
        if (dictionary := getattr(array, "dictionary", None)) is None:
            return list(array.to_pylist())
        encoded = array.indices.dictionary_encode()  # only the values that occur in these rows
        values = dictionary.take(encoded.dictionary).to_pylist()
        return [None if index is None else values[index] for index in encoded.indices.to_pylist()]
    except UnicodeDecodeError:
        pass
    for row, scalar in enumerate(array, first):
        try:
            scalar.as_py()
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise SourceError(
                f"{name}:{row}: byte 0x{byte:02X} at position {error.start + 1} of the value is not valid UTF-8 "
                f"(column {column!r}). Write the file again with valid strings."
            ) from error
    raise AssertionError("a column that cannot be decoded has no value that cannot be decoded")
