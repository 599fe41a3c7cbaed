"""The small Parquet tables beside the vectors: items, datasets and skipped texts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embstore.base import atomic, checksum, disk
from embstore.base.errors import DamagedError
from embstore.storage.files import names
from embstore.storage.files.items import ITEM_COLUMNS, ITEM_ID, SKIPPED_COLUMNS
from embstore.storage.parquet.footer import Column

_TYPES = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "string": pa.string()}


def _schema(columns: Iterable[Column]) -> pa.Schema:
    return pa.schema([pa.field(c.name, _TYPES[c.kind], nullable=not c.is_required) for c in columns])


def column_schema(kinds: Mapping[str, str]) -> pa.Schema:
    """Return the schema of a table of items' columns, given the type of each column by name."""
    return _schema([ITEM_ID, *(Column(name, kind) for name, kind in kinds.items())])


ITEMS_SCHEMA, SKIPPED_SCHEMA = _schema(ITEM_COLUMNS), _schema(SKIPPED_COLUMNS)

_ROW_GROUP_ROWS = 1 << 16
_PART_BYTES = 20 << 20  # in memory

DATASET_TYPES = {"unit": pa.string()} | {
    f"{name}{suffix}": kind
    for suffix in ("", "_2", "_3", "_4")
    for name, kind in (("item_id", pa.int64()), ("text", pa.string()))
}


def bounded(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of several tables as fewer tables, which are joined up to a size."""
    pending: list[pa.Table] = []
    n_bytes = 0
    for table in tables:
        if pending and n_bytes + table.nbytes > _PART_BYTES:
            yield pa.concat_tables(pending)
            pending, n_bytes = [], 0
        pending.append(table)
        n_bytes += table.nbytes
    if pending:
        yield pa.concat_tables(pending)


def write_table(path: Path, table: pa.Table, *, plain: bool = False) -> None:
    """Write a small Parquet file atomically, with its own hash in its metadata."""
    buffer = pa.BufferOutputStream()
    packed = [] if plain else [name for name in table.column_names if not name.startswith("item_id")]
    codecs = "none" if plain else dict.fromkeys(packed, "snappy")
    with pq.ParquetWriter(
        buffer, table.schema, compression=codecs, use_dictionary=packed or False, write_page_checksum=True
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({checksum.KEY: checksum.BLANK})
    with atomic.temporary(path.parent) as temp:
        disk.write(temp, checksum.with_checksum(buffer.getvalue().to_pybytes()))
        atomic.publish(temp, path)


def stage_part(temp: Path, table: pa.Table) -> Path:
    """Write a table to a temporary file, and return the path to rename it to, whose name contains its hash.

    Only columns whose values mostly repeat get a dictionary: others become no smaller by it.
    """
    packed = [name for name in table.column_names if 2 * len(table[name].unique()) <= len(table)]
    with disk.writing(temp) as file:
        pq.write_table(table, file, row_group_size=_ROW_GROUP_ROWS, write_page_checksum=True, use_dictionary=packed)
    return names.PARTS.path(temp.parent, names.part_name(disk.sha256(temp)))


_REMEDY = "Run: ⦃embstore repair⦄"


def read_part(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table of items or skipped texts."""
    return _read(file, lambda: names.check_content(file), (ITEMS_SCHEMA, SKIPPED_SCHEMA), columns, _REMEDY)


def read_sealed(file: Path, schema: pa.Schema | None = None, remedy: str = _REMEDY) -> pa.Table:
    """Read a small table that contains its own hash, such as a summary or a dataset, and has a schema, if given."""
    return _read(file, lambda: atomic.read_checked(file, remedy), (schema,) if schema else (), None, remedy)


def _read(
    file: Path, check: Callable[[], object], schemas: Sequence[pa.Schema], columns: Sequence[str] | None, remedy: str
) -> pa.Table:
    """Read a table after a check of its hash; it has one of the schemas, or their columns of some names, if given."""
    try:
        check()
        table = read_table(file, columns, remedy)
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(f"{file} cannot be read: {error}. {remedy}") from error
    if columns is not None:
        schemas = [pa.schema([each.field(name) for name in columns if name in each.names]) for each in schemas]
    if schemas and not any(table.schema.equals(schema) for schema in schemas):
        raise DamagedError(f"{file} is damaged: its columns are not those of the format. {remedy}")
    return table


def read_table(file: Path, columns: Sequence[str] | None = None, remedy: str = _REMEDY) -> pa.Table:
    """Read a Parquet file, or some of its columns, into memory, without a check of its hash.

    ``pyarrow.parquet.read_table`` would import pyarrow.dataset, and with it pandas where installed: half a second.
    """
    try:
        with disk.opening(file), pq.ParquetFile(file) as parquet:
            _ = parquet.schema_arrow  # pyarrow raises if the file is not Parquet
            table = parquet.read(columns)
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(f"the name of a column is no Unicode: {error}") from error
    if missing := {*(columns or ())} - {*table.column_names}:
        raise pa.ArrowInvalid(f"there is no column {min(missing)}")
    return table
