"""Tables of a store that are small on the disk and unpack to gigabytes, sealed again so that every hash is right."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tampered_stores import the

from embstore.base import checksum
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA
from embstore.storage.parquet import thrift
from embstore.storage.transaction.commit import Change, commit

Edit = Callable[[dict[str, Any]], None]


def texts(n_bytes: int, n_rows: int = 1 << 12) -> pa.Array:
    """One text for every row, which Parquet holds once, in a dictionary."""
    text = "a" * (n_bytes // n_rows)
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n_rows, np.int32)), pa.array([text]))


def items_table(n_bytes: int, n_rows: int = 1 << 12) -> pa.Table:
    """Items with one long text."""
    columns: dict[str, Any] = {"item_id": np.arange(n_rows), "unit": ["word"] * n_rows, "text": texts(n_bytes, n_rows)}
    return pa.table(columns | {name: pa.nulls(n_rows, pa.int64()) for name in ("context_id", "start", "end")})


def skipped_table(n_rows: int) -> pa.Table:
    """Skipped texts, each of them empty: a run of rows takes a few bytes."""
    empty = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n_rows, np.int32)), pa.array([""]))
    columns = {name: pa.nulls(n_rows, pa.int64()) if name == "item_id" else empty for name in SKIPPED_SCHEMA.names}
    return pa.table(columns)


def put_part(root: Path, kind: str, table: pa.Table, codec: str, edit: Edit | None = None) -> Path:
    """Add a table of items or of skipped texts to a store, by the hash that its name says."""
    schema = ITEMS_SCHEMA if kind == "items" else SKIPPED_SCHEMA
    data = with_footer(written(table, codec, schema), edit)
    path = root / kind / f"part-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    path.write_bytes(data)
    commit(StorePaths(root.resolve()), Change((path.resolve(),)))
    return path


def put_sealed(root: Path, kind: str, table: pa.Table, codec: str, edit: Edit | None = None) -> Path:
    """Replace a table of a store that holds its own hash."""
    path = the(root, kind)
    path.write_bytes(
        checksum.with_checksum(with_footer(written(table, codec, None, {checksum.KEY: checksum.BLANK}), edit))
    )
    return path


def written(
    table: pa.Table, codec: str, schema: pa.Schema | None = None, metadata: dict[str, str] | None = None
) -> bytes:
    """A table as Parquet, its columns with the names, types and nulls of a schema."""
    if schema is not None:
        fields = [field.with_type(table[field.name].type) for field in schema]
        table = pa.Table.from_arrays(table.select(schema.names).columns, schema=pa.schema(fields))
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(
        buffer, table.schema, compression=codec, store_schema=False, data_page_size=1 << 30
    ) as writer:
        writer.write_table(table, row_group_size=len(table))
        writer.add_key_value_metadata(metadata or {})
    return bytes(buffer.getvalue().to_pybytes())


def with_footer(data: bytes, edit: Edit | None) -> bytes:
    """A Parquet file with another footer."""
    if edit is None:
        return data
    length = int.from_bytes(data[-8:-4], "little")
    footer, _ = thrift.read(data, len(data) - 8 - length)
    edit(footer)
    changed = thrift.write(footer)
    return data[: -8 - length] + changed + len(changed).to_bytes(4, "little") + b"PAR1"


def chunks(footer: thrift.Struct) -> list[thrift.Struct]:
    """The metadata of all column chunks of a footer."""
    return [chunk[3][1] for group in footer[4][1][1] for chunk in group[1][1][1]]


def claiming(field: int, value: int) -> Edit:
    """A footer whose column chunks all claim something: 5 is the number of values, 6 the unpacked size."""

    def edit(footer: dict[str, Any]) -> None:
        for chunk in chunks(footer):
            chunk[field] = (chunk[field][0], value)

    return edit


def naming_groups_often(n: int) -> Edit:
    """A footer that names the same row groups n times over."""

    def edit(footer: dict[str, Any]) -> None:
        kind, (of, groups) = footer[4]
        footer[4] = kind, (of, groups * n)
        footer[3] = footer[3][0], footer[3][1] * n

    return edit
