"""The catalog: what it sees, and what SQL may do."""

import itertools

import pytest
from kept_columns import write_columns
from sound_stores import problems_of
from store_writing import SkippedText, write_skipped
from synthetic import synthetic_items, synthetic_store

from embstore import Store
from embstore.base import atomic
from embstore.base.errors import (
    DamagedError,
    EmbstoreError,
    NotStoredError,
    QueryError,
    StoreError,
    UnsupportedFormatError,
)
from embstore.base.space import Unit
from embstore.storage.catalog import Catalog
from embstore.storage.writer import StoreWriter, write_dataset

COMMANDS = [
    Store.info,
    Store.verify,
    Store.repair,
    Store.compact,
    Store.index,
    lambda store: store.query("norms"),
    lambda store: store.remove("x"),
    lambda store: store.remove("x", dry_run=True),
]
NASTY = [
    "a b", "br[1]ack", "[abc]", "st*r", "qu?st", "q'uote", 'd"quote', "üñí日", "a{b}c", "x,y", "hash#1", "pct%20",
    "new\nline", "space=foo", "layer=7", "item_id=3",
]  # fmt: skip


@pytest.mark.parametrize("names", [NASTY, ["back\\slash"]], ids=["many", "a backslash"])
def test_a_store_may_be_in_any_folder(tmp_path, names):
    made = synthetic_store(tmp_path.joinpath(*names, "store"), n=12, n_blocks=1)
    store = made.store
    assert store.query("anisotropy")["n"] == [12, 12, 12]
    assert store.query("anisotropy", where="text = 'text3'")["n"] == [1, 1, 1]
    assert store.query("anisotropy", variant="centred")["n"] == [12, 12, 12]
    assert len(store.neighbours("text3", k=4)) == 4
    sql = "SELECT DISTINCT space, layer FROM embeddings ORDER BY ALL"
    assert store.sql(sql).fetchall() == [(made.space, layer) for layer in range(3)]
    assert store.verify().ok


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("s[12]", "s1"),
        ("s*", "s1"),
        ("s?", "s1"),
        ("s[!x]", "s1"),
        ("s]", "s"),
        ("a\\b", "ab"),
        ("a\\*", "a\\b"),
    ],
)
def test_a_path_that_is_a_pattern_is_that_path(make_store, name, matches):
    """Beside the store is another one that its path matches, with the same items and other
    vectors.
    """
    made = make_store(name, texts=["dog", "cat", "fish"], n_blocks=0)
    make_store(matches, texts=["dog", "cat"], n_blocks=0, seed=2)
    assert made.store.info()["items"] == [3]
    assert len(made.store.vectors(made.space, 0)[0]) == 3
    assert set(made.store.neighbours("dog", k=5)["text"]) == {"cat", "fish"}
    assert made.store.query("norms", layers="0", where="text <> 'cat'")["n"] == [2]
    assert made.store.sql("SELECT count(*) FROM embeddings WHERE layer = 0").fetchall() == [(3,)]
    assert problems_of(made.store) == []


def test_where_is_one_expression_and_sql_one_select(make_store):
    """What is said of it; ``test_hostile_sql`` has more that is refused."""
    store = make_store(index=False).store
    for where in (
        "true); DROP TABLE items --",
        "text; INSTALL httpfs",
        "EXISTS (COPY items TO 'x')",
        "",
        "--",
    ):
        with pytest.raises(
            QueryError, match=r"is not one SQL expression.*a name with spaces in double ones"
        ):
            store.query("anisotropy", where=where)
    for sql in (
        "COPY items TO 'x.csv'",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "TABLE",
        "",
    ):
        with pytest.raises(QueryError, match=r"give one SELECT statement|cannot be read"):
            store.sql(sql)


def test_views(make_store):
    made = make_store(n=12, n_blocks=1, template="This is {text}")
    columns = {"item_id": made.ids.tolist(), "text": made.texts, "rank": [*range(12)]}
    write_dataset(made.files, "odd-name", "word list", Unit.WORD, columns)
    write_skipped(made.files, [SkippedText("x", "skipped", "why")])
    store = made.store
    rows = store.sql("SELECT item_id, vector FROM embeddings WHERE layer = 1").fetchall()
    assert {item: list(vector) for item, vector in rows} == dict(
        zip(made.ids.tolist(), made.layer(1).tolist(), strict=True)
    )
    assert dict(store.sql("SELECT item_id, text FROM items").fetchall()) == {
        i.id: i.text for i in made.items
    }
    assert store.sql("SELECT space, sum(n)::INT FROM summaries GROUP BY 1").fetchall() == [
        (made.space, 36)
    ]
    assert store.sql("SELECT text, reason FROM skipped").fetchall() == [("x", "why")]
    assert store.sql("SELECT space, unit, template, dim FROM spaces").fetchall() == [
        (made.space, "word", "This is {text}", 8)
    ]
    assert store.sql('SELECT sum(rank)::INT FROM datasets."odd-name"').fetchall() == [(66,)]


def test_sql_sees_no_table_of_embstores_own(make_store):
    made = make_store(n=1100, n_blocks=0, index=False)
    make_store(texts=["a bank", "the bank"], unit="occurrence", n_blocks=0, index=False)
    store = made.store
    assert len(store.vectors(made.space, 0)[1]) == 1100
    with pytest.raises(NotStoredError, match="Nearest stored texts: 'text7'"):
        store.neighbours("txt7")
    store.query("self-similarity", word="bank", min_contexts=2)
    found = store.sql("SHOW TABLES").fetchall()
    views = ["built_in", "columns", "embeddings", "items", "skipped", "spaces", "summaries"]
    assert [name for (name,) in found] == views


def test_a_relation_that_outlives_its_files_fails_as_is_said_and_is_asked_again(make_store):
    made = make_store(n=10, n_shards=5, index=False)
    store, old = made.store, set(made.root.glob("vectors/**/*.parquet"))
    sql = "SELECT count(*) FROM embeddings"
    kept = store.sql(sql)
    before = kept.fetchall()
    store.compact()
    assert kept.fetchall() == before
    for path in old:
        path.unlink()  # as a command does a day later
    with pytest.raises(DamagedError, match="has gone since the store was opened"):
        kept.fetchall()
    assert store.sql(sql).fetchall() == before


def test_the_views_of_an_empty_store_are_there_and_empty(tmp_path):
    with StoreWriter(tmp_path / "store"):
        pass
    store = Store(tmp_path / "store")
    for view in ("items", "embeddings", "summaries", "skipped", "spaces"):
        assert store.sql(f"SELECT * FROM {view}").fetchall() == []
    assert store.info().to_pylist() == store.skipped().to_pylist() == []
    assert store.verify().ok
    assert Catalog(tmp_path / "store").item_ids().tolist() == []
    for ask in (lambda: store.query("anisotropy"), lambda: store.neighbours("dog")):
        with pytest.raises(QueryError, match=r"holds no space yet\. Fill it with: embstore build"):
            ask()


def test_a_space_without_items_is_answered(make_store):
    made = make_store(n=0, index=False)
    [row, *_] = made.store.query("anisotropy")
    assert (row["n"], row["anisotropy"]) == (0, None)
    assert row["reason"]
    assert made.store.info()["items"] == [0]
    assert made.store.verify().ok
    assert made.store.query("anisotropy", variant="centred", where="true", sample=3)["n"] == [0] * 5


@pytest.mark.slow
def test_an_open_store_sees_what_was_committed_before_each_call(make_store):
    """Shards, items, columns, datasets, indexes and spaces alike."""
    made = make_store(n=10, index=False)
    store = Store(made.root)
    assert store.query("anisotropy")["n"] == [10] * 5
    assert store.sql("SELECT count(*) FROM items").fetchall() == [(10,)]
    assert store.info()["index"] == ["none"]
    make_store(texts=["new1", "new2"], index=False)
    assert len(store.neighbours("new1", k=20)) == 11
    assert store.query("anisotropy", where="text LIKE 'new%'")["n"] == [2] * 5
    make_store(unit="sentence", index=False)
    assert store.info()["items"] == [40, 12]
    assert store.sql("SELECT count(*) FROM items").fetchall() == [(52,)]
    write_columns(made, {"rank": list(range(10))})
    assert store.query("anisotropy", where="rank < 3", unit="word")["n"] == [3] * 5
    assert "rank" in store.columns()["column"]
    columns = {"item_id": made.ids.tolist(), "text": made.texts, "rank": [0] * 10}
    write_dataset(made.files, "late", "word list", Unit.WORD, columns)
    assert len(store.sql("SELECT * FROM datasets.late").fetchall()) == 10
    Store(made.root).index(kind="flat")
    assert store.info()["index"] == ["flat", "flat"]
    before = store.neighbours("new1", k=20).to_pylist()
    Store(made.root).compact()
    assert store.neighbours("new1", k=20).to_pylist() == before
    assert store.info()["shards"] == [1, 1]
    Store(made.root).remove(made.space)
    assert store.info()["items"] == [40]
    with pytest.raises(NotStoredError):
        store.neighbours("new1")
    Store(made.root).add_vectors("other", ["a"], [[1.0]])
    assert store.info()["space"] == ["other", "toy.sentence.last"]


def test_a_call_sees_one_state(make_store):
    """That of its beginning, whatever is committed while it runs; the pages of the explorer too,
    until a reload.
    """
    made = make_store(n=10)
    store, numbers = Store(made.root), itertools.count()

    def count(catalog):
        before = len(catalog.ids(made.space))
        make_store(texts=[f"new{next(numbers)}"])
        return before, len(catalog.ids(made.space)), len(catalog.item_ids())

    assert store._ask(count) == (10, 10, 10)
    assert store._ask(count) == (11, 11, 11)
    page = store._pinned()
    assert page._ask(count) == (12, 12, 12)
    assert page._ask(count) == (12, 12, 12)
    page.refresh()
    assert page._ask(count)[0] == 14


def test_the_shards_of_a_layer_are_opened_once(make_store):
    made = make_store(n=10)
    catalog = Catalog(made.root)
    assert catalog.shards(made.space, 3) is catalog.shards(made.space, 3)


def test_items_come_back_as_they_were(make_store):
    texts = [
        "naïve",
        "日本語",
        "nul\x00inside",
        "tab\tnew\nline",
        "'; DROP TABLE items; --",
        "emoji 👩‍👩‍👧",
        " lead",
        "",
    ]
    made = make_store(texts=texts)
    catalog = Catalog(made.root)
    assert catalog.items(made.ids.tolist()) == {item.id: item for item in made.items}
    assert catalog.items([]) == {}
    with pytest.raises(
        DamagedError, match=r"item 3 has no text in .*items.*Build the same sources again"
    ):
        catalog.items([3])
    ids, found, _ = made.store.vectors(made.space, 0)
    assert dict(zip(ids.tolist(), found, strict=True)) == {
        item.id: item.text for item in made.items
    }
    for text in texts:
        hits = made.store.neighbours(text, k=100)
        assert set(hits["text"]) == set(texts) - {text}, repr(text)
    assert made.store.verify().ok


def test_occurrences_come_with_their_sentence(make_store):
    made = make_store(unit="occurrence", texts=["the bank of the river", "a bank"])
    catalog = Catalog(made.root)
    assert catalog.items(made.ids.tolist()) == {item.id: item for item in made.items}
    wanted = [item for item in made.items if item.text == "bank"]
    assert catalog.occurrences(Unit.OCCURRENCE, "bank") == sorted(wanted, key=lambda item: item.id)
    assert catalog.occurrences(Unit.OCCURRENCE, "river bank") == []
    assert {item.id for item in synthetic_items("sentence", ["a bank"])} <= set(
        catalog.item_ids().tolist()
    )


def test_nearest_texts(make_store):
    made = make_store(texts=["house", "horse", "zebra", "Hours", "it's"])
    make_store(unit="sentence", texts=["hous"])
    catalog = Catalog(made.root)
    assert catalog.nearest_texts("hous", [made.space], n=3) == ["house", "Hours", "horse"]
    assert catalog.nearest_texts("hous", ["toy.sentence.last"]) == ["hous"]
    assert catalog.nearest_texts("hous", ["toy.sentence.last", made.space], n=1) == ["hous"]
    assert catalog.nearest_texts("its", [made.space], n=1) == ["it's"]
    make_store(texts=["h" * 1001])
    assert Catalog(made.root).nearest_texts("h" * 5000, [made.space], n=1) != ["h" * 1001], (
        "too long to be meant"
    )


def test_skipped_texts_are_listed_until_they_are_embedded(make_store):
    made = make_store(n=3)
    [later] = synthetic_items("word", ["later"])
    rows = [
        SkippedText("later", "skipped", "too long", made.space, later.id, "w.txt:1"),
        SkippedText("text0", "truncated", "cut", made.space, made.items[0].id, "w.txt:2"),
        SkippedText("", "skipped", "empty line", origin="w.txt:3"),
        SkippedText("lone \ud800", "skipped", "no UTF-8", made.space, 9, "w.txt:4"),
    ]
    write_skipped(made.files, rows)
    write_skipped(made.files, rows[:2])
    found = made.store.skipped().to_pylist()
    rows[3] = rows[3]._replace(text="lone \\ud800")
    expected = [
        (row.space, row.item_id, row.text, row.outcome, row.reason, row.origin) for row in rows
    ]
    assert [tuple(row.values()) for row in found] == sorted(
        expected, key=lambda row: (row[0] is None, row)
    )
    make_store(texts=["later"])
    assert [row["text"] for row in made.store.skipped()] == ["lone \\ud800", "text0", ""]


def test_a_store_of_another_format_is_refused_by_every_command(make_store):
    made = make_store(n=5, n_blocks=0)
    newest = max((made.root / "manifest").iterdir())
    newest.write_bytes(atomic.document_bytes({"format": 99}))
    for command in COMMANDS:
        with pytest.raises(UnsupportedFormatError, match="format 99"):
            command(Store(made.root))
    with pytest.raises(UnsupportedFormatError, match="format 99"):
        make_store(texts=["new"], n_blocks=0)


@pytest.mark.parametrize(
    "make", [lambda root: None, lambda root: root.mkdir(), lambda root: root.write_text("file")]
)
def test_what_is_no_store_is_named_by_every_command(tmp_path, make):
    root = tmp_path / "some"
    make(root)
    before = root.exists()
    for command in COMMANDS:
        with pytest.raises(StoreError, match=r"there is no store|is not a store") as caught:
            command(Store(root))
        assert str(root) in str(caught.value)
        assert root.exists() == before


def test_a_folder_with_other_things_is_never_made_a_store(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(EmbstoreError, match="is not a store"):
        synthetic_store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
