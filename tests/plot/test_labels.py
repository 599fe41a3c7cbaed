"""Labels of curves: as short as they can be while they tell the spaces apart."""

import pytest

from embstore.plot.results import series_labels


@pytest.mark.parametrize(
    ("spaces", "labels"),
    [
        (["minilm.word.mean", "minilm.word.last"], ["mean", "last"]),
        (["p.gpt2.word.last", "p.clip.word.eos", "p.gpt2.sentence.last.quick"],
         ["gpt2.word.last", "clip.word.eos", "gpt2.sentence.last.quick"]),
        (["x.word.last.quick", "y.word.quick"], ["x.word.last", "y.word"]),
        (["a.b", "a.b.c"], ["b", "b.c"]),
        (["a", "a.b"], ["a", "a.b"]),
        (["a.b.c"], ["a.b.c"]),
    ],
)  # fmt: skip
def test_labels_are_the_parts_in_which_spaces_differ(spaces: list[str], labels: list[str]) -> None:
    assert series_labels(spaces) == dict(zip(spaces, labels, strict=True))
