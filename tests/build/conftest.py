"""Builds of the tiny checkpoint."""

from typing import Any

import pytest

from embstore import Store
from embstore.build.report import BuildReport


@pytest.fixture
def source(tmp_path):
    """Write a text file of some lines, and return its name."""

    def write(*lines: str, name: str = "texts.txt") -> str:
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return str(tmp_path / name)

    return write


@pytest.fixture
def build(tmp_path, checkpoint):
    """Build sources with the tiny checkpoint, called ``tiny``, unless others are named."""

    def run(sources: Any = None, store: str = "store", **options: Any) -> BuildReport:
        return Store(tmp_path / store).build(sources, **{"models": str(checkpoint), **options})

    return run
