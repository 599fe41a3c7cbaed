"""Neighbours in an open store, beside searches of the same vectors in memory; and the bytes of an
index.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import faiss
import numpy as np
from benchmark_peers import K
from benchmark_stores import Workspace
from benchmark_timing import Contender, Result, compare, interleave, timed

from embstore import Store

_MOST = 100_000
_MANY = 100  # words of a call


def opened(space: Workspace) -> list[Result]:
    """Ask for the neighbours of stored words, one and many a call, with and without an index."""
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
    for n_words in (1, min(_MANY, n)):
        words, rows = made.texts[:n_words], units[:n_words]
        contenders = {
            "embstore": _ask(made.store, words),
            "embstore without an index": _ask(bare, words),
            "numpy's product and argpartition": timed(partial(_product, units, rows)),
            "FAISS's IndexFlatIP": timed(partial(flat.search, rows, K + 1)),
            "FAISS's IndexScalarQuantizer, half precision": timed(
                partial(half.search, rows, K + 1)
            ),
        }
        seconds = interleave(contenders, 3 * space.size.reads)
        what = f"neighbours of {n_words:,} of {n:,} × {units.shape[1]} in an open store, to"
        lines += [
            compare(f"{what} {name}", seconds["embstore"], seconds[name], show=_milliseconds)
            for name in contenders
            if name != "embstore"
        ]
    with_index, without = _bytes(made.store), _bytes(bare)
    shown = f"{with_index / 1e6:.1f} MB", f"{without / 1e6:.1f} MB"
    return [*lines, Result("store with an index, to without", *shown, with_index / without)]


def _ask(path: Path, words: Sequence[str]) -> Contender:
    store = Store(path)
    return timed(lambda: store.neighbours(words, k=K))


def _product(units: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.argpartition(-(rows @ units.T), K, axis=1)[:, : K + 1]


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"


def _bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
