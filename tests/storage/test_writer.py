"""Writing vectors: what a build commits, what rivals do to it, and what is left after an error."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from sound_stores import are_close
from store_writing import NewItems
from synthetic import synthetic_card, synthetic_items

from embstore.base import disk
from embstore.base.errors import (
    DamagedError,
    EncodeError,
    LockedError,
    SpaceMismatchError,
    StoreError,
)
from embstore.base.space import Unit
from embstore.base.summary import Summary
from embstore.storage import keys, writer
from embstore.storage.cache import StoreFiles
from embstore.storage.catalog import Catalog
from embstore.storage.manifest import ItemSet
from embstore.storage.writer import SpaceWriter, StoreWriter, write_batch, write_dataset

CARD = synthetic_card(n_blocks=1, top_form=None, dim=4)


class Made:
    """Vectors of some texts, and a writer of them."""

    def __init__(self, n, seed=0, first=0):
        self.items = synthetic_items(
            "word", [f"text{number}" for number in range(first, first + n)]
        )
        self.ids = np.array([item.id for item in self.items], np.int64)
        self.vectors = np.random.default_rng(seed).normal(size=(2, n, 4)).astype(np.float32)

    def commit(self, store, part=slice(None)):
        texts = NewItems(store.files, {item.id: item for item in self.items})
        batch = write_batch(store.files, CARD, self.ids[part], self.vectors[:, part])
        store.commit([(batch, texts)])


def assert_stored(root, *expected):
    """The store has exactly these items, with vectors, texts and sums."""
    catalog = Catalog(root)
    ids = np.concatenate([made.ids for made in expected])
    vectors = np.concatenate([made.vectors for made in expected], axis=1)
    order = np.argsort(ids)
    assert catalog.count(CARD.space) == len(ids)
    assert np.array_equal(catalog.item_ids(), ids[order])
    for layer in (0, 1):
        found, rows = catalog.vectors(CARD.space, layer).gather()
        assert np.array_equal(found, ids[order])
        assert np.array_equal(rows, vectors[layer][order])
        assert are_close(catalog.summaries(CARD.space)[layer], Summary.of(vectors[layer]))
    [key] = catalog.manifest.keys_of(keys.SUMS, CARD.space)
    assert ItemSet.of_entry(catalog.manifest.files[key]) == catalog.items_of(CARD.space)


def test_batches_become_shards_of_each_layer_with_sums_and_texts(tmp_path):
    made = Made(10)
    with StoreWriter(tmp_path / "store") as store:
        made.commit(store, slice(0, 4))
        made.commit(store, slice(4, 10))
    assert_stored(tmp_path / "store", made)
    assert len(Catalog(tmp_path / "store").shards(CARD.space, 1)) == 2


def test_two_builds_of_one_store_add_up(tmp_path):
    first, second = Made(5), Made(7, seed=1, first=5)
    for made in (first, second):
        with StoreWriter(tmp_path / "store") as store:
            made.commit(store)
    assert_stored(tmp_path / "store", first, second)


def test_a_second_writer_is_refused(tmp_path):
    with StoreWriter(tmp_path / "store"), pytest.raises(LockedError, match="by another process"):
        StoreWriter(tmp_path / "store").__enter__()
    with StoreWriter(tmp_path / "store"):  # the lock is free again
        pass


def rivals(root):
    """Two writers of one store, as in a bucket or on two machines whose locks do not see each
    other.
    """
    return StoreWriter(root, is_shared=True), StoreWriter(root, is_shared=True)


def test_rivals_with_other_items_of_one_space_both_succeed(tmp_path):
    first, second = Made(5), Made(7, seed=1, first=5)
    own, rival = rivals(tmp_path / "store")
    with own, rival:
        first.commit(own, slice(0, 3))
        second.commit(rival)
        first.commit(own, slice(3, 5))
    assert_stored(tmp_path / "store", first, second)


def test_rivals_with_the_same_items_never_store_one_twice(tmp_path):
    made = Made(6)
    own, rival = rivals(tmp_path / "store")
    with own, rival:
        made.commit(own)
        with pytest.raises(
            StoreError, match=r"another process has stored 2 of the same items of toy\.word\.last"
        ):
            made.commit(rival, slice(4, 6))
    assert_stored(tmp_path / "store", made)


def test_a_text_of_two_spaces_is_stored_once(tmp_path):
    """A rival has committed the same texts, of another space, between the reading of the store and
    the commit.
    """
    made, other = Made(6), synthetic_card(space="other", n_blocks=1, top_form=None, dim=4)
    own, rival = rivals(tmp_path / "store")
    with own, rival:
        texts = [
            NewItems(store.files, {item.id: item for item in made.items}) for store in (own, rival)
        ]
        batch = write_batch(own.files, CARD, made.ids, made.vectors)
        rival.commit([(write_batch(rival.files, other, made.ids, made.vectors), texts[1])])
        own.commit([(batch, texts[0])])
    catalog = Catalog(tmp_path / "store")
    assert len(catalog.reader.rows("SELECT * FROM read_parquet($files)", catalog.item_files)) == 6
    assert set(catalog.cards) == {CARD.space, "other"}


def test_another_space_of_the_name_is_refused(tmp_path):
    made = Made(3)
    with StoreWriter(tmp_path / "store") as store:
        made.commit(store)
    before = StoreFiles.of_folder(tmp_path / "store").manifest().files
    other = synthetic_card(n_blocks=1, top_form=None, dim=4, weights="f")
    files = StoreFiles.of_folder(tmp_path / "store")
    batch = write_batch(files, other, made.ids[:1], made.vectors[:, :1])
    with StoreWriter(files) as store, pytest.raises(SpaceMismatchError, match="weights_sha256"):
        store.commit([(batch, lambda *_: {})])
    assert StoreFiles.of_folder(tmp_path / "store").manifest().files == before


def test_sums_that_are_lost_are_computed_anew(tmp_path):
    from embstore.storage.manifest import Change

    first, second = Made(5), Made(7, seed=1, first=5)
    root = tmp_path / "store"
    with StoreWriter(root) as store:
        first.commit(store)
    files = StoreFiles.of_folder(root)
    files.commit(Change(removed=files.manifest().keys_of(keys.SUMS, CARD.space)))
    assert are_close(Catalog(root).summaries(CARD.space)[1], Summary.of(first.vectors[1]))
    with StoreWriter(root) as store:
        second.commit(store)
        # No sums of a part are taken for those of all.
        assert not files.manifest().keys_of(keys.SUMS, CARD.space)
        store.complete_sums([CARD])
    assert_stored(root, first, second)


def commit_and_fail(made, root):
    with StoreWriter(root) as store:
        made.commit(store)
        raise EncodeError("later.")


def test_a_new_store_is_removed_again_after_an_error_before_its_first_commit(tmp_path):
    with pytest.raises(EncodeError), StoreWriter(tmp_path / "a" / "store"):
        raise EncodeError("nothing yet.")
    assert not (tmp_path / "a").exists()
    made = Made(3)
    with pytest.raises(EncodeError):
        commit_and_fail(made, tmp_path / "a" / "store")
    assert_stored(tmp_path / "a" / "store", made)


def test_a_first_build_that_fails_leaves_what_a_rival_has_begun(tmp_path, monkeypatch):
    """The rival commits after the other one has found the store empty, and before it removes it."""
    root, made = tmp_path / "a" / "store", Made(3)

    def after_a_rival(remove):
        def rival_first(folder):
            monkeypatch.undo()
            with StoreWriter(root, is_shared=True) as rival:
                made.commit(rival)
            remove(folder)

        return rival_first

    own = StoreWriter(root)
    own.__enter__()
    monkeypatch.setattr(disk, "remove_tree", after_a_rival(disk.remove_tree))
    monkeypatch.setattr(Path, "rmdir", after_a_rival(Path.rmdir))
    own.__exit__(EncodeError, EncodeError("nothing yet."), None)
    assert_stored(root, made)


def test_a_first_build_that_fails_leaves_what_a_rival_is_about_to_commit(tmp_path):
    root, made = tmp_path / "store", Made(3)
    own, rival = rivals(root)
    own.__enter__()
    with rival:
        batch = write_batch(rival.files, CARD, made.ids, made.vectors)
        own.__exit__(EncodeError, EncodeError("nothing yet."), None)
        rival.commit([(batch, NewItems(rival.files, {item.id: item for item in made.items}))])
    assert_stored(root, made)


def test_a_store_may_be_empty(tmp_path):
    with StoreWriter(tmp_path / "store"):
        pass
    assert Catalog(tmp_path / "store").cards == {}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_cannot_be_stored_leaves_no_card(tmp_path, value):
    made = Made(3)
    made.vectors[1, 2, 0] = value
    with (
        pytest.raises(EncodeError, match=f"item {made.ids[2]} at layer 1"),
        StoreWriter(tmp_path / "store") as store,
    ):
        made.commit(store)
    assert Catalog(tmp_path / "store").manifest.files == {}


class Collected(list):
    """Commits of a space writer."""

    def __call__(self, batches):
        self.append([len(batch.item_ids) for batch in batches])


@pytest.fixture
def files(tmp_path):
    with StoreWriter(tmp_path / "store") as store:
        return store.files


def test_a_commit_gathers_the_batches_of_some_seconds(files, monkeypatch):
    made, commits = Made(12), Collected()
    with SpaceWriter(files, CARD, commits) as space:
        for start in range(0, 12, 3):
            space.add(made.ids[start : start + 3], made.vectors[:, start : start + 3])
            space.cut()
        assert commits == []
        monkeypatch.setattr(writer, "_COMMIT_SECONDS", 0.0)
        space.cut()
    assert sum(map(sum, commits)) == 12
    assert len(commits) <= 2
    assert space.n_written == 12
    assert space.n_bytes > 0


def test_what_was_written_is_committed_before_the_end(files, monkeypatch):
    monkeypatch.setattr(writer, "_COMMIT_SECONDS", 0.0)
    made, commits = Made(12), Collected()
    with SpaceWriter(files, CARD, commits) as space:
        for start in range(0, 12, 4):
            space.add(made.ids[start : start + 4], made.vectors[:, start : start + 4])
            space.cut()
            assert sum(map(sum, commits)) == start  # all but the batch that is being written


def test_sums_are_read_without_the_vectors(tmp_path):
    made = Made(9)
    with StoreWriter(tmp_path / "store") as store:
        made.commit(store)
    catalog = Catalog(tmp_path / "store")
    for path in (tmp_path / "store" / "vectors").rglob("*.parquet"):
        path.unlink()
    assert are_close(catalog.summaries(CARD.space)[1], Summary.of(made.vectors[1]))


def test_sums_whose_file_is_missing_are_damage(tmp_path):
    with StoreWriter(tmp_path / "store") as store:
        Made(9).commit(store)
    catalog = Catalog(tmp_path / "store")
    [key] = catalog.manifest.keys_of(keys.SUMS, CARD.space)
    (tmp_path / "store" / key).unlink()
    with pytest.raises(DamagedError, match="it is missing, and the manifest names it"):
        catalog.summaries(CARD.space)


def test_blocks_of_any_size_make_the_same_shards(files):
    made = Made(50)
    written = []
    for size in (1, 7, 50):
        batches = []
        with SpaceWriter(files, CARD, batches.extend) as space:
            for start in range(0, 50, size):
                space.add(made.ids[start : start + size], made.vectors[:, start : start + size])
        [batch] = batches
        written.append(batch.files)
    assert written[0] == written[1] == written[2]


def write_in_halves(files, made, commits, error=None):
    """Write the first half as a batch, then the second one; or raise an error before that is
    written.
    """
    half = len(made.ids) // 2
    with SpaceWriter(files, CARD, commits) as space:
        space.add(made.ids[:half], made.vectors[:, :half])
        space.cut()
        space._wait()
        space.add(made.ids[half:], made.vectors[:, half:])
        if error is not None:
            raise error
        space.cut()


def test_an_error_of_the_writer_stops_the_next_block(files):
    made, commits = Made(6), Collected()
    made.vectors[0, 0, 0] = np.nan
    with pytest.raises(EncodeError, match="is not finite"):
        write_in_halves(files, made, commits)
    assert commits == []


def test_what_was_written_before_an_error_is_committed_and_the_rest_dropped(files):
    commits = Collected()
    with pytest.raises(EncodeError, match="of the model"):
        write_in_halves(files, Made(6), commits, EncodeError("of the model."))
    assert commits == [[3]]


def test_ctrl_c_keeps_what_was_encoded(files):
    commits = Collected()
    with pytest.raises(KeyboardInterrupt):
        write_in_halves(files, Made(6), commits, KeyboardInterrupt())
    assert commits == [[3, 3]]


def test_rows_of_a_dataset_are_kept_for_each_unit(files):
    columns = {"item_id": [1, 2], "text": ["a", "b"], "rank": [0, 1]}
    write_dataset(files, "words", "words", Unit.WORD, columns)
    write_dataset(
        files, "words", "words", Unit.SENTENCE, {"item_id": [3], "text": ["c"], "rank": [5]}
    )
    write_dataset(files, "words", "words", Unit.WORD, {"item_id": [4], "text": ["d"], "rank": [7]})
    catalog = Catalog(files)
    assert catalog.dataset("words", Unit.SENTENCE)["item_id"].tolist() == [3]
    assert catalog.dataset("words", Unit.WORD)["rank"].tolist() == [7]
    assert catalog.datasets() == {"words": "words"}
    assert catalog.datasets(("words", "pairs")) == {"words": "words"}
    assert catalog.datasets(("pairs",)) == {}
    assert len(catalog.dataset_files) == 1


def test_rows_of_a_dataset_are_kept_where_types_and_columns_differ(files):
    """Types are those of the values: a score may be a whole number in all rows of one unit."""
    words = {"item_id": [1, 2], "text": ["a", "b"], "score": [1, 2], "note": [None, None]}
    sentences = {"item_id": [3], "text": ["c"], "score": [0.5], "note": ["x"], "source": ["y"]}
    write_dataset(files, "pairs", "pairs", Unit.WORD, words)
    write_dataset(files, "pairs", "pairs", Unit.SENTENCE, sentences)
    catalog = Catalog(files)
    assert catalog.dataset("pairs", Unit.WORD)["score"].tolist() == [1.0, 2.0]
    assert catalog.dataset("pairs", Unit.SENTENCE)["score"].tolist() == [0.5]
    assert catalog.dataset("pairs", Unit.SENTENCE)["source"].tolist() == ["y"]
    before = files.manifest().files
    texts = {"item_id": [4], "text": ["d"], "score": ["high"], "note": ["x"]}
    with pytest.raises(StoreError, match=r"the dataset pairs in .* has columns of other types"):
        write_dataset(files, "pairs", "pairs", Unit.OCCURRENCE, texts)
    assert files.manifest().files == before
    write_dataset(files, "words", "words", Unit.WORD, {**words, "score": ["low", "high"]})
    write_dataset(files, "words", "words", Unit.WORD, words)  # which replaces all rows
    assert Catalog(files).dataset("words", Unit.WORD)["score"].tolist() == [1, 2]


def test_no_temporary_file_is_left(tmp_path):
    with StoreWriter(tmp_path / "store") as store:
        Made(5).commit(store)
    assert not list((tmp_path / "store").rglob("*.tmp"))


def test_what_others_left_half_written_a_day_ago_is_removed(tmp_path):
    root = tmp_path / "store"
    with StoreWriter(root) as store:
        Made(3).commit(store)
    old, new = time.time() - 25 * 3600, time.time()
    left = {
        root / folder / f".1-{age}.tmp": age
        for folder in ("", keys.MANIFESTS.folder)
        for age in ("0d", "0e")
    }
    for path, age in left.items():
        path.touch()
        os.utime(path, (old, old) if age == "0d" else (new, new))
    with StoreWriter(root):
        pass
    assert {path: path.exists() for path in left} == {
        path: age == "0e" for path, age in left.items()
    }
