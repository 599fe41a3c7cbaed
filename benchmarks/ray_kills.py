"""Kill workers, nodes and drivers of builds on a Ray cluster at random, and count what is lost:
nothing should be.

    python benchmarks/ray_kills.py [--faults 60] [--seed 0]

A build of many small ranges runs in a process of its own while its parts are killed. A build that
ends with an error, or whose process is killed, is run again until it succeeds; then every item must
be stored once, and the store be sound.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from ray_nodes import RayCluster, started_cluster
from tiny_checkpoint import make_checkpoint

from embstore import Store

N_WORDS = 300
FAULTS = {
    "kill a worker": 6,
    "kill a worker after its write": 6,
    "kill a node": 1,
    "kill the driver": 1,
}
"""Faults, with their relative frequency."""


class Trial:
    """A store that is built while parts of the cluster are killed."""

    def __init__(
        self, cluster: RayCluster, folder: Path, checkpoint: Path, rng: random.Random
    ) -> None:
        self.cluster, self.root, self.rng = cluster, folder / "store", rng
        self.source = folder / "words.txt"
        self.source.write_text("".join(f"w{number}\n" for number in range(N_WORDS)))
        options = {
            "models": str(checkpoint),
            "shard_bytes": 3000,
            "index": "none",
            "on": "ray",
            "ray_address": cluster.address,
        }
        self.code = (
            f"from embstore import Store; Store({str(self.root)!r}).build({str(self.source)!r},"
            f" **{options!r})"
        )
        self.driver = self._started()
        self.n_runs = 1

    def run(self, counts: Counter[str], n_faults: int) -> None:
        """Let faults befall the build, and run it again until it has succeeded."""
        for _ in range(n_faults):
            time.sleep(self.rng.uniform(0.2, 2.0))
            self._continue()
            fault = self.rng.choices([*FAULTS], [*FAULTS.values()])[0]
            counts[fault] += self._inflict(fault)
        while self.driver.wait(timeout=300):
            self._continue()

    def _continue(self) -> None:
        """Start the build again if it has ended with an error."""
        if self.driver.poll():
            self.driver = self._started()
            self.n_runs += 1

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", self.code], stderr=subprocess.DEVNULL)

    def _inflict(self, fault: str) -> int:
        """Inflict a fault; return 1 if there was something to kill."""
        if self.driver.poll() is not None:
            return 0
        if fault == "kill a worker after its write":
            self.cluster.order("kill after the write")
            for _ in range(300):
                if not (self.cluster.faults / "kill after the write").exists():
                    return 1
                time.sleep(0.1)
            (self.cluster.faults / "kill after the write").unlink(missing_ok=True)
            return 0
        if fault == "kill the driver":
            self.driver.kill()
            return 1
        if fault == "kill a node":
            self.cluster.replace_node()
            return 1
        if workers := _workers(self.cluster.faults):
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(workers), signal.SIGKILL)
                return 1
        return 0

    def check(self) -> tuple[int, int, bool]:
        """Return the number of items lost, of items stored twice, and whether the store is
        sound.
        """
        catalog = Store(self.root).catalog
        ids = [
            item
            for space in catalog.cards
            for shard in catalog.shards(space, 0)
            for item in shard.ids.tolist()
        ]
        left = list(self.root.rglob(".*.tmp"))
        return (
            N_WORDS - len(set(ids)),
            len(ids) - len(set(ids)),
            Store(self.root).verify().ok and not left,
        )


def _workers(faults: Path) -> list[int]:
    """Return the process ids of the cluster's workers that were given the work of this script."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            is_worker = (
                process.name.isdigit() and b"ray::RangeWorker" in (process / "cmdline").read_bytes()
            )
            if is_worker and str(faults).encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def main() -> None:
    """Run trials until there were enough faults, and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    rng, totals, n_trials, n_runs = random.Random(options.seed), [0, 0, 0], 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = make_checkpoint(folder / "tiny")
        (folder / "faults").mkdir()
        with started_cluster(folder / "faults") as cluster:
            cluster.order("slow")
            while counts.total() < options.faults:
                (folder / str(n_trials)).mkdir()
                trial = Trial(cluster, folder / str(n_trials), checkpoint, rng)
                trial.run(counts, 20)
                n_lost, n_twice, is_sound = trial.check()
                totals = [totals[0] + n_lost, totals[1] + n_twice, totals[2] + (not is_sound)]
                n_trials, n_runs = n_trials + 1, n_runs + trial.n_runs
                print(
                    dict(counts),
                    f"lost {n_lost}, twice {n_twice}, sound {is_sound}, runs {trial.n_runs}",
                    flush=True,
                )
    print(f"{counts.total()} faults in {n_trials} stores and {n_runs} builds: {dict(counts)}")
    print(f"items lost {totals[0]}, stored twice {totals[1]}, unsound stores {totals[2]}")
    sys.exit(any(totals))


if __name__ == "__main__":
    main()
