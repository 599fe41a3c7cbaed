"""Writing vectors: the writer alone, against writing the same bytes in the plainest way that is as
durable.
"""

import os
import time
from pathlib import Path

import numpy as np
from benchmark_stores import Block, Workspace, blocks, write_synthetic
from benchmark_timing import Result, compare, interleave, rate

_LAYERS = 13


def writing(space: Workspace) -> list[Result]:
    """Write vectors with hashes, checks and summaries, and without: shard after shard, and no more
    than two.
    """
    [sustained] = _written(space, space.size.short, goal=0.6)
    return [sustained, *_written(space, space.size.short // 4)]


def _written(space: Workspace, n: int, goal: float | None = None) -> list[Result]:
    dim = space.size.dim
    made = list(blocks(n, _LAYERS, dim))
    n_bytes = 4 * n * _LAYERS * dim

    def ours() -> float:
        return write_synthetic(space.new("writing"), iter(made), n, _LAYERS, dim)

    seconds = interleave(
        {"ours": ours, "save": lambda: _save(space.root / "vectors.npy", made)}, space.size.reads
    )
    what = (
        f"writing {n_bytes / 1e9:.2f} GB, hashed, checked and summed up, rate to that of numpy.save"
        " and fsync"
    )
    return [
        compare(what, seconds["ours"], seconds["save"], goal=goal, faster=True, show=rate(n_bytes))
    ]


def _save(path: Path, made: list[Block]) -> float:
    began = time.perf_counter()
    with path.open("wb") as file:
        for _, vectors in made:
            np.save(file, vectors)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds
