"""Check the form of the changelog and the README."""

import re
import tomllib

import pytest
from docs_pages import ROOT

pytestmark = pytest.mark.docs

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Format"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    first = re.search(r"^## \[([^\]]+)\] - (Unreleased|\d{4}-\d{2}-\d{2})$", CHANGELOG, re.MULTILINE)
    assert first
    assert first[1] == VERSION


def test_each_version_has_its_link_and_sections_in_order() -> None:
    parts = re.split(r"^## \[(.+)\] - .+$", CHANGELOG, flags=re.MULTILINE)[1:]
    for version, text in zip(parts[::2], parts[1::2], strict=True):
        assert re.search(rf"^\[{re.escape(version)}\]: https://\S+$", CHANGELOG, re.MULTILINE)
        found = re.findall(r"^### (.+)$", text, re.MULTILINE)
        assert found == [name for name in SECTIONS if name in found]


def test_each_entry_of_the_changelog_is_one_line() -> None:
    entries = CHANGELOG.partition("\n## ")[2].splitlines()
    assert [line for line in entries if len(line) > 120 or line.startswith(" ")] == []


def test_the_readme_stays_an_overview() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150
