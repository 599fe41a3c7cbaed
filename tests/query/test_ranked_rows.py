"""Of every metric rows are ranked by the column that figures draw, which the table has first."""

from dataclasses import replace

import numpy as np
import pytest
from every_metric import WORDS, ask, prepare
from golden_columns import QUERIES
from kept_columns import write_columns
from synthetic import synthetic_store

from embstore.plot.options import PlotOptions
from embstore.plot.plan import make_plan


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = prepare(tmp_path_factory.mktemp("ranked") / "store")
    write_columns(made, {"half": [number // 15 for number in range(len(WORDS))]})
    return made.root


CASES = {
    **QUERIES,
    "self-similarity adjusted": ("self-similarity", {"adjusted": True, "per_word": True}),
    "mev adjusted": ("mev", {"adjusted": True, "by": "position", "bins": "0,3,9"}),
    "hubness versus": ("hubness", {"versus": "best", "unit": "word", "k": 3}),
    "hubness ci": ("hubness", {"ci": True, "unit": "word", "k": 3}),
    "anisotropy average std": (
        "anisotropy",
        {"std": True, "average": True, "unit": "occurrence", "by": "text"},
    ),
    "rogue-dims average": ("rogue-dims", {"average": True, "unit": "occurrence", "by": "text"}),
    "curvature": ("curvature", {"by": "context"}),
    "drift of items": ("drift", {"text": ["word1", "word2"], "k": 3}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_ranked_column_is_drawn_and_the_first_shown(root, name):
    metric, options = CASES[name]
    table = ask(root, metric, **options)
    drawn = make_plan(table, PlotOptions()).value
    values = [row[drawn] for row in table if row[drawn] is not None]
    assert values, "so that there is something to rank"
    ranked = table.highest(len(table))
    assert ranked[drawn] == sorted(values, reverse=True)
    assert ranked["place"] == list(range(1, len(values) + 1))
    assert f"The highest {drawn} of {len(values):,} rows, in order." in ranked.notes
    assert table.lowest(2)[drawn] == sorted(values)[:2]
    # A printed row of drift is an item with its mean over the pairs of layers that are drawn.
    layouts = (table, ranked) if name != "drift" else (ranked,)
    for shown in (each.pivot.values for each in layouts):
        others = [
            value for value in shown
            if value != "n" and not any(isinstance(row[value], str) for row in table)
        ]  # fmt: skip
        assert others[0] == drawn


def test_change_is_ranked_by_the_change_not_by_the_distance(tmp_path):
    """A word of varied use, as "the", has the larger distance, and one that changes comes first."""
    rng = np.random.default_rng(0)
    n = 40
    the, bank = rng.normal(size=(n, 8)), rng.normal(scale=0.05, size=(n, 8)) + np.eye(8)[0]
    bank[n // 2 :] += np.eye(8)[1]
    vectors = np.stack([the, bank], axis=1).reshape(1, 2 * n, 8)
    made = synthetic_store(
        tmp_path / "store",
        unit="occurrence",
        texts=[f"the bank{' ' * number}" for number in range(n)],
        vectors=vectors,
        dim=8,
        n_blocks=0,
        top_form=None,
        index=False,
    )
    write_columns(made, {"year": np.repeat([1, 2], n).tolist()})
    found = made.store.query("change", by="year", permutations=0)
    assert dict(zip(found["word"], found["apd"], strict=True))["the"] > max(found["apd_change"])
    assert found.highest(2)["word"] == ["bank", "the"] == found.lowest(2)["word"][::-1]
    assert found.pivot.values[0] == "apd_change"


def test_lists_without_a_number_are_not_ranked(root):
    found = ask(root, "rogue-dims", k=2, unit="word")
    rows = ({**found.rows[0], "shares": [None, None]}, *found.rows[1:])
    assert len(replace(found, rows=rows).highest(99)) == len(rows) - 1


def test_each_group_has_a_best_layer_and_its_star_is_at_the_value(root):
    found = ask(root, "knn", label="freq", label_bins="2", k=3, unit="word", by="half")
    best = [row for row in found if row["best"]]
    assert len(best) == len({row["group"] for row in found}) == 2
    for row in best:
        of_group = [each["accuracy"] for each in found if each["group"] == row["group"]]
        assert row["accuracy"] == max(of_group)
    header, lines = found.layout()
    assert header[:4] == ["layer", "half", "n", "accuracy"]
    assert [place for line in lines for place, cell in enumerate(line) if "*" in cell] == [3, 3]
