"""The pictures of the explorer and the report: they are there, small, shown with their texts, and
not out of date.
"""

import re
import sys

import pytest
from docs_pages import DOCS

sys.path.insert(0, str(DOCS))
import _screenshots

pytestmark = pytest.mark.docs

LARGEST_BYTES = 150_000
SHOWN = _screenshots.SCREENSHOTS | {"report": _screenshots.REPORT}


def test_each_picture_is_there_and_small():
    pictures = {path.stem: path for path in _screenshots.FOLDER.glob("*.png")}
    assert set(pictures) == set(SHOWN)
    for path in pictures.values():
        data = path.read_bytes()
        assert len(data) <= LARGEST_BYTES, path
        assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (
            1280,
            800,
        )


def test_each_picture_is_shown_with_its_text():
    pages = [path.read_text("utf-8") for path in DOCS.rglob("*.md")]
    found = {
        name: alt
        for page in pages
        for alt, name in re.findall(r"!\[([^\]]+)\]\([^)]*screenshots/(.+?)\.png", page)
    }
    assert {name: " ".join(alt.split()) for name, alt in found.items()} == {
        name: screenshot.alt for name, screenshot in SHOWN.items()
    }


def test_the_pages_have_not_changed_their_looks_since():
    taken_of = _screenshots.STAMP.read_text("utf-8").strip()
    assert taken_of == _screenshots.stamp(), (
        "the style of the pages has changed: run python docs/_screenshots.py"
    )
