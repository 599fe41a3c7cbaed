"""Values that colour the items: computed in float64, and none where a vector of zeros has none."""

import numpy as np
import pytest
from synthetic import synthetic_store

from embstore.explore.questions import colours

ZEROS = 0, 7  # of all layers; item 1 is zero in the first layer alone
SCALES = np.array([1, 1, 1e-30, 1e30, 1e-44, 1e37, 3000, 0, *np.ones(12)])


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    """Items whose vectors are as long and as short as float32 has them, and zero."""
    vectors = np.random.default_rng(5).normal(size=(3, len(SCALES), 16)) * SCALES[:, None]
    vectors[:, ZEROS] = vectors[0, 1] = 0
    root = tmp_path_factory.mktemp("scaled") / "s"
    return synthetic_store(root, len(SCALES), 16, 2, None, vectors=vectors, index=False)


def values(made, kind, layer, **options):
    """Return the value of each item, in the order of ``made.texts``."""
    found = colours(made.store, made.space, kind, str(layer), **options)
    names = found.get("categories")
    by_id = dict(zip(sorted(made.ids.tolist()), found["values"], strict=True))
    return [
        value if names is None or value is None else names[value]
        for value in map(by_id.get, made.ids.tolist())
    ]


def cosines(first, second):
    """Return the cosine of each pair of rows by long doubles; None where one is zero."""
    first, second = (
        np.broadcast_to(rows, first.shape).astype(np.longdouble) for rows in (first, second)
    )
    norms = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    dots = (first * second).sum(axis=1)
    return [float(dot / norm) if norm else None for dot, norm in zip(dots, norms, strict=True)]


def test_norms_are_those_of_long_doubles(scaled):
    for layer in range(3):
        expected = np.sqrt((scaled.layer(layer).astype(np.longdouble) ** 2).sum(axis=1)).astype(
            np.float64
        )
        assert values(scaled, "norm", layer) == pytest.approx(expected.tolist(), rel=1e-15, abs=0)


@pytest.mark.parametrize("text", [1, 2, 4, 6, 8])
def test_cosines_are_those_of_long_doubles_and_of_the_command(scaled, text):
    found = values(scaled, "cosine", 2, text=str(scaled.ids[text]))
    expected = cosines(scaled.layer(2), scaled.layer(2)[text])
    assert [value is None for value in found] == [at in ZEROS for at in range(len(SCALES))]
    for at in range(len(SCALES)):
        assert found[at] == (None if at in ZEROS else pytest.approx(expected[at], abs=1e-15))
        if at != text:
            assert [found[at]] == scaled.store.cosine(
                [scaled.texts[text], scaled.texts[at]], layers="2"
            )["cosine"]


def test_with_a_vector_of_zeros_nothing_has_a_cosine(scaled):
    assert values(scaled, "cosine", 1, text=str(scaled.ids[0])) == [None] * len(SCALES)


def test_a_change_from_or_to_a_vector_of_zeros_has_no_value(scaled):
    for layer, zeros in ((1, {*ZEROS, 1}), (2, {*ZEROS})):
        found = values(scaled, "change", layer)
        expected = cosines(scaled.layer(layer), scaled.layer(layer - 1))
        for at in range(len(SCALES)):
            assert found[at] == (
                None if at in zeros else pytest.approx(1 - expected[at], abs=1e-15)
            )


def test_a_vector_of_zeros_is_in_no_cluster(scaled):
    found = values(scaled, "cluster", 0)
    assert [at for at, name in enumerate(found) if name is None] == sorted({*ZEROS, 1})
    named = {text for name in filter(None, found) for text in name.partition(": ")[2].split(", ")}
    assert named
    assert not named & {scaled.texts[at] for at in (*ZEROS, 1)}
