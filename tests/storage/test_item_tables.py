"""An altered table of items gives no other text: the table is named, or the answer is what it was."""

from collections.abc import Callable

import pytest
from store_damage import damaged, flipped
from store_writing import SkippedText, write_skipped
from synthetic import Synthetic

from embstore.base.errors import DamagedError
from embstore.base.space import Unit
from embstore.storage.files import items as items_module
from embstore.storage.transaction.commit import write_dataset

Make = Callable[..., Synthetic]


def test_a_few_texts_are_vouched_for_by_their_ids(make_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_table_that_was_written_like_this_is_believed(make_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_store(n=30)
    right = made.store.neighbours("text3", layers=0)["text"]
    monkeypatch.setattr(items_module, "item_id", lambda *_: -1)
    assert made.store.neighbours("text3", layers=0)["text"] == right


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("summaries/*/*.parquet", "SELECT * FROM summaries"),
        ("datasets/*.parquet", "SELECT * FROM datasets.ranks"),
        ("skipped/*.parquet", "SELECT * FROM skipped"),
        ("items/*.parquet", 'SELECT * FROM main."ITEMS" AS other'),
    ],
)
def test_sql_names_an_altered_file(make_store: Make, kind: str, sql: str) -> None:
    made = make_store(n=9, n_shards=1)
    write_dataset(made.paths, "ranks", "word list", Unit.WORD, {"item_id": made.ids.tolist(), "text": made.texts})
    write_skipped(made.paths, [SkippedText("x" * 9, "skipped", "no tokens", made.space, 7, "words.txt:3")])
    [path] = made.root.glob(kind)
    assert made.store.sql(sql).fetchall()
    data = path.read_bytes()
    with damaged(path, flipped(data, 4 * len(data))), pytest.raises(DamagedError) as caught:
        made.store.sql(sql)
    assert str(path.resolve()) in str(caught.value)
