"""Vectors come back from the disk block by block, in the order of the shards."""

import numpy as np
import pytest
from sound_stores import problems_of

from embstore import Store
from embstore.interop.staging import Spool
from embstore.storage.vectors import BLOCK_ROWS

RNG = np.random.default_rng(3)


def test_a_file_that_ends_early_is_an_error(tmp_path):
    keys = np.arange(3)
    with Spool(tmp_path, 1, 4) as spool:
        spool.add(keys, keys, np.ones((1, 3, 4), np.float32))
        spool.finish()
        [file] = tmp_path.glob("*/*.vectors")
        file.write_bytes(file.read_bytes()[:-4])
        with pytest.raises(OSError, match="too short"):
            [*next(spool.read(keys, keys))]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_shard_of_several_blocks_is_that_of_whole_layers(tmp_path, dtype):
    words = [f"word{number}" for number in range(2_500)]
    vectors = RNG.standard_normal((2, len(words), 512)).astype(np.float32)
    store = Store(tmp_path / "store")
    store.add_vectors("mine", words, vectors, dtype=dtype, index="none")
    [shard] = store.catalog.shards("mine", 0)
    assert shard.n > BLOCK_ROWS
    for layer in range(2):
        _, texts, found = store.vectors("mine", layer)
        expected = vectors[layer, [int(text.removeprefix("word")) for text in texts]]
        assert sorted(texts) == sorted(words)
        np.testing.assert_array_equal(found, expected.astype(dtype).astype(np.float32))
    assert problems_of(store) == []
