"""What all tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import Synthetic, synthetic_store

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Synthetic]:
    """Write a synthetic space into ``tmp_path / "store"`` (see :func:`synthetic.synthetic_store` for the arguments)."""

    def make(root: Path | str = "store", **arguments: object) -> Synthetic:
        return synthetic_store(tmp_path / root, **arguments)

    return make


@pytest.fixture
def shared() -> Path:
    """The folder ``../shared`` of the project's workplace; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"there is no {SHARED}")
    return SHARED
