"""The memory of an import and of an export does not grow with the vectors."""

import numpy as np
import pytest
from peak_memory import peak

pytestmark = pytest.mark.slow

DIM = 2048
_PREPARE = """
from pathlib import Path
from embstore import Store
from embstore.interop.formats import open_vectors
from embstore.interop.importing import ImportOptions, import_vectors
from embstore.interop.vector_file import ReadOptions
"""
_IMPORT = """
options = ImportOptions("mine", index="none", shard_bytes=1 << 20)
file = open_vectors(Path({array!r}), None, ReadOptions(texts=Path({texts!r})))
assert import_vectors(Path({store!r}), [file], options).imported == {n}
"""
_EXPORT = """
store = Store({store!r})  # its shards are mapped to the end
assert store.export({dest!r}, 'mine').n == {n}
"""


def test_four_times_the_vectors_take_hardly_more_memory(tmp_path):
    peaks = []
    for n in (4_000, 16_000):  # 33 and 131 MB
        array = np.lib.format.open_memmap(tmp_path / f"{n}.npy", "w+", np.float32, (n, DIM))
        array[:, 0] = np.arange(n)
        array.flush()
        del array
        (tmp_path / f"{n}.txt").write_text("".join(f"w{number}\n" for number in range(n)))
        files = {"array": str(tmp_path / f"{n}.npy"), "texts": str(tmp_path / f"{n}.txt"), "n": n}
        files |= {"store": str(tmp_path / f"store{n}"), "dest": str(tmp_path / f"{n}.safetensors")}
        peaks.append(
            (peak(_IMPORT.format(**files), _PREPARE)[0], peak(_EXPORT.format(**files), _PREPARE)[0])
        )
        (tmp_path / f"{n}.npy").unlink()
    for few, many in zip(*peaks, strict=True):
        assert many <= 1.2 * few, f"import and export: {peaks} kB"
