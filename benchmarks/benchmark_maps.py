"""Maps by t-SNE: what embstore adds to openTSNE on the same neighbours, and the share of neighbours
that they keep.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmark_stores import Workspace
from benchmark_timing import Contender, Result, compare, interleave, timed
from openTSNE import TSNEEmbedding
from openTSNE.affinity import PerplexityBasedNN
from openTSNE.nearest_neighbors import PrecomputedNeighbors

from embstore import Store
from embstore.query import map_methods
from embstore.query.layer_data import StoredLayer
from embstore.query.map_methods import SharedBasis

_LAYERS = (0, 1)
_KEPT = 0.4
_OVERHEAD = 1.2


def maps(space: Workspace) -> list[Result]:
    """Map two layers by t-SNE, which includes the search for neighbours, and by principal
    components.
    """
    path = space.words()
    store = Store(path)
    cpu_seconds: dict[str, list[float]] = {}
    seconds = interleave(
        {
            name: _timed_twice(work, cpu_seconds.setdefault(name, []))
            for name, work in {
                "embstore": lambda: store.map(method="tsne", layers=_LAYERS, force=True),
                "openTSNE": _OpenTsne(path),
            }.items()
        },
        2,
        warmups=0,
    )
    kept = min(share or 0.0 for share in store.map(method="tsne", layers=_LAYERS)["kept"])
    components = interleave(
        {"pca": timed(lambda: store.map(layers=_LAYERS, force=True))}, space.size.reads
    )["pca"]
    n = space.size.words
    return [
        compare(
            f"map --method tsne, 2 layers of {n:,} words, to openTSNE on the same neighbours",
            seconds["embstore"],
            seconds["openTSNE"],
            goal=_OVERHEAD,
        ),
        compare(
            "… in CPU seconds", cpu_seconds["embstore"], cpu_seconds["openTSNE"], goal=_OVERHEAD
        ),
        Result(
            f"map --method tsne, {n:,} words: least share of the ten nearest kept",
            f"{kept:.3f}",
            "",
            kept,
            _KEPT if n >= 8_000 else None,
            at_least=True,
        ),
        Result(
            f"map --method pca, 2 layers of {n:,} words",
            f"{min(components):.2f} s",
            "",
            rounds=len(components),
        ),
    ]


def _timed_twice(work: Callable[[], object], cpu_seconds: list[float]) -> Contender:
    """Return what does the work once and returns its seconds; those of all CPUs are appended to a
    list.
    """

    def run() -> None:
        began = time.process_time()
        work()
        cpu_seconds.append(time.process_time() - began)

    return timed(run)


class _OpenTsne:
    """openTSNE with embstore's settings, from neighbours that were searched before."""

    def __init__(self, path: Path) -> None:
        catalog = Store(path).catalog
        [card] = catalog.cards.values()
        layers = [StoredLayer(catalog, card, card.layers.members[layer]) for layer in _LAYERS]
        self._near = [layer.neighbours(map_methods.N_NEIGHBOURS)[1:] for layer in layers]
        components = SharedBasis.of(layers[:1]).project(0)[1].astype(np.float64)
        self._start = components * 1e-4 / components[:, 0].std()

    def __call__(self) -> None:
        positions = self._start
        for place, (near, cosines) in enumerate(self._near):
            neighbours = PrecomputedNeighbors(near, np.sqrt(np.maximum(0, 2 - 2 * cosines)))
            affinities = PerplexityBasedNN(
                perplexity=min(map_methods.PERPLEXITY, near.shape[1] / 3),
                knn_index=neighbours,
                n_jobs=2,
            )
            found = TSNEEmbedding(positions, affinities, negative_gradient_method="bh", n_jobs=2)
            for n_iterations, exaggeration in (
                map_methods.FROM_COMPONENTS if place == 0 else map_methods.FROM_LAYER_BELOW
            ):
                found.optimize(
                    n_iterations,
                    exaggeration=exaggeration,
                    momentum=map_methods.MOMENTUM,
                    inplace=True,
                )
            positions = np.asarray(found)
