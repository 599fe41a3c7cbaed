"""The baseline of contextuality: one for all words and groups, against every pair of vectors."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_columns import write_columns
from metric_data import mean_cosine, plain_intra_sentence, plain_mev
from scipy import stats
from synthetic import synthetic_store

from embstore.base.errors import UsageError
from embstore.metrics import METRICS, contextuality
from embstore.plot.caption import caption
from embstore.plot.options import PlotOptions
from embstore.plot.plan import make_plan

WORDS = ("bank", "river", "money", "the", "of")
# metric → its column, the noun of its groups, their plain value and the plain baseline
PLAIN = {
    "self-similarity": ("self_similarity", "word", mean_cosine, mean_cosine),
    "mev": ("mev", "word", plain_mev, plain_mev),
    "intra-sentence": (
        "intra_sentence_similarity", "sentence", plain_intra_sentence, mean_cosine,
    ),
}  # fmt: skip
LEAST = {"word": {"min_contexts": 2}, "sentence": {"min_words": 2}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Sentences of some words, with a column of two senses, or none, that are far apart."""
    rng = np.random.default_rng(4)
    sentences = [" ".join(rng.choice(WORDS, rng.integers(2, 7))) + f" {n}" for n in range(24)]
    root = tmp_path_factory.mktemp("baselines") / "store"
    made = synthetic_store(
        root, unit="occurrence", texts=sentences, dim=6, n_blocks=1, top_form=None, index=False
    )
    values = [[None, "lend", "flow"][number % 3] for number in range(len(made.items))]
    write_columns(made, {"sense": values})
    return made


def senses(made):
    return np.array([[None, "lend", "flow"][number % 3] for number in range(len(made.items))])


def key(item, noun):
    return item.text if noun == "word" else item.context


@pytest.mark.parametrize("transforms", [(), "center"])
@pytest.mark.parametrize("where", [None, "position > 0"])
@pytest.mark.parametrize("metric", PLAIN)
def test_groups_are_adjusted_by_the_baseline_of_all_selected_occurrences(
    made, metric, where, transforms
):
    value, noun, plain, plain_baseline = PLAIN[metric]
    found = made.store.query(
        metric, layers=1, by="sense", where=where, transforms=transforms, adjusted=True,
        **{f"per_{noun}": True}, **LEAST[noun],
    )  # fmt: skip
    kept = np.array([where is None or item.span.start > 0 for item in made.items])
    x = made.layer(1).astype(np.float64)
    x -= x[kept].mean(axis=0) if transforms else 0
    baseline = plain_baseline(x[kept])
    assert len({row["group"] for row in found}) == 3
    for row in found:
        is_own = np.array([key(item, noun) == row[noun] for item in made.items])
        members = x[kept & is_own & (senses(made) == row["group"])]
        assert row[value] == pytest.approx(plain(members), abs=1e-9, rel=0)
        assert row["baseline"] == pytest.approx(baseline, abs=1e-9, rel=0)
        assert row["n_baseline"] == kept.sum()
        assert row["adjusted"] == row[value] - row["baseline"]


@pytest.mark.parametrize("metric", PLAIN)
def test_a_group_may_have_a_baseline_of_its_own(made, metric):
    _, noun, _, plain_baseline = PLAIN[metric]
    options = {"layers": 1, "adjusted": True, **LEAST[noun]}
    found = made.store.query(metric, by="sense", baseline="group", **options)
    assert found["baseline_of"] == ["group"] * 3
    assert "baseline of: group" in caption(make_plan(found, PlotOptions()))
    for row in found:
        members = made.layer(1)[senses(made) == row["group"]]
        assert row["n_baseline"] == len(members)
        assert row["baseline"] == pytest.approx(plain_baseline(members), abs=1e-9, rel=0)
        if row["group"] is not None:
            [alone] = made.store.query(metric, where=f"sense = '{row['group']}'", **options)
            names = ("n", "adjusted", "baseline", "n_baseline")
            assert [row[name] for name in names] == pytest.approx([alone[n] for n in names])


@pytest.mark.slow
@pytest.mark.parametrize("metric", PLAIN)
@settings(max_examples=15, deadline=None)
@given(edges=st.sets(st.integers(0, 9), min_size=2, max_size=5).map(sorted), fits=st.booleans())
def test_no_way_of_dividing_changes_the_baseline_or_an_undivided_word(made, metric, edges, fits):
    """Also of intervals outside of which there are items."""
    noun = PLAIN[metric][1]
    options = {
        "layers": 1, "adjusted": True, f"per_{noun}": True, **LEAST[noun],
        "transforms": "standardize" if fits else (),
    }  # fmt: skip
    whole = {row[noun]: row for row in made.store.query(metric, **options)}
    bins = {"bins": ",".join(map(str, edges))}
    divided = made.store.query(metric, by="position", **bins, **options)
    [baselines] = {(row["baseline"], row["n_baseline"]) for row in whole.values()}
    assert {*divided["n_baseline"]} == {len(made.items)}
    assert divided["baseline"] == pytest.approx([baselines[0]] * len(divided), abs=1e-12)
    for row in divided:
        of_whole = whole.get(row[noun])
        if of_whole is not None and row["n"] == of_whole["n"]:
            assert row["adjusted"] == pytest.approx(of_whole["adjusted"], abs=1e-12)


@pytest.mark.parametrize("metric", ["self-similarity", "mev"])
def test_a_word_that_is_named_has_the_baseline_of_all(made, metric):
    named = made.store.query(metric, word=["bank", "7"], layers=1, adjusted=True)
    whole = made.store.query(metric, layers=1, adjusted=True, min_contexts=2)
    assert {*named["baseline"]} == {*whole["baseline"]}
    assert named["n_baseline"] == [len(made.items)] * 2
    assert named["adjusted"][1] is None
    assert "at least 5 are needed" in named["reason"][1]


@pytest.mark.parametrize("metric", ["self-similarity", "mev"])
def test_a_baseline_of_the_word_itself_adjusts_no_group_of_it(made, metric):
    options = {"layers": 1, "adjusted": True, "min_contexts": 2}
    found = made.store.query(metric, where="text = 'bank'", by="sense", **options)
    of_bank = Counter(senses(made)[[item.text == "bank" for item in made.items]])
    assert [row["n"] for row in found] == [of_bank["flow"], of_bank["lend"], of_bank[None]]
    assert {row["n_baseline"] for row in found} == {sum(of_bank.values())}
    assert {row["adjusted"] for row in found} == {None}
    for reason in found["reason"]:
        assert reason == "adjusted: the baseline is of the word itself, since no other is selected"
    two = made.store.query(metric, where="text IN ('bank', 'the')", by="sense", **options)
    assert None not in two["adjusted"]
    own = made.store.query(
        metric, where="text = 'the' OR sense = 'lend' AND text = 'bank'", by="sense", word="bank",
        baseline="group", **options,
    )  # fmt: skip
    assert [row["adjusted"] is None for row in own if row["n"]] == [False]


@pytest.mark.parametrize("where", [None, "position > 0"])
def test_groups_are_correlated_with_the_cosine_to_the_mean_of_all_selected_items(made, where):
    found = made.store.query(
        "correlate", column="position", value="cosine-to-mean", by="sense", layers=1, where=where
    )
    position = np.array([len(item.context[: item.span.start].split()) for item in made.items])
    kept = (position > 0) | (where is None)
    x = made.layer(1).astype(np.float64)
    cosines = x @ x[kept].mean(axis=0) / np.linalg.norm(x, axis=1)
    assert len(found) == 3
    for row in found:
        members = kept & (senses(made) == row["group"])
        assert row["n"] == members.sum()
        plain = stats.spearmanr(position[members], cosines[members])
        assert row["spearman"] == pytest.approx(plain.statistic, abs=1e-9)


def test_the_baseline_of_a_layer_is_computed_once(made, monkeypatch):
    n_calls = []
    moments = contextuality.moments
    monkeypatch.setattr(
        contextuality, "moments", lambda data: n_calls.append(data) or moments(data)
    )
    options = {"by": "sense", "adjusted": True, "cache": False}
    assert len(made.store.query("mev", **options)) == 6
    assert len(n_calls) == 2


@pytest.mark.parametrize("metric", PLAIN)
def test_a_baseline_of_groups_needs_groups_and_an_effect(made, metric):
    with pytest.raises(UsageError, match="baseline='group' is for groups of items: name their"):
        made.store.query(metric, adjusted=True, baseline="group")
    with pytest.raises(UsageError, match="has an effect with `adjusted` alone"):
        made.store.query(metric, by="sense", baseline="group")
    with pytest.raises(UsageError, match="fit='group' is for metrics of a set of vectors"):
        made.store.query(metric, by="sense", transforms="center", fit="group", adjusted=True)
    assert "baseline_of" not in made.store.query(metric, by="sense", adjusted=True).columns


@pytest.mark.parametrize("name", PLAIN)
def test_metrics_with_a_baseline_say_of_how_many_vectors(name):
    names = [column.name for column in METRICS[name].columns]
    assert ("baseline", "n_baseline") in pairwise(names)
    assert METRICS[name].baseline is not None
