"""An index is of one layer of one space: another in its place is refused when it is opened, never searched."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from index_cache import close_cached_indexes
from nearest import nearest
from synthetic import Synthetic

from embstore import Store
from embstore.base import atomic
from embstore.base.errors import DamagedError

N, DIM = 300, 8


@pytest.fixture
def made(request, make_store):
    """A store with indexes of a kind, which tests name."""
    made = make_store(n=N, dim=DIM, n_blocks=2, top_form=None, index=False)
    made.store.index(kind=request.param)
    close_cached_indexes()
    return made


def paths(made: Synthetic, layer: int) -> tuple[Path, Path]:
    index = made.paths.index(made.space, made.card.layers.members[layer])
    return index, index.with_suffix(".json")


def exchange(first: Path, other: Path) -> None:
    data = first.read_bytes()
    first.write_bytes(other.read_bytes())
    other.write_bytes(data)


def brute_force(made: Synthetic, layer: int, place: int) -> list[str]:
    return [text for text, _ in nearest(made.texts, made.layer(layer), made.texts[place], 5)]


def check_each_answer(made: Synthetic, *, refused: bool) -> None:
    """Each answer is the right one, or the index is refused by name."""
    close_cached_indexes()
    for layer in (1, 2):
        for place in (0, 7, 150):
            call = {"layers": layer, "k": 5}
            try:
                found = Store(made.root).neighbours(made.texts[place], **call)["text"]
            except DamagedError as error:
                assert refused
                assert f"layer=0{layer}" in str(error)  # noqa: PT017
                assert "embstore index makes it anew" in str(error)  # noqa: PT017
            else:
                assert not refused
                assert found == brute_force(made, layer, place)


@pytest.mark.parametrize(
    ("made", "swapped"), [("flat", "both"), ("flat", "index"), ("flat", "card"), ("hnsw", "both")], indirect=["made"]
)
def test_the_indexes_of_two_layers_exchanged(made, swapped):
    check_each_answer(made, refused=False)
    for first, other in zip(paths(made, 1), paths(made, 2), strict=True):
        if swapped in ("both", "index" if first.suffix == ".faiss" else "card"):
            exchange(first, other)
    check_each_answer(made, refused=True)
    assert not made.store.verify().ok
    made.store.repair()
    check_each_answer(made, refused=False)


@pytest.mark.parametrize("made", ["hnsw"], indirect=True)
def test_the_index_of_another_space_or_of_an_older_state(made, make_store, tmp_path):
    kept = shutil.copytree(made.paths.indexes(made.space), tmp_path / "older")
    other = make_store("other", n=N, dim=DIM, n_blocks=2, top_form=None, seed=9)
    other.store.index(kind="flat")
    for mine, its in zip(paths(made, 1), paths(other, 1), strict=True):
        shutil.copy(its, mine)
    close_cached_indexes()
    found = Store(made.root).neighbours(made.texts[0], layers=1, k=5)
    assert found["text"] == brute_force(made, 1, 0), "it covers other shards, so that a scan answers"
    assert "is behind" in found.notes[0]

    shutil.copytree(kept, made.paths.indexes(made.space), dirs_exist_ok=True)
    more = make_store(texts=["new", "newer"], dim=DIM, n_blocks=2, top_form=None, seed=5, index=False)
    close_cached_indexes()
    [nearest] = Store(made.root).neighbours("new", layers=1, k=1)["text"]
    vectors = np.concatenate([made.layer(1), more.layer(1)[1:]])
    cosines = vectors @ more.layer(1)[0] / np.linalg.norm(vectors, axis=1)
    assert nearest == [*made.texts, "newer"][int(cosines.argmax())]


def reseal(card: Path, **changed: object) -> None:
    document = {**json.loads(card.read_text("utf-8")), **changed}
    document = {name: value for name, value in document.items() if name != "file_sha256"}
    card.write_bytes(atomic.document_bytes(document))


@pytest.mark.parametrize("made", ["flat", "hnsw"], indirect=True)
def test_a_card_without_hashes_over_the_index_of_another_layer_is_refused_by_the_texts_own_vector(made):
    for layer in range(3):
        reseal(paths(made, layer)[1], sample_sha256=None, crc32=None)
    exchange(paths(made, 1)[0], paths(made, 2)[0])
    close_cached_indexes()
    for place in (0, 7, 150):
        with pytest.raises(DamagedError, match=r"layer=01\.faiss disagree about layer 1"):
            Store(made.root).neighbours(made.texts[place], layers=1, k=5)


@pytest.mark.parametrize("made", ["flat", "hnsw"], indirect=True)
def test_what_is_sealed_anew_is_found_by_a_deep_verify(made):
    for first, other in zip(paths(made, 1), paths(made, 2), strict=True):
        exchange(first, other)
    for layer in (1, 2):
        reseal(paths(made, layer)[1], layer=layer)
    assert made.store.verify().ok
    problems = made.store.verify(deep=True).problems
    assert [problem.file for problem in problems] == [paths(made, 1)[0], paths(made, 2)[0]]
