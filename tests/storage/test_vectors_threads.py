"""A file that several threads read at once gives each of them its own rows, every time."""

from collections.abc import Callable

import numpy as np
import pytest
from synthetic import Synthetic

from embstore.storage.files import vectors
from embstore.storage.files.vectors import LayerVectors
from embstore.storage.transaction.manifest import committed_shards


@pytest.mark.slow
def test_threads_that_share_a_file_do_not_disturb_each_other(
    make_store: Callable[..., Synthetic], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "_THREADS", 8)
    made = make_store(n=20_000, dim=2, n_blocks=1, top_form=None, n_shards=1, index=False)
    expected = np.sort(made.layer(0), axis=0)
    for _ in range(100):
        blocks = list(LayerVectors(committed_shards(made.paths, made.space), 0, 2).map(np.array))
        assert np.array_equal(np.sort(np.concatenate(blocks), axis=0), expected)
