"""Arrays of texts: encoded by the checkpoint of a space, or stored and in the order in which they
are named.
"""

import numpy as np
import pytest

from embstore import Store
from embstore.base.errors import (
    CheckpointError,
    EncodeError,
    NotStoredError,
    UnknownNameError,
    UsageError,
)

WORDS = ["river", "bank", "shell", "sea", "dog"]
MARKED = ["the [bank] floods", "a [dog] by the sea"]


@pytest.fixture(scope="module")
def store(tmp_path_factory, checkpoint):
    store = Store(tmp_path_factory.mktemp("encoded") / "store")
    store.build(texts=WORDS, models=f"tiny={checkpoint}", poolings=["last", "mean"], index="none")
    store.build(
        texts=["A dog sleeps.", "The sea."],
        models=f"tiny={checkpoint}",
        poolings="mean",
        index="none",
    )
    store.build(texts=MARKED, targets="brackets", models=f"tiny={checkpoint}", index="none")
    return store


SPACES = [
    ("tiny.word.last", WORDS), ("tiny.word.mean", WORDS), ("tiny.sentence.mean", ["The sea.",
    "A dog sleeps."]),
    ("tiny.occurrence.last", MARKED),
]  # fmt: skip


@pytest.mark.parametrize(("space", "texts"), SPACES)
def test_encoded_texts_are_those_that_a_build_stored(store, space, texts):
    wanted = [*texts[::-1], texts[0]]
    for layer in (0, 1, "top"):
        *_, stored = store.vectors(space, layer, words=wanted)
        encoded = store.encode(wanted, space, layers=layer)
        assert (encoded.dtype, encoded.shape) == (np.float32, stored.shape)
        np.testing.assert_allclose(encoded, stored, atol=1e-5 * np.abs(stored).max())


def test_the_axes_of_encoded_texts(store):
    space, every = "tiny.word.last", len(store.catalog.cards["tiny.word.last"].layers)
    whole = store.encode(["river", "new words"], space, layers="all")
    assert whole.shape == (every, 2, 32)
    np.testing.assert_allclose(store.encode("river", space), whole[2, 0], atol=1e-5)
    assert store.encode("river", space, layers="all").shape == (every, 32)
    assert store.encode(["river"], space, layers=[1]).shape == (1, 1, 32)
    assert store.encode(["river"], space, layers="0-1").shape == (2, 1, 32)


def test_texts_that_cannot_be_encoded(store, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown space"):
        store.encode("river", "tiny.word.lst")
    with pytest.raises(UsageError, match="there is no text"):
        store.encode([], "tiny.word.last")
    with pytest.raises(UsageError, match="mark exactly one word"):
        store.encode("river", "tiny.occurrence.last")
    with pytest.raises(
        EncodeError, match=r"'far far .* cannot be encoded: 271 tokens, the context"
    ):
        store.encode(["river", "far " * 90], "tiny.sentence.mean")
    imported = Store(tmp_path / "store")
    imported.add_vectors("mine", ["river"], np.ones((1, 4), np.float32))
    with pytest.raises(CheckpointError, match="its vectors were imported"):
        imported.encode("river", "mine")


def test_vectors_are_in_the_order_of_the_words(store):
    every_id, every_text, every_vector = store.vectors("tiny.word.last", 1)
    wanted = ["sea", "bank", "sea"]
    ids, texts, vectors, lengths = store.vectors(
        "tiny.word.last", 1, words=wanted, columns="n_tokens"
    )
    places = [every_text.index(word) for word in wanted]
    assert texts == wanted
    np.testing.assert_array_equal(ids, every_id[places])
    np.testing.assert_array_equal(vectors, every_vector[places])
    np.testing.assert_array_equal(
        lengths, store.vectors("tiny.word.last", 1, columns="n_tokens")[3][places]
    )
    assert store.vectors("tiny.word.last", 1, words="sea,bank")[1] == ["sea", "bank"]


def test_words_without_a_vector_are_named_or_left_out(store):
    with pytest.raises(NotStoredError) as error:
        store.vectors("tiny.word.last", 1, words=["lake", "sea", "ice cream"])
    assert "--unit word" in str(error.value), "a build would take ice cream for a sentence"
    assert store.vectors("tiny.word.last", 1, words=["lake", "sea"], missing="skip")[1] == ["sea"]
    assert store.vectors("tiny.word.last", 1, words=["lake"], missing="skip")[2].shape == (0, 32)
    selected = store.vectors(
        "tiny.word.last", 1, "text <> 'sea'", words=["sea", "dog"], missing="skip"
    )
    assert selected[1] == ["dog"]
    with pytest.raises(UnknownNameError, match="unknown treatment of missing words 'drop'"):
        store.vectors("tiny.word.last", 1, words=["sea"], missing="drop")


def test_vectors_of_several_layers_are_asked_for_one_after_the_other(store):
    with pytest.raises(
        UsageError,
        match=r"of one layer\. Of several: \[store\.vectors\(space, n\) for n in \[0, 1\]",
    ):
        store.vectors("tiny.word.last", [0, 1])
    with pytest.raises(UsageError, match=r"'0-1' names 2\. Ask for one after the other"):
        store.vectors("tiny.word.last", "0-1")


def test_a_note_says_what_several_words_are_in_a_space_of_words(store):
    spaces = ["tiny.word.last", "tiny.word.mean", "tiny.sentence.mean"]
    for found in (
        store.neighbours("The quick fox", spaces=spaces, embed=True, k=1),
        store.cosine(["The quick fox", "sea"], spaces=spaces, embed=True),
    ):
        [note] = [note for note in found.notes if "was encoded as one word" in note]
        assert "since tiny.word.last is of words: its vector is that of its last token." in note
        assert "since tiny.word.mean is of words: its vector is the mean over its tokens." in note
    assert not [
        note for note in store.neighbours("lake", embed=True, k=1).notes if "one word" in note
    ]
