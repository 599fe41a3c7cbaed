"""The stores that the benchmarks read: one of words, and synthetic ones of any size."""

import shutil
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from benchmark_timing import Size
from numpy.typing import NDArray

from embstore import Store
from embstore.space import Layers, Pooling, Template, Unit
from embstore.storage.card import Card
from embstore.storage.merged import write_all_merged
from embstore.storage.writer import SHARD_BYTES, StoreWriter
from embstore.text import Item

_BLOCK_ROWS = 1_000


class Workspace:
    """A folder for the stores of one run, each made at its first use.

    Args:
        root: the folder, on the disk that is to be measured.
        size: of the stores.
    """

    def __init__(self, root: Path, size: Size) -> None:
        self.root, self.size = root, size
        self.words = cache(self._words)
        self.synthetic = cache(self._synthetic)

    def new(self, name: str) -> Path:
        """Return the path of a store that is not there."""
        path = self.root / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def _words(self) -> Path:
        """Return a store of the words in MiniLM."""
        path = self.new("words")
        Store(path).build(f"words:{self.size.words}", models="minilm")
        return path

    def _synthetic(self, n: int, n_layers: int, dim: int | None = None, n_shards: int | None = None) -> Path:
        """Return a store of ``n`` random vectors in each of ``n_layers`` layers, not indexed."""
        dim = dim or self.size.dim
        needed = 4 * n * n_layers * dim
        if shutil.disk_usage(self.root).free < 2 * needed:
            raise SystemExit(f"{self.root} has no room for {2 * needed / 1e9:.1f} GB: set TMPDIR to another disk.")
        path = self.new(f"synthetic-{n}-{n_layers}-{dim}")
        shard_bytes = SHARD_BYTES if n_shards is None else -(-n // n_shards) * 4 * dim * n_layers
        write_synthetic(path, blocks(n, n_layers, dim), n, n_layers, dim, shard_bytes)
        return path


Block = tuple[NDArray[np.int64], NDArray[np.float32]]


def blocks(n: int, n_layers: int, dim: int) -> Iterator[Block]:
    """Yield ids (rows,) and vectors (layers, rows, dim), ``n`` rows in all, clustered round a direction."""
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((n_layers, 1, dim), dtype=np.float32)
    for start in range(0, n, _BLOCK_ROWS):
        rows = min(_BLOCK_ROWS, n - start)
        vectors = rng.standard_normal((n_layers, rows, dim), dtype=np.float32)
        vectors += centre
        yield np.arange(start, start + rows, dtype=np.int64), vectors


def write_synthetic(
    root: Path, vectors: Iterator[Block], n: int, n_layers: int, dim: int, shard_bytes: int = SHARD_BYTES
) -> float:
    """Write a space with the project's own writer, and return the seconds that the writing took."""
    card = Card(
        space="synthetic.word.last", model="synthetic", checkpoint="synthetic", revision=None, weights_sha256="0" * 64,
        tokenizer_sha256="0" * 64, config_sha256="0" * 64, architecture="None", unit=Unit.WORD, pooling=Pooling.LAST,
        template=Template(), layers=Layers.of_model(n_layers - 1, None), dim=dim, dtype="float32", max_tokens=None,
        versions={}, created="2025-01-01T00:00:00+00:00",
    )  # fmt: skip
    items = {number: Item(Unit.WORD, f"w{number}", None, None, number) for number in range(n)}
    seconds = 0.0
    with StoreWriter(root, shard_bytes=shard_bytes) as store:
        store.add_space(card)
        with store.space_writer(card, items) as writer:
            for ids, block in vectors:
                began = time.perf_counter()
                writer.add(ids, block)
                seconds += time.perf_counter() - began
            began = time.perf_counter()
        seconds += time.perf_counter() - began
        write_all_merged(store.paths)  # as a build does
    return seconds
