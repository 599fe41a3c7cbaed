"""Builds of the tiny checkpoint."""

import pytest

from embstore import Store


@pytest.fixture
def source(tmp_path):
    """Write a text file of some lines, and return its name."""

    def write(*lines, name="texts.txt"):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return str(tmp_path / name)

    return write


@pytest.fixture
def build(tmp_path, checkpoint):
    """Build sources with the tiny checkpoint, called ``tiny``, unless others are named."""

    def run(sources=None, store="store", **options):
        return Store(tmp_path / store).build(sources, **{"models": str(checkpoint), **options})

    return run
