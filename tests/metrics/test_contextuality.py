"""Self-similarity, intra-sentence similarity and MEV against every pair, scipy and a full SVD."""

import gc
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, mean_cosine, plain_intra_sentence, plain_mev

from embstore.metrics.contextuality import intra_sentence, mev, self_similarity
from embstore.metrics.data import Contexts
from embstore.metrics.numerics import groups as group_module

FUNCTIONS = {
    "self_similarity": self_similarity,
    "intra_sentence_similarity": intra_sentence,
    "mev": mev,
}


@dataclass(frozen=True)
class Occurrences:
    """Vectors (n, dim) in the order of ``contexts.ids``, and the same in blocks and in another
    order.
    """

    x: np.ndarray
    contexts: Contexts
    data: Arrays

    def of(self, group):
        return self.x[self.contexts.groups == group]

    @property
    def sizes(self):
        return np.bincount(self.contexts.groups, minlength=len(self.contexts.names)).tolist()


def occurrences(x, groups, *, seed=0, n_blocks=3):
    """Give rows ids that do not follow each other, and shuffle them over blocks, as a store
    does.
    """
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(2**62, len(x), replace=False))
    order = rng.permutation(len(x))
    names = tuple(f"word{group}" for group in range(int(groups.max(initial=0)) + 1))
    blocks = np.array_split(x[order], n_blocks)
    return Occurrences(
        x, Contexts(ids, groups.astype(np.int64), names), Arrays(*blocks, ids=ids[order])
    )


@st.composite
def corpora(draw):
    """A few words of 1 to 12 occurrences, clustered about a vector each, of anisotropies from 0 to
    nearly 1.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
    dim = draw(st.integers(2, 9))
    offset = draw(st.sampled_from([0.0, 0.3, 3.0, 100.0]))
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    own = rng.normal(size=(len(sizes), dim))
    x = (rng.normal(size=(len(groups), dim)) + own[groups] + offset) * draw(
        st.sampled_from([1e-3, 1.0, 100.0])
    )
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16]))
    # float16 in a store reaches a metric as float32.
    stored = x.astype(dtype).astype(np.float32 if dtype == np.float16 else dtype)
    return occurrences(
        stored, groups, seed=draw(st.integers(0, 99)), n_blocks=draw(st.integers(1, 4))
    )


def single_row(rows):
    [row] = rows
    return row


def by_name(rows):
    return {row.get("word", row.get("sentence")): row for row in rows}


@pytest.fixture(params=["in memory", "streamed", "streamed in batches"], autouse=True)
def _sizes(request, monkeypatch):
    """Let every test go through each way of reading: all at once, block by block, and a few groups
    at a time.
    """
    budget = {"in memory": 1 << 27, "streamed": 300, "streamed in batches": 1}[request.param]
    monkeypatch.setattr(group_module, "BATCH_BYTES", budget)


# The fixture is set once for all examples of a test, which is what is meant.
each = settings(max_examples=25, deadline=None)


@each
@given(corpora(), st.integers(2, 6))
def test_self_similarity_is_the_mean_over_all_pairs_of_a_word(made, minimum):
    expected = {g: mean_cosine(made.of(g)) for g, size in enumerate(made.sizes) if size >= minimum}
    check("self_similarity", made, expected, minimum, min_contexts=minimum)


@each
@given(corpora(), st.integers(1, 6))
def test_intra_sentence_is_the_mean_cosine_with_the_mean_vector(made, minimum):
    expected = {
        g: plain_intra_sentence(made.of(g)) for g, size in enumerate(made.sizes) if size >= minimum
    }
    check("intra_sentence_similarity", made, expected, minimum, min_words=minimum)


@each
@given(corpora(), st.integers(2, 6), st.booleans())
def test_mev_is_the_share_of_the_first_singular_value(made, minimum, is_centred):
    expected = {
        g: plain_mev(made.of(g), is_centred=is_centred)
        for g, size in enumerate(made.sizes)
        if size >= minimum
    }
    check(
        "mev",
        made,
        expected,
        minimum,
        min_contexts=minimum,
        variant="centred" if is_centred else "uncentred",
    )


def test_the_sums_of_one_batch_of_groups_are_in_memory_at_once(monkeypatch):
    alive = []
    empty = group_module.GroupSums.empty

    def counted(*arguments, **named):
        alive.append(
            sum(type(single_row) is group_module.GroupSums for single_row in gc.get_objects())
        )
        return empty(*arguments, **named)

    monkeypatch.setattr(group_module.GroupSums, "empty", counted)
    monkeypatch.setattr(group_module, "BATCH_BYTES", 1)
    groups = np.repeat(np.arange(6), 5)
    made = occurrences(np.random.default_rng(0).normal(size=(30, 4)), groups, seed=0, n_blocks=3)
    single_row(self_similarity(made.data, contexts=made.contexts))
    assert alive == [0] * 6


def check(value, made, expected, minimum, **parameters):
    """Hold both the rows of each group and the row of their mean against the expected values of the
    groups.
    """
    function, group = FUNCTIONS[value], "sentence" if value.startswith("intra") else "word"
    rows = function(made.data, contexts=made.contexts, **{f"per_{group}": True}, **parameters)
    mean = single_row(function(made.data, contexts=made.contexts, **parameters))
    scores = mean.pop("scores")  # on which layers are compared
    n = len(expected)
    assert len(scores.units) == n
    if n:
        assert scores.value == pytest.approx(np.mean(list(expected.values())), abs=1e-9, rel=0)
    if n > 1:  # each word deviates from the mean by its error
        values = scores.value - scores.errors * np.sqrt(n * (n - 1))
        assert sorted(values) == pytest.approx(sorted(expected.values()), abs=1e-9, rel=0)
    assert (np.diff(scores.units) > 0).all()
    if not expected:
        assert not rows[0].pop("scores").units.size
        assert rows == [mean]
        assert (mean[value], mean["n"], mean[f"n_{group}s"]) == (None, len(made.x), 0)
        assert f"no {group} has {minimum}" in mean["reason"]
        return
    assert [row[group] for row in rows] == [made.contexts.names[g] for g in expected]
    assert [row[value] for row in rows] == pytest.approx(list(expected.values()), abs=1e-9, rel=0)
    assert [row["n"] for row in rows] == [made.sizes[g] for g in expected]
    assert mean[value] == pytest.approx(np.mean(list(expected.values())), abs=1e-9, rel=0)
    assert mean["n"] == sum(made.sizes[g] for g in expected)
    assert (mean[f"n_{group}s"], mean[group], mean["reason"]) == (len(expected), None, None)
    assert mean[f"n_{group}s_left_out"] == len(made.sizes) - len(expected)
    assert {mean["baseline"], mean["adjusted"]} == {None}


@each
@given(corpora())
def test_the_baseline_is_that_of_all_occurrences_and_is_subtracted(made):
    baselines = {
        self_similarity: mean_cosine(made.x) if len(made.x) > 1 else None,
        intra_sentence: mean_cosine(made.x) if len(made.x) > 1 else None,
        mev: plain_mev(made.x),
    }
    close = {"abs": 1e-9, "rel": 0}
    for value, function in FUNCTIONS.items():
        row = single_row(function(made.data, contexts=made.contexts, adjusted=True))
        if baselines[function] is None:
            assert row["baseline"] is None
            assert "baseline: fewer than two" in row["reason"]
            continue
        assert row["baseline"] == pytest.approx(baselines[function], **close)
        if function is not intra_sentence and row["n_words"] == 1 and row["n"] == len(made.x):
            assert row["adjusted"] is None, "there is nothing else"
            assert "adjusted: the baseline is of the word itself" in row["reason"]
        elif row[value] is not None:
            assert row["adjusted"] == pytest.approx(row[value] - row["baseline"], abs=1e-15)
    if len(made.x) > 1:
        row = single_row(mev(made.data, contexts=made.contexts, adjusted=True, variant="centred"))
        assert row["baseline"] == pytest.approx(plain_mev(made.x, is_centred=True), **close)


def test_words_that_were_asked_for_have_rows_with_a_reason_where_they_have_no_value():
    made = occurrences(
        np.random.default_rng(2).normal(size=(8, 3)), np.array([0] * 5 + [1] + [2] * 2)
    )
    for value, function in {"self_similarity": self_similarity, "mev": mev}.items():
        rows = by_name(
            function(made.data, contexts=made.contexts, word=("word0", "word1", "word2"))
        )
        assert list(rows) == ["word0", "word1", "word2"]
        assert rows["word0"]["reason"] is None
        assert (rows["word1"][value], rows["word1"]["n"]) == (None, 1)
        assert rows["word1"]["reason"] == "1 context, and at least 5 are needed"
        assert rows["word2"]["reason"] == "2 contexts, and at least 5 are needed"
        assert (rows["word1"]["n_words"], rows["word1"]["n_words_left_out"]) == (0, 1)


def test_zero_vectors_are_no_contexts_and_are_counted():
    x = np.random.default_rng(3).normal(size=(9, 4))
    x[5:7] = 0
    made = occurrences(x, np.array([0] * 7 + [1] * 2))
    found = single_row(self_similarity(made.data, contexts=made.contexts, min_contexts=3))
    assert found["self_similarity"] == pytest.approx(mean_cosine(x[:5]), abs=1e-12)
    assert (found["n"], found["n_zero"], found["n_words_left_out"]) == (5, 2, 1)
    found = single_row(intra_sentence(made.data, contexts=made.contexts, min_words=3))
    assert found["intra_sentence_similarity"] == pytest.approx(
        plain_intra_sentence(x[:5]), abs=1e-12
    )
    assert (found["n"], found["n_zero"]) == (5, 2)
    assert (
        single_row(self_similarity(made.data, contexts=made.contexts, min_contexts=6))[
            "self_similarity"
        ]
        is None
    )
    for variant in ("uncentred", "centred"):  # they are rows of the matrix like others
        found = single_row(mev(made.data, contexts=made.contexts, min_contexts=7, variant=variant))
        assert found["mev"] == pytest.approx(
            plain_mev(x[:7], is_centred=variant == "centred"), abs=1e-12
        )
        assert (found["n"], found["n_zero"]) == (7, 2)
