"""Measure CPU time and peak memory of builds on Ray with one worker, beside those of a build
without Ray.

    python benchmarks/ray_costs.py                                    # a tiny GPT-2: the costs of
    the driver python benchmarks/ray_costs.py --model minilm --words 4000 24000 --shard-mib 32

Each build is made in a process of its own, with the same threads. Shards are smaller than by
default (128 MiB), so that even the smaller source is of several; each is a range of its own, which
the driver hands out and commits. CPU times are of all processes: the driver, the worker, and Ray's
own. What a build costs beyond its start, and the loading of the model, is the difference between
the two sources. The builds take turns, since other programs on the machine change CPU times too;
the median of the turns and what the least of each build give are printed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from threading import Event, Thread

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
WORDS = (10_000, 200_000)
SHARD_MIB = 2
TURNS = 5
BUILD, EVERYTHING = ("driver", "worker"), ("driver", "worker", "ray")
MARK = "EMBSTORE_TEST_RAY_COSTS"
"""Variable in the environment of the processes of this build alone."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAUSE_SECONDS = 0.3


class Costs:
    """CPU seconds and peak memory of the processes of a build, read while it runs."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._peaks: dict[int, float] = {}
        self._workers: set[int] = set()
        self._own_seconds = 0.0  # of the thread that reads, which is no cost of the build
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def found(self) -> dict[str, float]:
        """Stop, and return the seconds and peaks in MB of the driver, the worker and all other
        processes.
        """
        self._ended.set()
        self._thread.join()
        self._read(os.getpid())
        own = os.getpid()
        others = self._seconds.keys() - self._workers - {own}
        return {
            "driver": self._seconds[own] - self._own_seconds,
            "worker": sum(self._seconds[each] for each in self._workers),
            "ray": sum(self._seconds[each] for each in others),
            "driver MB": self._peaks[own],
            "worker MB": max((self._peaks[each] for each in self._workers), default=0.0),
        }

    def _watch(self) -> None:
        while not self._ended.wait(_PAUSE_SECONDS):
            mark = f"{MARK}={os.environ[MARK]}".encode()
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if mark in (folder / "environ").read_bytes().split(b"\0"):
                        self._read(int(folder.name))
            self._own_seconds = time.thread_time()

    def _read(self, pid: int) -> None:
        folder = Path(f"/proc/{pid}")
        with suppress(OSError, TypeError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            peak = re.search(r"VmHWM:\s+(\d+)", (folder / "status").read_text())
            self._seconds[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
            self._peaks[pid] = int(peak[1]) / 1e3  # type: ignore[index]
            if (folder / "cmdline").read_bytes().startswith(b"ray::RangeWorker"):
                self._workers.add(pid)


def measure(folder: Path, model: str, n: int, shard_mib: int, on: str | None) -> dict[str, float]:
    """Build n words, and return what it cost."""
    from embstore import Store
    from embstore.storage.staging import staging

    staging._MEMORY = (  # of DuckDB, which may fill it: what is in memory beside it must not grow
        "64MB"
    )
    source = folder / f"{n}.txt"
    source.write_text("".join(f"w{number}\n" for number in range(n)), "utf-8")
    costs = Costs()
    on_ray = {"on": "ray", "workers": 1} if on else {}
    report = Store(folder / f"store-{n}-{on}").build(
        str(source), models=model, index="none", shard_bytes=shard_mib << 20, **on_ray
    )
    assert report.spaces[0].embedded == n
    return costs.found()


def main() -> None:
    """Measure each number of words with and without Ray in a process of its own, and print what
    they cost.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--words", type=int, nargs=2, default=WORDS)
    parser.add_argument("--shard-mib", type=int, default=SHARD_MIB)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # folder, and "ray" or ""
    given = parser.parse_args()
    if given.one:
        folder, on = given.one
        print(
            json.dumps(
                measure(Path(folder), given.model, given.words[0], given.shard_mib, on or None)
            )
        )
        return
    sys.path.insert(0, str(SUPPORT))
    from tiny_checkpoint import make_checkpoint

    with tempfile.TemporaryDirectory() as name:
        model = str(make_checkpoint(Path(name, "tiny"))) if given.model == "tiny" else given.model
        options = ["--model", model, "--shard-mib", str(given.shard_mib)]
        kinds = [(on, n) for n in given.words for on in ("", "ray")]
        turns = []
        for turn in range(1, given.turns + 1):
            print(f"turn {turn}: load {os.getloadavg()[0]:.1f}", flush=True)
            with tempfile.TemporaryDirectory() as stores:
                turns.append({(on, n): _in_a_process(stores, n, on, options) for on, n in kinds})
    _print(given.words, turns)


def _in_a_process(folder: str, n: int, on: str, options: Sequence[str]) -> dict[str, float]:
    command = [sys.executable, __file__, *options, "--words", str(n), str(n), "--one", folder, on]
    done = subprocess.run(
        command, env=os.environ | {MARK: os.urandom(8).hex()}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    costs: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    shown = ", ".join(
        f"{name} {value:.0f}" if "MB" in name else f"{name} {value:.1f} s"
        for name, value in costs.items()
    )
    print(f"{n:>9,} words {'on Ray' if on else 'locally'}: {shown}", flush=True)
    return costs


def _print(
    words: tuple[int, int], turns: Sequence[dict[tuple[str, int], dict[str, float]]]
) -> None:
    few, many = words
    n = many - few

    def beyond(on: str, parts: Sequence[str]) -> tuple[list[float], float]:
        """Return the cost of the additional words in each turn, and of the builds that cost
        least.
        """
        totals = {
            size: [sum(turn[on, size][part] for part in parts) for turn in turns]
            for size in (few, many)
        }
        each = [more - less for less, more in zip(totals[few], totals[many], strict=True)]
        return each, min(totals[many]) - min(totals[few])

    local, least_local = beyond("", ("driver",))
    print(f"{n:,} words more, locally: {median(local):.1f} CPU-s (least {least_local:.1f})")
    for name, parts in (("driver and worker", BUILD), ("with Ray's own processes", EVERYTHING)):
        each, least = beyond("ray", parts)
        ratios = [on_ray / alone for on_ray, alone in zip(each, local, strict=True)]
        print(
            f"on Ray, {name}: {median(each):.1f} CPU-s (least {least:.1f}), x {median(ratios):.2f} "
            f"(turns {min(ratios):.2f} to {max(ratios):.2f}, least x {least / least_local:.2f})"
        )
    drivers, least = beyond("ray", ("driver",))
    print(
        f"driver: {median(drivers) / n * 1e6:.1f} CPU-s per million words (least"
        f" {least / n * 1e6:.1f})"
    )
    for part in ("driver MB", "worker MB"):
        grows = [turn["ray", many][part] / turn["ray", few][part] for turn in turns]
        print(f"{part}: x {median(grows):.2f}")


if __name__ == "__main__":
    main()
