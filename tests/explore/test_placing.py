"""Where a text that is not on a map is placed there."""

import numpy as np
import pytest
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import NotStoredError
from embstore.explore.maps import find_map, place

LAYERS = (0, 1, 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synthetic_store(
        tmp_path_factory.mktemp("placing") / "store", n=60, n_blocks=2, top_form=None
    )


def units(made, layer):
    vectors = made.layer(layer).astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def off_map(made, name):
    """Return a stored text that a sampled map does not show, and the rows of the items that it
    shows.
    """
    shown = np.isin(made.ids, find_map(made.store, made.space, name).items.ids)
    assert 0 < shown.sum() < len(shown)
    return made.texts[int(np.flatnonzero(~shown)[0])], np.flatnonzero(shown)


def test_a_stored_text_has_its_own_place(made):
    shown = find_map(made.store, made.space, "pca")
    for at in (0, 30, 59):
        found = place(made.store, space=made.space, name="pca", text=shown.items.texts[at])
        assert found["is_exact"]
        np.testing.assert_allclose(found["places"], shown.positions[:, at], atol=1e-6)


def test_principal_components_place_other_texts_exactly(made):
    made.store.map(sample=25, seed=3)
    name = "stored pca, sample 25, seed 3"
    text, rows = off_map(made, name)
    found = place(made.store, space=made.space, name=name, text=text)
    means, spreads, centred = [], [], []
    for layer in LAYERS:
        chosen = units(made, layer)[rows]
        means.append(chosen.mean(axis=0))
        centred.append(chosen - means[-1])
        spreads.append(np.sqrt((centred[-1] ** 2).sum(axis=1).mean()))
        centred[-1] /= spreads[-1]
    axes = np.linalg.svd(np.concatenate(centred), full_matrices=False)[2][:2]
    at = made.texts.index(text)
    expected = [axes @ (units(made, layer)[at] - means[layer]) / spreads[layer] for layer in LAYERS]
    assert found["is_exact"]
    np.testing.assert_allclose(np.abs(found["places"]), np.abs(expected), atol=1e-5)


@pytest.mark.slow
def test_t_sne_places_other_texts_amid_their_five_nearest(made):
    pytest.importorskip("openTSNE", reason="t-SNE is openTSNE's (extra map)")
    made.store.map(method="tsne", sample=40, seed=1)
    name = "stored tsne, sample 40, seed 1"
    text, _ = off_map(made, name)
    found = place(made.store, space=made.space, name=name, text=text)
    assert not found["is_exact"]
    shown = find_map(made.store, made.space, name)
    row_of = {int(item): at for at, item in enumerate(made.ids)}
    for layer in LAYERS:
        directions = units(made, layer)
        squares = np.array(
            [
                2 - 2 * directions[row_of[int(item)]] @ directions[made.texts.index(text)]
                for item in shown.items.ids
            ]
        )
        near = np.argsort(squares)[:5]
        expected = np.average(shown.positions[layer][near], axis=0, weights=1 / squares[near])
        np.testing.assert_allclose(found["places"][layer], expected, rtol=1e-4, atol=1e-4)
    own = shown.items.texts[0]
    itself = place(made.store, space=made.space, name=name, text=own)["places"]
    np.testing.assert_allclose(
        itself, shown.positions[:, 0], atol=1e-4 * np.abs(shown.positions).max()
    )


def test_a_vector_of_zeros_has_no_place(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(2, 9, 4))
    vectors[1, 0] = 0
    texts = [f"text{at}" for at in range(9)]
    store = synthetic_store(
        tmp_path / "store", texts=texts, vectors=vectors, dim=4, n_blocks=1, top_form=None
    )
    found = place(store.store, space=store.space, text="text0")["places"]
    assert found[0] is not None
    assert found[1] is None


def test_a_text_that_is_not_stored_is_refused_unless_it_is_encoded(made):
    with pytest.raises(NotStoredError, match="'texx1' is not in"):
        place(made.store, space=made.space, text="texx1")


@pytest.mark.slow
def test_a_new_text_is_encoded_as_a_build_encodes_it(tmp_path, checkpoint):
    words, space = ["dog", "cat", "horse", "car", "bus", "train"], "tiny.word.last"
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    for each, texts in ((store, words), (other, [*words, "puppy"])):
        each.build(texts=texts, unit="word", models=f"tiny={checkpoint}")
    other.map(where="text <> 'puppy'")
    expected = place(other, space=space, name="stored pca, where text <> 'puppy'", text="puppy")[
        "places"
    ]
    found = place(store, space=space, text="puppy", embed=True)["places"]
    np.testing.assert_allclose(found, expected, atol=1e-3)
