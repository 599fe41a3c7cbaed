"""Run the benchmarks and print one table of ratios.

python benchmarks/run.py                               # all of them: an hour and a half, 20 GB of
disk python benchmarks/run.py --quick
python benchmarks/run.py --only search --largest 20000 --without LanceDB
python benchmarks/run.py --keep FOLDER --json docs/benchmarks.json
python benchmarks/report.py docs/benchmarks.json       # the tables of the documentation and the
plot
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported, which reads it once
sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))  # what the tests use too

from benchmark_building import building, memory
from benchmark_claims import claims
from benchmark_compare import comparison, routes
from benchmark_encoding import encoding
from benchmark_explorer import explorer
from benchmark_geometry import geometry
from benchmark_growth import growth, oneshot
from benchmark_importing import importing
from benchmark_maps import maps
from benchmark_neighbours import nearest
from benchmark_opened import opened
from benchmark_people import people
from benchmark_pictures import pictures
from benchmark_reading import centred, scale
from benchmark_search import contextual, search
from benchmark_searchers import SEARCHERS
from benchmark_start import start
from benchmark_stores import Workspace
from benchmark_timing import FULL, QUICK, Point, Result, Size, machine, markdown
from benchmark_writing import writing

BENCHMARKS: dict[str, Callable[[Workspace], list[Result]]] = {
    "encoding": encoding,
    "building": building,
    "memory": memory,
    "importing": importing,
    "start": start,
    "explorer": explorer,
    "maps": maps,
    "pictures": pictures,
    "scale": scale,
    "centred": centred,
    "writing": writing,
    "geometry": geometry,
    "comparison": comparison,
    "routes": routes,
    "nearest": nearest,
    "people": people,
    "claims": claims,
    "oneshot": oneshot,
    "opened": opened,
    "search": search,
    "contextual": contextual,
    "growth": growth,
}


def run(
    names: list[str],
    size: Size,
    report: Callable[[str, list[Result], list[Point]], None] = lambda *_: None,
    keep: Path | None = None,
) -> list[Result]:
    """Run benchmarks, and return their lines.

    Args:
        names: of the benchmarks.
        size: how much is measured.
        report: told the lines and points of each benchmark when it is done.
        keep: a folder for what takes long to make, which a later run uses again; by default a
            temporary one.
    """
    results: list[Result] = []
    with _folder(keep) as folder:
        space = Workspace(folder, size)
        for name in names:
            space.points.clear()
            lines = BENCHMARKS[name](space)
            report(name, lines, list(space.points))
            results += lines
    return results


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="embstore-benchmarks-") as folder:
        yield Path(folder)


def save(path: Path, name: str, size: Size, lines: list[Result], points: list[Point]) -> None:
    """Put what a benchmark found in the place of what an earlier run of it found."""
    document = json.loads(path.read_text("utf-8")) if path.exists() else {}
    document[name] = {
        "machine": machine().splitlines(),
        "finished": datetime.now(UTC).isoformat(timespec="minutes"),
        "size": asdict(size),
        "lines": [asdict(line) for line in lines],
        "points": [asdict(point) for point in points],
    }
    ordered = {each: document[each] for each in BENCHMARKS if each in document}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main() -> int:
    """Print the table; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        description="Run the benchmarks and print one table of ratios."
    )
    parser.add_argument(
        "--only", action="append", choices=list(BENCHMARKS), help="run this one (repeatable)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="smaller sizes and fewer rounds: not for the goals"
    )
    parser.add_argument(
        "--largest", type=int, metavar="N", help="of the clustered stores: no more than N items"
    )
    parser.add_argument(
        "--without",
        action="append",
        choices=[each.name for each in SEARCHERS[1:]],
        default=[],
        help="leave this peer out (repeatable)",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep there what takes long to make, and use it"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write all figures there, over those of these names",
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    gc.set_threshold(200_000)  # as the command line of embstore does, for its peers too
    size = QUICK if options.quick else FULL
    size = size if options.largest is None else size.up_to(options.largest)
    size = replace(size, without=tuple(options.without))
    if not size.growth:
        parser.error(
            f"--largest {options.largest} leaves no size: the smallest is {min(FULL.growth):,}"
        )

    def report(name: str, lines: list[Result], points: list[Point]) -> None:
        print(f"{name}: {len(lines)} lines, {len(points)} points", file=sys.stderr)
        if options.json:
            save(options.json, name, size, lines, points)

    results = run(options.only or list(BENCHMARKS), size, report, options.keep)
    print(machine())
    print(
        "best times of the rounds, contenders taking turns; median: of the ratio within a round\n"
    )
    print(markdown(results))
    return int(any(result.holds is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
