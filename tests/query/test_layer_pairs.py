"""Layers against layers, through a store."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from metric_data import gram_cka, neighbour_sets, triangles
from scipy.stats import hypergeom

from embstore.base.errors import QueryError, UnknownNameError
from embstore.metrics import METRICS as METRICS_TABLE
from embstore.metrics import get_metric
from embstore.metrics.numerics import layer_pairs


def biased(x, y):
    return gram_cka(x, y, "biased")


def correlation(x, y):
    return float(np.corrcoef(*triangles(x, y))[0, 1])


def jaccard(x, y):
    pairs = zip(neighbour_sets(x, 4), neighbour_sets(y, 4), strict=True)
    return float(np.mean([len(a & b) / len(a | b) for a, b in pairs]))


METRICS = [
    ("cka", biased, "cka", {"variant": "biased"}),
    ("rsa", correlation, "rsa", {}),
    ("overlap", jaccard, "jaccard", {"k": 4}),
]


def matrix(table, column):
    return {(row["layer_name"], row["layer_name_2"]): row[column] for row in table}


def two_spaces(make_store, **other):
    """Two spaces with the items text10 to text29 in common, each in an order of its own."""
    left = make_store(n=30, dim=6, n_shards=3, **other)
    texts = [f"text{number}" for number in range(44, 9, -1)]
    right = make_store(texts=texts, dim=9, n_blocks=4, top_form=None, model="other", seed=7)
    return left, right, [f"text{number}" for number in range(10, 30)]


def of_texts(made, layer, texts):
    return made.layer(layer)[[made.texts.index(text) for text in texts]]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_all_layers_of_a_space(make_store, dtype):
    made = make_store(n=30, dim=6, dtype=dtype, n_shards=4)
    names = made.card.layers.names
    for metric, function, column, settings in METRICS:
        found = made.store.query(metric, **settings)
        assert matrix(found, column) == {
            (name, name_2): pytest.approx(function(made.vectors[i], made.vectors[j]), abs=1e-9)
            for i, name in enumerate(names)
            for j, name_2 in enumerate(names)
        }
        assert found["n"] == [30] * 25
        assert set(found["space_2"]) == {made.space}


def test_two_spaces_on_the_items_that_both_have(make_store):
    left, right, common = two_spaces(make_store)
    for metric, function, column, settings in METRICS:
        found = left.store.query(metric, spaces=left.space, against=right.space, **settings)
        assert matrix(found, column) == {
            (left.card.layers.names[i], str(j)): pytest.approx(
                function(of_texts(left, i, common), of_texts(right, j, common)), abs=1e-9
            )
            for i in range(5)
            for j in range(5)
        }
        assert set(found["n"]) == {20}
        assert set(zip(found["space"], found["space_2"], strict=True)) == {
            (left.space, right.space)
        }
        assert f"{left.space} down, {right.space} across" in found.notes[0]
        assert found.notes[1:] == (
            f"{left.space} and {right.space} have 20 items in common, of 30 and 35.",
        )
    turned = right.store.query("rsa", spaces=right.space, against=left.space)
    straight = matrix(left.store.query("rsa", spaces=left.space, against=right.space), "rsa")
    assert matrix(turned, "rsa") == {
        (j, i): pytest.approx(value, abs=1e-12) for (i, j), value in straight.items()
    }


def test_a_lattice_shares_all_neighbours_with_its_multiples(make_store):
    """Many cosines tie exactly, and only their rounding differs between the layers."""
    x = np.random.default_rng(0).integers(-1, 2, (200, 5))
    x[~x.any(axis=1), 0] = 1
    made = make_store(
        n=200,
        dim=5,
        n_blocks=3,
        top_form=None,
        vectors=np.stack([x, 3 * x, 7 * x[:, ::-1], -11 * x]),
    )
    assert made.store.query("overlap", k=4)["jaccard"] == [1] * 16
    hubs = made.store.query("hubness", k=4)
    assert len({(row["skewness"], row["most"]) for row in hubs}) == 1


def test_where_sample_and_transforms_apply_to_both_sides(make_store):
    left, right, common = two_spaces(make_store)
    kept = [text for text in common if text.endswith(("1", "2", "3", "4", "5"))]
    ask = {"spaces": left.space, "against": right.space, "layers": 1}
    [row] = left.store.query("rsa", where="regexp_matches(text, '[1-5]$')", **ask)
    assert (row["n"], row["where"]) == (10, "regexp_matches(text, '[1-5]$')")
    assert row["rsa"] == pytest.approx(
        correlation(of_texts(left, 1, kept), of_texts(right, 1, kept)), abs=1e-9
    )
    [row] = left.store.query("rsa", sample=8, seed=5, **ask)
    assert (row["n"], row["sample"], row["seed"]) == (8, 8, 5)  # 8 of what both have, not 8 of each
    ids = np.sort([item.id for item in left.items if item.text in common])
    drawn = np.random.default_rng(5).choice(ids, 8, replace=False, shuffle=False)
    texts = [item.text for item in left.items if item.id in drawn]
    assert row["rsa"] == pytest.approx(
        correlation(of_texts(left, 1, texts), of_texts(right, 1, texts)), abs=1e-9
    )
    many = left.store.query("rsa", sample=100, **ask)
    assert many["n"] == [20]
    assert many.notes[0].startswith("n = 20; at most 100 items, drawn at random (seed 0); ")

    def centred(made):
        x = of_texts(made, 3, common).astype(np.float64)
        return x - x.mean(axis=0)

    found = left.store.query(
        "rsa", spaces=left.space, against=right.space, layers=3, transforms="center"
    )
    assert found["rsa"] == pytest.approx([correlation(centred(left), centred(right))], abs=1e-9)
    assert found["transform"] == ["center"]
    assert found.notes[0].startswith("n = 20; after center; ")


def test_a_layer_that_is_lacking_or_cannot_be_transformed(make_store):
    left, right, _ = two_spaces(make_store)
    for spaces, against in ((left.space, right.space), (right.space, left.space)):
        found = left.store.query(
            "cka", spaces=spaces, against=against, layers="0,1", transforms="drop:7"
        )
        assert found["cka"] == [None] * 4
        assert {reason.partition(": drop:7")[0] for reason in found["reason"]} == {
            f"{left.space}, layer {n}" for n in "01"
        }

    found = left.store.query("cka", spaces=left.space, against=right.space, layers="3,4")
    assert list(matrix(found, "cka")) == [("3", "3"), ("3", "4")]
    assert f"{left.space} has no layer '4' (it has 0, 1, 2, 3, raw)." in found.notes[1]
    for spaces, against in ((left.space, right.space), (right.space, left.space)):
        with pytest.raises(QueryError, match=f"nothing to compare: {left.space} has no layer '4'"):
            left.store.query("cka", spaces=spaces, against=against, layers=4)
    with pytest.raises(UnknownNameError, match="unknown layer '9'"):
        left.store.query("cka", spaces=left.space, against=right.space, layers=9)


def test_what_chance_gives_is_in_each_row(make_store):
    store = make_store(n=30, dim=6, index=False).store
    assert {*store.query("cka")["chance"]} == {0}
    assert min(store.query("cka", variant="biased")["chance"]) > 0


def test_a_layer_without_variance_is_named_in_the_notes(make_store):
    vectors = np.random.default_rng(0).normal(size=(4, 12, 5))
    vectors[1] = 0.1
    made = make_store(n=12, vectors=vectors, dim=5, top_form=None, index=False)
    for metric in ("cka", "rsa"):
        found = made.store.query(metric)
        values = matrix(found, metric)
        assert {pair for pair, value in values.items() if value is None} == {
            p for p in values if "1" in p
        }
        assert sum("layer 1" in note for note in found.notes) == 1, "said once, not of each pair"


def test_spaces_without_common_items(make_store):
    left = make_store(n=8, index=False)
    right = make_store(n=8, unit="sentence", model="other", index=False)
    make_store(n=6, model="third", index=False)
    with pytest.raises(QueryError):
        left.store.query("cka", spaces=left.space, against=right.space)
    found = left.store.query("cka", against="third.word.last", layers=0)
    assert found["space"] == [left.space]
    assert f"{right.space} and third.word.last have no item in common." in found.notes[1]


def test_against_names_a_space_and_nothing_selected_is_refused(make_store):
    made = make_store(n=8, index=False)
    with pytest.raises(
        UnknownNameError, match=r"unknown space 'toy\.word\.lst'\. Did you mean 'toy\.word\.last'"
    ):
        made.store.query("cka", against="toy.word.lst")
    assert (
        made.store.query("cka", against=made.space).to_pylist()
        == made.store.query("cka").to_pylist()
    )

    with pytest.raises(QueryError, match="no item is selected"):
        made.store.query("rsa", where="false", layers="0,1")


def test_a_metric_that_gives_too_few_rows_is_named(make_store, monkeypatch):
    own = replace(
        get_metric("cka"),
        function=lambda left, right, ids, variant: [{"cka": 1.0, "n": 8, "reason": None}],
    )
    monkeypatch.setitem(METRICS_TABLE, "cka", own)
    with pytest.raises(QueryError, match="cka gave 1 rows for 4 pairs of layers"):
        make_store(n=8, index=False).store.query("cka", layers="0,1")


def test_layers_stand_down_and_across(make_store):
    made, other, _ = two_spaces(make_store)
    header, lines = made.store.query("cka", spaces=made.space).layout()
    assert header == ["layer", "0", "1", "2", "3", "raw"]
    assert [line[0] for line in lines] == header[1:]
    assert [line[1 + place] for place, line in enumerate(lines)] == ["1.0000"] * 5
    assert [line[1] for line in lines] == lines[0][1:]
    header, lines = made.store.query("cka", layers="0,1").layout()
    assert header == ["space", "layer", "0", "1"]
    assert [line[:2] for line in lines] == [
        [s.space, layer] for s in (other, made) for layer in ("0", "1")
    ]


def test_the_overlap_by_chance_is_that_of_random_neighbours(make_store):
    found = make_store(n=40, index=False).store.query("overlap", k=3)
    shared = np.arange(4)
    expected = (hypergeom.pmf(shared, 39, 3, 3) * shared / (6 - shared)).sum()
    assert found["jaccard_expected"] == pytest.approx([expected] * 25)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_items(make_store, monkeypatch):
    monkeypatch.setattr(layer_pairs, "_MAX_ROWS", 256)
    monkeypatch.setattr(layer_pairs, "_MIN_ROWS", 256)
    peaks = []
    for n in (600, 2400):
        made = make_store(
            f"store{n}", n=n, dim=64, n_blocks=2, top_form=None, n_shards=n // 300, index=False
        )
        store = made.store
        store.query("cka", sample=300)  # what is imported and opened once
        for metric in ("cka", "rsa"):
            tracemalloc.start()
            store.query(metric)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[0], peaks
    assert peaks[3] < 1.5 * peaks[1], peaks


def test_ties_at_the_last_place_are_counted(make_store):
    """Words of one vector, as an uncased checkpoint has them: which of them count is decided by
    their ids.
    """
    vectors = np.random.default_rng(0).normal(size=(3, 20, 4))
    vectors[0, :5] = vectors[0, 0]
    vectors[1, 3:7] = vectors[1, 3]
    made = make_store(n=20, dim=4, n_blocks=2, top_form=None, vectors=vectors)
    units = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    cosines = np.sort(units @ units.transpose(0, 2, 1) - 9 * np.eye(20), axis=2)[:, :, ::-1]
    are_tied = cosines[:, :, 1] - cosines[:, :, 2] < 1e-12
    n_tied = are_tied.sum(axis=1)
    assert [0 < n < 20 for n in n_tied] == [True, True, False]
    hubs = made.store.query("hubness", k=2)
    assert hubs["n_tied"] == n_tied.tolist()
    pairs = made.store.query("overlap", k=2)
    assert matrix(pairs, "n_tied") == {
        (str(i), str(j)): (are_tied[i] | are_tied[j]).sum() for i in range(3) for j in range(3)
    }
