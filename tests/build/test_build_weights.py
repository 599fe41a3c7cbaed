"""Builds with 16-bit weights and of untrained models: the card, the name, and no mixing."""

import numpy as np
import pytest
from published import validate
from tiny_checkpoint import card, content

from embstore import Store
from embstore.base.errors import CheckpointError, SpaceMismatchError, UsageError


@pytest.fixture(scope="module")
def built(tmp_path_factory, checkpoint):
    """A store of three spaces, from ``words.txt`` beside it; nothing may change it."""
    words = tmp_path_factory.mktemp("weights") / "words.txt"
    words.write_text("cat\nsea\nbank\n", "utf-8")
    store = Store(words.with_name("store"))
    store.build(str(words), models=f"tiny={checkpoint}")
    store.build(str(words), models=f"tiny={checkpoint}", untrained=7)
    store.build(str(words), models=f"tiny={checkpoint}", weights_dtype="bfloat16", name="tiny.bf16")
    return store


@pytest.mark.slow
def test_cards_names_and_embedding(built, checkpoint):
    cards = {space: card(built.path, space) for space in built.catalog.cards}
    assert set(cards) == {"tiny.word.last", "tiny-untrained-7.word.last", "tiny.bf16"}
    for document in cards.values():
        validate("card", document)
    assert not {"weights_dtype", "untrained"} & cards["tiny.word.last"].keys()
    assert cards["tiny-untrained-7.word.last"]["untrained"] == 7
    assert cards["tiny-untrained-7.word.last"]["model"] == "tiny-untrained-7"
    assert cards["tiny.bf16"]["weights_dtype"] == "bfloat16"
    assert cards["tiny.bf16"]["weights_sha256"] == cards["tiny.word.last"]["weights_sha256"]
    assert cards["tiny.bf16"]["dtype"] == "float32"
    words = str(built.path.with_name("words.txt"))
    again = built.build(words, models=f"tiny={checkpoint}", untrained=7)
    assert [(space.embedded, space.present) for space in again.spaces] == [(0, 3)]
    found = content(built.path)
    for (
        space
    ) in cards:  # a text that is encoded now is its own nearest neighbour: the same weights make it
        rows = built.neighbours("sea ", embed=True, spaces=space, k=3).to_pylist()
        assert rows
    trained, untrained, narrow = (
        found[name][2] for name in ("tiny.word.last", "tiny-untrained-7.word.last", "tiny.bf16")
    )
    for item, vector in trained.items():
        assert not np.allclose(vector, untrained[item], atol=1e-2)
        assert 0 < np.linalg.norm(vector - narrow[item]) / np.linalg.norm(vector) < 0.05


def test_spaces_are_not_mixed(built, checkpoint):
    words, model = str(built.path.with_name("words.txt")), f"tiny={checkpoint}"
    with pytest.raises(SpaceMismatchError, match=r'weights_dtype is "float32", not "bfloat16"'):
        built.build(words, models=model, weights_dtype="bfloat16")
    with pytest.raises(SpaceMismatchError, match=r'weights_dtype is "bfloat16", not "float32"'):
        built.build(words, models=model, name="tiny.bf16")
    with pytest.raises(SpaceMismatchError, match="untrained is null, not 7"):
        built.build(words, models=model, untrained=7, name="tiny.word.last")
    with pytest.raises(SpaceMismatchError, match="untrained is 7, not 8"):
        built.build(words, models=model, untrained=8, name="tiny-untrained-7.word.last")


def test_random_weights_that_other_versions_make_are_not_taken_for_these(built, monkeypatch):
    from embstore.query import embed

    embed._load.cache_clear()
    monkeypatch.setattr("embstore.encode.forward.hash_tensors", lambda model: "0" * 64)
    with pytest.raises(
        CheckpointError, match=r"seed 7 gives other random weights here.*torch.*build it anew"
    ):
        built.neighbours("river", embed=True, spaces="tiny-untrained-7.word.last")
    embed._load.cache_clear()


def test_an_untrained_model_is_built_on_by_its_name_in_the_store(built):
    report = built.build(texts=["a new word"], models="tiny-untrained-7", unit="word", dry_run=True)
    assert [space.space for space in report.spaces] == ["tiny-untrained-7.word.last"]
    with pytest.raises(UsageError, match="one by one"):
        built.build(texts=["dog"], models=["tiny-untrained-7", "minilm"], unit="word")
