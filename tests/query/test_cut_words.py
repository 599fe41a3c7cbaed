"""Spaces of occurrences whose words an earlier version cut at combining marks: named, asked, and never added to."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Synthetic

from embstore import Store, atomic
from embstore.errors import SpaceMismatchError
from embstore.storage.files.card import read_card
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction.additions import write_card
from embstore.words import WORD_RULE, word_boundaries

Make = Callable[..., Synthetic]

ANEW = r"words with combining marks, .* are cut in old, .*: embstore remove --space old, then the same embstore build"


@pytest.fixture
def made(make_store: Make) -> Synthetic:
    return make_store(space="old", unit="occurrence", texts=["the bank of the river", "a bank"], words_cut=True)


def test_questions_about_the_space_are_answered_with_a_note_that_names_it(made: Synthetic) -> None:
    for found in (
        made.store.info(),
        made.store.query("anisotropy"),
        made.store.query("self-similarity", min_contexts=2),
        made.store.neighbours("river"),
    ):
        assert len(found)
        [note] = [note for note in found.notes if note.startswith("words with combining marks")]
        assert note.endswith("build it anew: embstore remove --space old, then the same embstore build again.")


@pytest.mark.parametrize("unit", ["occurrence", "word"])
def test_other_spaces_have_no_such_note(make_store: Make, unit: str) -> None:
    store = make_store(unit=unit, texts=["the bank of the river", "a bank"]).store
    assert not [note for found in (store.info(), store.query("norms")) for note in found.notes if "cut in" in note]


def test_merges_do_not_mix_two_rules(made: Synthetic, make_store: Make) -> None:
    new = make_store("new", space="old", unit="occurrence", texts=["a dog"])
    with pytest.raises(SpaceMismatchError, match='word_boundaries is null, not "UAX #29'):
        made.store.merge(new.store.path)


def test_a_build_says_its_rule_adds_to_no_other_and_goes_on_with_other_versions(
    tmp_path: Path, checkpoint: Path
) -> None:
    source = tmp_path / "a.txt"
    store = Store(tmp_path / "store")

    def build(text: str) -> int:
        source.write_text(text, "utf-8")
        report = store.build(str(source), models=f"tiny={checkpoint}", unit="occurrence", name="old", index="none")
        return report.spaces[0].embedded + sum(report.spaces[0].skipped.values())

    assert build("a na\u0308ive dog\n") == 3
    paths = StorePaths(store.path)
    card = read_card(paths.card("old"))
    assert card.word_boundaries == word_boundaries()
    assert json.loads(paths.card("old").read_text("utf-8"))["word_boundaries"].startswith(WORD_RULE)
    write_card(paths, replace(card, word_boundaries=f"{WORD_RULE}; Unicode 99.0.0, regex 2099.1.1"))
    assert build("a red dog\n") == 3
    write_card(paths, replace(card, word_boundaries="another rule; Unicode 99.0.0, regex 2099.1.1"))
    with pytest.raises(SpaceMismatchError, match=r'its word_boundaries is "another rule; .*name='):
        build("a cat\n")
    document = card.to_dict() | {"format": 1}
    del document["layer_check"], document["word_boundaries"]
    paths.card("old").write_bytes(atomic.document_bytes(document))
    with pytest.raises(SpaceMismatchError, match="nothing can be added to 'old': " + ANEW):
        build("a cat\n")
