"""Metrics by groups of items, against pandas and stores that have only the items of a group."""

import numpy as np
import pandas as pd
import pytest
from every_metric import SENTENCES
from figures import curves
from hypothesis import given
from hypothesis import strategies as st
from kept_columns import write_columns
from sound_stores import problems_of
from synthetic import synthetic_store

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.metrics import METRICS
from embstore.query import group_layers
from embstore.query.grouping import MAX_GROUPS, interval_names, parse_grouping, quantile_edges

N = 60
OF_ITEMS = [
    name
    for name, metric in METRICS.items()
    if metric.needs in ("summary", "vectors", "neighbours", "layers")
]
PARAMETERS = {"anisotropy": {"std": True}, "hubness": {"k": 3}, "overlap": {"k": 3}}


def frame_of(made):
    rng = np.random.default_rng(5)
    n = len(made.items)
    pos = [
        None if number % 9 == 4 else str(name)
        for number, name in enumerate(rng.choice(["VERB", "ADJ", "NOUN"], n))
    ]
    pos[0] = "X"  # a group of one
    return pd.DataFrame({"pos": pd.Series(pos, dtype=object), "freq": rng.integers(0, 50, n) / 4})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with two columns, the columns in pandas, and for each part of speech a store of its
    items alone.
    """
    folder = tmp_path_factory.mktemp("groups")
    whole = synthetic_store(folder / "whole", n=N, n_blocks=1, index=False)
    frame = frame_of(whole)
    write_columns(whole, {name: frame[name].tolist() for name in frame})
    parts = {}
    for key, members in [
        *frame.groupby("pos").groups.items(),
        (None, frame.index[frame["pos"].isna()]),
    ]:
        kept = members.tolist()
        texts = [whole.texts[place] for place in kept]
        root = folder / f"part-{key}"
        parts[key] = synthetic_store(
            root, texts=texts, vectors=whole.vectors[:, kept], n_blocks=1, index=False
        ).store
    return whole, frame, parts


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit", [group_layers.MEMORY_BYTES, 0], ids=["in memory", "group by group"]
)
@pytest.mark.parametrize("metric", OF_ITEMS)
def test_a_group_has_the_values_of_a_store_of_its_items(made, monkeypatch, metric, limit):
    whole, frame, parts = made
    monkeypatch.setattr(group_layers, "MEMORY_BYTES", limit)
    options = PARAMETERS.get(metric, {})
    found = whole.store.query(metric, by="pos", cache=False, **options)
    assert [*dict.fromkeys(found["group"])] == ["ADJ", "NOUN", "VERB", "X", None]
    assert {*found["by"]} == {"pos"}
    for group, store in parts.items():
        rows = [row for row in found if row["group"] == group]
        right = store.query(metric, cache=False, **options).to_pylist()
        assert {row["n"] for row in rows} == {
            len(frame[frame["pos"].isna() if group is None else frame["pos"] == group])
        }
        for row, expected in zip(rows, right, strict=True):
            for name, value in expected.items():
                assert row[name] == (
                    pytest.approx(value, abs=1e-9) if isinstance(value, float | list) else value
                ), name
    assert any(
        "pos has no value for 7 items: the last group, without a name." in note
        for note in found.notes
    )


def test_transforms_are_fitted_on_all_groups_together(made, monkeypatch):
    whole, frame, _ = made
    for limit in (group_layers.MEMORY_BYTES, 0):
        monkeypatch.setattr(group_layers, "MEMORY_BYTES", limit)
        found = whole.store.query("norms", by="pos", transforms="center", layers=1, cache=False)
        x = whole.layer(1).astype(np.float64)
        centred = pd.Series(np.linalg.norm(x - x.mean(axis=0), axis=1))
        right = centred.groupby(frame["pos"], dropna=False).agg(["mean", "min", "max", "size"])
        assert found["mean"] == pytest.approx(right["mean"].tolist())
        assert found["max"] == pytest.approx(right["max"].tolist())
        assert found["n"] == right["size"].tolist()


@pytest.mark.parametrize("bins", [4, "4", [0, 2.5, 5, 12.25], "-inf,3,6,inf", [1, 4]])
def test_intervals_are_those_of_pandas(made, bins):
    whole, frame, _ = made
    norms = pd.Series(np.linalg.norm(whole.layer(0).astype(np.float64), axis=1))
    found = whole.store.query("norms", by="freq", bins=bins, layers=0)
    if bins in (4, "4"):
        edges = pd.qcut(frame["freq"], 4, retbins=True)[1]
    else:
        edges = np.array(
            [float(edge) for edge in (bins.split(",") if isinstance(bins, str) else bins)]
        )
    # Pandas leaves the upper edge open.
    closed = np.append(edges[:-1], np.nextafter(edges[-1], np.inf))
    right = norms.groupby(pd.cut(frame["freq"], closed, right=False), observed=False).agg(
        ["mean", "size"]
    )
    assert found["n"] == right["size"].tolist()
    assert found["mean"] == pytest.approx(right["mean"].tolist())
    assert found["group"][0].startswith("[")
    assert found["group"][-1].endswith("]")
    n_outside = N - right["size"].sum()
    assert any(f"freq of {n_outside} items is in none" in note for note in found.notes) == bool(
        n_outside
    )


@given(
    values=st.lists(st.floats(allow_nan=False), min_size=1, max_size=40), n_bins=st.integers(1, 12)
)
def test_quantiles_are_ascending_edges_with_all_values_between(values, n_bins):
    edges = quantile_edges(np.array(values), n_bins)
    assert (edges[0], edges[-1]) == (min(values), max(values))
    assert len({*edges.tolist()}) == len(edges) or (len(edges) == 2 and len({*values}) == 1)
    names = interval_names(edges.tolist())
    assert len({*names}) == len(names) == len(edges) - 1


@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), n_bins=st.integers(1, 6))
def test_each_value_is_in_its_interval_as_it_is_written(values, n_bins):
    array = np.array(values)
    edges = quantile_edges(array, n_bins)
    names = interval_names(edges.tolist(), array)
    for number, name in enumerate(names):
        low, high = map(float, name[1:-1].split(", "))
        is_last = number == len(names) - 1
        exact = (array >= edges[number]) & (
            (array <= edges[number + 1]) if is_last else (array < edges[number + 1])
        )
        assert np.array_equal(
            exact, (array >= low) & ((array <= high) if is_last else (array < high))
        )


def test_edges_are_rounded_between_values_alone():
    array = np.arange(3000.0)
    # 1999 is in the second, which [999.7, 1999) denies.
    names = ["[0, 999.67)", "[999.67, 1999.3)", "[1999.3, 2999]"]
    assert interval_names(quantile_edges(array, 3).tolist(), array) == names
    assert interval_names([0, 1999.3333, 2**53 + 2]) == [
        "[0, 1999.3333)",
        "[1999.3333, 9007199254740994]",
    ]


def test_intervals_with_equal_values_are_fewer(make_store):
    made = make_store(n=10, index=False)
    write_columns(
        made, {"x": [0] * 7 + [3, 4, 5], "y": [2] * 10, "z": [1.0, float("nan"), *[None] * 8]}
    )
    found = made.store.query("norms", by="x", bins=4, layers=0)
    assert [*zip(found["group"], found["n"], strict=True)] == [("[0, 2.25)", 7), ("[2.25, 5]", 3)]
    assert any("4 intervals with equally many items are 2." in note for note in found.notes)
    assert made.store.query("norms", by="y", bins=4, layers=0)["group"] == ["[2, 2]"]
    none = made.store.query("norms", by="z", bins=4, layers=0)
    assert [*zip(none["group"], none["n"], strict=True)] == [("[1, 1]", 1), (None, 9)]
    empty = made.store.query("norms", by="x", bins=[-2, -1, 9], layers=0)
    assert (empty["n"], empty["mean"][0], empty["reason"][0]) == ([0, 10], None, "no vectors")


@pytest.mark.parametrize("metric", ["self-similarity", "mev", "intra-sentence"])
def test_groups_of_occurrences_are_those_that_sql_selects(make_store, metric):
    made = make_store(
        texts=[*SENTENCES, "the money of the bank"], unit="occurrence", n_blocks=1, index=False
    )
    options = {} if metric == "intra-sentence" else {"min_contexts": 2, "word": ["the", "bank"]}
    positions = [
        len(item.context[: item.span.start].split())
        for item in made.items
        if item.context and item.span
    ]
    found = made.store.query(metric, by="position", bins="0,2,9", **options)
    for group, low, high in (("[0, 2)", 0, 2), ("[2, 9]", 2, 10)):
        kept = [item.id for item, at in zip(made.items, positions, strict=True) if low <= at < high]
        right = made.store.query(
            metric, where=f"item_id IN ({','.join(map(str, kept))})", **options
        )
        rows = [row for row in found if row["group"] == group]
        for row, expected in zip(rows, right, strict=True):
            for name in expected.keys() - {"where"}:
                assert row[name] == (
                    pytest.approx(expected[name])
                    if isinstance(expected[name], float)
                    else expected[name]
                )


def test_two_spaces_have_groups_of_their_common_items(make_store):
    first = make_store(n=40, index=False)
    make_store(texts=first.texts[10:], model="other", seed=1, index=False)
    write_columns(first, {"half": [number % 2 == 0 for number in range(40)]})
    ask = {"spaces": "toy.word.last", "against": "other.word.last"}
    found = first.store.query("rsa", by="half", sample=24, **ask)
    assert [*dict.fromkeys(found["group"])] == ["false", "true"]
    n = {row["group"]: row["n"] for row in found}
    assert sum(n.values()) == 24
    again = first.store.query("rsa", by="half", sample=24, **ask)
    assert (again.to_pylist(), again.notes) == (found.to_pylist(), found.notes)


BY = {"by": "x", "bins": 2, "layers": "0,1"}


@pytest.mark.parametrize(
    ("metric", "ask"),
    [("isoscore", BY), ("cka", BY), ("correlate", {"column": "x", "layers": "0"})],
)
def test_answers_follow_the_column(tmp_path, metric, ask):
    made = synthetic_store(tmp_path / "store", n=20, index=False)
    write_columns(made, {"x": [*range(10)]})
    first = made.store.query(metric, **ask)
    assert all(lookup.is_stored for lookup in made.store.cache_state(metric, **ask).lookups)
    if metric != "correlate":
        assert not any(
            lookup.is_stored for lookup in made.store.cache_state(metric, layers="0,1").lookups
        )
    again = made.store.query(metric, **ask)
    assert (again.to_pylist(), again.notes) == (first.to_pylist(), first.notes)
    assert problems_of(made.store) == []
    write_columns(made, {"x": [*range(10)]}, first=10)
    assert not any(lookup.is_stored for lookup in made.store.cache_state(metric, **ask).lookups)
    assert {*made.store.query(metric, **ask)["n"]} == {20 if metric == "correlate" else 10}


def test_pictures_have_a_curve_for_each_group(made):
    table = made[0].store.query("norms", by="pos")
    assert {"ADJ", "NOUN", "no value"} <= curves(table.plot()).keys()
    panels = made[0].store.query("cka", by="pos").plot()
    assert [panel.get_title(loc="left") for panel in panels] == [
        *list(dict.fromkeys(table["group"]))[:-1],
        "no value",
    ]


def test_groups_of_two_columns_are_combinations_of_their_values(make_store):
    made = make_store(n=24, n_blocks=0, index=False)
    pos = [None if number == 5 else "VN"[number % 2] for number in range(24)]
    write_columns(
        made, {"pos": pos, "freq": [number % 3 for number in range(24)], "a,b": ["X"] * 24}
    )
    found = made.store.query("norms", by="pos, freq", layers=0)
    assert found["group"] == [
        *(f"{letter}, {number}" for letter in "NV" for number in range(3)),
        None,
    ]
    for row in found.rows[:-1]:
        letter, number = row["group"].split(", ")
        where = f"pos = '{letter}' AND freq = {number}"
        assert row["mean"] == pytest.approx(
            made.store.query("norms", where=where, layers=0)["mean"][0], rel=1e-12
        )
    assert {*found["by"]} == {"pos, freq"}
    assert made.store.query("norms", by="a,b", layers=0)["group"] == ["X"], "the name of one column"
    with pytest.raises(UnknownNameError, match=r"'frek'\. Did you mean 'freq'"):
        made.store.query("norms", by="pos,frek")
    with pytest.raises(UsageError):
        made.store.query("norms", by="pos,freq", bins=2)


def test_columns_and_intervals_that_cannot_be(make_store):
    made = make_store(n=MAX_GROUPS + 1, dim=2, n_blocks=0, index=False)
    write_columns(made, {"freq": [*range(MAX_GROUPS + 1)], "pos": ["X"] * (MAX_GROUPS + 1)})
    for error, message, options in [
        (QueryError, r"freq has 1,001 values, and 1,000 groups .*: bins=10", {"by": "freq"}),
        (QueryError, r"Keep some of the items: where='SQL'", {"by": "text"}),
        (UsageError, "is for columns of numbers, and 'pos' has text", {"by": "pos", "bins": 3}),
        (UsageError, "Name it: by='COLUMN'", {"bins": 3}),
        *(
            (UsageError, "bins must be a number from 1 to 1,000", {"by": "freq", "bins": bins})
            for bins in (0, "x", "3,2", [1, 1], [5], 1001, "1,2,nan")
        ),
    ]:
        with pytest.raises(error, match=message):
            made.store.query("norms", **options)
    for metric in ("similarity", "valnorm", "weat", "sc-weat"):
        with pytest.raises(UsageError, match=r"not of groups of items: leave out `by`"):
            made.store.query(metric, by="pos")


def test_spaces_without_the_column_are_left_out(make_store):
    make_store(n=10, index=False)
    made = make_store(texts=SENTENCES, unit="occurrence", index=False)
    found = made.store.query("norms", by="position", layers=0)
    assert {*found["space"]} == {"toy.occurrence.last"}


def test_the_group_without_a_name_is_the_last_of_a_layer_also_of_several_spaces(make_store):
    """Of these the first has no other group."""
    made = make_store(n=12, dim=4, n_blocks=1, top_form=None, index=False)
    write_columns(made, {"pos": [*"AAAABBBB", None, None, None, None]})
    make_store(texts=["c", "d"], dim=4, n_blocks=1, top_form=None, model="first", index=False)
    table = made.store.query("norms", by="pos")
    assert {*table["space"]} == {"first.word.last", "toy.word.last"}
    assert [line[:2] for line in table.layout()[1]] == [
        [layer, group] for layer in "01" for group in "AB-"
    ]


def test_a_number_that_no_row_has_is_printed_as_missing_beside_its_counts(make_store):
    made = make_store(n=12, dim=4, n_blocks=1, top_form=None, index=False)
    write_columns(made, {"pos": [*"ABCDEFGHIJKL"]})  # groups of one
    table = made.store.query("hubness", by="pos", average=True, layers="1")
    assert table.layout() == (["layer", "skewness", "n_groups"], [["1", "-", "0"]])


def test_edges_read_back():
    grouping = parse_grouping("x", [0, 0.1, 1e6, float("inf")])
    assert grouping is not None
    assert grouping.bins == "0,0.1,1e+06,inf"
    assert parse_grouping("x", grouping.bins) == grouping


@pytest.fixture(scope="module")
def occurrences(tmp_path_factory):
    """A store of all words of some sentences in order, of one to many words."""
    sentences = [*SENTENCES, "lone", "two words"]
    return synthetic_store(
        tmp_path_factory.mktemp("occurrences") / "store",
        unit="occurrence",
        texts=sentences,
        dim=5,
        n_blocks=2,
        top_form=None,
        index=False,
    )


def texts_of(made):
    """Return the rows of the items of each sentence, in its order."""
    found = {}
    for row, item in enumerate(made.items):
        found.setdefault(item.context, []).append(row)
    return {
        text: sorted(rows, key=lambda row: made.items[row].span.start)
        for text, rows in found.items()
    }


@pytest.mark.parametrize(
    ("metric", "group"),
    [("self-similarity", "word"), ("mev", "word"), ("intra-sentence", "sentence")],
)
def test_layers_are_compared_over_the_words_or_sentences_of_both(make_store, metric, group):
    words = [f"word{number}" for number in range(16)]
    sentences = [" ".join(words[first : first + 4]) for first in range(13)]
    occurrences = make_store(unit="occurrence", texts=sentences, dim=5, top_form=None, index=False)
    least = {"min_words" if group == "sentence" else "min_contexts": 2}
    asked = {"adjusted": True, **least}
    each = occurrences.store.query(metric, **{f"per_{group}": True}, **asked)
    by_layer = {}
    for row in each:
        by_layer.setdefault(row["layer_name"], {})[row[group]] = row["adjusted"]
    names = sorted(set.intersection(*map(set, by_layer.values())))
    found = occurrences.store.query(metric, versus="0", **asked)
    for row in found:
        if row["layer_name"] == "0":
            assert (row["difference"], row["p"]) == (None, None)
            continue
        own, other = ([by_layer[at][name] for name in names] for at in (row["layer_name"], "0"))
        assert row["n_common"] == len(names)
        assert row["difference"] == pytest.approx(np.mean(own) - np.mean(other), abs=1e-12)
        assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert found.layout()[0][:4] == ["layer", group, "adjusted", "difference"]
    with pytest.raises(UsageError, match=rf"compares means .*: leave out `per_{group}`"):
        occurrences.store.query(metric, versus="0", **{f"per_{group}": True})


def test_context_is_a_column_of_occurrences(occurrences):
    texts = texts_of(occurrences)
    found = occurrences.store.query("norms", by="context", layers=1)
    assert found["group"] == sorted(texts)
    norms = np.linalg.norm(occurrences.layer(1).astype(np.float64), axis=1)
    assert found["n"] == [len(texts[text]) for text in sorted(texts)]
    assert found["mean"] == pytest.approx([norms[texts[text]].mean() for text in sorted(texts)])


def test_curvature_follows_the_words_of_each_sentence(occurrences):
    texts = texts_of(occurrences)
    found = occurrences.store.query("curvature", by="context", layers=2)
    for row in found:
        x = occurrences.layer(2)[texts[row["group"]]].astype(np.float64)
        steps = np.diff(x, axis=0)
        if len(x) < 3:
            assert (row["curvature"], row["reason"]) == (None, "fewer than three tokens")
            continue
        units = steps / np.linalg.norm(steps, axis=1, keepdims=True)
        angles = np.arccos((units[1:] * units[:-1]).sum(axis=1))
        assert row["curvature"] == pytest.approx(angles.mean())
    [whole] = occurrences.store.query("curvature", layers=2)
    assert whole["reason"] == f"tokens of {len(texts)} texts: by='context' takes each by itself"
    with pytest.raises(QueryError, match="unit token"):
        synthetic_store(occurrences.root.parent / "words", n=9, index=False).store.query(
            "curvature"
        )
