"""Imported vectors are a space like any other."""

import json
import shutil
from hashlib import sha256

import every_metric
import numpy as np
import pytest
from exchanged import assert_same_layer, write_word2vec
from sound_stores import problems_of
from synthetic import synthetic_store
from tiny_checkpoint import card

from embstore import Store
from embstore.base.errors import CheckpointError, QueryError, SpaceMismatchError, UsageError
from embstore.metrics import METRICS

RNG = np.random.default_rng(0)
WORDS = ["dog", "cat", "sun", "sea", "tree", "naïve", "日本"]
VECTORS = RNG.standard_normal((len(WORDS), 6)).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def _array_files(folder, vectors):
    np.save(folder / "a.npy", vectors)
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in WORDS), "utf-8")
    return folder / "a.npy", folder / "words.txt"


def test_the_card_says_where_the_vectors_come_from(store, tmp_path):
    array, texts = _array_files(tmp_path, VECTORS)
    report = store.import_vectors(array, "mine", texts=texts, layers=6)
    assert (report.imported, report.present, report.n_layers, report.dim) == (7, 0, 1, 6)
    document = card(store.path, "mine")
    assert document["pooling"] == "imported"
    assert document["layers"] == [{"id": 6, "name": "6"}]
    assert document["tokenizer_sha256"] is None
    assert document["imported"] == {
        "format": "npy",
        "files": [
            {
                "name": path.name,
                "sha256": sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
            }
            for path in (array, texts)
        ],
        "origin": None,
    }
    assert "SHA-256" in str(store.cite("mine"))
    _, found, vectors = store.vectors("mine", 6)
    assert dict(zip(found, vectors.tolist(), strict=True)) == dict(
        zip(WORDS, VECTORS.tolist(), strict=True)
    )


@pytest.mark.slow
def test_every_kind_of_array_gives_the_same_space(store, tmp_path):
    array, texts = _array_files(tmp_path, VECTORS)
    store.add_vectors("array", WORDS, VECTORS)
    store.import_vectors(array, "npy", texts=texts)
    np.savez(tmp_path / "plain.npz", vectors=VECTORS, words=np.array(WORDS))
    np.savez_compressed(tmp_path / "packed.npz", vectors=VECTORS, words=np.array(WORDS))
    np.save(tmp_path / "words.npy", np.array(WORDS))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(VECTORS))
    (tmp_path / "words.jsonl").write_text(
        "".join(json.dumps({"text": word}) + "\n" for word in WORDS)
    )
    (tmp_path / "words.csv").write_text(
        "word,n\n" + "".join(f"{word},1\n" for word in WORDS), "utf-8"
    )
    store.import_vectors(tmp_path / "plain.npz", "plain")
    store.import_vectors(tmp_path / "packed.npz", "packed")
    store.import_vectors(tmp_path / "fortran.npy", "fortran", texts=tmp_path / "words.npy")
    store.import_vectors(array, "jsonl", texts=tmp_path / "words.jsonl")
    store.import_vectors(array, "csv", texts=tmp_path / "words.csv", column="word")
    store.import_vectors(write_word2vec(tmp_path / "a.txt", WORDS, VECTORS), "word2vec")
    store.import_vectors(write_word2vec(tmp_path / "g.txt", WORDS, VECTORS, header=False), "glove")
    for space in store.info()["space"]:
        assert_same_layer(store, "array", "0", space, "0")
    assert problems_of(store) == []


@pytest.mark.parametrize("packed", [False, True])
def test_several_files_become_one_space(store, tmp_path, packed):
    import gzip

    files = [write_word2vec(tmp_path / f"{n}.vec", WORDS[n::2], VECTORS[n::2]) for n in (0, 1)]
    if packed:
        for file in files:
            file.with_suffix(".vec.gz").write_bytes(gzip.compress(file.read_bytes()))
        files = [file.with_suffix(".vec.gz") for file in files]
    assert store.import_vectors(files, "both").imported == len(WORDS)
    store.add_vectors("whole", WORDS, VECTORS)
    assert_same_layer(store, "both", "0", "whole", "0")


@pytest.mark.parametrize(
    ("array", "note"),
    [
        (VECTORS.astype(">f8"), "big-endian float64 became float32"),
        ((VECTORS * 100).astype(np.int8), "int8 became float32"),
    ],
    ids=["big-endian", "int8"],
)
def test_conversions_are_said(store, tmp_path, array, note):
    file, texts = _array_files(tmp_path, array)
    report = store.import_vectors(file, "mine", texts=texts)
    assert any(note in line for line in report.notes)
    found = store.vectors("mine", 0)
    order = [WORDS.index(text) for text in found[1]]
    assert (found[2] == array.astype(np.float32)[order]).all()


def _written(store):
    """Return when each file was written; of the lock, which some versions of filelock touch, what
    is in it.
    """
    lock = store.path / ".lock"
    return {
        path: path.read_bytes() if path == lock else path.stat().st_mtime_ns
        for path in store.path.rglob("*")
        if path.is_file()
    }


def test_the_same_again_writes_nothing(store, tmp_path):
    file = write_word2vec(tmp_path / "a.txt", WORDS, VECTORS)
    store.import_vectors(file, "mine")
    before = _written(store)
    shutil.copy(file, tmp_path / "copy.txt")  # the name of a file is not part of what it is
    report = store.import_vectors(tmp_path / "copy.txt", "mine")
    assert (report.imported, report.present) == (0, 7)
    assert _written(store) == before
    store.add_vectors("array", WORDS, VECTORS)
    assert store.add_vectors("array", WORDS, VECTORS).imported == 0


def test_other_vectors_of_that_name_are_refused_with_the_difference(store):
    store.add_vectors("mine", WORDS, VECTORS)
    with pytest.raises(
        SpaceMismatchError,
        match=r'its weights_sha256 is "[0-9a-f]{12}…", not "[0-9a-f]{12}…"\. Give',
    ):
        store.add_vectors("mine", WORDS, VECTORS * 2)
    with pytest.raises(SpaceMismatchError, match="dim is 6, not 3"):
        store.add_vectors("mine", WORDS, VECTORS[:, :3])
    with pytest.raises(SpaceMismatchError, match="layers is 0, not 4"):
        store.add_vectors("mine", WORDS, VECTORS, layers=4)
    assert store.vectors("mine", 0)[2].shape == (7, 6)


def test_a_text_cannot_be_encoded(store):
    store.add_vectors("mine", WORDS, VECTORS)
    with pytest.raises(CheckpointError, match="its vectors were imported"):
        store.neighbours("fish", embed=True)
    with pytest.raises(
        QueryError, match="Their vectors were imported, so that no text can be encoded"
    ):
        store.neighbours("fish")
    with pytest.raises(
        QueryError, match=r"holds none of the 4 words of the sets. Embed them: embstore import FILE"
    ):
        store.query("weat", x=["fish"], y=["fowl"], a=["x1"], b=["y1"])
    with pytest.raises(QueryError, match="embstore import"):
        store.build("words:5", models="minilm", poolings="imported")


def test_layers_are_checked_against_the_file(store):
    with pytest.raises(UsageError, match="has 3 layers"):
        store.add_vectors("mine", WORDS, np.stack([VECTORS] * 3), layers="0,1")
    store.add_vectors("mine", WORDS, np.stack([VECTORS] * 3), layers="0,6,12")
    assert store.catalog.cards["mine"].layers.names == ("0", "6", "12")


@pytest.mark.slow
def test_every_metric_has_the_same_rows_for_what_was_exported_and_imported(tmp_path):
    words, occurrences = tmp_path / "words", tmp_path / "occurrences"
    made = synthetic_store(words, texts=every_metric.WORDS, n_blocks=1, top_form=None, dim=5)
    every_metric.write_inputs(made)
    contexts = synthetic_store(
        occurrences, texts=every_metric.SENTENCES, unit="occurrence", n_blocks=1, top_form=None
    )
    for each in (made, contexts):
        each.store.export(tmp_path / f"{each.root.name}.parquet", each.space)
        each.store.import_vectors(
            tmp_path / f"{each.root.name}.parquet", "again", unit=each.card.unit
        )
    for name, metric in METRICS.items():
        each = contexts if metric.needs in ("contexts", "word contexts", "order") else made
        options = {"min_score": 2} if name == "alignment" else every_metric.INPUTS.get(name, {})
        table = each.store.query(name, **options)
        rows = {
            space: [dict(row) for row in table if row["space"] == space]
            for space in (each.space, "again")
        }
        assert len(rows["again"]) >= 1, name
        assert any(
            value is not None for row in rows["again"] for value in map(row.get, table.columns[7:])
        ), name
        of_cards = {"model", "pooling", "template"}
        for found, expected in zip(rows["again"], rows[each.space], strict=True):
            for key, value in (
                (key, value) for key, value in expected.items() if key not in of_cards
            ):
                is_number = isinstance(value, float) or (
                    isinstance(value, list) and isinstance(value[0], float)
                )
                own = each.space if found[key] == "again" else found[key]
                assert own == (pytest.approx(value, abs=1e-9) if is_number else value), (name, key)


def test_maintenance_treats_it_as_any_space(store, tmp_path):
    store.add_vectors("mine", WORDS, VECTORS)
    other = Store(tmp_path / "other")
    other.add_vectors("theirs", WORDS, VECTORS * 2)
    store.merge(other.path)
    store.compact()
    store.index(kind="flat", force=True)
    assert store.repair(dry_run=True).to_pylist() == []
    assert problems_of(store) == []
    assert (
        store.neighbours("dog", spaces="mine", k=1)["text"]
        == store.neighbours("dog", spaces="theirs", k=1)["text"]
    )
    store.remove("mine")
    assert store.info()["space"] == ["theirs"]
    assert problems_of(store) == []
