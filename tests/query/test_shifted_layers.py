"""Spaces whose layers an earlier version numbered wrongly: named, and never asked."""

from collections.abc import Callable

import pytest
from synthetic import Synthetic

from embstore.errors import QueryError, SpaceMismatchError

Make = Callable[..., Synthetic]

ANEW = r"the layers of old are shifted: .*MambaModel.*embstore remove --space old, then the same embstore build"


@pytest.fixture
def made(make_store: Make) -> Synthetic:
    """A store with a space that is right, and one with shifted layers, called ``old``."""
    make_store(space="old", architecture="MambaModel", layer_check=None, n_shards=1)
    return make_store()


def test_info_names_the_space_and_the_remedy(made: Synthetic, make_store: Make) -> None:
    found = made.store.info()
    assert {row["space"] for row in found} == {"old", made.space}
    [note] = found.notes
    assert note.startswith("the layers of old are shifted")
    assert note.endswith("the same embstore build again.")
    assert make_store("another", architecture="MambaModel").store.info().notes == ()


def test_questions_leave_the_space_out_and_say_so(made: Synthetic) -> None:
    for found in (
        made.store.query("anisotropy"),
        made.store.query("cka"),
        made.store.neighbours("text1"),
        made.store.query("norms", where="text <> 'text1'"),
    ):
        assert {row["space"] for row in found} == {made.space}
        assert [note for note in found.notes if note.startswith("left out: the layers of old are shifted")]


def test_questions_about_the_space_are_refused(made: Synthetic) -> None:
    for ask in (
        lambda: made.store.query("anisotropy", spaces="old"),
        lambda: made.store.query("cka", spaces="old"),
        lambda: made.store.query("cka", spaces=made.space, against="old"),
        lambda: made.store.neighbours("text1", spaces=["old", made.space]),
        lambda: made.store.vectors("old", 0),
    ):
        with pytest.raises(QueryError, match=ANEW):
            ask()


def test_a_store_of_such_spaces_alone_answers_nothing(make_store: Make) -> None:
    store = make_store(space="old", architecture="MambaModel", layer_check=None, n_shards=1).store
    with pytest.raises(QueryError, match=ANEW):
        store.query("anisotropy")


def test_builds_and_merges_do_not_mix_shifted_and_right_layers(made: Synthetic, make_store: Make) -> None:
    with pytest.raises(SpaceMismatchError, match=f"nothing can be added to 'old': {ANEW}"):
        make_store(space="old", architecture="MambaModel")
    right = make_store("right", space="old", architecture="MambaModel")
    with pytest.raises(SpaceMismatchError, match="layer_check is null, not 1"):
        made.store.merge(right.store.path)
