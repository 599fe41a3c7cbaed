"""An altered table of items gives no other text: the table is named, or the answer is what it was."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from store_damage import bits, damaged, flipped
from store_writing import SkippedText, write_skipped
from synthetic import Synthetic

from embstore import Store
from embstore.base.errors import DamagedError
from embstore.base.space import Unit
from embstore.storage.files import items as items_module
from embstore.storage.transaction.commit import write_dataset

Make = Callable[..., Synthetic]

QUESTIONS: Mapping[str, Callable[[Store], object]] = {
    "texts": lambda store: store.vectors("toy.word.last", 1)[1],
    "texts of a few": lambda store: store.vectors("toy.word.last", 1, where="text = 'text7'")[1],
    "neighbours": lambda store: store.neighbours("text3", layers=1, k=1500, spaces="toy.word.last").rows,
    "near": lambda store: store.neighbours("text3", layers=1, k=5, spaces="toy.word.last").rows,
    "in sentences": lambda store: store.neighbours("lends", layers=1, k=9, spaces="toy.occurrence.last").rows,
    "marked": lambda store: store.neighbours(marked="a bank [lends]", layers=1, k=9).rows,
    "sql": lambda store: sorted(store.sql("SELECT item_id, text FROM items").fetchall()),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from synthetic import synthetic_store

    root = tmp_path_factory.mktemp("items") / "store"
    synthetic_store(root, n=1600, dim=4, n_blocks=1, n_shards=1)
    sentences = ["the bank of the river", "a bank lends"]
    synthetic_store(root, unit="occurrence", texts=sentences, dim=4, n_blocks=1, n_shards=1)
    return root


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_flipped_bit_gives_no_other_text(root: Path, question: str) -> None:
    ask = QUESTIONS[question]
    right = ask(Store(root))
    tables = sorted((root / "items").glob("*.parquet"))
    assert len(tables) == 2
    for table in tables:
        data = table.read_bytes()
        for bit in bits(data, 12, seed=5):
            with damaged(table, flipped(data, bit)):
                found, message = answer(ask, root)
                assert found == right or str(table) in message


def answer(ask: Callable[[Store], object], root: Path) -> tuple[object, str]:
    try:
        return ask(Store(root)), ""
    except DamagedError as error:
        return None, str(error)


def test_a_few_texts_are_vouched_for_by_their_ids(make_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_store(n=30)
    hashed: list[Path] = []
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


def test_skipped_texts_are_checked(make_store: Make) -> None:
    made = make_store(n=9)
    path = write_skipped(made.paths, [SkippedText("x" * 9, "skipped", "no tokens", made.space, 7, "words.txt:3")])
    assert path is not None
    assert made.store.skipped()["text"] == ["x" * 9]
    data = path.read_bytes()
    with damaged(path, flipped(data, 8 * data.index(b"x" * 9))), pytest.raises(DamagedError, match=path.name):
        made.store.skipped()
