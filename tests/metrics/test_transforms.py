"""Transforms against plain fits, step by step, on whole arrays in float64."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from metric_data import Arrays, centred, split
from synthetic import synthetic_store

from embstore.base.errors import UnknownNameError, UsageError
from embstore.metrics.declaration import NotComputable
from embstore.metrics.geometry import rogue_dims
from embstore.metrics.transforms import fit, parse_transforms
from embstore.query.layer_data import TransformedLayer


def plain(x, *names):
    """Apply each step to the array itself, with the components from its own singular values."""
    x = x.astype(np.float64)
    dims = list(range(x.shape[1]))
    for name in names:
        kind, _, argument = name.partition(":")
        mean = x.mean(axis=0)
        y = x - mean
        _, values, components = np.linalg.svd(y, full_matrices=False)
        if kind == "center":
            x = y
        elif kind == "standardize":
            std = x.std(axis=0)
            x = np.where(std > 1e-9, y / np.where(std > 1e-9, std, 1), 0)
        elif kind == "abtt":
            top = components[: int(argument)]
            x = y - y @ top.T @ top
        elif kind == "abtt-original":
            top = components[: int(argument)]
            x = y - x @ top.T @ top
        elif kind == "drop":
            kept = [place for place, dim in enumerate(dims) if str(dim) not in argument.split(",")]
            x, dims = x[:, kept], [dims[place] for place in kept]
        elif kind == "normalize":
            norms = np.linalg.norm(x, axis=1, keepdims=True)
            x = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
        elif kind == "clamp":
            limit = np.mean([np.quantile(np.abs(row), float(argument)) for row in x])
            x = np.minimum(np.maximum(x, -limit), limit)
        else:
            used = values > 1e-6 * values[0]
            x = y @ (components[used].T / values[used]) @ components[used] * np.sqrt(len(x) - 1)
    return x


def transformed(data, *names):
    affine = fit(data, parse_transforms(names))
    return TransformedLayer(data, affine, affine.columns)


def after(data, *names):
    return np.concatenate(list(transformed(data, *names).map(lambda block: block)))


def assert_same(found, wanted):
    assert found.shape == wanted.shape
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * max(np.abs(wanted).max(), 1e-300))


STEPS = (
    "center",
    "standardize",
    "abtt:1",
    "abtt:2",
    "abtt-original:1",
    "abtt-original:3",
    "drop:0",
    "drop:2,1",
    "whiten",
    "normalize",
    "clamp:0.9",
)


@st.composite
def clouds(draw):
    """Clouds with so many vectors and dimensions that four steps leave something."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, dim = draw(st.integers(20, 60)), draw(st.integers(14, 16))
    x = rng.normal(size=(n, dim)) * np.geomspace(1, draw(st.sampled_from([3.0, 100.0])), dim)
    x += draw(st.sampled_from([0.0, 5.0, 100.0]))
    stored = x.astype(draw(st.sampled_from([np.float16, np.float32])))
    return stored.astype(np.float32)


@settings(deadline=None)
@given(clouds(), st.lists(st.sampled_from(STEPS), min_size=1, max_size=4), st.data())
def test_any_chain_is_its_steps_one_after_the_other(x, names, data):
    assume(all(names.count(name) < 2 for name in names if name.startswith("drop")))
    whitened = [name == "whiten" for name in names]
    # Once whitened there are no first components: all directions are alike, and the choice is
    # arbitrary.
    assume(not any(any(whitened[:place]) and "abtt" in name for place, name in enumerate(names)))
    for place in np.flatnonzero(whitened):
        values = np.linalg.svd(centred(plain(x, *names[:place])), compute_uv=False)
        # From second moments a direction has 1e-16 (σ₁/σ)² of relative error, and whitening makes
        # each as long as any.
        assume(not np.any((values > 1e-10 * values[0]) & (values < 1e-3 * values[0])))
    assert_same(after(split(x, data), *names), plain(x, *names))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("n", [4, 40])
def test_each_step_alone_with_fewer_vectors_than_dimensions_and_more(name, n):
    x = (np.random.default_rng(1).normal(size=(n, 9)) * np.arange(1, 10) + 4).astype(np.float32)
    if n == 4 and name.endswith(":3"):
        with pytest.raises(
            NotComputable,
            match="abtt-original:3 removes everything: the centred vectors have rank 3",
        ):
            after(Arrays(x), name)
        return
    assert_same(after(Arrays(x[:3], x[3:]), name), plain(x, name))


def test_a_rogue_dimension_costs_no_digits():
    """One dimension a million times the others, as after GPT-2's blocks but worse; the rest is
    scaled afterwards.
    """
    x = np.random.default_rng(5).normal(size=(300, 20))
    x[:, 7] = 1e6 * x[:, 7] + 1e6
    for names in (
        ["abtt:1", "standardize"],
        ["abtt:1", "drop:7", "whiten"],
        ["standardize", "abtt:1", "standardize"],
    ):
        found, wanted = after(Arrays(x[:100], x[100:]), *names), plain(x, *names)
        kept = [dim for dim in range(found.shape[1]) if names[0] != "abtt:1" or dim != 7]
        np.testing.assert_allclose(found[:, kept], wanted[:, kept], rtol=0, atol=1e-7)


@pytest.mark.parametrize("names", [["abtt:1"], ["standardize", "abtt:2"], ["whiten"]])
def test_equal_vectors_stay_equal_wherever_they_stand(names):
    """A product may round the last rows of a matrix in another way than the first."""
    x = (3 * np.random.default_rng(0).normal(size=(130, 64)) + 5).astype(np.float32)
    data = transformed(Arrays(np.concatenate([x, x[::-1][:66], x[:3]])), *names)
    ids, vectors = data.gather()
    assert len(ids) == 199
    np.testing.assert_array_equal(
        vectors[130:], np.concatenate([vectors[:130][::-1][:66], vectors[:3]])
    )
    assert len(data.neighbours(2, "euclidean", distinct=True)[0]) == 130


def test_center_and_drop_read_no_vector_and_a_chain_reads_as_often_as_it_must():
    x = np.random.default_rng(6).normal(size=(60, 12))
    for names, n_reads in (
        (["center"], 0),
        (["drop:1", "center", "drop:2"], 0),
        (["center", "abtt:3"], 1),
        (["drop:1", "standardize", "abtt:3", "center", "drop:0"], 1),
        (["abtt:2", "standardize", "whiten"], 2),
    ):
        data = Arrays(x)
        fit(data, parse_transforms(names))
        assert data.n_reads == n_reads, names


@settings(deadline=None)
@given(st.permutations(range(8)), st.lists(st.integers(1, 3), max_size=3), st.data())
def test_dropping_one_after_the_other_is_dropping_at_once(order, sizes, data):
    ends = np.cumsum([0, *sizes]).clip(max=7)
    groups = [order[start:end] for start, end in pairwise(ends) if end > start]
    between = [
        data.draw(st.sampled_from([None, "center", "standardize", "abtt:1"])) for _ in groups
    ]
    x = np.random.default_rng(6).normal(size=(30, 8)).astype(np.float32) + np.arange(8)
    drops = [f"drop:{','.join(map(str, group))}" for group in groups]
    dropped = sorted(dim for group in groups for dim in group)
    kept = [dim for dim in range(8) if dim not in dropped]
    at_once = [f"drop:{','.join(map(str, dropped))}"] if dropped else []
    np.testing.assert_array_equal(after(Arrays(x), *drops), after(Arrays(x), *at_once))
    # Whatever mixes dimensions in between, what is left has the numbers that it has in the space.
    mixed = [
        name for drop, more in zip(drops, between, strict=True) for name in (drop, more) if name
    ]
    assume(sum(name == "abtt:1" for name in mixed) < len(kept))
    found = transformed(Arrays(x), *mixed)
    assert found.dims.tolist() == kept
    assert sorted(rogue_dims(found, k=8)["dims"]) == kept


@pytest.mark.parametrize("between", [[], ["center"], ["whiten", "abtt:1"]])
def test_a_dimension_is_dropped_once(between):
    with pytest.raises(
        UsageError, match=r"drop:4,2: dimension 2 is already dropped, by drop:1,2\. .*in the space"
    ):
        parse_transforms(["drop:1,2", *between, "drop:4,2"])
    with pytest.raises(
        UsageError, match="drop:4,2,4: dimension 4 is already dropped, by drop:4,2,4"
    ):
        parse_transforms([*between, "drop:4,2,4"])


def test_standardize_notes_dimensions_that_vary_by_rounding_alone():
    """Dimension 1 takes two neighbouring values of float32 near 100, dimension 4 has 1e-5 of its
    size as a spread.
    """
    rng = np.random.default_rng(9)
    x = rng.normal(size=(60, 6)).astype(np.float32)
    x[:, 1] = np.where(x[:, 1] > 0, np.nextafter(np.float32(100), np.float32(101)), np.float32(100))
    x[:, 4] = 1 + 1e-5 * x[:, 4]
    for names, wanted in (
        (["standardize"], "1 of 6"),
        (["drop:0", "center", "standardize"], "1 of 5"),
    ):
        affine = fit(Arrays(x), parse_transforms(names))
        assert affine.notes == (
            (
                f"standardize: {wanted} dimensions (1) vary by no more than float32 resolves, and"
                " count as much as the others now: drop:DIMS leaves them out"
            ),
        )
        assert_same(affine(x), plain(x, *names))
    x[:, [0, 2, 3, 4, 5]] = 100 + 0 * x[:, [0, 2, 3, 4, 5]] + (x[:, :1] > 0) * np.float32(7.7e-6)
    [note] = fit(Arrays(x), parse_transforms(["standardize"])).notes
    assert note.startswith("standardize: 6 of 6 dimensions (0, 1, 2, 3, 4 and 1 more) vary")
    assert fit(Arrays(x[:, :1]), parse_transforms(["center"])).notes == ()


def test_dimensions_and_directions_without_variance_become_zero_and_are_noted():
    x = np.random.default_rng(6).normal(size=(30, 6)).astype(np.float32)
    x[:, 2] = 0.1
    data = Arrays(x[:7], x[7:])
    affine = fit(data, parse_transforms(["standardize"]))
    assert affine.notes == ("standardize: 1 of 6 dimensions have no variance and become 0",)
    assert_same(affine(x), plain(x, "standardize"))
    assert not affine(x)[:, 2].any()
    affine = fit(data, parse_transforms(["abtt:1", "whiten"]))
    assert affine.notes == ("whiten: 2 of 6 directions have no variance and become 0",)
    eigenvalues = np.linalg.eigvalsh(np.cov(affine(x).T))
    assert eigenvalues == pytest.approx([0, 0, 1, 1, 1, 1], abs=1e-10)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["drop:1", "normalize", "drop:0,6"], "drop:0,6: there is no dimension 6; those of the"),
        (["abtt:6"], "abtt:6 removes everything: the centred vectors have rank 6"),
        (
            ["abtt-original:600"],
            "abtt-original:600 removes everything: the centred vectors have rank 6",
        ),
        (["drop:0", "abtt:5"], "abtt:5 removes everything: the centred vectors have rank 5"),
        (["abtt:4", "abtt:2"], "abtt:2 removes everything: the centred vectors have rank 2"),
        (["drop:0,1,2,3,4,5"], "drop:0,1,2,3,4,5 removes everything"),
        (["drop:2,6,9"], "drop:2,6,9: there is no dimension 6, 9; those of the vectors are 0 to 5"),
        (["drop:0", "drop:6"], "drop:6: there is no dimension 6; those of the vectors are 0 to 5"),
        (["drop:0,1,2", "drop:3,4,5"], "drop:3,4,5 removes everything"),
    ],
)
def test_what_removes_everything_is_refused(names, message):
    x = np.random.default_rng(6).normal(size=(30, 6)) + 4
    with pytest.raises(NotComputable, match=message):
        fit(Arrays(x), parse_transforms(names))


def test_zero_vectors_stay_zero_and_a_clamp_at_zero_is_refused():
    x = 5 * np.eye(6)[:, :4]
    assert_same(after(Arrays(x), "normalize"), plain(x, "normalize"))
    assert not after(Arrays(x), "normalize")[4:].any()
    with pytest.raises(NotComputable, match=r"clamp:0.5 removes everything: that quantile is 0"):
        after(Arrays(x), "clamp:.5")
    with pytest.raises(NotComputable, match="no vectors"):
        after(Arrays(x[:0]), "clamp:0.5")
    assert parse_transforms(["clamp:.950"])[0].name == "clamp:0.95"


@pytest.mark.parametrize("name", ["standardize", "whiten", "abtt:0", "abtt:1", "abtt-original:1"])
@pytest.mark.parametrize("n", [1, 5])
def test_equal_vectors_have_nothing_left(name, n):
    with pytest.raises(NotComputable, match=f"{name} removes everything"):
        fit(Arrays(np.full((n, 3), 0.1, np.float32)), parse_transforms([name]))


@pytest.mark.parametrize(
    "name",
    [
        "abtt",
        "abtt:",
        "abtt:x",
        "abtt:-1",
        "abtt:1.5",
        "abtt:1,2",
        "abtt-original:²",
        "drop",
        "drop:",
        "drop:1,,2",
        "drop:-1",
        "drop:a",
        "center:1",
        "whiten:2",
        "standardize:",
        "normalize:2",
        "clamp",
        "clamp:",
        "clamp:.",
        "clamp:0",
        "clamp:1.01",
        "clamp:-0.5",
        "clamp:nan",
        "clamp:0.9,0.95",
    ],
)
def test_an_argument_that_is_none(name):
    kind = name.partition(":")[0]
    with pytest.raises(UsageError, match=f"the transform {kind} (needs|takes)"):
        parse_transforms([name])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("centr", "center"),
        ("abt:3", "abtt"),
        ("standartize", "standardize"),
        ("whitening", "whiten"),
    ],
)
def test_an_unknown_transform_names_the_nearest(name, near):
    with pytest.raises(
        UnknownNameError,
        match=f"unknown transform '{name.partition(':')[0]}'.*Did you mean '{near}'",
    ):
        parse_transforms(["center", name])


def test_a_layer_that_cannot_be_transformed_says_why_in_its_row(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(2, 12, 4))
    vectors[0] = vectors[0][:, :1]  # rank 1
    made = synthetic_store(
        tmp_path, n=12, dim=4, n_blocks=1, top_form=None, vectors=vectors, index=False
    )
    first, second = made.store.query("isoscore", transforms="abtt:1")
    assert (first["isoscore"], first["reason"]) == (
        None,
        "abtt:1 removes everything: the centred vectors have rank 1",
    )
    assert (second["isoscore"] > 0, second["reason"]) == (True, None)
    found = made.store.query("norms", transforms="whiten", top=1)
    assert "layer 0: whiten: 3 of 4 directions have no variance" in " ".join(found.notes)
