"""The rule by which a space of occurrences cuts words is in its card, and a build by another rule adds nothing."""

import json
from dataclasses import replace

import pytest

from embstore.base.errors import SpaceMismatchError
from embstore.base.text import WORD_RULE, word_boundaries
from embstore.storage.files.card import read_card
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction.commit import write_card


def test_a_build_says_its_rule_adds_to_no_other_and_goes_on_with_other_versions(tmp_path, build, source):
    def n_words(text: str) -> int:
        [space] = build(source(text), unit="occurrence", name="old", index="none").spaces
        return space.embedded + sum(space.skipped.values())

    assert n_words("a na\u0308ive dog") == 3
    paths = StorePaths(tmp_path / "store")
    card = read_card(paths.card("old"))
    assert card.word_boundaries == word_boundaries()
    assert json.loads(paths.card("old").read_text("utf-8"))["word_boundaries"].startswith(WORD_RULE)
    write_card(paths, replace(card, word_boundaries=f"{WORD_RULE}; Unicode 99.0.0, regex 2099.1.1"))
    assert n_words("a red dog") == 3
    write_card(paths, replace(card, word_boundaries="another rule; Unicode 99.0.0, regex 2099.1.1"))
    with pytest.raises(SpaceMismatchError, match=r'its word_boundaries is "another rule; .*name='):
        n_words("a cat")
