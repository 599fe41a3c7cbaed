"""The rule by which a space of occurrences cuts words is in its card, and a build by another rule adds nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embstore import Store
from embstore.base.errors import SpaceMismatchError
from embstore.base.text import WORD_RULE, word_boundaries
from embstore.storage.files.card import read_card
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction.commit import write_card


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
