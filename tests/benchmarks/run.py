"""Run the benchmarks and print one table of ratios.

python tests/benchmarks/run.py                  # all of them; 5 GB of disk, some minutes
python tests/benchmarks/run.py --quick
python tests/benchmarks/run.py --only start
"""

import argparse
import gc
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported, which reads it once

from benchmark_compare import comparison
from benchmark_encoding import encoding
from benchmark_geometry import geometry
from benchmark_neighbours import nearest
from benchmark_reading import centred, scale
from benchmark_start import start
from benchmark_stores import Workspace
from benchmark_timing import FULL, QUICK, Result, Size, machine, markdown
from benchmark_writing import writing

BENCHMARKS: dict[str, Callable[[Workspace], list[Result]]] = {
    "encoding": encoding,
    "start": start,
    "scale": scale,
    "centred": centred,
    "writing": writing,
    "geometry": geometry,
    "comparison": comparison,
    "nearest": nearest,
}


def run(names: list[str], size: Size, report: Callable[[str], None] = lambda _: None) -> list[Result]:
    """Run benchmarks in a temporary folder, and return their lines."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="embstore-benchmarks-") as folder:
        space = Workspace(Path(folder), size)
        for name in names:
            report(f"{name} …")
            results += BENCHMARKS[name](space)
    return results


def main() -> int:
    """Print the table; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="Run the benchmarks and print one table of ratios.")
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="run this one (repeatable)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds: not for the goals")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    gc.set_threshold(200_000)  # as the command line of embstore does, for its peers too
    results = run(
        options.only or list(BENCHMARKS), QUICK if options.quick else FULL, lambda m: print(m, file=sys.stderr)
    )
    print(machine())
    print("best times of the rounds, contenders taking turns; median: of the ratio within a round\n")
    print(markdown(results))
    return int(any(result.holds is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
