"""Pictures: what drawing a metric whose answer is stored adds to the query, one process each."""

from benchmark_start import process
from benchmark_stores import Workspace
from benchmark_timing import Result, compare, interleave

_METRIC = "anisotropy"


def pictures(space: Workspace) -> list[Result]:
    """Run ``query`` and ``plot`` in fresh processes."""
    store = ("--store", str(space.words()))
    contenders = {"query": ("query", _METRIC, *store)}
    for suffix in ("svg", "png"):
        contenders[suffix] = ("plot", _METRIC, *store, "-o", str(space.root / f"picture.{suffix}"))
    seconds = interleave(
        {name: process(arguments, space.root) for name, arguments in contenders.items()},
        space.size.starts,
    )
    return [
        compare(f"plot {_METRIC} -o FILE.{suffix}, to the query", seconds[suffix], seconds["query"])
        for suffix in ("svg", "png")
    ]
