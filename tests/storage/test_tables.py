"""Tables in memory, whatever was altered in them: the table is named, or the answer is what it was."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from embstore.storage.files import items as items_module

from embstore.storage.tables import read_table


def test_the_columns_asked_for(tmp_path):
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").equals(table)
    assert read_table(tmp_path / "t.parquet", ["b"]).to_pylist() == [{"b": "x"}, {"b": "y"}]


def test_a_table_may_hold_far_more_than_its_file(tmp_path):
    table = pa.table({"text": ["a" * (1 << 20)] * 100})
    pq.write_table(table, tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 1 << 18
    assert read_table(tmp_path / "t.parquet").equals(table)


def test_what_cannot_be_read_is_said_in_one_way(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(FileNotFoundError):
        read_table(path)
    pq.write_table(pa.table({"name": [1, 2]}), path)
    with pytest.raises(pa.ArrowInvalid, match="no column other"):
        read_table(path, ["name", "other"])
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[:footer] + data[footer:].replace(b"name", b"n\xffme"))
    with pytest.raises(pa.ArrowException):
        read_table(path, ["name"])


@pytest.mark.parametrize(("kind", "column"), [("embeddings", b"item_id"), ("summaries", b"norm_min")])
def test_an_altered_name_of_a_column_is_mended(make_store, kind, column):
    made = make_store(n_shards=2)
    path = next(made.root.glob(f"{kind}/*/*.parquet"))
    path.write_bytes(path.read_bytes().replace(column, b"\xff" + column[1:]))
    assert made.store.remove(made.space, dry_run=True)["action"][0] == "would remove"
    assert made.store.repair()["action"][0] == ("taken out" if kind == "embeddings" else "rebuilt")
    assert not made.store.verify().problems or kind == "embeddings"


def test_a_few_texts_are_vouched_for_by_their_ids(make_store, monkeypatch):
    made = make_store(n=30)
    hashed: list[object] = []
    monkeypatch.setattr(items_module, "file_hash", lambda file, *_: hashed.append(file) or file.stem[5:])
    store = made.store
    assert len(store.neighbours("text3", layers=0)) == 10
    assert not hashed, "a short question must not read whole tables"
    store.sql("SELECT count(*) FROM embeddings")
    assert not hashed
    for _ in range(2):
        store.sql("SELECT count(*) FROM items")
    assert sorted(hashed) == sorted((made.root / "items").glob("*.parquet")), "once for an opened store"


def test_a_table_that_was_written_like_this_is_believed(make_store, monkeypatch):
    made = make_store(n=30)
    right = made.store.neighbours("text3", layers=0)["text"]
    monkeypatch.setattr(items_module, "item_id", lambda *_: -1)
    assert made.store.neighbours("text3", layers=0)["text"] == right
