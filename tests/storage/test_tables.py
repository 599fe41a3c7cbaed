"""Tables in memory, whatever was altered in them: the table is named, or the answer is what it
was.
"""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embstore.base import disk
from embstore.base.errors import DamagedError
from embstore.storage import keys, tables
from embstore.storage.cache import StoreFiles, entry_of

ROWS = {
    "item_id": [3, 5],
    "unit": ["word", "word"],
    "text": ["a", "b"],
    "context_id": None,
    "start": None,
    "end": None,
}
ITEMS = pa.table({name: values or pa.nulls(2, pa.int64()) for name, values in ROWS.items()}).cast(
    tables.ITEMS_SCHEMA
)


@pytest.fixture
def files(tmp_path):
    return StoreFiles.of_folder(tmp_path / "store")


def test_what_was_written_is_read(files):
    [(key, entry)] = tables.write(files, keys.ITEMS, ITEMS).items()
    file = files.file(key, entry)
    assert tables.read(file).equals(ITEMS)
    assert tables.read(file, ["text"]).to_pylist() == [{"text": "a"}, {"text": "b"}]
    assert (entry["n"], entry["first"], entry["last"]) == (2, 3, 5)


def test_an_altered_byte_is_found_until_it_is_mended(files):
    [(key, entry)] = tables.write(files, keys.ITEMS, ITEMS).items()
    file = files.file(key, entry)
    data = file.path.read_bytes()
    place = data.index(b"word")
    file.path.write_bytes(data[:place] + b"W" + data[place + 1 :])
    for _ in range(2):
        with pytest.raises(
            DamagedError, match=f"{key} is damaged: its SHA-256 is not the one in the manifest"
        ):
            tables.read(file)
    file.path.write_bytes(data)
    assert tables.read(file).equals(ITEMS)


def test_types_of_columns_are_in_the_manifest(files):
    kinds = {"a": "int64", "b": "float64", "c": "bool", "d": "string"}
    values = {"item_id": [1], "a": [1], "b": [0.5], "c": [True], "d": ["x"]}
    table = pa.table(values).cast(tables.column_schema(kinds))
    [(key, entry)] = tables.write(files, keys.COLUMNS, table).items()
    assert entry["columns"] == kinds
    assert tables.read(files.file(key, entry)).equals(table)


def test_rows_become_tables_of_bounded_size(files, monkeypatch):
    monkeypatch.setattr(tables, "_TABLE_BYTES", 100)
    parts = [ITEMS, ITEMS.slice(0, 0), ITEMS, ITEMS.slice(1)]
    found = tables.write_all(files, keys.ITEMS, parts)
    assert sum(entry["n"] for entry in found.values()) >= 3
    assert tables.write_all(files, keys.ITEMS, [ITEMS.slice(0, 0)]) == {}


@pytest.mark.parametrize(
    "table",
    [
        ITEMS.rename_columns(["item", *ITEMS.column_names[1:]]),
        ITEMS.select(["item_id", "unit"]),
        ITEMS.set_column(0, "item_id", pa.array(["3", "5"])),
        ITEMS.set_column(2, "text", pa.array([None, "b"], pa.string())),
    ],
)
def test_a_table_of_other_columns_is_no_table_of_texts(files, tmp_path, table):
    pq.write_table(table, tmp_path / "other.parquet")
    entry = entry_of(tmp_path / "other.parquet", n=2, first=3, last=5)
    key = keys.make(keys.ITEMS, entry["sha256"])
    files.write({key: tmp_path / "other.parquet"})
    with pytest.raises(DamagedError, match="its columns are not those of the format"):
        tables.read(files.file(key, entry))


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1 nonsense PAR1", b"\0" * 1000])
def test_what_is_no_parquet_is_damaged(files, tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    entry = entry_of(tmp_path / "other", n=2, first=3, last=5)
    key = keys.make(keys.ITEMS, entry["sha256"])
    files.write({key: tmp_path / "other"})
    with pytest.raises(DamagedError, match="it is no table"):
        tables.read(files.file(key, entry))


def test_text_that_is_no_unicode_is_damaged(files, tmp_path):
    """pyarrow reads invalid UTF-8 as it is; Python's strings would fail later, somewhere else."""
    invalid = pa.Array.from_buffers(
        pa.string(), 2, pa.array([b"a", b"\xff\xfe"], pa.binary()).buffers()
    )
    pq.write_table(ITEMS.set_column(2, ITEMS.schema.field("text"), invalid), tmp_path / "other")
    entry = entry_of(tmp_path / "other", n=2, first=3, last=5)
    key = keys.make(keys.ITEMS, entry["sha256"])
    files.write({key: tmp_path / "other"})
    with pytest.raises(DamagedError, match="it is no table"):
        tables.read(files.file(key, entry))


def test_an_altered_table_and_a_missing_one_are_named(files):
    [(key, entry)] = tables.write(files, keys.ITEMS, ITEMS).items()
    path = files.root / key
    data = path.read_bytes()
    path.write_bytes(data[:10] + b"?" + data[11:])
    with pytest.raises(
        DamagedError, match=f"{key} is damaged: its SHA-256 is not the one in the manifest"
    ):
        tables.read(files.file(key, entry))
    path.unlink()
    with pytest.raises(DamagedError, match=f"{key} is damaged: it is missing"):
        tables.read(files.file(key, entry))


def test_tables_are_read_whole_once_for_an_opened_store(make_store, monkeypatch):
    made = make_store(n=30)
    hashed = []
    real = disk.sha256
    monkeypatch.setattr(disk, "sha256", lambda path: hashed.append(path) or real(path))

    def of_items():
        return [path for path in hashed if path.parent.name == "items"]

    store = made.store
    store.sql("SELECT count(*) FROM embeddings")
    assert not of_items()
    for _ in range(2):
        assert len(store.neighbours("text3", layers=0)) == 10
        store.sql("SELECT count(*) FROM items")
    assert sorted(of_items()) == sorted((made.root / "items").glob("*.parquet"))
