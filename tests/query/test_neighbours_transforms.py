"""The neighbours of a text in a transformed space, against brute force on the transformed
vectors.
"""

import numpy as np
import pytest
from metric_data import Arrays
from nearest import assert_same, hits, nearest

from embstore.base.errors import QueryError
from embstore.metrics.transforms import fit, parse_transforms
from embstore.query import neighbours as module
from embstore.query.lookup import parse_queries
from embstore.storage.card import SpaceFilter

CHAINS = [
    "center",
    "standardize",
    "abtt:2",
    "abtt-original:1",
    "drop:0,5",
    "whiten",
    "drop:3 standardize abtt:1",
]


def transformed(x, chain):
    return fit(Arrays(x), parse_transforms(chain.split()))(x)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_search_is_exact_in_the_transformed_space(make_store, chain, dtype):
    made = make_store(n=60, dtype=dtype, offset=2.0)
    for layer in (0, 3):
        y = transformed(made.layer(layer), chain)
        found = made.store.neighbours("text7", layers=layer, k=20, transforms=chain.split())
        assert_same(hits(found), nearest(made.texts, y, "text7", 20))
        assert found["transform"] == [chain] * 20
        assert found["rank"] == [*range(1, 21)]


def test_a_transform_changes_the_neighbours_and_none_keeps_the_index(make_store):
    made = make_store(n=60, offset=2.0)
    stored, centred = (
        made.store.neighbours("text7"),
        made.store.neighbours("text7", transforms="center"),
    )
    assert stored["text"] != centred["text"]
    assert max(centred["cosine"]) < min(stored["cosine"])
    assert stored.notes == ()
    assert "transform" not in stored.columns


def test_with_where_a_transform_is_fitted_on_the_candidates_and_a_note_says_so(make_store):
    made = make_store(n=60, offset=2.0)
    kept = [row for row, text in enumerate(made.texts) if "1" in text]
    options = {"layers": 2, "k": 5, "transforms": "center"}
    found = made.store.neighbours("text7", where="text LIKE '%1%'", **options)
    y = made.layer(2).astype(np.float64) - made.layer(2)[kept].astype(np.float64).mean(axis=0)
    place = made.texts.index("text7")
    rows = [*kept, place]
    assert_same(hits(found), nearest([made.texts[row] for row in rows], y[rows], "text7", 5))
    note = "center: fitted on the selected items alone."
    assert found.notes == (note,)
    assert made.store.neighbours("text7", **options).notes == ()


def test_several_texts_and_layers_and_spaces_are_each_fitted_by_themselves(make_store):
    large = make_store(n=30)
    other = make_store(n=20, dim=6, model="other", seed=4)
    found = large.store.neighbours(["text1", "text2"], layers="0,1", k=4, transforms=["abtt:2"])
    for made in (large, other):
        for layer in (0, 1):
            y = transformed(made.layer(layer), "abtt:2")
            for text in ("text1", "text2"):
                part = [
                    row
                    for row in found
                    if (row["space"], row["layer"], row["query"]) == (made.space, layer, text)
                ]
                right = nearest(made.texts, y, text, 4)
                assert [row["text"] for row in part] == [text for text, _ in right]


def test_a_text_that_is_embedded_now_is_transformed_and_fits_nothing(make_store):
    made = make_store(n=30, offset=2.0)
    x = made.layer(2).astype(np.float64)
    vector = np.random.default_rng(9).normal(size=8) + 2

    def embed(card, item):
        return {layer.id: vector.astype(np.float32) for layer in card.layers}

    steps = parse_transforms(["center"])
    queries = parse_queries(["new"], [])
    found = module.neighbours(made.store.catalog, queries, SpaceFilter(), "2", 30, embed, steps)
    y = np.concatenate([x, [vector]]) - x.mean(axis=0)
    assert_same(hits(found), nearest([*made.texts, "new"], y, "new", 30))


def test_a_transform_that_removes_everything_is_an_error_or_a_note(make_store):
    made = make_store(n=30)
    with pytest.raises(
        QueryError, match=r"toy\.word\.last layer 3: abtt:8 removes everything: .* rank 8\. Give"
    ):
        made.store.neighbours("text1", transforms="abtt:8")
    with pytest.raises(
        QueryError, match=r"drop:8: there is no dimension 8; those of the vectors are 0 to 7"
    ):
        made.store.neighbours("text1", transforms="drop:8", layers="all")
    other = make_store(n=30, dim=12, model="other")
    found = made.store.neighbours("text1", transforms="abtt:8")
    assert set(found["space"]) == {other.space}
    assert (
        "toy.word.last layer 3: abtt:8 removes everything: the centred vectors have rank 8."
        in found.notes
    )


def test_an_item_that_becomes_zero_has_no_neighbours_and_is_none(make_store):
    # Exact in float32.
    vectors = np.round(np.random.default_rng(0).normal(size=(5, 6, 8)) * 1024) / 1024
    vectors[:, 3:] = 1 - vectors[:, :3]
    vectors = np.concatenate([vectors, np.full((5, 1, 8), 0.5)], axis=1)  # the last is the mean
    made = make_store(n=7, vectors=vectors)
    found = made.store.neighbours("text6", transforms="center")
    assert len(found) == 0
    assert (
        "'text6' is the zero vector in toy.word.last layer 3, transformed: no direction."
        in found.notes
    )
    found = made.store.neighbours("text1", transforms="center")
    assert sorted(found["text"]) == ["text0", "text2", "text3", "text4", "text5"]


def test_dimensions_without_variance_are_noted(make_store):
    vectors = np.random.default_rng(0).normal(size=(5, 20, 8))
    vectors[2, :, 1] = 0.25
    made = make_store(n=20, vectors=vectors)
    found = made.store.neighbours("text1", layers="1,2", transforms="standardize")
    assert [note for note in found.notes if "variance" in note] == [
        "toy.word.last layer 2: standardize: 1 of 8 dimensions have no variance and become 0."
    ]
