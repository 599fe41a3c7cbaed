"""Means over texts, against the values of each text computed from its vectors alone."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.query import group_layers

N_TEXTS = 60


def sentences():
    rng = np.random.default_rng(0)
    sizes = [1, 1, 2, *rng.integers(3, 25, N_TEXTS - 3).tolist()]
    return [" ".join(f"w{text}x{place}" for place in range(t)) for text, t in enumerate(sizes)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two models' occurrences of the same texts, of which the second lacks the last ten."""
    root = tmp_path_factory.mktemp("averages") / "store"
    texts = sentences()
    common = {"unit": "occurrence", "top_form": None, "index": False, "n_blocks": 2}
    first = synthetic_store(root, texts=texts, dim=8, **common)
    second = synthetic_store(root, texts=texts[:-10], dim=6, model="other", seed=4, **common)
    return first, second


def of_texts(made, layer):
    """Return the vectors of each text, float64 (t, dim), in its order."""
    rows = {}
    for row, item in enumerate(made.items):
        rows.setdefault(str(item.context), []).append(row)
    x = made.layer(layer).astype(np.float64)
    starts = [item.span.start for item in made.items]
    return {text: x[sorted(members, key=lambda row: starts[row])] for text, members in rows.items()}


def erank(x):
    """Return exp of the entropy after centring and normalising within the text; None for one."""
    if len(x) < 2:
        return None
    z = x - x.mean(axis=0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(z.T @ z / np.trace(z.T @ z))
    return math.exp(-sum(share * math.log(share) for share in shares if share > 1e-14))


DIFF_ERANK = {
    "metric": "effective-rank",
    "variant": "uncentred-eigenvalues",
    "transforms": ["center", "normalize"],
    "by": "context",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit", [group_layers.MEMORY_BYTES, 900, 0], ids=["whole", "batches", "blocks"]
)
def test_the_mean_over_texts_is_of_each_text_by_itself(made, monkeypatch, limit):
    monkeypatch.setattr(group_layers, "MEMORY_BYTES", limit)
    first, _ = made
    found = first.store.query(**DIFF_ERANK, average=True, spaces=first.space, cache=False)
    assert len(found) == len(first.card.layers.members)
    for row in found:
        by_text = [erank(x) for x in of_texts(first, row["layer"]).values()]
        values = np.array([value for value in by_text if value is not None])
        assert row["effective_rank"] == pytest.approx(values.mean(), rel=1e-9)
        assert row["geometric_mean"] == pytest.approx(np.exp(np.log(values).mean()), rel=1e-9)
        assert row["group_std"] == pytest.approx(values.std(ddof=1), rel=1e-9)
        assert (row["n_groups"], row["n_undefined"]) == (N_TEXTS - 2, 2)
        assert row["n"] == len(first.items) - 2
        assert row["reason"] == "groups without a value: fewer than two vectors (2)"
        assert (row["by"], row["fit"]) == ("context", "group")
        limits = ttest_1samp(values, 0).confidence_interval()
        assert [row["low"], row["high"]] == pytest.approx([*limits], rel=1e-8)
    assert "group" not in found.columns
    notes = " ".join(found.notes)
    assert "after center normalize, fitted on each group" in notes
    assert "fewer than two vectors (2)" in notes


def test_the_rows_of_the_groups_have_that_mean(made):
    first, _ = made
    rows = first.store.query(**DIFF_ERANK, fit="group", layers=1, spaces=first.space)
    assert rows["fit"] == ["group"] * N_TEXTS
    values = [value for value in rows["effective_rank"] if value is not None]
    [mean] = first.store.query(**DIFF_ERANK, average=True, layers=1, spaces=first.space)
    assert mean["effective_rank"] == pytest.approx(np.mean(values), rel=1e-12)
    together = first.store.query(**DIFF_ERANK, layers=1, spaces=first.space)
    [mean] = first.store.query(**DIFF_ERANK, average=True, fit="all", layers=1, spaces=first.space)
    values = [value for value in together["effective_rank"] if value is not None]
    assert mean["effective_rank"] == pytest.approx(np.mean(values), rel=1e-12)
    assert "fit" not in together.columns


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "options", "column"),
    [
        ("anisotropy", {"std": True}, "anisotropy"),
        ("norms", {}, "mean"),
        ("uniformity", {}, "uniformity"),
        ("participation-ratio", {}, "participation_ratio"),
        ("spectrum", {"k": 2}, "top_share"),
        ("intrinsic-dimension", {}, "dimension"),
        ("intrinsic-dimension", {"estimator": "mle", "neighbours": 3}, "dimension"),
        ("hubness", {"k": 2}, "skewness"),
        ("prompt-entropy", {}, "prompt_entropy"),
        ("curvature", {"variant": "absolute"}, "curvature"),
    ],
)
def test_any_metric_of_a_set_of_vectors_is_averaged(made, metric, options, column):
    first, _ = made
    rows = first.store.query(metric, by="context", layers=2, spaces=first.space, **options)
    found = first.store.query(
        metric, by="context", average=True, layers=2, spaces=first.space, **options
    )
    row = list(found)[-1]  # the scale of all neighbours, if there are several
    values = [
        each[column]
        for each in rows
        if each[column] is not None and each.get("scale") == row.get("scale")
    ]
    assert row[column] == pytest.approx(np.mean(values))
    assert (row["n_groups"], row["n_undefined"]) == (len(values), N_TEXTS - len(values))
    assert row["low"] < row[column] < row["high"]
    assert (row["reason"] is None) == (len(values) == N_TEXTS)


def test_counts_are_of_all_groups_with_and_without_a_value(tmp_path):
    """One zero vector is a text of its own, without a value; another one is in a text with one."""
    texts = ["a", "b b b b b b", "c d", "e f g h i j", "k l m n o p"]
    n = sum(len(text.split()) for text in texts)
    vectors = np.random.default_rng(0).normal(size=(1, n, 5)).astype(np.float32)
    vectors[0, [0, 2]] = 0
    vectors[0, 8] = vectors[0, 7]  # c and d
    vectors[0, 10] = vectors[0, 9]  # e and f
    made = synthetic_store(
        tmp_path / "store", texts=texts, dim=5, vectors=vectors, unit="occurrence", layers="1",
        n_blocks=1, top_form=None, index=False,
    )  # fmt: skip
    options = {"by": "context", "average": True}
    [row] = made.store.query("anisotropy", **options)
    assert (row["n"], row["n_groups"], row["n_undefined"], row["n_zero"]) == (19, 4, 1, 2)
    gride = made.store.query("intrinsic-dimension", estimator="gride", neighbours=4, **options)
    assert gride["scale"] == [2, 4]
    for row in gride:
        assert (row["n_groups"], row["n_undefined"], row["n_duplicates"]) == (3, 2, 2)


def test_each_scale_has_a_mean_of_its_own(made):
    first, _ = made
    options = {"estimator": "gride", "neighbours": 4, "by": "context", "spaces": first.space}
    rows = first.store.query("intrinsic-dimension", layers=1, **options)
    found = first.store.query("intrinsic-dimension", layers=1, average=True, **options)
    assert found["scale"] == [2, 4]
    for row in found:
        values = [
            each["dimension"]
            for each in rows
            if each["scale"] == row["scale"] and each["dimension"] is not None
        ]
        assert row["dimension"] == pytest.approx(np.mean(values))
        assert (row["n_groups"], row["n_undefined"]) == (len(values), N_TEXTS - len(values))


def test_versus_a_layer_is_paired_over_the_texts(made):
    first, _ = made
    found = first.store.query(
        "curvature", by="context", average=True, versus="1", spaces=first.space
    )
    values = {
        row["layer"]: dict(zip(rows["group"], rows["curvature"], strict=True))
        for row in found
        for rows in [first.store.query("curvature", by="context", layers=row["layer"])]
    }
    p_values = []
    for row in found:
        if row["layer"] == 1:
            assert row["difference"] is None
            continue
        pairs = [
            (value, values[1][text])
            for text, value in values[row["layer"]].items()
            if value is not None
        ]
        differences = np.array([value - other for value, other in pairs])
        assert (row["versus"], row["n_common"]) == ("1", len(differences))
        assert row["difference"] == pytest.approx(differences.mean())
        right = ttest_rel(*zip(*pairs, strict=True))
        found_limits = [row["difference_low"], row["difference_high"]]
        assert found_limits == pytest.approx([*right.confidence_interval()], rel=1e-8)
        assert row["p"] == pytest.approx(right.pvalue, rel=1e-8)
        assert row["p"] <= row["p_holm"] <= 1
        p_values.append(row["p"])
    smallest = min(row["p_holm"] for row in found if row["p_holm"])
    assert smallest == pytest.approx(min(1, len(p_values) * min(p_values)))


def test_versus_a_space_is_over_the_texts_of_both(made):
    first, second = made
    store = first.store
    found = store.query(**DIFF_ERANK, average=True, versus=first.space, layers=2)
    rows = {row["space"]: row for row in found}
    assert rows[first.space]["difference"] is None
    row = rows[second.space]
    mine, others = (of_texts(each, 2) for each in (second, first))
    differences = [erank(x) - erank(others[text]) for text, x in mine.items() if len(x) > 1]
    assert row["n_common"] == len(differences) == N_TEXTS - 12
    assert row["difference"] == pytest.approx(np.mean(differences))
    assert row["n_groups"] == N_TEXTS - 12
    assert rows[first.space]["n_groups"] == N_TEXTS - 2  # a mean is over all texts of its space


def test_versus_the_best_marks_the_highest(made):
    first, _ = made
    found = first.store.query(
        "curvature", by="context", average=True, versus="best", spaces=first.space
    )
    values = found["curvature"]
    assert found["best"] == [value == max(values) for value in values]
    assert [row["versus"] for row in found if not row["best"]] == ["best"] * (len(values) - 1)
    assert all(row["difference"] <= 0 for row in found if not row["best"])


def test_answers_are_stored_and_have_no_seed(made):
    first, _ = made
    options = {"by": "context", "average": True, "layers": 1, "spaces": first.space}
    once = first.store.query("curvature", **options)
    assert first.store.cache_state("curvature", **options).lookups[0].is_stored
    again = Store(first.root).query("curvature", **options)
    assert again.to_pylist() == once.to_pylist()
    assert first.store.query("curvature", **options, seed=1).to_pylist() == once.to_pylist()


def test_few_texts_have_no_interval_and_none_has_no_value(made):
    first, _ = made
    options = {"by": "context", "average": True, "layers": 1, "spaces": first.space}
    where = "context_id IN (SELECT item_id FROM items WHERE text IN ('{}'))"
    some = "', '".join(sentences()[3:8])
    [row] = first.store.query("curvature", **options, where=where.format(some))
    assert (row["n_groups"], row["low"], row["reason"]) == (
        5,
        None,
        "interval: fewer than 10 groups",
    )
    [row] = first.store.query(
        "curvature", **options, where=where.format("', '".join(sentences()[:2]))
    )
    assert (row["curvature"], row["n_groups"], row["n_undefined"], row["n"]) == (None, 0, 2, 2)
    assert row["reason"].startswith("groups without a value: fewer than three tokens (2); interval")
    with pytest.raises(QueryError, match="no item is selected"):
        first.store.query("curvature", **options, where="text = 'nothing'")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"average": True}, UsageError, "average is the mean over groups of items: name their col"),
        (
            {"versus": "1", "metric": "rogue-dims"},
            UsageError,
            "versus='1' has an effect with `average` alone: add that",
        ),
        ({"by": "context", "versus": "best"}, UsageError, "leave out `by`, or add `average`"),
        ({"fit": "group"}, UsageError, "fit is for groups of items: name their column"),
        ({"by": "context", "fit": "text"}, UnknownNameError, "unknown fit 'text'"),
        ({"by": "contexts", "average": True}, UnknownNameError, "Did you mean 'context'"),
    ],
)
def test_what_is_refused(made, options, error, message):
    with pytest.raises(error, match=message):
        made[0].store.query(**{"metric": "norms", **options})


def test_fit_is_of_sets_of_vectors(made):
    with pytest.raises(
        UsageError, match="fit='group' is for metrics of a set of vectors, and self"
    ):
        made[0].store.query("self-similarity", by="context", fit="group")
