"""An altered table of items gives no other text: the table is named, or the answer is what it was."""

from embstore.storage.files import items as items_module


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
