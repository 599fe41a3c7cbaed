"""Read tables with a column of texts and one or more columns of vectors: Parquet, Arrow IPC,
folders of datasets.

A table with one column of vectors has one layer, unless it has a column ``layer`` too: then it has
a row for each item and layer. One with several columns of vectors has a layer in each.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embstore.base.documents import Document
from embstore.base.errors import SourceError, UsageError, check_known
from embstore.base.messages import first_of
from embstore.base.text import Span
from embstore.interop.records import METADATA_KEY, parse_record, read_record, with_record
from embstore.interop.vector_file import (
    Block,
    Marked,
    ReadOptions,
    VectorFile,
    check_regular,
    rows_per_block,
)
from embstore.sources.files import is_file, open_binary
from embstore.sources.table_files import parquet_file
from embstore.storage.arrow import numpy_type

_TEXT_COLUMNS = ("text", "word", "token", "key", "sentence")
_SPAN_COLUMNS = ("context", "start", "end")
_LAYER = "layer"
_OWN_COLUMNS = ("item_id", "layer", "layer_name")  # of exports
_FIRST_ROWS = 64
_MAX_SHOWN = 12  # columns in a message

Batches = Iterator[pa.RecordBatch]
Reader = tuple[pa.Schema, Callable[[list[str], int], Batches]]
"""Schema of an open file, and a function of columns and a number of rows that yields its rows in
record batches.
"""


def open_parquet(path: Path, options: ReadOptions) -> VectorFile:
    """Open a Parquet file with a column of texts and columns of vectors."""
    check_regular(path)
    return open_table(VectorTable([path], str(path), "parquet", _parquet), options)


def open_arrow(path: Path, options: ReadOptions) -> VectorFile:
    """Open an Arrow IPC file or stream."""
    return open_table(VectorTable([path], str(path), "arrow", _arrow), options)


def open_datasets(path: Path, options: ReadOptions) -> VectorFile:
    """Open a folder that ``Dataset.save_to_disk`` wrote, or one of Parquet files that
    ``load_dataset`` loads.
    """
    if is_file(path / "state.json"):
        return open_table(VectorTable(_saved_files(path), str(path), "datasets", _arrow), options)
    if is_file(path / "dataset_dict.json"):
        splits = _json(path / "dataset_dict.json").get("splits", [])
        raise SourceError(
            f"{path} has the splits {', '.join(map(str, splits))}. Give the folder of one:"
            f" {path}/NAME"
        )
    files = sorted(
        file
        for file in path.rglob("*.parquet")
        if not any(part.startswith(".") for part in file.parts)
    )
    if not files:
        raise SourceError(
            f"{path} has no file of vectors: neither state.json, nor .parquet, nor vectors.npy."
        )
    return open_table(VectorTable(files, str(path), "datasets", _parquet), options)


@contextmanager
def _parquet(path: Path) -> Iterator[Reader]:
    """Open a Parquet file within a ``with`` block."""
    with parquet_file(path, str(path)) as file:
        yield file.schema_arrow, lambda columns, rows: file.iter_batches(rows, columns=columns)


@contextmanager
def _arrow(path: Path) -> Iterator[Reader]:
    """Open an Arrow IPC file, or else a stream, within a ``with`` block."""
    check_regular(path)
    with open_binary(path, str(path)) as stream:
        is_whole_file = stream.peek(6)[:6] == b"ARROW1"

        def batches(columns: list[str], rows: int) -> Batches:
            for batch in (
                map(reader.get_batch, range(reader.num_record_batches)) if is_whole_file else reader
            ):
                chosen = batch.select(columns)
                yield from (chosen.slice(start, rows) for start in range(0, chosen.num_rows, rows))

        try:
            with (pa.ipc.open_file if is_whole_file else pa.ipc.open_stream)(stream) as reader:
                yield reader.schema, batches
        except pa.ArrowException as error:
            raise SourceError(
                f"{path} is damaged, or is not Arrow IPC: {error}. Copy or write it again."
            ) from error


def _saved_files(folder: Path) -> list[Path]:
    """Return the data files that state.json names, each in the folder itself."""
    try:
        names = [str(file["filename"]) for file in _json(folder / "state.json")["_data_files"]]
    except (LookupError, TypeError):
        names = []
    if not names or any(Path(name).name != name for name in names):
        raise SourceError(
            f"{folder / 'state.json'} names no data files in its folder. Save the dataset again."
        )
    return [folder / name for name in names]


def _json(path: Path) -> Document:
    """Return the JSON object in a small file."""
    document = read_record(path)
    if not isinstance(document, dict):
        raise SourceError(f"{path} is damaged: it is not a JSON object. Save the dataset again.")
    return document


class VectorTable:
    """Files of one schema as a table that can be read several times."""

    def __init__(
        self,
        files: list[Path],
        name: str,
        format_name: str,
        opened: Callable[[Path], AbstractContextManager[Reader]],
    ) -> None:
        self.files, self.name, self.format, self._opened = tuple(files), name, format_name, opened
        schemas = []
        for path in files:
            with opened(path) as (schema, _):
                schemas.append(schema)
            if not schemas[0].equals(schemas[-1]):
                raise SourceError(
                    f"{path} has other columns than {files[0]}. Import them one by one."
                )
        self.schema: pa.Schema = schemas[0]

    def batches(self, columns: list[str], rows: int) -> Batches:
        """Yield the rows from the beginning, in record batches."""
        for path in self.files:
            with self._opened(path) as (_, batches):
                yield from batches(columns, rows)


def open_table(source: VectorTable, options: ReadOptions) -> VectorFile:
    """Return a table as a file of vectors."""
    text = _text_column(source, options.column)
    vectors = _vector_columns(source, options.vector_column)
    spans = list(_SPAN_COLUMNS) if set(_SPAN_COLUMNS) <= {*source.schema.names} else []
    used = {text, *spans, *vectors, *_OWN_COLUMNS}
    for name in used:
        n = source.schema.names.count(name)
        if n > 1:
            raise SourceError(
                f"{source.name} has {n} columns named {name!r}. Rename all but one of them."
            )
    record = parse_record((source.schema.metadata or {}).get(METADATA_KEY.encode()))
    dim = _dim(source, vectors[0])
    types = {source.schema.field(column).type.value_type for column in vectors}
    if len(types) > 1:
        raise SourceError(
            f"{source.name}: its columns of vectors are of several types,"
            f" {', '.join(map(str, types))}."
        )
    dtype = numpy_type(types.pop()).str
    ids = _layer_ids(source) if len(vectors) == 1 and _LAYER in source.schema.names else []
    n_layers = len(ids) or len(vectors)
    rows = rows_per_block(n_layers, dim)
    file = VectorFile(
        source.name,
        source.format,
        n_layers,
        dim,
        dtype,
        lambda: _blocks(source, [text, *spans], vectors, dim, rows, ids),
        hashed=source.files,
        text_column=text,
        others=tuple(name for name in source.schema.names if name not in used),
    )
    return with_record(file, record)


def _text_column(source: VectorTable, requested: str | None) -> str:
    """Return the column with the texts."""
    names = source.schema.names
    if requested is not None:
        check_known("column", requested, names)
        return requested
    strings = [field.name for field in source.schema if _is_string(field.type)]
    column = next(
        (name for name in _TEXT_COLUMNS if name in strings),
        strings[0] if len(strings) == 1 else None,
    )
    if column is None:
        raise UsageError(
            f"{source.name} has the columns {', '.join(names)}. Name the one with the texts:"
            " column='NAME'"
        )
    return column


def _vector_columns(source: VectorTable, requested: str | None) -> list[str]:
    """Return the columns with vectors, one for each layer."""
    lists = [field.name for field in source.schema if _is_vector(field.type)]
    if requested is not None:
        check_known("column", requested, source.schema.names)
        if requested not in lists:
            kind = source.schema.field(requested).type
            raise UsageError(
                f"the column {requested!r} of {source.name} is of {kind}, and vectors are lists of"
                " numbers."
            )
        return [requested]
    if not lists:
        columns = (f"{field.name} ({field.type})" for field in source.schema)
        raise UsageError(
            f"{source.name} has no column of vectors, which are lists of numbers, one in each row."
            f" It has {first_of(columns, _MAX_SHOWN)}."
        )
    named = [name for name in lists if name.startswith("layer_")]
    if len(lists) > 1 and len(named) < len(lists):
        raise UsageError(
            f"{source.name} has several columns of vectors, {', '.join(lists)}. Name one:"
            " vector_column='NAME'"
        )
    return lists


def _is_string(kind: pa.DataType) -> bool:
    is_of_kind = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
    return any(matches(kind) for matches in is_of_kind)


def _is_vector(kind: pa.DataType) -> bool:
    is_list = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    return bool(
        is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
    )


def _dim(source: VectorTable, column: str) -> int:
    """Return the dimension of the vectors of a column, from its type or its first row."""
    kind = source.schema.field(column).type
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in source.batches([column], _FIRST_ROWS):
        if batch.num_rows:
            first = batch.column(0)[0]
            if not first.is_valid or not len(first):
                raise SourceError(f"{source.name}:1: the vector is null or empty. Remove the row.")
            return len(first)
    raise SourceError(f"{source.name} has no rows. Give a table with at least one vector.")


def _layer_ids(source: VectorTable) -> list[int]:
    """Return the distinct numbers in the column ``layer``, ascending."""
    if not pa.types.is_integer(source.schema.field(_LAYER).type):
        return []
    ids: set[int] = set()
    for batch in source.batches([_LAYER], 1 << 16):
        if batch.column(0).null_count:
            raise SourceError(f"{source.name}: a row has no layer. Give each its number.")
        ids.update(np.unique(batch.column(0).to_numpy(zero_copy_only=False)).tolist())
    return sorted(ids)


def _blocks(
    source: VectorTable,
    columns: list[str],
    vectors: list[str],
    dim: int,
    rows: int,
    ids: Sequence[int],
) -> Iterator[Block]:
    """Yield the rows of a table with a column of vectors for each layer, or with a row for each
    item and layer.

    The latter has layers with these ids, whose items must be in one order.
    """
    read = [*columns, *vectors]
    readers = [_layer_batches(source, read, rows, layer) for layer in ids] or [
        source.batches(read, rows)
    ]
    first = 1
    for batches in zip_longest(*readers):
        items = [None if batch is None else batch.select(columns) for batch in batches]
        if not all(of_layer is not None and of_layer.equals(items[0]) for of_layer in items):
            raise SourceError(
                f"{source.name}: its layers do not have the same items in the same order, from item"
                f" {first:,} of each layer on. Sort the table by layer and text, and leave out"
                " items that a layer lacks."
            )
        if batches[0].num_rows:
            parts = [
                _values(batch.column(name), dim, source.name, first)
                for batch in batches
                for name in vectors
            ]
            yield _block(batches[0], columns, np.stack(parts), source.name, first)
            first += batches[0].num_rows


def _layer_batches(
    source: VectorTable, columns: list[str], rows: int, layer: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one layer, ``rows`` at a time."""
    kept: list[pa.RecordBatch] = []
    n = 0
    for batch in source.batches([*columns, _LAYER], rows):
        mask = pa.array(batch.column(_LAYER).to_numpy(zero_copy_only=False) == layer)
        kept.append(batch.select(columns).filter(mask))
        n += kept[-1].num_rows
        while n >= rows:
            table = pa.Table.from_batches(kept).combine_chunks()
            yield table.slice(0, rows).to_batches()[0]
            kept, n = table.slice(rows).to_batches(), n - rows
    if n:
        yield pa.Table.from_batches(kept).combine_chunks().to_batches()[0]


def _values(column: Any, dim: int, name: str, first: int) -> NDArray[Any]:
    """Return a column of vectors as an array (n, dim)."""
    lengths = pc.list_value_length(column).to_pylist()
    for row, length in enumerate(lengths, first):
        if length != dim:
            shown = "null" if length is None else f"of {length} numbers"
            raise SourceError(
                f"{name}:{row}: the vector is {shown}, where the first has {dim} numbers. All must"
                " have one dimension: correct or remove the row."
            )
    components = column.flatten()
    _check_no_null(components, name, "a component of the vector", first, dim)
    values: NDArray[Any] = components.to_numpy(zero_copy_only=False)
    return values.reshape(len(column), dim)


def _check_no_null(values: pa.Array, name: str, what: str, first: int, n_each: int = 1) -> None:
    """Raise SourceError for the first row with a null, given the number of values of each row."""
    if values.null_count:
        row = first + values.is_null().index(True).as_py() // n_each
        raise SourceError(f"{name}:{row}: {what} is null. Correct or remove the row.")


def _block(
    batch: pa.RecordBatch, columns: list[str], vectors: NDArray[Any], name: str, first: int
) -> Block:
    """Return a block of the texts of a batch and some vectors (layers, n, dim)."""
    for column in columns:
        _check_no_null(batch.column(column), name, column, first)
    texts, *spans = (batch.column(column).to_pylist() for column in columns)
    if not all(isinstance(text, str) for text in texts):
        raise SourceError(
            f"{name}: the column {columns[0]!r} is not of texts. Name another: column='NAME'"
        )
    if spans:
        rows = zip(texts, *spans, strict=True)
        texts = [Marked(text, context, Span(start, end)) for text, context, start, end in rows]
    return Block(texts, vectors, first)
