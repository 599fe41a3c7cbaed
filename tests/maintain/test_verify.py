"""verify: a sound store is sound, and whatever happens to a file is found and named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_damage import KINDS, damaged, files_of, full_store
from store_writing import write_items
from synthetic import Synthetic

from embstore.base import checksum
from embstore.base.space import Unit
from embstore.base.summary import Summary
from embstore.storage.files import shards as shard_files
from embstore.storage.vectors import ShardContent
from embstore.storage.tables import write_table
from embstore.storage.parquet import writer
from embstore.storage.transaction.commit import write_card, write_dataset, write_shard
from embstore.storage.transaction.manifest import committed_shards

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return full_store(tmp_path_factory.mktemp("full"))


def found(made: Synthetic) -> list[Path]:
    return [problem.file for problem in made.store.verify().problems]


def test_a_sound_store(full):
    result = full.store.verify()
    assert (result.ok, result.problems, result.n_files) == (True, (), len(files_of(full.root)))
    assert result.to_table().to_pylist() == []
    assert {kind for kind, pattern in KINDS.items() if list(full.root.glob(pattern))} == set(KINDS)
    covered = {path for pattern in KINDS.values() for path in full.root.glob(pattern)}
    assert covered == set(files_of(full.root)), "the kinds are all that there are"


@pytest.mark.parametrize("kind", ["marker", "card", "shard", "summary", "items", "skipped", "dataset"])
def test_a_missing_file_is_named(full, kind):
    for path in full.root.glob(KINDS[kind]):
        with damaged(path, None):
            problems = full.store.verify().problems
            assert path.resolve() in [problem.file for problem in problems], path
            assert "is missing" in next(first.problem for first in problems if first.file == path.resolve())


@pytest.mark.parametrize("kind", ["index", "index card"])
def test_a_missing_index_is_a_state_and_no_damage(full, kind):
    path = full.paths.index(full.space, full.card.layers.members[0])
    with damaged(path if kind == "index" else path.with_suffix(".json"), None):
        assert full.store.verify().ok
        assert full.store.info()["index"].count("behind") == 1
        assert "no index" in full.store.neighbours("text0", spaces=full.space, layers=0).notes[0]


def problems(made: Synthetic) -> str:
    return "\n".join(f"{first.file}: {first.problem}" for first in made.store.verify().problems)


def test_what_a_faulty_program_writes_is_named(make_store, monkeypatch):
    """Each shard has its own right summary and hash."""
    make_store(space="other")
    made = make_store()

    def write(*ids: int, vectors: np.ndarray | None = None) -> None:
        some = np.ones((5, len(ids), 8), np.float32) if vectors is None else vectors
        write_shard(made.paths, ShardContent(made.card, np.array(ids), some))

    write(made.ids[3])
    write(5)
    write(7, 7)
    narrow = writer._narrow_batch
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_narrow_batch", lambda schema, layer, ids: narrow(schema, layer, ids + (layer == 2)))
        write(11, 15)
    vectors = np.ones((5, 1, 8), np.float32)
    vectors[3, 0, 0] = np.nan
    with monkeypatch.context() as patch:
        patch.setattr(Summary, "is_finite", True)
        write(19, vectors=vectors)
    write_items(made.paths, made.items[:1])
    made.paths.card("other").write_bytes(made.paths.card(made.space).read_bytes())
    found = problems(made)
    for problem in (
        f"item {made.ids[3]} is in another shard of the space too",
        "1 items of",
        "have no text here, as 5. To repair it, build the same sources again",
        "has an item twice",
        "layer 2 does not have the ids of layer 0",
        "layer 3 has a value that is not finite",
        "it has an item that another table, or another row, has too",
        f"is the card of another space, {made.space!r}",
    ):
        assert problem in found


def test_sums_that_are_not_those_of_the_vectors(make_store):
    made = make_store(n_shards=1)
    [shard] = committed_shards(made.paths, made.space)
    rows = pq.read_table(shard.summary_path, partitioning=None).to_pylist()
    rows[2]["unit_total"][0] += 1e-3
    write_table(shard.summary_path, pa.Table.from_pylist(rows, schema=shard_files.SUMMARY_SCHEMA))
    assert f"{shard.summary_path}: the sums of layer 2 are not those of the shard's vectors" in problems(made)


def test_a_shard_of_other_layers_or_dimensions_than_the_card_says(make_store):
    made = make_store()
    write_card(made.paths, replace(made.card, dim=9))
    assert "its columns are not those of the format" in problems(made)
    write_card(made.paths, replace(made.card, layers=made.card.layers.select("0,1")))
    assert "its layers are not those of the card" in problems(made)


def test_an_index_of_other_ids(make_store):
    from embstore.index import write_index

    made = make_store()
    layer = made.card.layers.members[1]
    path = made.paths.index(made.space, layer)
    shards = [shard.name for shard in committed_shards(made.paths, made.space)]
    vectors = made.layer(1)
    write_index(path, [(made.ids + 1, vectors)], space=made.space, layer=1, dim=8, shards=shards)
    assert problems(made) == f"{path}: its item ids are not those of the shards that its card names"


def test_each_items_table_is_read_once_for_all_shards(make_store, monkeypatch):
    made = make_store(n=40, n_shards=8)
    read: list[Path] = []

    class Noted(pq.ParquetFile):
        def __init__(self, source: Path, **arguments: object) -> None:
            read.append(source)
            super().__init__(source, **arguments)

    monkeypatch.setattr(pq, "ParquetFile", Noted)
    assert made.store.verify().ok
    items = [path for path in read if isinstance(path, Path) and path.parent.name == "items"]
    assert len(items) == len(set(items)) == 8


def test_a_file_with_its_own_hash_is_still_read_by_others(full):
    [path] = full.root.glob(KINDS["dataset"])
    assert pq.read_metadata(path).metadata[checksum.KEY.encode()] in path.read_bytes()
    assert pq.read_table(path).column_names == ["unit", "item_id", "text", "rank", "note"]
    assert full.store.sql("SELECT sum(rank) FROM datasets.words").fetchall() == [(190,)]


def test_a_text_that_looks_like_a_hash_misleads_nobody(make_store):
    made = make_store(texts=[f'file_sha256": "{"0" * 64}', f'"file_sha256": "{"a" * 64}"'])
    note = f'file_sha256": "{"0" * 64}"'
    columns = {"item_id": made.ids.tolist(), "text": made.texts, "note": [note] * 2}
    write_dataset(made.paths, "odd", "word list", Unit.WORD, columns)
    assert made.store.verify().ok
    assert made.store.sql("SELECT DISTINCT note FROM datasets.odd").fetchall() == [(note,)]


def test_what_has_no_place_for_a_hash_cannot_be_sealed():
    with pytest.raises(ValueError, match="no file_sha256"):
        checksum.with_checksum(b"{}")
    assert not checksum.has_valid_checksum(b"{}")
