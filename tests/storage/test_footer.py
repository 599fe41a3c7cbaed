"""Columns of a table, read from its footer; pyarrow is the second witness."""

import hashlib
import random
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embstore.base.errors import DamagedError
from embstore.storage.files.items import ITEM_COLUMNS, SKIPPED_COLUMNS, PartChecks
from embstore.storage.files.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA
from embstore.storage.parquet.footer import Column, read_columns

_OTHER_TYPES = [
    pa.int32(), pa.uint64(), pa.timestamp("us"), pa.float32(), pa.binary(), pa.binary(4), pa.decimal128(9, 2),
    pa.list_(pa.int64()), pa.struct({"x": pa.int64()}), pa.date32(),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "columns"), [(ITEMS_SCHEMA, ITEM_COLUMNS), (SKIPPED_SCHEMA, SKIPPED_COLUMNS)], ids=["items", "skipped"]
)
@pytest.mark.parametrize("version", ["1.0", "2.4", "2.6"])
def test_the_columns_of_a_table(tmp_path, schema, columns, version):
    path = tmp_path / "t.parquet"
    pq.write_table(schema.empty_table(), path, version=version)
    assert read_columns(path) == columns
    types = {"int64": pa.int64(), "string": pa.string()}
    read = pq.read_schema(path)
    assert [(f.name, f.type, f.nullable) for f in read] == [(c.name, types[c.kind], not c.is_required) for c in columns]


def test_the_types_of_columns_of_items(tmp_path):
    path = tmp_path / "t.parquet"
    types = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
    pq.write_table(pa.schema([pa.field(f"a {name}", kind) for name, kind in types.items()]).empty_table(), path)
    assert read_columns(path) == tuple(Column(f"a {name}", name) for name in types)


@pytest.mark.parametrize("kind", _OTHER_TYPES, ids=str)
def test_a_column_of_another_type_is_refused(tmp_path, kind):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.schema([pa.field("item_id", pa.int64()), pa.field("odd", kind)]).empty_table(), path)
    with pytest.raises(ValueError, match=r"'odd' has a type that is not in the format|nested"):
        read_columns(path)


@pytest.mark.parametrize("change", ["name", "order", "null", "more", "fewer"])
def test_other_columns_are_damage(tmp_path, change):
    fields = [*ITEMS_SCHEMA]
    changed = {
        "name": [fields[0].with_name("id"), *fields[1:]],
        "order": [*fields[1:], fields[0]],
        "null": [*fields[:-1], fields[-1].with_nullable(False)],
        "more": [*fields, pa.field("more", pa.int64())],
        "fewer": fields[:-1],
    }
    path = _part(tmp_path, pa.schema(changed[change]))
    with pytest.raises(DamagedError, match="its columns are not those of the format"):
        PartChecks().check(path)
    PartChecks().check(_part(tmp_path, ITEMS_SCHEMA))


@pytest.mark.slow
def test_any_altered_footer_is_read_or_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(ITEMS_SCHEMA.empty_table(), path)
    whole = path.read_bytes()
    begin = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    rng = random.Random(0)
    for _ in range(800):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(begin, len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with suppress(ValueError):
            read_columns(path)


def _part(folder: Path, schema: pa.Schema) -> Path:
    path = folder / "t.parquet"
    pq.write_table(schema.empty_table(), path)
    return path.rename(folder / f"part-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.parquet")
