"""Neighbours in an open store, beside searches of the same vectors in memory; and the bytes of an
index.

Times are processor times, which depend less on what else the machine does. Waiting threads use some
too: compare with OPENBLAS_NUM_THREADS=1 and OMP_NUM_THREADS=1.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import faiss
import numpy as np
from benchmark_peers import K
from benchmark_stores import Workspace
from benchmark_timing import Contender, Result, compare, interleave

from embstore import Store
from embstore.index import searching

_MOST = 100_000
_N_WORDS = (1, 8, 16, 100)  # of a call


def opened(space: Workspace) -> list[Result]:
    """Ask for the neighbours of stored words, one and many a call: as embstore chooses, always in
    the index, and without one.
    """
    n = max(n for n in space.size.growth if n <= _MOST)
    made = space.clustered(n)
    units = np.array(made.vectors)
    faiss.normalize_L2(units)
    flat, half = (
        faiss.IndexFlatIP(units.shape[1]),
        faiss.IndexScalarQuantizer(
            units.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        ),
    )
    for index in (flat, half):
        index.add(units)
    bare = space.new(f"bare-{n}")
    shutil.copytree(made.store, bare)
    Store(bare).index(kind="none")
    lines: list[Result] = []
    for n_words in sorted({min(n_words, n) for n_words in _N_WORDS}):
        words, rows = made.texts[:n_words], units[:n_words]
        contenders = {
            "embstore": _ask(made.store, words),
            "embstore, always in the index": _ask_index(made.store, words),
            "embstore without an index": _ask(bare, words),
            "numpy's product": _timed(partial(_product, units, rows)),
            "numpy's product and argpartition": _timed(partial(_nearest, units, rows)),
            "FAISS's IndexFlatIP": _timed(partial(flat.search, rows, K + 1)),
            "FAISS's IndexScalarQuantizer, half precision": _timed(
                partial(half.search, rows, K + 1)
            ),
        }
        seconds = interleave(contenders, 3 * space.size.reads)
        what = f"processor time of neighbours of {n_words:,} of {n:,} × {units.shape[1]} in an open store, to"
        lines += [
            compare(f"{what} {name}", seconds["embstore"], seconds[name], show=_milliseconds)
            for name in contenders
            if name != "embstore"
        ]
    with_index, without = _bytes(made.store), _bytes(bare)
    shown = f"{with_index / 1e6:.1f} MB", f"{without / 1e6:.1f} MB"
    return [*lines, Result("store with an index, to without", *shown, with_index / without)]


def _timed(work: Callable[[], object]) -> Contender:
    def run() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return run


def _ask(path: Path, words: Sequence[str]) -> Contender:
    store = Store(path)
    return _timed(lambda: store.neighbours(words, k=K))


def _ask_index(path: Path, words: Sequence[str]) -> Contender:
    ask = _ask(path, words)

    def run() -> float:
        with patch.object(searching, "_MANY_QUERIES", len(words)):
            return ask()

    return run


def _product(units: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return units @ rows[0] if len(rows) == 1 else rows @ units.T


def _nearest(units: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.argpartition(-(rows @ units.T), K, axis=1)[:, : K + 1]


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"


def _bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
