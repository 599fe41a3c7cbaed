"""The geometry of a layer: against the usual ways to compute it, and in memory that does not grow
with the items.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_stores import Workspace
from benchmark_timing import Result, compare, interleave, timed
from peak_memory import peak
from scipy.spatial.distance import pdist

from embstore import Store
from embstore.query.layer_data import StoredLayer

_GROWTH = 1.15  # of the peak memory between n and 10 n: what the allocator may add
_STREAMING: Mapping[str, Mapping[str, Any]] = {
    "anisotropy": {"variant": "centred"},
    "norms": {},
    "isoscore": {},
    "partition": {},
    "effective-rank": {},
    "participation-ratio": {},
    "spectrum": {},
    "rogue-dims": {"transforms": ("abtt:3", "standardize")},
    "cka": {},
    "rsa": {},
}
_OF_OCCURRENCES = ("self-similarity", "intra-sentence", "mev")

_OURS = (
    (
        "import embstore.storage.vectors; from embstore import Store; store = Store({path!r});"
        " store.query('anisotropy')"
    ),
    "store.query({metric!r}, cache=False, **{settings!r})",
)
_PACKAGE = (
    "import numpy, torch; from IsoScore.IsoScore import IsoScore",
    "float(IsoScore(numpy.load({path!r})))",
)


def geometry(space: Workspace) -> list[Result]:
    """Measure IsoScore, the mean cosine of all pairs, and the peak memory of what streams."""
    return [*_isoscore(space), *_anisotropy(space), *_peaks(space)]


def _isoscore(space: Workspace) -> list[Result]:
    if find_spec("IsoScore") is None:
        return [Result("IsoScore to the IsoScore package", "", "not installed")]
    from IsoScore.IsoScore import IsoScore

    n, dim = space.size.short // 2, space.size.dim
    path = space.synthetic(n, 1)
    x = layer_of(path).gather()[1]
    store = Store(path)
    seconds = interleave(
        {
            "ours": timed(lambda: store.query("isoscore", cache=False)),
            "float32": timed(lambda: float(IsoScore(x))),
            "float64": timed(lambda: float(IsoScore(x.astype(np.float64)))),
        },
        space.size.reads,
    )
    file = space.root / "isoscore.npy"
    np.save(file, x)
    ours = _peak(_OURS, path=str(path), metric="isoscore", settings={})
    package = _peak(_PACKAGE, path=str(file))
    what = f"IsoScore of {n:,} × {dim}, read from the store, in float64,"
    return [
        compare(
            f"{what} to the IsoScore package, in memory, in float32",
            seconds["ours"],
            seconds["float32"],
            goal=1,
        ),
        compare("… to the package in float64", seconds["ours"], seconds["float64"], goal=1),
        Result(
            "… peak memory of the process",
            *(f"{peak[0] / 1e3:.0f} MB" for peak in (ours, package)),
            ours[0] / package[0],
            1.0,
        ),
        Result(
            "… above that of the imports and of opening",
            *(f"{peak[1] / 1e3:.0f} MB" for peak in (ours, package)),
            ours[1] / max(1, package[1]),
            1.0,
        ),
    ]


def _anisotropy(space: Workspace) -> list[Result]:
    n, dim = space.size.short // 2, space.size.dim
    path = space.synthetic(n, 1)
    x = layer_of(path).gather()[1].astype(np.float64)
    seconds = interleave(
        {
            "summary": timed(lambda: Store(path).query("anisotropy")),
            "vectors": timed(lambda: Store(path).query("anisotropy", where="true", cache=False)),
            "pdist": timed(lambda: 1 - pdist(x, "cosine").mean()),
        },
        1,
        warmups=1 if space.size.reads > 1 else 0,
    )
    what = f"anisotropy of {n:,} × {dim}"
    return [
        compare(
            f"{what}, reading every vector, to scipy's pdist",
            seconds["vectors"],
            seconds["pdist"],
            goal=100,
            faster=True,
        ),
        compare(
            f"{what}, from the summaries, to scipy's pdist",
            seconds["summary"],
            seconds["pdist"],
            goal=100,
            faster=True,
        ),
    ]


def _peaks(space: Workspace) -> list[Result]:
    long, short = space.size.long, space.size.short

    def words(n: int) -> Path:
        return space.synthetic(n, 1)

    return [
        *(_growth(space, words, metric, long, settings) for metric, settings in _STREAMING.items()),
        *(_growth(space, space.occurrences, metric, long, {}) for metric in _OF_OCCURRENCES),
        # Its time grows with n²: ten times as many would take minutes.
        _growth(space, words, "uniformity", short * 5 // 2, {}),
    ]


def _growth(
    space: Workspace,
    store: Callable[[int], Path],
    metric: str,
    long: int,
    settings: Mapping[str, Any],
) -> Result:
    sizes = (long, space.size.short)
    peaks = [
        _peak(_OURS, path=str(store(n)), metric=metric, settings=dict(settings))[0] for n in sizes
    ]
    after = f" after {' '.join(settings['transforms'])}" if "transforms" in settings else ""
    of = f"{long:,} {'occurrences' if metric in _OF_OCCURRENCES else ''}".rstrip()
    what = f"peak memory of {metric}{after}, {of} × {space.size.dim} to {space.size.short:,}"
    return Result(what, *(f"{peak / 1e3:.0f} MB" for peak in peaks), peaks[0] / peaks[1], _GROWTH)


def layer_of(path: Path) -> StoredLayer:
    catalog = Store(path).catalog
    [card] = catalog.cards.values()
    return StoredLayer(catalog, card, card.layers.members[0])


def _peak(script: tuple[str, str], **values: Any) -> tuple[int, int]:
    """Return the peak memory of a process of its own, and how much of it came after its imports, in
    kB.
    """
    prepare, work = (part.format(**values) for part in script)
    return peak(work, prepare)
