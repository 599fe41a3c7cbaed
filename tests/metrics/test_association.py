"""WEAT, SC-WEAT and ValNorm against plain loops, enumerated splits and scipy."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, words
from scipy import stats
from scipy.spatial.distance import cosine as cosine_distance

from embstore.metrics.association import sc_weat, valnorm, weat
from embstore.metrics.data import Lexicon
from embstore.metrics.numerics.statistics import permutation_test


def sets_of(*sizes):
    """Words by ascending id, one set after the other."""
    ends = np.cumsum(sizes).tolist()
    return [words(*range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


def cosine(a, b):
    return float(1 - cosine_distance(a.astype(np.float64), b.astype(np.float64)))


def association(x, word, a, b):
    first = [cosine(x[word], x[other]) for other in a.ids]
    return float(np.mean(first) - np.mean([cosine(x[word], x[other]) for other in b.ids]))


def vectors(seed, n, dim=5, offset=0.3, dtype=np.float32):
    return (
        (np.random.default_rng(seed).normal(size=(n, dim)) + offset)
        .astype(dtype)
        .astype(np.float32)
    )


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 1000),
    sizes=st.tuples(*[st.integers(1, 4)] * 4),
    offset=st.sampled_from([0.0, 1.0, 30.0]),  # cosines up to .999
    dtype=st.sampled_from([np.float32, np.float16]),
    ddof=st.integers(0, 1),
)
def test_weat_is_that_of_loops_over_words_and_splits(seed, sizes, offset, dtype, ddof):
    vector = vectors(seed, sum(sizes), offset=offset, dtype=dtype)
    x, y, a, b = sets_of(*sizes)
    found = weat(Arrays(vector), x=x, y=y, a=a, b=b, ddof=ddof)
    s = {word: association(vector, word, a, b) for word in [*x.ids, *y.ids]}
    statistic = sum(s[word] for word in x.ids) - sum(s[word] for word in y.ids)
    effect = (np.mean([s[word] for word in x.ids]) - np.mean([s[word] for word in y.ids])) / np.std(
        [*s.values()], ddof=ddof
    )
    assert found["statistic"] == pytest.approx(statistic, abs=1e-9)
    assert found["effect_size"] == pytest.approx(effect, abs=1e-9)
    splits = list(combinations(s, len(x.ids)))
    larger = [
        split
        for split in splits
        if 2 * sum(s[w] for w in split) - sum(s.values()) >= statistic - 1e-12
    ]
    assert (found["p_value"], found["n_permutations"], found["exact"]) == (
        len(larger) / len(splits),
        len(splits),
        True,
    )
    assert (found["sizes"], found["total"], found["coverage"]) == (list(sizes), sum(sizes), 1.0)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 1000), n_a=st.integers(1, 4), n_b=st.integers(1, 4), ddof=st.integers(0, 1)
)
def test_sc_weat_is_that_of_loops_over_words_and_splits(seed, n_a, n_b, ddof):
    vector = vectors(seed, n_a + n_b + 6)
    a, b, targets = sets_of(n_a, n_b, 6)
    # An attribute word as a target keeps its cosine of 1 with itself.
    targets = words(*targets.ids, *a.ids)
    rows = sc_weat(Arrays(vector), words=targets, a=a, b=b, ddof=ddof)
    assert [row["word"] for row in rows] == list(targets.texts)
    for row, word in zip(rows, targets.ids, strict=True):
        cosines = {other: cosine(vector[word], vector[other]) for other in [*a.ids, *b.ids]}
        difference = association(vector, word, a, b)
        assert row["effect_size"] == pytest.approx(
            difference / np.std([*cosines.values()], ddof=ddof), abs=1e-9
        )
        splits = list(combinations(cosines, n_a))
        means = [np.mean([cosines[w] for w in split]) for split in splits]
        larger = sum(mean >= np.mean([cosines[w] for w in a.ids]) - 1e-12 for mean in means)
        assert (row["p_value"], row["n_permutations"], row["exact"]) == (
            larger / len(splits),
            len(splits),
            True,
        )
        assert (row["n"], row["total"], row["coverage"], row["reason"]) == (
            n_a + n_b,
            n_a + n_b,
            1.0,
            None,
        )
        if ddof == 0 and n_a == n_b:
            assert abs(row["effect_size"]) <= 2 + 1e-12


def lexicon_of(ids, seed=0):
    return Lexicon(words(*ids), np.random.default_rng(seed).uniform(1, 5, len(ids)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_valnorm_is_that_of_loops_and_scipy(dtype):
    for seed in range(5):
        vector = vectors(seed, 40, offset=seed, dtype=dtype)
        a, b, _ = sets_of(4, 5, 31)
        # Two words of A are not in it, the other attribute words are.
        lexicon = lexicon_of(range(2, 40), seed)
        effects = []
        for word in lexicon.words.ids:
            cosines = [cosine(vector[word], vector[other]) for other in [*a.ids, *b.ids]]
            effects.append(association(vector, word, a, b) / np.std(cosines))
        found = valnorm(Arrays(vector), lexicon=lexicon, pleasant=a, unpleasant=b)
        right = stats.pearsonr(effects, lexicon.value)
        assert found["valnorm"] == pytest.approx(right.statistic, abs=1e-9)
        assert found["p_value"] == pytest.approx(right.pvalue, rel=1e-6, abs=1e-15)
        assert (found["n"], found["total"], found["coverage"], found["n_excluded"]) == (
            38,
            38,
            1.0,
            0,
        )
        assert (found["n_pleasant"], found["n_unpleasant"], found["reason"]) == (4, 5, None)


@pytest.mark.parametrize("n", [2, 3, 4, 10, 399])
def test_the_p_value_of_r_is_scipys_and_the_interval_that_of_the_jackknife(n):
    rng = np.random.default_rng(n)
    vector = rng.normal(size=(n + 4, 5))
    a, b, targets = sets_of(2, 2, n)
    lexicon = Lexicon(targets, rng.normal(size=n))
    found = valnorm(Arrays(vector), lexicon=lexicon, pleasant=a, unpleasant=b)
    effects = [
        row["effect_size"]
        for row in sc_weat(Arrays(vector), words=targets, a=a, b=b, permutations=0)
    ]
    # A strong correlation as well.
    lexicon.value[:] = np.array(effects) + rng.normal(size=n) * np.std(effects) / 2
    strong = valnorm(Arrays(vector), lexicon=lexicon, pleasant=a, unpleasant=b)
    right = stats.pearsonr(effects, lexicon.value)
    assert (strong["valnorm"], strong["p_value"]) == pytest.approx(
        (right.statistic, right.pvalue), rel=1e-9
    )
    if n < 10:
        assert (strong["low"], strong["high"], strong["reason"]) == (
            None,
            None,
            "interval: fewer than 10 words",
        )
    else:
        without = [
            np.arctanh(np.corrcoef(np.delete(effects, at), np.delete(lexicon.value, at))[0, 1])
            for at in range(n)
        ]
        error = np.sqrt((n - 1) / n * np.sum((without - np.mean(without)) ** 2))
        half = stats.t.ppf(0.975, n - 1) * error
        ends = np.tanh(np.arctanh(right.statistic) + half * np.array([-1, 1]))
        assert (strong["low"], strong["high"]) == pytest.approx(tuple(ends), abs=1e-9)
        assert strong["reason"] is None
        assert strong["low"] < strong["valnorm"] < strong["high"]
    assert 0 <= found["p_value"] <= 1


def test_words_without_an_effect_size_are_left_out_and_counted():
    """As those of one length for an EOS vector at layer 0, which are all the same."""
    vector = vectors(0, 30)
    vector[10] = 0
    vector[11] = 0
    a, b, _ = sets_of(4, 4, 22)
    lexicon = lexicon_of(range(8, 35))  # 30 to 34 have no vector
    lexicon.value[0] = np.nan
    found = valnorm(Arrays(vector), lexicon=lexicon, pleasant=a, unpleasant=b)
    kept = [place for place in range(1, 22) if place + 8 not in (10, 11)]
    right = valnorm(
        Arrays(vector),
        pleasant=a,
        unpleasant=b,
        lexicon=Lexicon(words(*(place + 8 for place in kept)), lexicon.value[kept]),
    )
    assert found["valnorm"] == pytest.approx(right["valnorm"], abs=1e-12)
    assert (found["n"], found["total"], found["n_excluded"]) == (19, 27, 3)
    assert found["coverage"] == 19 / 27

    vector[:8] = vector[0]
    found = valnorm(Arrays(vector), lexicon=lexicon, pleasant=a, unpleasant=b)
    assert (found["valnorm"], found["p_value"], found["n"], found["n_excluded"]) == (
        None,
        None,
        0,
        22,
    )
    assert found["reason"] == "fewer than two words of the lexicon have an effect size and a value"
    [row] = sc_weat(Arrays(vector), words=words(12), a=a, b=b)
    assert (row["effect_size"], row["p_value"]) == (None, None)
    assert row["reason"] == "its cosines with the attribute words are all equal"
    found = weat(Arrays(vector), x=words(12, 13), y=words(14, 15), a=a, b=b)
    assert (found["effect_size"], found["statistic"], found["p_value"]) == (None, None, None)
    assert found["reason"] == "all target words are associated alike"


def test_effect_sizes_that_differ_by_rounding_alone_have_no_correlation():
    """Words whose cosines with the attribute words are multiples of each other, and small: one
    effect size for all.
    """
    a, b, targets = sets_of(2, 2, 6)
    rng = np.random.default_rng(0)
    small = np.outer(rng.uniform(1e-7, 1e-6, 6), [0.3, 0.2, -0.1, 0.05])
    vector = np.concatenate(
        [np.eye(9)[:4], np.concatenate([small, rng.normal(size=(6, 5))], axis=1)]
    )
    lexicon = Lexicon(targets, rng.normal(size=6))
    effects = [row["effect_size"] for row in sc_weat(Arrays(vector), words=targets, a=a, b=b)]
    assert np.ptp(effects) < 1e-8
    found = valnorm(Arrays(vector), lexicon=lexicon, pleasant=a, unpleasant=b)
    assert (found["valnorm"], found["reason"]) == (None, "the effect sizes are all equal")


def test_missing_words_refuse_the_layer_or_are_left_out_and_counted():
    vector = vectors(1, 16)
    a, b, x, y = sets_of(4, 4, 4, 4)
    vector[7] = 0  # the last word of B
    there = np.delete(np.arange(16), [2, 9])  # without one of A and one of X
    data = Arrays(vector[there], ids=there)
    found = weat(data, x=x, y=y, a=a, b=b)
    assert {found[name] for name in ("effect_size", "statistic", "p_value", "sizes")} == {None}
    assert found["reason"] == "no vector, or a zero one, of 'word9', 'word2', 'word7'"
    kept = words(8, 10, 11), y, words(0, 1, 3), words(4, 5, 6)
    found = weat(data, x=x, y=y, a=a, b=b, missing="skip")
    right = weat(Arrays(vector), **dict(zip("xyab", kept, strict=True)))
    assert found["sizes"] == [3, 4, 3, 3]
    assert (found["n"], found["total"], found["coverage"]) == (13, 16, 13 / 16)
    assert found["effect_size"] == pytest.approx(right["effect_size"], abs=1e-12)
    assert found["p_value"] == right["p_value"]

    rows = sc_weat(data, words=x, a=a, b=b)
    assert {row["effect_size"] for row in rows} == {None}
    assert {row["reason"] for row in rows} == {"no vector, or a zero one, of 'word2', 'word7'"}
    rows = sc_weat(data, words=x, a=a, b=b, missing="skip")
    assert [row["word"] for row in rows] == list(x.texts)
    assert [row["reason"] for row in rows] == [None, "it has no vector, or a zero one", None, None]
    assert {(row["n"], row["total"], row["coverage"]) for row in rows} == {(6, 8, 0.75)}

    lexicon = lexicon_of(range(8, 16))
    found = valnorm(data, lexicon=lexicon, pleasant=a, unpleasant=b)
    assert (found["valnorm"], found["reason"]) == (
        None,
        "no vector, or a zero one, of 'word2', 'word7'",
    )
    found = valnorm(data, lexicon=lexicon, pleasant=a, unpleasant=b, missing="skip")
    assert (found["n"], found["coverage"], found["n_pleasant"], found["n_unpleasant"]) == (
        7,
        7 / 8,
        3,
        3,
    )


def test_drawn_splits_are_those_of_a_permutation_test():
    """C(20, 10) = 184,756 splits: drawn unless as many are asked for, and then p is near, never 0,
    and seeded.
    """
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 20)) + np.array([0, 0.5, 1, 9])[:, None] * (np.arange(20) < 10)
    exact, n_splits, is_exact = permutation_test(values, 10, 200_000, 0)
    assert (n_splits, is_exact) == (184_756, True)
    drawn, n_splits, is_exact = permutation_test(values, 10, 40_000, 0)
    assert (n_splits, is_exact) == (40_000, False)
    assert drawn == pytest.approx(exact, abs=5 * 0.5 / 200)
    assert 1 / 40_001 <= drawn[3] <= 5 / 40_001
    assert exact[3] == 1 / 184_756
    assert permutation_test(values, 10, 40_000, 0)[0].tolist() == drawn.tolist()
    assert permutation_test(values, 10, 40_000, 1)[0].tolist() != drawn.tolist()
    by_scipy = stats.permutation_test(
        (values[2, :10], values[2, 10:]),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        vectorized=True,
        n_resamples=40_000,
        alternative="greater",
        rng=rng,
    )
    assert drawn[2] == pytest.approx(by_scipy.pvalue, abs=0.002)


@settings(deadline=None, max_examples=50)
@given(
    data=st.data(),
    n=st.integers(3, 9),
    scale=st.sampled_from([0.1, 1 / 3, 1e-5]),
    shift=st.sampled_from([0.0, 0.9]),
)
def test_equal_sums_count_whatever_the_order_of_their_terms(data, n, scale, shift):
    """Multiples of a number that is not exact in binary: whole numbers tell which sums are
    equal.
    """
    whole = data.draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n))
    n_first = data.draw(st.integers(1, n - 1))
    observed = sum(whole[:n_first])
    splits = [sum(split) for split in combinations(whole, n_first)]
    values = np.array([whole]) * scale + shift
    p, n_splits, exact = permutation_test(values, n_first, 0, 0, error=np.finfo(float).eps)
    assert (p[0], n_splits, exact) == (
        sum(each >= observed for each in splits) / len(splits),
        len(splits),
        True,
    )


def test_associations_that_tie_in_whole_numbers_tie_in_weat():
    """Vectors of whole numbers, whose cosines with unit axes are exact rational numbers over one
    root.
    """
    a, b, x, y = sets_of(1, 1, 3, 3)
    targets = np.array([[3, 1, 2], [1, 2, 3], [2, 1, 3], [1, 3, 2], [2, 3, 1], [3, 2, 1]])
    # Cos with the first axis less that with the second, times √14.
    whole = [int(v[0] - v[1]) for v in targets]
    splits = [sum(split) for split in combinations(whole, 3)]
    p = sum(each >= sum(whole[:3]) for each in splits) / 20
    for turned in (np.eye(3), np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]):
        vector = np.concatenate([np.eye(3)[:2], targets]) @ turned
        assert weat(Arrays(vector), x=x, y=y, a=a, b=b)["p_value"] == p
