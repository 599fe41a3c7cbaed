"""The cosine of two texts at every layer, against a plain computation."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import NotStoredError, UsageError
from embstore.query.lookup import parse_queries
from embstore.query.neighbours import cosines
from embstore.storage.card import SpaceFilter


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Words in two models, the other with fewer items and other dimensions; three shards."""
    root = tmp_path_factory.mktemp("words") / "store"
    synthetic_store(root, n=4, dim=5, model="other", n_blocks=2, top_form=None, dtype="float16")
    return synthetic_store(root, n=30, dim=16, n_shards=3)


def right(x, first, second):
    a, b = x[[first, second]].astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@settings(deadline=None, max_examples=8)
@given(places=st.lists(st.integers(0, 29), min_size=2, max_size=4, unique=True))
def test_cosines_of_all_pairs_are_exact(made, places):
    found = made.store.cosine([f"text{place}" for place in places], spaces=made.space)
    expected = [
        (
            layer.id,
            f"text{i}",
            f"text{j}",
            pytest.approx(right(made.layer(layer.id), i, j), abs=4e-16),
        )
        for layer in made.card.layers
        for i, j in combinations(places, 2)
    ]
    assert [(row["layer"], row["text"], row["text_2"], row["cosine"]) for row in found] == expected
    assert found.notes == ()


def test_each_space_has_its_layers(made):
    found = made.store.cosine(["text1", "text2"])
    assert [(row["space"], row["layer_name"]) for row in found] == [
        *(("other.word.last", name) for name in "012"),
        *(("toy.word.last", name) for name in ("0", "1", "2", "3", "raw")),
    ]
    only = made.store.cosine(["text1", "text2", "text9"], layers=1)
    pairs = [(row["space"], row["text"], row["text_2"]) for row in only]
    assert pairs[0] == ("other.word.last", "text1", "text2")
    assert len(pairs) == 4
    assert only.notes == ("'text9' is not in other.word.last.",)


@pytest.mark.parametrize("transform", ["abtt:2", "drop:0,3"])
def test_vectors_are_transformed_as_for_metrics(made, transform):
    found = made.store.cosine(["text1", "text2"], spaces=made.space, layers=2, transforms=transform)
    [near] = [
        row["cosine"]
        for row in made.store.neighbours(
            "text1", spaces=made.space, layers=2, transforms=transform, k=30
        )
        if row["text"] == "text2"
    ]
    assert found["cosine"] == pytest.approx([near], abs=1e-6)
    assert found["transform"] == [transform]


def test_notes_of_transforms_are_given_for_each_layer(tmp_path):
    """Of a dimension that is the same in all vectors, whose deviation is rounding."""
    x = np.random.default_rng(0).normal(size=(3, 20, 4)).astype(np.float32)
    x[:2, :, 2] = 0.1
    made = synthetic_store(tmp_path, n=20, dim=4, vectors=x, n_blocks=2, top_form=None)
    found = made.store.cosine(["text1", "text2"], transforms="standardize")
    assert all("variance" in note for note in found.notes)
    assert made.store.cosine(["text1", "text2"]).notes == ()


def test_a_cosine_that_is_undefined_is_null_with_its_reason(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    x[1, 0] = 0
    x[1, 2] = x[1, 1]
    made = synthetic_store(tmp_path, texts=["a", "b", "c"], vectors=x, n_blocks=1, top_form=None)
    found = made.store.cosine(["a", "b", "c"], layers=1)
    assert [(row["cosine"], row["reason"]) for row in found] == [
        (None, "the vector of 'a' is zero"),
        (None, "the vector of 'a' is zero"),
        (1.0, None),
    ]
    assert found.notes == ("toy.word.last layer 1: the vector of 'a' is zero.",)
    dropped = made.store.cosine(["b", "c"], layers=1, transforms="drop:9")
    assert dropped["cosine"] == [None]
    assert "9" in dropped["reason"][0]


def test_occurrences_are_marked(tmp_path):
    made = synthetic_store(
        tmp_path, unit="occurrence", texts=["the bank of the river", "a bank lends"]
    )
    marked = ["the [bank] of the river", "a [bank] lends"]
    found = made.store.cosine(marked=marked, layers=0)
    assert found.to_pylist()[0]["text_2"] == "a [bank] lends"
    places = [[item.shown for item in made.items].index(text) for text in marked]
    assert found["cosine"] == [pytest.approx(right(made.layer(0), *places), abs=4e-16)]
    assert made.store.cosine("river", marked=marked[0], layers=0)["cosine"][0] < 1
    assert made.store.cosine(marked[1], marked=marked[0], layers=0)["cosine"] == found["cosine"], (
        "both have brackets"
    )
    with pytest.raises(UsageError, match="'bank' occurs in 2 sentences"):
        made.store.cosine(["bank", "river"])


def test_texts_that_are_not_stored_are_encoded_on_request(made):
    vectors = {layer.id: made.layer(layer.id)[3] for layer in made.card.layers}
    table = cosines(
        made.store.catalog,
        parse_queries(["text3", "new"], []),
        SpaceFilter(spaces=made.space),
        "all",
        lambda card, item: vectors,
    )
    assert table["cosine"] == [1.0] * 5


def test_wrong_calls_are_refused(made, tmp_path):
    for texts in (["text1"], ["text1", "text1"], []):
        with pytest.raises(UsageError, match="as in: embstore cosine bank river"):
            made.store.cosine(texts)
    with pytest.raises(NotStoredError, match=r"'texd1' is not in .*Nearest stored texts: 'text1'"):
        made.store.cosine(["texd1", "text2"])
    with pytest.raises(UsageError, match="embed"):
        made.store.cosine(["text1", "text2"], download=True)
    synthetic_store(tmp_path, texts=["a"])
    synthetic_store(tmp_path, texts=["b"], model="other")
    with pytest.raises(NotStoredError, match="no space has two of 'a', 'b'"):
        Store(tmp_path).cosine(["a", "b"])


def test_the_table_is_printed_with_layers_down(made):
    call = {"spaces": made.space, "layers": "0,1"}
    assert str(made.store.cosine(["text1", "text2"], **call)).splitlines()[0].split() == [
        "layer",
        made.space,
    ]
    lines = str(made.store.cosine(["text1", "text2", "text3"], **call)).splitlines()
    assert lines[0].split() == ["layer", "text", "text_2", made.space]
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["0", "text1", "text2"],
        ["0", "text1", "text3"],
    ]
