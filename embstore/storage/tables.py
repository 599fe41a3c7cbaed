"""Write and read the Parquet tables beside the vectors: items, their columns, skipped texts and
datasets.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from embstore.base import disk
from embstore.base.space import Unit
from embstore.storage import keys
from embstore.storage.arrow import readable, to_numpy
from embstore.storage.cache import StoredFile, StoreFiles, fetch
from embstore.storage.keys import Kind
from embstore.storage.manifest import Files

_TYPES = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "string": pa.string()}
_KINDS = {str(kind): name for name, kind in _TYPES.items()}


class Column(NamedTuple):
    """A column of a table of the format."""

    name: str
    kind: str  # ``int64``, ``float64``, ``bool`` or ``string``
    is_required: bool = False


ITEM_COLUMNS = (
    Column("item_id", "int64", is_required=True),
    Column("unit", "string", is_required=True),
    Column("text", "string", is_required=True),
    Column("context_id", "int64"),
    Column("start", "int64"),
    Column("end", "int64"),
)
SKIPPED_COLUMNS = (
    Column("space", "string"),
    Column("item_id", "int64"),
    Column("text", "string", is_required=True),
    Column("outcome", "string", is_required=True),
    Column("reason", "string", is_required=True),
    Column("origin", "string"),
)
_ITEM_ID = Column("item_id", "int64", is_required=True)


def _schema(columns: Iterable[Column]) -> pa.Schema:
    return pa.schema(
        [pa.field(c.name, _TYPES[c.kind], nullable=not c.is_required) for c in columns]
    )


def column_schema(kinds: Mapping[str, str]) -> pa.Schema:
    """Return the schema of a table of items' columns, given the type of each column by name."""
    return _schema([_ITEM_ID, *(Column(name, kind) for name, kind in kinds.items())])


ITEMS_SCHEMA, SKIPPED_SCHEMA = _schema(ITEM_COLUMNS), _schema(SKIPPED_COLUMNS)
DATASET_TYPES = {"unit": pa.string()} | {
    f"{name}{suffix}": kind
    for suffix in ("", "_2", "_3", "_4")
    for name, kind in (("item_id", pa.int64()), ("text", pa.string()))
}

_ROW_GROUP_ROWS = 1 << 16
_TABLE_BYTES = 20 << 20  # in memory


def bounded(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of several tables as fewer tables, which are joined up to a size."""
    pending: list[pa.Table] = []
    n_bytes = 0
    for table in tables:
        if pending and n_bytes + table.nbytes > _TABLE_BYTES:
            yield pa.concat_tables(pending)
            pending, n_bytes = [], 0
        pending.append(table)
        n_bytes += table.nbytes
    if pending:
        yield pa.concat_tables(pending)


def write(
    files: StoreFiles, kind: Kind, table: pa.Table, /, *, name: str = "", **facts: Any
) -> Files:
    """Write a table to a store, and return it as a manifest names it once it is committed.

    Only columns whose values mostly repeat get a dictionary: others become no smaller by it. Texts
    have no statistics, which would be whole texts, however long.
    """
    if kind is keys.COLUMNS:
        facts["columns"] = {
            field.name: _KINDS[str(field.type)] for field in table.schema if field.name != "item_id"
        }
    if "item_id" in table.column_names and len(ids := table["item_id"].drop_null()):
        ids = to_numpy(ids)
        facts |= {"first": int(ids.min()), "last": int(ids.max())}
    packed = [
        column for column in table.column_names if 2 * len(table[column].unique()) <= len(table)
    ]
    bounds = [field.name for field in table.schema if not pa.types.is_string(field.type)]

    def write_rows(path: Path) -> None:
        with disk.writing(path) as file:
            pq.write_table(
                table,
                file,
                row_group_size=_ROW_GROUP_ROWS,
                use_dictionary=packed,
                write_statistics=bounds,
            )

    return files.add(kind, write_rows, name=name, n=len(table), **facts)


def write_all(files: StoreFiles, kind: Kind, parts: Iterable[pa.Table]) -> Files:
    """Write rows as tables of bounded size; see :func:`write`."""
    written: dict[str, Any] = {}
    for table in bounded(part for part in parts if part.num_rows):
        written |= write(files, kind, table)
    return written


def read(file: StoredFile, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns, after a check of its hash and its columns.

    ``pyarrow.parquet.read_table`` would import pyarrow.dataset, and with it pandas where installed:
    half a second.
    """
    check(file)
    return read_unchecked(file, columns)


def check(file: StoredFile) -> None:
    """Raise DamagedError unless a table has its hash, columns of its kind, and units, once until
    the file changes.
    """

    def check_columns() -> None:
        with _opened(file) as parquet:
            if "unit" in parquet.schema_arrow.names:
                _check_units(file, parquet.read(["unit"]))

    file.files.check(file, check_columns)


def check_all(files: Sequence[StoredFile]) -> None:
    """Check some tables, which are fetched at the same time; see :func:`check`."""
    fetch(files)
    for file in files:
        check(file)


def read_unchecked(file: StoredFile, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns, after a check of its columns."""
    with _opened(file) as parquet:
        table = parquet.read(columns)
        table.validate(full=True)
        if "unit" in table.column_names:
            _check_units(file, table)
    return table


def _check_units(file: StoredFile, table: pa.Table) -> None:
    """Raise DamagedError if a row has a unit that there is not."""
    if not {*Unit}.issuperset(table["unit"].to_pylist()):
        raise file.damage("a row has a unit that there is not")


@contextmanager
def _opened(file: StoredFile) -> Iterator[pq.ParquetFile]:
    """Open a table within the context, and check its columns; raise DamagedError for what pyarrow
    cannot read.
    """
    with readable(file.damage), file.opened() as path, pq.ParquetFile(path) as parquet:
        check_schema(file, parquet.schema_arrow)
        yield parquet


def check_schema(file: StoredFile, schema: pa.Schema) -> None:
    """Raise DamagedError unless a table has the columns of its kind."""
    parts = keys.parse(file.key)
    kind = parts.kind if parts else None
    plain = pa.schema([pa.field(field.name, field.type, field.nullable) for field in schema])
    if kind is keys.DATASETS:
        types = dict(zip(schema.names, schema.types, strict=True))
        is_sound = {"unit", "item_id", "text"} <= types.keys() and all(
            types.get(name, expected) == expected for name, expected in DATASET_TYPES.items()
        )
    elif kind is keys.COLUMNS:
        is_sound = plain.equals(column_schema(file.entry.get("columns", {})))
    else:
        is_sound = plain.equals(ITEMS_SCHEMA if kind is keys.ITEMS else SKIPPED_SCHEMA)
    if not is_sound:
        raise file.damage("its columns are not those of the format")
