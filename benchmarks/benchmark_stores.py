"""The stores that the benchmarks read: one of words, and synthetic ones of any size."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import benchmark_clusters
import numpy as np
from benchmark_clusters import Clusters
from benchmark_timing import Contender, Point, Size, timed
from numpy.typing import NDArray
from store_writing import space_writer

import embstore
from embstore import Store
from embstore.base.space import Layers, Pooling, Template, Unit
from embstore.base.text import Item, Span
from embstore.index.updating import update_indexes
from embstore.storage.card import Card
from embstore.storage.vectors import SHARD_BYTES
from embstore.storage.writer import StoreWriter

_BLOCK_ROWS = 1_000
_SENTENCE_WORDS, _VOCABULARY = 10, 2_000

Block = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True)
class Made:
    """What was made at a path, now or in an earlier run.

    Attributes:
        path: a file or a folder.
        seconds: what its making took, step by step.
    """

    path: Path
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Clustered:
    """Clustered vectors: an array and a store of one layer, indexed.

    Attributes:
        store: the store's folder.
        seconds: of ``writing`` and ``indexing``.
        vectors: float32 of shape (n, dim), memory-mapped.
        file: the same as .npy.
        texts: row by row.
        ids: the items' ids in the store, row by row.
    """

    store: Path
    seconds: Mapping[str, float]
    vectors: NDArray[np.float32] = field(repr=False)
    file: Path
    texts: Sequence[str] = field(repr=False)
    ids: NDArray[np.int64] = field(repr=False)


def query(path: Path, metric: str, **parameters: Any) -> Contender:
    """Return what opens a store and asks for a metric, which is computed anew."""
    return timed(lambda: Store(path).query(metric, cache=False, **parameters))


class Workspace:
    """A folder for the stores of one run, each made at its first use.

    Args:
        root: the folder, on the disk that is to be measured. What is in it from an earlier run is
            used again.
        size: of the stores.
    """

    def __init__(self, root: Path, size: Size) -> None:
        self.root, self.size = root, size
        self.points: list[Point] = []
        self.words = cache(self._words)
        self.synthetic = cache(self._synthetic)
        self.occurrences = cache(self._occurrences)
        self.clustered = cache(self._clustered)

    def new(self, name: str) -> Path:
        """Return the path of a store that is not there."""
        path = self.root / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def made(self, name: str, make: Callable[[Path], Any]) -> Made:
        """Return what ``make`` puts at a path of that name, unless an earlier run has put it there.

        Args:
            name: says everything that it depends on.
            make: what it returns is kept as the seconds of its steps, if it is a mapping.
        """
        path, note = self.root / name, self.root / f"{name}.made.json"
        if not note.exists():
            _remove(path)
            began = time.perf_counter()
            steps = make(path)
            whole = {"all": time.perf_counter() - began}
            note.write_text(
                json.dumps(dict(steps) if isinstance(steps, Mapping) else whole), "utf-8"
            )
        return Made(path, json.loads(note.read_text("utf-8")))

    def room(self, n_bytes: int) -> None:
        """Stop if the disk cannot hold twice as much."""
        if shutil.disk_usage(self.root).free < 2 * n_bytes:
            raise SystemExit(
                f"{self.root} has no room for {2 * n_bytes / 1e9:.1f} GB: set TMPDIR to another"
                " disk."
            )

    def _words(self) -> Path:
        """Return a store of the words in MiniLM."""
        path = self.new("words")
        Store(path).build(f"words:{self.size.words}", models="minilm")
        return path

    def _synthetic(
        self, n: int, n_layers: int, dim: int | None = None, n_shards: int | None = None
    ) -> Path:
        """Return a store of ``n`` random vectors in each of ``n_layers`` layers, not indexed."""
        dim = dim or self.size.dim
        self.room(4 * n * n_layers * dim)
        path = self.new(f"synthetic-{n}-{n_layers}-{dim}")
        shard_bytes = SHARD_BYTES if n_shards is None else -(-n // n_shards) * 4 * dim
        write_synthetic(path, blocks(n, n_layers, dim), n, n_layers, dim, shard_bytes=shard_bytes)
        return path

    def _occurrences(self, n: int) -> Path:
        """Return a store of the random vectors of ``n`` words in their sentences, in one layer."""
        dim = self.size.dim
        self.room(4 * n * dim)
        path = self.new(f"occurrences-{n}-{dim}")
        write_synthetic(path, blocks(n, 1, dim), n, 1, dim, occurrences(n), unit=Unit.OCCURRENCE)
        return path

    def _clustered(self, n: int) -> Clustered:
        """Return ``n`` clustered vectors: see :mod:`benchmark_clusters`."""
        dim = self.size.search_dim
        name = f"clustered-{n}-{dim}-{_hash([Path(benchmark_clusters.__file__)])}"
        return self.indexed(name, n, dim, lambda path: _save_clustered(path, n, dim))

    def indexed(self, name: str, n: int, dim: int, save: Callable[[Path], None]) -> Clustered:
        """Return ``n`` vectors that ``save`` puts into an .npy file, and their indexed store."""
        self.room(4 * n * dim)
        items = [Item.whole(Unit.WORD, f"w{row}") for row in range(n)]
        file = self.made(f"{name}.npy", save).path
        vectors = np.load(file, mmap_mode="r")
        made = self.made(
            f"{name}-{_hash(_written_by())}", lambda path: _write_clustered(path, vectors, items)
        )
        ids = np.array([item.id for item in items], np.int64)
        return Clustered(made.path, made.seconds, vectors, file, [item.text for item in items], ids)


def blocks(n: int, n_layers: int, dim: int) -> Iterator[Block]:
    """Yield ids (rows,) and vectors (layers, rows, dim), ``n`` rows in all, clustered round a
    direction.
    """
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((n_layers, 1, dim), dtype=np.float32)
    for start in range(0, n, _BLOCK_ROWS):
        rows = min(_BLOCK_ROWS, n - start)
        vectors = rng.standard_normal((n_layers, rows, dim), dtype=np.float32)
        vectors += centre
        yield np.arange(start, start + rows, dtype=np.int64), vectors


def occurrences(n: int) -> dict[int, Item]:
    """Return ``n`` words in their sentences by number, which stands for their id: ten a sentence,
    2,000 different.
    """
    rng = np.random.default_rng(1)
    found: dict[int, Item] = {}
    while len(found) < n:
        words = [f"w{word}" for word in rng.integers(0, _VOCABULARY, _SENTENCE_WORDS).tolist()]
        sentence = " ".join([*words, f"s{len(found)}"])
        start = 0
        for word in words[: n - len(found)]:
            span = Span(start, start + len(word))
            found[len(found)] = Item(Unit.OCCURRENCE, word, sentence, span, len(found))
            start = span.end + 1
    return found


def synthetic_card(n_layers: int, dim: int, unit: Unit = Unit.WORD) -> Card:
    """Return the card of a space of made-up words."""
    return Card(
        space=f"synthetic.{unit}.last",
        model="synthetic",
        checkpoint="synthetic",
        revision=None,
        weights_sha256="0" * 64,
        tokenizer_sha256="0" * 64,
        config_sha256="0" * 64,
        architecture="None",
        unit=unit,
        pooling=Pooling.LAST,
        template=Template(),
        layers=Layers.of_model(n_layers - 1, None),
        dim=dim,
        dtype="float32",
        max_tokens=None,
        versions={},
        created="2025-01-01T00:00:00+00:00",
    )


def write_synthetic(
    root: Path,
    vectors: Iterator[Block],
    n: int,
    n_layers: int,
    dim: int,
    items: Mapping[int, Item] | None = None,
    *,
    unit: Unit = Unit.WORD,
    shard_bytes: int = SHARD_BYTES,
) -> float:
    """Write a space with the project's own writer, and return the seconds that the writing took.

    Args:
        root: the store's folder.
        vectors: ids and vectors, block by block.
        n: how many.
        n_layers: of the space.
        dim: of the space.
        items: of these ids; by default w0, w1 … with ids 0, 1 …
        unit: of the items.
        shard_bytes: bytes of vectors in a shard of one layer.
    """
    card = synthetic_card(n_layers, dim, unit)
    if items is None:
        items = {number: Item(Unit.WORD, f"w{number}", None, None, number) for number in range(n)}
    seconds = 0.0
    with StoreWriter(root) as store:
        with space_writer(store, card, items, shard_bytes) as writer:
            for ids, block in vectors:
                began = time.perf_counter()
                writer.add(ids, block)
                seconds += time.perf_counter() - began
            began = time.perf_counter()
        seconds += time.perf_counter() - began
    return seconds


def _save_clustered(path: Path, n: int, dim: int) -> None:
    file = np.lib.format.open_memmap(path, "w+", np.float32, (n, dim))
    done = 0
    for block in Clusters(dim).blocks(n):
        file[done : done + len(block)] = block
        done += len(block)
    file.flush()


def _write_clustered(
    path: Path, vectors: NDArray[np.float32], items: Sequence[Item]
) -> Mapping[str, float]:
    n, dim = vectors.shape
    ids = np.array([item.id for item in items], np.int64)
    made = (
        (ids[start : start + _BLOCK_ROWS], np.array(vectors[None, start : start + _BLOCK_ROWS]))
        for start in range(0, n, _BLOCK_ROWS)
    )
    writing = write_synthetic(path, made, n, 1, dim, {item.id: item for item in items})
    began = time.perf_counter()
    update_indexes(path, synthetic_card(1, dim), "auto")
    return {"writing": writing, "indexing": time.perf_counter() - began}


def _written_by() -> list[Path]:
    """Return the code that decides what lies on disk."""
    root = Path(embstore.__file__).parent
    return sorted([*root.glob("storage/*.py"), *root.glob("index/*.py")])


def _hash(files: Sequence[Path]) -> str:
    """Return a name for the state of the code: what older code made is not used again."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
