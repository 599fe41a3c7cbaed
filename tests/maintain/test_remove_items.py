"""remove --items, --where and --dataset: what is left is a store that never had these items."""

import os
import shutil
import time
from zlib import crc32

import numpy as np
import pytest
from every_metric import INPUTS, SENTENCES, WORDS, write_inputs
from kept_columns import stored_columns, write_columns
from sound_stores import problems_of
from store_writing import SkippedText, write_skipped
from synthetic import synthetic_items, synthetic_store

from embstore import Store
from embstore.base.errors import (
    DamagedError,
    LockedError,
    NotStoredError,
    StoreError,
    UnknownNameError,
    UsageError,
)
from embstore.base.space import Unit
from embstore.base.table import show_size
from embstore.metrics import METRICS
from embstore.storage import keys, manifest
from embstore.storage.staging.missing import StoredTexts
from embstore.storage.staging.staging import Staging
from embstore.storage.writer import StoreWriter

EXTRA = ["extra", "more, with a comma", "1984", "word1x"]
LINES = ["an extra river of the extra money", "nobody else"]
N_LAYERS, DIM = 2, 6
PERMUTED = {"permutations"}


def write(root, words, sentences, units=("occurrence", "sentence", "word")):
    """Write spaces of each unit, in which an item has the same vectors in every store."""
    for unit in units:
        texts = words if unit == "word" else sentences
        items = synthetic_items(unit, texts)
        vectors = [
            np.random.default_rng(crc32(f"{unit} {item.id}".encode())).normal(size=(N_LAYERS, DIM))
            for item in items
        ]
        made = synthetic_store(
            root,
            unit=unit,
            texts=texts,
            vectors=np.stack(vectors, axis=1),
            dim=DIM,
            n_blocks=1,
            top_form=None,
            n_shards=3,
            pooling="mean" if unit == "sentence" else "last",
        )
    return made


def add_inputs(made, words):
    """Write datasets of ``WORDS``, and columns and a skipped text of all words."""
    write_inputs(synthetic_like(made, WORDS))
    n_tokens = [crc32(text.encode()) % 5 for text in words]
    write_columns(
        made, {"pos": ["N", None] * (len(words) // 2), "n_tokens.toy.word.last": n_tokens}
    )
    truncated = [
        SkippedText(text, "truncated", "long", made.space, item)
        for text, item in zip(made.texts, made.ids.tolist(), strict=True)
        if text.endswith(("3", "extra"))
    ]
    truncated.append(SkippedText("", "skipped", "empty line"))
    write_skipped(made.files, truncated)


def synthetic_like(made, texts):
    """The part of a space with some texts."""
    places = [made.texts.index(text) for text in texts]
    items = tuple(made.items[place] for place in places)
    return type(made)(made.root, made.card, items, made.vectors[:, places])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The stores that each test gets a copy of."""
    root = tmp_path_factory.mktemp("written")
    words = [*WORDS[:9], *EXTRA, *WORDS[9:]]
    add_inputs(write(root / "more", words, [*SENTENCES, *LINES]), words)
    add_inputs(write(root / "plain", WORDS, SENTENCES), WORDS)
    return root


@pytest.fixture
def stores(written, tmp_path):
    """A store with more items, and one that never had them."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return Store(tmp_path / "more"), Store(tmp_path / "plain")


def extra_ids(store):
    listed = ", ".join(f"'{text}'" for text in (*EXTRA, *LINES))
    sql = f"""SELECT item_id FROM items WHERE text IN ({listed})
              OR context_id IN (SELECT item_id FROM items WHERE text IN ({listed}))"""
    return [item for (item,) in store.sql(sql).fetchall()]


def assert_same(found, expected, about):
    assert len(found) == len(expected), about
    for row, wanted in zip(found, expected, strict=True):
        assert row.keys() == wanted.keys(), about
        for name in wanted:
            assert_close(row[name], wanted[name], (about, name))


def assert_close(value, wanted, about):
    if isinstance(wanted, list):
        assert len(value) == len(wanted), about
        for one, other in zip(value, wanted, strict=True):
            assert_close(one, other, about)
    elif isinstance(wanted, float):
        assert value == pytest.approx(wanted, rel=1e-10, abs=1e-12, nan_ok=True), about
    else:
        assert value == wanted, about


TABLES = (
    "SELECT * FROM items ORDER BY item_id",
    "SELECT * FROM columns ORDER BY item_id",
    "SELECT * FROM skipped ORDER BY ALL",
    "SELECT * FROM spaces ORDER BY space",
    "SELECT space, layer, item_id, vector FROM embeddings ORDER BY ALL",
    "SELECT * FROM datasets.pairs",
)


def rows_of(store, sql):
    return store.sql(sql).fetchall()


def test_what_is_left_is_a_store_without_the_items(stores):
    store, plain = stores
    ids = extra_ids(store)
    assert len(ids) == len(EXTRA) + len(LINES) + 9
    done = store.remove(items=[str(item) for item in ids])
    removed = {row["file"]: row["items"] for row in done if row["action"] == "removed"}
    assert removed == {
        "vectors/space=toy.occurrence.last": 9,
        "vectors/space=toy.sentence.mean": 2,
        "vectors/space=toy.word.last": 4,
    }
    for sql in TABLES:
        assert rows_of(store, sql) == rows_of(plain, sql), sql
    found, wanted = (stored_columns(each.path) for each in stores)
    assert found.equals(wanted)
    assert store.info()["items"] == plain.info()["items"]
    assert [row for row in store.index() if row["did"] != "kept"] == []
    for text in (WORDS[0], SENTENCES[0]):
        near = [each.neighbours(text, k=5, layers="all").rows for each in stores]
        assert_same(*near, text)
    assert problems_of(store) == []
    assert len(store.repair(dry_run=True)) == 0


OF_WORDS = ("valnorm", "weat", "sc-weat", "axis", "correlate", "knn", "clusters", "probe")


@pytest.mark.slow
def test_every_metric_is_that_of_a_store_without_the_items(stores):
    store, plain = stores
    store.remove(items=[str(item) for item in extra_ids(store)])
    for name, metric in METRICS.items():
        options = {each.name: each.default for each in metric.parameters}
        fewer = {option: 9 for option in PERMUTED if options.get(option)}
        question = {
            "cache": False,
            **INPUTS.get(name, {}),
            **({} if "average" in options else fewer),
        }
        question |= {"unit": "word"} if name in OF_WORDS else {}
        question |= {"missing": "skip"} if name == "valnorm" else {}
        assert_same(store.query(name, **question).rows, plain.query(name, **question).rows, name)


def test_texts_ids_and_conditions_choose_the_same_items(stores, tmp_path):
    store, _ = stores
    ids = {item.id for item in synthetic_items("word", EXTRA)}
    stored = store.sql("SELECT item_id FROM items WHERE text IN ('extra')").fetchall()
    (tmp_path / "texts.txt").write_text("\n".join(EXTRA))
    (tmp_path / "ids.txt").write_text("\n".join(map(str, ids)))
    (tmp_path / "ids.csv").write_text("item_id\n" + "\n".join(map(str, ids)))
    (tmp_path / "texts.csv").write_text('pos,text\nN,extra\nV,"more, with a comma"\n')
    planned = [
        store.remove("toy.word.last", dry_run=True, **chosen).rows
        for chosen in (
            {"items": EXTRA},
            {"items": np.array([*ids], np.int64)},
            {"items": tmp_path / "texts.txt"},
            {"items": str(tmp_path / "ids.txt")},
            {"items": tmp_path / "ids.csv"},
            {"where": f"item_id IN ({', '.join(map(str, ids))})"},
            {"where": "length(text) > 3", "items": EXTRA},
        )
    ]
    assert all(rows == planned[0] for rows in planned)
    assert planned[0][0]["items"] == 4
    [row, *_] = store.remove(items=tmp_path / "texts.csv", spaces="toy.word.last", dry_run=True)
    assert row["items"] == 2
    rows = store.remove(items="extra,", dry_run=True)
    assert sum(row["items"] for row in rows if row["action"] == "would remove") == len(stored) == 3
    assert problems_of(store) == []
    assert store.catalog.count("toy.word.last") == len(WORDS) + 4


def test_texts_and_ids_that_are_not_there_are_named(stores):
    store, _ = stores
    ids = [str(item.id) for item in synthetic_items("word", ["extra", "never"])]
    absent = ["neverr", ids[1], r"bad\ud800", *"abc"]
    for dry_run in (True, False):
        done = store.remove(
            "toy.word.last", items=["word1x", *absent, LINES[1], ids[0]], dry_run=dry_run
        )
        assert done.rows[0]["items"] == 2
        shown = ", ".join(map(repr, absent[:5]))
        assert done.notes[-1] == f"Not there: 7 of the 9 texts and ids: {shown} and 2 more."
        assert len(done.notes) == 2 - dry_run
    assert store.remove(items=["1984", LINES[1]], dry_run=True).notes == ()


@pytest.mark.slow
def test_what_another_space_or_item_needs_stays(stores):
    store, _ = stores
    line = LINES[0]
    with_line = f"SELECT unit FROM items WHERE text = '{line}'"
    store.remove("toy.sentence.mean", items=[line])
    assert store.catalog.count("toy.sentence.mean") == len(SENTENCES) + 1
    assert rows_of(store, with_line) == [("sentence",)]  # occurrences are in it
    assert problems_of(store) == []
    synthetic_store(store.path, texts=EXTRA, space="other", index=False)
    store.remove("toy.word.last", items=EXTRA)
    assert {*store.vectors("other", 0)[1]} == {*EXTRA}
    assert stored_columns(store.path)["pos"].notna().sum() == (len(WORDS) + 4) // 2
    assert problems_of(store) == []
    context = f"context_id IN (SELECT item_id FROM items WHERE text = '{line}')"
    ids = [str(item) for (item,) in rows_of(store, f"SELECT item_id FROM items WHERE {context}")]
    store.remove(items=ids)
    assert rows_of(store, with_line) == []
    assert problems_of(store) == []


def test_a_dataset_goes_and_its_texts_stay(stores):
    store, _ = stores
    before = store.catalog.datasets()
    n = len(rows_of(store, "SELECT * FROM items"))
    with pytest.raises(UnknownNameError, match=r"unknown dataset 'pair'. Did you mean 'pairs'"):
        store.remove(datasets=["pairs", "pair"])
    [planned] = store.remove(datasets="pairs", dry_run=True)
    assert (planned["action"], planned["detail"]) == ("would remove", "the dataset 'pairs'")
    assert store.catalog.datasets() == before
    store.remove(datasets="pairs")
    assert store.catalog.datasets().keys() == before.keys() - {"pairs"}
    assert len(rows_of(store, "SELECT * FROM items")) == n
    assert problems_of(store) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"items": ["exra"]}, NotStoredError, "no such item in any space: .*Nearest.*'extra'"),
        ({"where": "text = 'nowhere'"}, NotStoredError, "no such item in any space"),
        ({"where": "unit = 'word'"}, UsageError, r"all items of toy\.word\.last.*remove --space"),
        ({"where": "true"}, UsageError, r"--space toy\.occurrence\.last,toy\.sent.*; the whole"),
        ({"where": "txt = 'a'"}, UnknownNameError, "Did you mean 'text'"),
        ({"items": EXTRA, "spaces": "toy.wrd.last"}, UnknownNameError, "'toy.word.last'"),
        ({"items": EXTRA, "columns": "pos"}, UsageError, "by a call of their own"),
        ({"spaces": "toy.word.last", "columns": "pos"}, UsageError, "those of all spaces: remove"),
        ({"spaces": "no", "datasets": "no"}, UsageError, "a call of their own, without `spaces`"),
        ({"items": EXTRA, "where": "length(text) < 2"}, NotStoredError, "stored, but `where` hol"),
        ({"items": ["riverr"], "where": "length(text) < 2"}, NotStoredError, "no such item"),
        ({"items": []}, UsageError, "no word in the list"),
    ],
)  # fmt: skip
def test_what_cannot_be_removed(stores, arguments, error, message):
    store, _ = stores
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*") if path.is_file()}
    for dry_run in (True, False):
        with pytest.raises(error, match=message):
            store.remove(**arguments, dry_run=dry_run)
    after = {path: path.stat().st_mtime_ns for path in store.path.rglob("*") if path.is_file()}
    assert {path for path in after if ".lock" not in path.name} == {*before} - {
        path for path in before if ".lock" in path.name
    }
    assert store.verify().ok


def test_a_writer_at_work_is_named(stores):
    store, _ = stores
    with StoreWriter(store.path), pytest.raises(LockedError, match="is being written by another"):
        store.remove(items=EXTRA)
    assert store.remove(items=EXTRA) is not None


def test_a_change_meanwhile_is_no_loss(stores, monkeypatch):
    """As of a writer into a bucket, which has no lock."""
    store, _ = stores
    commit = manifest.commit

    def after_a_rival(*arguments):
        monkeypatch.undo()
        Store(store.path).add_vectors("rival", ["extra"], np.eye(1))
        return commit(*arguments)

    monkeypatch.setattr("embstore.storage.lock.FileLock.acquire", lambda *_, **__: None)
    monkeypatch.setattr(manifest, "commit", after_a_rival)
    with pytest.raises(StoreError, match=r"another process has changed .* Nothing was removed"):
        store.remove(items=EXTRA)
    assert store.catalog.count("toy.word.last") == len(WORDS) + 4
    store.remove("toy.word.last", items=EXTRA)
    assert store.vectors("rival", 0)[1] == ["extra"]
    assert problems_of(store) == []


def test_a_build_at_work_writes_the_texts_again(stores):
    """It has seen them before they were removed."""
    store, _ = stores
    with Staging(store.path, Unit.WORD) as staging:
        ids = np.sort([staging.add(text, "a.txt:1") for text in EXTRA])
        staging.deduplicate()
        texts = StoredTexts(staging, store._files)
        assert not texts.missing(store._files.manifest(), ids)
        store.remove("toy.word.last", items=EXTRA)
        [entry] = texts.missing(store._files.manifest(), ids).values()
        assert entry["n"] == 4
        assert len(texts.missing(store._files.manifest(), ids)) == 1


def test_altered_vectors_are_not_taken_for_sound(stores):
    store, _ = stores
    made = store.catalog.shards("toy.word.last", 0)
    for shard in made:
        data = bytearray(shard.file.path.read_bytes())
        data[shard.file.entry["offsets"][1]] ^= 1
        shard.file.path.write_bytes(data)
    with pytest.raises(DamagedError, match="its SHA-256 is not the one in the manifest"):
        Store(store.path).remove(items=EXTRA)


def test_space_is_free_a_day_later(stores, monkeypatch):
    store, _ = stores
    old = {*store.catalog.manifest.files}
    [note] = store.remove(items=EXTRA).notes
    gone = old - {*store.catalog.manifest.files}
    left = [store.path / key for key in gone if not key.startswith(("sums", "indexes"))]
    size = show_size(sum(path.stat().st_size for path in left))
    assert f"({size}) stay on the disk for a day" in note
    assert len([key for key in gone if key.startswith("vectors/")]) == 6
    for path in store.path.rglob("*.*"):
        os.utime(path, (time.time() - 7200,) * 2)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    store.compact()
    assert not [key for key in gone if (store.path / key).exists() and not key.startswith("sums")]
    assert problems_of(store) == []


def test_stale_spaces_say_so(stores):
    store, _ = stores
    store.pool("toy.occurrence.last", name="pooled", index="none")
    assert store.verify().notes == ()
    store.remove("toy.occurrence.last", items="extra,")
    [note] = store.verify().notes
    assert "pooled is stale: toy.occurrence.last" in note


def test_a_space_without_indexes_gets_none(make_store):
    made = make_store(n=20, index=False, dtype="float16")
    vectors = dict(zip(made.ids.tolist(), made.layer(1), strict=True))
    made.store.remove(items=["text3"])
    assert not made.files.manifest().keys_of(keys.INDEXES, made.space, 1)
    ids, texts, found = made.store.vectors(made.space, 1)
    assert "text3" not in texts
    assert np.array_equal(found, [vectors[item] for item in ids.tolist()])
    assert problems_of(made.store) == []
