"""A flipped bit in an exact index: it is named, or the answer is what it was."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from index_cache import close_cached_indexes
from store_damage import flipped
from synthetic import Synthetic

from embstore import Store
from embstore.base.errors import DamagedError

Make = Callable[..., Synthetic]


def answer(root: Path) -> list[tuple[str, float]] | None:
    try:
        found = Store(root).neighbours(["text3", "text7"], layers=1, k=49)
    except DamagedError as error:
        assert "layer=01.faiss" in str(error)  # noqa: PT017
        return None
    return [(row["text"], row["cosine"]) for row in found]


def test_a_flipped_bit_in_a_flat_index(make_store: Make) -> None:
    made = make_store(n=50, dim=16)
    path = made.paths.indexes(made.space) / "layer=01.faiss"
    data, right = path.read_bytes(), answer(made.root)
    assert right is not None
    n_named = 0
    for bit in np.random.default_rng(4).integers(0, 8 * len(data), 60):
        path.write_bytes(flipped(data, int(bit)))
        found = answer(made.root)
        assert found in (None, right), f"bit {bit} gave another answer"
        n_named += found is None
    assert n_named > 50
    path.write_bytes(data)
    assert answer(made.root) == right


def test_it_is_checked_once_while_it_is_open(make_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from embstore.index.flat import FlatIndex

    made = make_store(n=50)
    close_cached_indexes()
    checked: list[Path] = []
    check = FlatIndex.check
    monkeypatch.setattr(FlatIndex, "check", lambda index, card: checked.append(index.path) or check(index, card))
    for text in made.texts[:5]:
        made.store.neighbours(text, layers=1)
    assert len(checked) == 1
