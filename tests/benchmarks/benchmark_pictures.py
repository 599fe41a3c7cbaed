"""Pictures: what drawing a metric whose answer is stored adds to the query, one process each."""

import shutil
from pathlib import Path
from unittest import mock

from benchmark_start import process
from benchmark_stores import Workspace
from benchmark_timing import Contender, Result, compare, interleave

_METRIC = "anisotropy"
_LONGER = 2.5


def pictures(space: Workspace) -> list[Result]:
    """Run ``query`` and ``plot`` in fresh processes: ``plot`` for the first time, and when it has drawn the picture."""
    store = ("--store", str(space.words()))
    contenders = {"query": ("query", _METRIC, *store)}
    for suffix in ("svg", "vl.json"):
        contenders[suffix] = ("plot", _METRIC, *store, "-o", str(space.root / f"picture.{suffix}"))
    with mock.patch.dict("os.environ", XDG_CACHE_HOME=str(space.root / "cache")):
        running = {name: process(arguments, space.root) for name, arguments in contenders.items()}
    empty = space.root / "empty-cache"
    with mock.patch.dict("os.environ", XDG_CACHE_HOME=str(empty)):
        running["first"] = _without(empty, process(contenders["svg"], space.root))
    seconds = interleave(running, space.size.starts)
    return [
        compare(f"plot {_METRIC} -o FILE.svg, to the query", seconds["svg"], seconds["query"], goal=_LONGER),
        compare(f"plot {_METRIC} -o FILE.svg for the first time, to the query", seconds["first"], seconds["query"]),
        compare(f"plot {_METRIC} -o FILE.vl.json, to the query", seconds["vl.json"], seconds["query"]),
    ]


def _without(cache: Path, contender: Contender) -> Contender:
    """Return a contender that runs without what it has kept before."""

    def run() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return contender()

    return run
