"""Measure the peak memory of the driver and of a worker of builds on Ray: it must not grow with the source.

    python tests/benchmarks/ray_memory.py

Builds 10,000 and 200,000 words with a tiny GPT-2 on a local instance of Ray, each in a process of its own, and prints
the peaks and their ratio. Ranges have about 4,000 words, so that even the smaller source is of several.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "support"
WORDS = (10_000, 200_000)
SHARD_BYTES = 2 << 20
MARK = "EMBSTORE_TEST_RAY_MEMORY"
"""Variable in the environment of the workers of this build alone."""


def measure(folder: Path, n: int) -> dict[str, float]:
    """Build n words on one worker, and return the peaks of the driver and of the worker, in MB."""
    from embstore import Store
    from embstore.progress import Progress
    from embstore.storage.staging import staging

    staging._MEMORY = "64MB"  # of DuckDB, which may fill it: what is held beside must not grow
    source = folder / f"{n}.txt"
    source.write_text("".join(f"w{number}\n" for number in range(n)), "utf-8")
    peaks = {"driver": 0.0, "worker": 0.0}

    def observe(_: Progress) -> None:
        peaks["worker"] = max(peaks["worker"], *map(_peak, _workers()), 0.0)

    report = Store(folder / f"store-{n}").build(
        str(source), models=str(folder / "tiny"), index="none", shard_bytes=SHARD_BYTES, on="ray", workers=1,
        observe=observe,
    )  # fmt: skip
    assert report.spaces[0].embedded == n
    assert peaks["worker"] > 0, "no worker was found"
    peaks["driver"] = _peak(os.getpid())
    return peaks


def _workers() -> list[int]:
    """Return the ids of the processes that encode for this build."""
    mark, found = f"{MARK}={os.environ[MARK]}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(b"ray::RangeWorker"):
                found += [int(folder.name)] if mark in (folder / "environ").read_bytes().split(b"\0") else []
    return found


def _peak(pid: int) -> float:
    """Return the peak memory of a process, in MB; 0 if it has ended."""
    with suppress(OSError, TypeError):
        return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1e3  # type: ignore[index]
    return 0.0


def main() -> None:
    """Measure each number of words in a process of its own, and print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--words", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.words:
        print(json.dumps(measure(given.folder, given.words)))
        return
    sys.path.insert(0, str(SUPPORT))
    from tiny_checkpoint import make_checkpoint

    with tempfile.TemporaryDirectory() as name:
        make_checkpoint(Path(name, "tiny"))
        peaks = {}
        for n in WORDS:
            command = [sys.executable, __file__, "--folder", name, "--words", str(n)]
            done = subprocess.run(
                command, env=os.environ | {MARK: os.urandom(8).hex()}, capture_output=True, text=True
            )  # fmt: skip
            if done.returncode:
                sys.exit(done.stderr)
            peaks[n] = json.loads(done.stdout.splitlines()[-1])
            print(f"{n:>9,} words: driver {peaks[n]['driver']:.0f} MB, worker {peaks[n]['worker']:.0f} MB", flush=True)
    few, many = (peaks[n] for n in WORDS)
    print(", ".join(f"{part}: × {many[part] / few[part]:.2f}" for part in few))


if __name__ == "__main__":
    main()
