"""What is said beside the numbers: no value is missing, and no item left out, without a word."""

import numpy as np
import pytest

from embstore.metrics import METRICS
from embstore.query.provenance import notes_of


def row(layer: int, n: int, **columns: object) -> dict[str, object]:
    return {
        "space": "toy",
        "layer": layer,
        "layer_name": str(layer),
        "n": n,
        "reason": None,
    } | columns


def similarity(layer: int, n: int, dataset: str, **columns: object) -> dict[str, object]:
    return row(layer, n, dataset=dataset, total=65, n_zero=0, spearman=0.5) | columns


def test_a_reason_stands_once_for_all_layers_and_datasets_that_have_it():
    missing = {"spearman": None, "reason": "the cosines are all equal"}
    rows = [similarity(layer, 65, name, **missing) for layer in (0, 1) for name in ("rg65", "mine")]
    rows.append(similarity(2, 65, "rg65", **missing))
    assert notes_of(METRICS["similarity"], rows, (), ("dataset",)) == [
        "toy, rg65: layers 0, 1, 2: the cosines are all equal.",
        "toy, mine: layers 0, 1: the cosines are all equal.",
        "toy: n = 65",
    ]
    assert notes_of(METRICS["similarity"], rows[:4], (), ("dataset",))[0].startswith(
        "toy, rg65, mine: layers 0, 1: "
    )


def test_the_reason_of_some_columns_is_said_too(make_store):
    made = make_store(n=5, dim=4, n_blocks=1, top_form=None, index=False)
    assert (
        "toy.word.last: layers 0, 1: shares: 5 components of 4." in made.store.query("norms").notes
    )


def test_a_dataset_of_which_not_all_is_used_says_how_much_is():
    rows = [similarity(0, 65, "rg65"), similarity(0, 63, "mine"), similarity(1, 60, "mine")]
    assert notes_of(METRICS["similarity"], rows, (), ("dataset",)) == [
        "toy: n = 65",
        "toy, mine: n = 60–63 of 65",
    ]


def test_a_dataset_without_a_pair_that_counts_is_not_an_empty_selection():
    rows = [
        row(
            0,
            0,
            dataset="rg65",
            alignment=None,
            total=0,
            n_zero=0,
            reason="no pair has a score of 4 or more",
        )
    ]
    note = notes_of(METRICS["alignment"], rows, (), ("dataset",))
    assert note == ["toy, rg65: layer 0: no pair has a score of 4 or more.", "toy: n = 0"]


def test_what_is_left_out_is_counted(make_store):
    vectors = np.random.default_rng(0).normal(size=(2, 20, 8))
    vectors[:, :7] = 0
    vectors[1, 7:10] = 1
    made = make_store(n=20, vectors=vectors, n_blocks=1, top_form=None, index=False)
    zero = "n_zero = 7 (zero vectors, which have no direction)"
    assert f"toy.word.last: layers 0, 1: {zero}." in made.store.query("anisotropy").notes
    notes = made.store.query("intrinsic-dimension").notes
    assert (
        "toy.word.last: layer 0: n_duplicates = 6 (vectors that equal another, left out)." in notes
    )
    assert (
        "toy.word.last: layer 1: n_duplicates = 8 (vectors that equal another, left out)." in notes
    )


@pytest.mark.parametrize(
    ("described", "note"), [((), "no item is selected"), (("transform",), "too few")]
)
def test_nothing_selected_is_told_from_nothing_left(described, note):
    rows = [row(0, 0, isoscore=None, transform="center", reason="too few")]
    assert note in notes_of(METRICS["isoscore"], rows, described, ())[0]


def test_many_words_are_not_all_named():
    rows = [row(0, 1, word=f"w{i}", effect_size=None, total=1, reason="none") for i in range(100)]
    [note, _] = notes_of(METRICS["sc-weat"], rows, (), ())
    assert note.endswith("w28, w29 and 70 more: layer 0: none.")
