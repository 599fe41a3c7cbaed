"""Labels, colours and marks of spaces: words that tell them apart, and the same look wherever a
model is drawn.
"""

from itertools import combinations

import pytest

from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.labels import labelled, space_labels
from embstore.plot.look import N_PLACES, palette_places


@pytest.mark.parametrize(
    ("spaces", "labels", "shared"),
    [
        (["minilm.word.last"], ["MiniLM, words, last token"], "MiniLM, words, last token"),
        (
            ["minilm.word.mean", "minilm.word.last"],
            ["mean of tokens", "last token"],
            "MiniLM, words",
        ),
        (
            ["minilm.word.last", "minilm-untrained-0.word.last"],
            ["MiniLM", "MiniLM, untrained"],
            "words, last token",
        ),
        (
            ["minilm-untrained-0.word.last", "minilm-untrained-1.word.last"],
            ["MiniLM, untrained (seed 0)", "MiniLM, untrained (seed 1)"],
            "words, last token",
        ),
        (
            ["minilm.word.last", "minilm-untrained-2.word.last"],
            ["MiniLM", "MiniLM, untrained (seed 2)"],
            "words, last token",
        ),
        (
            ["pythia-1.4b.word.last", "gpt2-medium.word.last"],
            ["Pythia-1.4b", "GPT-2-medium"],
            "words, last token",
        ),
        (
            ["gpt2.word.last.quick", "gpt2.word.last"],
            ["quick", "plain"],
            "GPT-2, words, last token",
        ),
        (["x.last.quick", "y.quick"], ["x.last.quick", "y.quick"], ""),
        (["a.b.c"], ["a.b.c"], "a.b.c"),
    ],
)
def test_labels_are_the_parts_in_which_spaces_differ(spaces, labels, shared):
    assert space_labels(spaces) == (dict(zip(spaces, labels, strict=True)), shared)


def test_labels_that_users_give_are_of_shown_spaces_and_differ():
    rows = [
        {"space": "a.word.last", "versus": "best"},
        {"space": "b.word.last", "versus": "a.word.last"},
    ]
    changed, labels, shared = labelled(
        rows, ["space", "space_2"], ["versus"], {"b.word.last": "Ours"}
    )
    assert changed == ({"space": "a", "versus": "best"}, {"space": "Ours", "versus": "a"})
    assert (labels, shared) == ({"a.word.last": "a", "b.word.last": "Ours"}, "words, last token")
    with pytest.raises(
        UnknownNameError, match=r"space to label 'b.word.lats'.*Did you mean 'b.word.last'"
    ):
        labelled(rows, ["space"], [], {"b.word.lats": "Ours"})
    with pytest.raises(UsageError, match="two spaces have the same label"):
        labelled(rows, ["space"], [], {"b.word.last": "a"})


def test_a_model_has_one_place_whatever_else_is_drawn():
    models = [
        "minilm",
        "minilm-untrained-0",
        "gpt2",
        "clip",
        "bert-base-uncased",
        "roberta-base",
        "pythia-70m",
    ]
    spaces = [f"{model}.word.last" for model in models]
    alone = {space: palette_places([space], N_PLACES)[space] for space in spaces}
    assert sorted(alone.values()) == list(range(N_PLACES))
    for n in (2, 3):
        for shown in combinations(spaces, n):
            assert palette_places(shown, N_PLACES) == {space: alone[space] for space in shown}
    assert palette_places(["minilm.occurrence.mean"], N_PLACES) == {
        "minilm.occurrence.mean": alone["minilm.word.last"]
    }


def test_spaces_of_one_model_have_places_of_their_own():
    spaces = [f"minilm.word.last.{number}" for number in range(3 * N_PLACES)]
    places = palette_places(spaces, N_PLACES)
    assert places == palette_places(spaces[::-1], N_PLACES)
    assert sorted(places.values()) == list(range(3 * N_PLACES))
