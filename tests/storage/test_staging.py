"""The staged items of a build: each once, those that a store lacks, and nothing left behind."""

import hashlib
import os
import pickle
import pickletools
from unittest.mock import Mock

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthetic_items, synthetic_store

from embstore import Store
from embstore.base.errors import DamagedError, SourceError, StoreError
from embstore.base.sharding import KEYS, Parts, ShardSpec
from embstore.base.space import Unit
from embstore.storage import tables as tables_module
from embstore.storage.cache import StoreFiles
from embstore.storage.catalog import Catalog
from embstore.storage.manifest import Change
from embstore.storage.sql import interruptible
from embstore.storage.staging import staging as staging_module
from embstore.storage.staging.missing import MissingItems, SkipList, StoredTexts
from embstore.storage.staging.staging import Staging
from embstore.storage.tables import read

words = st.lists(st.text(alphabet="abcß\0\U0001f600 ", min_size=1, max_size=3), max_size=30)


def add(staging, items, first=1):
    for number, item in enumerate(items, first):
        if item.context is None:
            staging.add(item.text, f"a.txt:{number}")
        else:
            staging.add_occurrences(item.context, [item], f"a.txt:{number}")


def staged(folder, unit, *batches):
    staging = Staging(folder, unit)
    staging.__enter__()
    first = 1
    for items in batches:
        add(staging, items, first)
        first += len(items)
    staging.deduplicate()
    return staging


def items_of(missing_items, spaces, parts):
    for window in missing_items.work(spaces, parts).windows():
        yield from zip(window.items(), map(tuple, window.is_missing.T.tolist()), strict=True)


def test_an_item_is_kept_where_it_came_first(tmp_path):
    items = list(synthetic_items("word", ["dog", "cat", "dog", "cow", "cat"]))
    staging = staged(tmp_path, Unit.WORD, items[:2], items[2:])
    assert staging.n_items == 3
    assert staging.n_chars == 9
    assert [staging.find(item.id)[1] for item in items[:2]] == ["a.txt:1", "a.txt:2"]
    assert staging.find(items[3].id) == (items[3], "a.txt:4")
    staging.__exit__()
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None, max_examples=15)
@given(words, words, words, st.integers(1, 4), st.integers(1, 3))
@pytest.mark.slow
def test_what_is_missing_is_what_a_set_says(tmp_path, texts, in_one, in_two, n, n_windows):
    """Of two spaces, against plain Python; the turns have each missing item once."""
    root = tmp_path / f"store-{len(os.listdir(tmp_path))}"
    for space, stored_texts in (("one", in_one), ("two", in_two)):
        if stored_texts:
            synthetic_store(
                root, texts=sorted(set(stored_texts)), space=space, n_blocks=1, index=False
            )
    catalog = Catalog(root) if root.exists() else None
    wanted = {text: (text not in in_one, text not in in_two) for text in texts}
    missing = {text: flags for text, flags in wanted.items() if any(flags)}
    found = {}
    staging = staged(tmp_path, Unit.WORD, list(synthetic_items("word", texts)))
    missing_items = MissingItems(staging, catalog)
    assert [missing_items.load_present(space) for space in ("one", "two")] == [
        len(set(texts) & set(stored_texts)) for stored_texts in (in_one, in_two)
    ]
    for number in range(1, n + 1):
        parts = Parts(5, n_windows, ShardSpec(number, n))
        here = {item.text: flags for item, flags in items_of(missing_items, ["one", "two"], parts)}
        assert not here.keys() & found.keys()
        found |= here
        assert missing_items.work(["one", "two"], parts).n_items == len(here)
        for place, space in enumerate(("one", "two")):
            mine = sum(flags[place] for flags in here.values())
            assert missing_items.n_missing(space, parts) == (
                mine,
                sum(flags[place] for flags in wanted.values()) - mine,
            )
    assert found == missing
    staging.__exit__()


def test_the_words_of_a_sentence_stay_together(tmp_path):
    items = list(
        synthetic_items(
            "occurrence", [f"the {word} of the river" for word in ("bank", "bed", "mouth")]
        )
    )
    staging = staged(tmp_path, Unit.OCCURRENCE, items)
    windows = list(MissingItems(staging, None).work(["space"], Parts(50, 1, ShardSpec())).windows())
    assert [[item.text for item in window.items()][2:] for window in windows] == [
        ["of", "the", "river"]
    ] * 3
    assert {item for window in windows for item in window.items()} == set(items)
    assert len({window.shard_number for window in windows}) == 3
    staging.__exit__()


def test_a_window_is_sent_to_another_process_as_columns(tmp_path):
    """Words and occurrences arrive as they were, in whole and in part, and the cost of pickling is
    that of arrays.
    """
    sentences = [f"the {word} of the river" for word in ("bank", "bed", "mouth")]
    for unit, few, many in (
        (Unit.WORD, ["dog"], [f"w{n}" for n in range(500)]),
        (Unit.OCCURRENCE, sentences[:1], [" ".join(sentences * 20)]),
    ):
        n_steps = []
        for texts in (few, many):
            items = list(synthetic_items(unit, texts))
            staging = staged(tmp_path, unit, items)
            [window] = (
                MissingItems(staging, None).work(["space"], Parts(1, 1, ShardSpec())).windows()
            )
            sent = pickle.dumps(window, protocol=5)
            staging.__exit__()
            assert b"Table" not in sent  # Ray has a way of its own for tables, which loads pandas
            arrived = pickle.loads(sent)
            assert set(arrived.items()) == set(items)
            assert [item.id for item in arrived.items()] == arrived.ids.tolist()
            middle = slice(len(items) // 3, len(items) // 2 + 1)
            assert (
                arrived.part(middle).items()
                == window.part(middle).items()
                == window.items()[middle]
            )
            n_steps.append(sum(1 for _ in pickletools.genops(sent)))
        assert n_steps[0] == n_steps[1], unit


def test_texts_are_written_once_with_their_sentences(tmp_path):
    items = list(synthetic_items("occurrence", ["the bank of the river", "a bank"]))
    made = synthetic_store(tmp_path / "store", unit="occurrence", texts=["a bank"], index=False)
    with Staging(tmp_path, Unit.OCCURRENCE) as staging:
        add(staging, items)
        staging.deduplicate()
        stored_texts = StoredTexts(staging, made.files)
        for _ in range(2):
            stored_texts.write(np.array([item.id for item in items if item.text != "of"]))
        StoredTexts(staged(tmp_path, Unit.OCCURRENCE, items), made.files).write(
            np.array([items[0].id])
        )
    rows = Store(made.root).sql("SELECT unit, text FROM items ORDER BY ALL").fetchall()
    assert rows == sorted(
        [("occurrence", item.text) for item in items if item.text != "of"]
        + [("sentence", "a bank"), ("sentence", "the bank of the river")]
    )


def _few_bits(unit, text, *rest):
    return hashlib.blake2b(repr((unit, text, *rest)).encode(), digest_size=1).digest()[0] << 55


@pytest.mark.parametrize("unit", ["word", "sentence", "occurrence"])
def test_two_texts_with_one_id_are_refused(tmp_path, monkeypatch, unit):
    for module in ("base.text", "storage.staging.staging"):
        monkeypatch.setattr(f"embstore.{module}.item_id", _few_bits)
    texts = [f"some text {number}" for number in range(100)]
    items = list(synthetic_items(unit, texts))
    with Staging(tmp_path, Unit(unit)) as staging:
        add(staging, items)
        with pytest.raises(
            SourceError,
            match=r"two different texts have the same item id: '.*' \(a.*\) and '.*' \(a",
        ):
            staging.deduplicate()


def test_a_stored_text_with_the_id_of_another_is_refused(tmp_path, monkeypatch):
    for module in ("base.text", "storage.staging.staging"):
        monkeypatch.setattr(f"embstore.{module}.item_id", lambda unit, text, *_: len(text))
    made = synthetic_store(tmp_path / "store", texts=["dog", "sheep"], index=False)
    staging = staged(tmp_path, Unit.WORD, list(synthetic_items("word", ["cow", "sheep"])))
    with pytest.raises(SourceError, match=r"'cow' \(a\.txt:1\) and 'dog' \(stored in .*store\)"):
        StoredTexts(staging, made.files).write(np.array([1]))
    staging.__exit__()


@pytest.mark.slow
def test_what_does_not_fit_in_memory_goes_to_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(staging_module, "_MEMORY", "128MB")
    n, seen = 400_000, False
    with Staging(tmp_path, Unit.WORD) as staging:
        for start in range(0, n, 20_000):
            ids = [(n - i) * (KEYS // n) - 1 for i in range(start, start + 20_000)]
            for i in ids:
                staging._items.add(i, i, f"{'long ' * 60}{i}", None, None, None, f"{i}", True)
            seen = seen or any(tmp_path.rglob("duckdb_temp*"))
        staging.deduplicate()
        work = MissingItems(staging, None).work(
            ["space"], Parts.plan(n, staging.n_chars, 100, 1 << 20, ShardSpec())
        )
        ids = np.concatenate([window.ids for window in work.windows()])
    assert seen
    assert np.array_equal(ids, np.arange(1, n + 1) * (KEYS // n) - 1)
    assert list(tmp_path.iterdir()) == []


def test_skipped_rows_are_listed_once_and_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(tables_module, "_TABLE_BYTES", 1 << 18)
    files, n = StoreFiles.of_folder(tmp_path / "store"), 10_000
    files.commit(Change())
    for more in (0, 1):
        with Staging(tmp_path, Unit.WORD) as staging:
            for number in range(n + more):
                staging.add_blank("no text", f"a.txt:{number}")
            staging.deduplicate()
            SkipList(staging, files).record()
    tables = [read(file) for file in Catalog(files).skipped_files]
    assert sorted(map(len, tables))[0] == 1
    assert max(map(len, tables)) < 7000
    assert all(
        table["origin"].to_pylist() == sorted(table["origin"].to_pylist()) for table in tables
    )
    origins = [origin for table in tables for origin in table["origin"].to_pylist()]
    assert sorted(origins) == sorted(f"a.txt:{number}" for number in range(n + 1))


def test_a_list_that_cannot_be_spilled_is_an_error_of_writing(tmp_path, monkeypatch):
    """While new skipped texts are told from those of the store, which is read: the message names
    the spill's folder.
    """
    files, real = StoreFiles.of_folder(tmp_path / "store"), interruptible.rows
    files.commit(Change())

    def rows(connection, sql, values=()):
        if "unlisted" in sql:
            raise duckdb.IOException('IO Error: Could not write file "x": Disk quota exceeded')
        return real(connection, sql, values)

    for n_listed in (0, 1):
        with Staging(tmp_path, Unit.WORD) as staging:
            staging.add_blank("no text", f"a.txt:{n_listed}")
            staging.deduplicate()
            skips = SkipList(staging, files)
            with monkeypatch.context() as patch:
                patch.setattr(interruptible, "rows", rows)
                with pytest.raises(StoreError, match=f"{tmp_path} .*: Disk quota exceeded"):
                    skips.record()
            skips.record()


def test_too_little_memory_is_named(tmp_path):
    error = duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block")
    with Staging(tmp_path, Unit.WORD) as staging:
        plain, staging.connection = staging.connection, Mock(execute=Mock(side_effect=error))
        with pytest.raises(StoreError, match="too little memory"):
            staging.rows("SELECT 1")
        staging.connection = plain


def test_a_damaged_table_is_named(make_store, tmp_path):
    made = make_store(index=False)
    staging = staged(tmp_path, Unit.WORD, list(made.items))
    table = next((made.root / "items").glob("*.parquet"))
    table.write_bytes(b"PAR1 nonsense")
    with pytest.raises(DamagedError, match=table.name):
        StoredTexts(staging, made.files).write(made.ids)
    made.shard_files[0].write_bytes(b"PAR1 nonsense")
    with pytest.raises(DamagedError, match=made.shard_files[0].name):
        MissingItems(staging, Catalog(made.root)).load_present(made.space)
    staging.__exit__()
