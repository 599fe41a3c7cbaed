"""The words of errors about names."""

import pytest

from embstore.base import errors
from embstore.base.errors import EmbstoreError, NotStoredError, UnknownNameError, nearest


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("anisotrpy", ["anisotropy"]),
        ("ANISOTROPY", ["anisotropy"]),
        ("rogue_dims", ["rogue-dims"]),
        ("xyzzy", []),
        ("", []),
    ],
)
def test_nearest(name, near):
    assert nearest(name, ["anisotropy", "norms", "rogue-dims"]) == near


def test_the_most_alike_comes_first_and_transposed_letters_are_found():
    assert nearest("tyni", ["tiny", "gpt2"]) == ["tiny"]
    assert nearest("foo", ["tiny", "gpt2", "oof"]) == ["oof"]
    assert nearest("xy", ["yx"]) == []
    assert (
        nearest("gpt2.word.lst", ["gpt2.word.first", "clip", "gpt2.word.last"])[0]
        == "gpt2.word.last"
    )


def test_an_unknown_name_says_the_nearest_the_known_and_the_remedy():
    error = UnknownNameError("model", "gtp2", ["gpt2", "clip"], "To add it: embstore build.")
    assert (
        str(error)
        == "unknown model 'gtp2'. Did you mean 'gpt2'? Known: gpt2, clip. To add it: embstore"
        " build."
    )
    assert str(UnknownNameError("space", "a", [])) == "unknown space 'a'. There are none."


def test_every_error_is_one_that_a_user_may_see():
    found = [
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, Exception)
    ]
    assert len(found) > 10
    assert all(issubclass(error, EmbstoreError) for error in found)


def test_nearest_finds_names_by_a_part_and_compares_no_digits():
    assert nearest("MiniLM", ["glove", "minilm.sentence.mean", "minilm.word.last"]) == [
        "minilm.word.last",
        "minilm.sentence.mean",
    ]
    assert nearest("lex", ["simlex999"]) == ["simlex999"]
    assert nearest("500", ["checkpoint-0", "checkpoint-500"]) == ["checkpoint-500"]
    assert nearest("13", ["1", "3", "12"]) == []


def test_a_name_far_longer_than_a_line_is_cut(make_store):
    error = UnknownNameError("column", "x" * 10_000, ["a"])
    assert (error.name, len(str(error))) == (
        "x" * 10_000,
        len("unknown column '" + 300 * "x" + "…'. Known: a."),
    )
    with pytest.raises(NotStoredError) as found:
        make_store(index=False).store.neighbours("y" * 10_000)
    assert len(str(found.value)) < 900
