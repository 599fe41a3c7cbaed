"""Kill builds into a bucket at random moments, and count what is lost, torn or twice.

    python tests/benchmarks/build_kills.py [--kills 45] [--seed 0]

Before each build its source gets new words. The build runs in a process of its own, which is killed (SIGKILL) after a
random time. Then the store must be sound and have all items that it had before, and the same build again must complete
it. In the end it must be the store that builds into a folder make. The bucket is of moto, through a proxy with latency.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import numpy as np
from push_kills import started_bucket
from signal_worker import Ended, run_command
from tiny_checkpoint import make_checkpoint

from embstore import Store
from embstore.errors import StoreError

_N_NEW = 60  # words of each build
_SHARD_BYTES = 9000


def kill_builds(folder: Path, url: str, options: dict[str, str], n_kills: int, rng: random.Random) -> str:
    """Kill builds, and return what was found; raise AssertionError if something was lost, torn or is there twice."""
    make_checkpoint(folder / "tiny")
    source, checkpoint = folder / "words.txt", f"tiny={folder / 'tiny'}"

    def run(store: str, options: dict[str, str] | None, after: float | None = None) -> Ended:
        code = f"from embstore import Store; Store({store!r}, options={options!r}).build("
        code += f"{str(source)!r}, models={checkpoint!r}, shard_bytes={_SHARD_BYTES})"
        return run_command((), folder, after=after, number=signal.SIGKILL, code=code)

    counts, n_before, began, usual = Counter[str](), 0, time.monotonic(), 4.0
    n_words = _N_NEW
    while counts["killed"] < n_kills:
        source.write_text("".join(f"word{number}\n" for number in range(n_words)))
        ended = run(url, options, usual * rng.uniform(0.5, 1.02))  # most commits come near the end
        killed = ended.status == -signal.SIGKILL
        assert killed or ended.status == 0, ended.err
        counts["killed" if killed else "too late to kill"] += 1
        found = _count(url, options)
        assert n_before <= found <= n_words, f"{found} items of {n_before} before and {n_words} after the build"
        counts["some committed" if n_before < found < n_words else "all" if found == n_words else "none"] += 1
        started = time.monotonic()
        again = run(url, options)
        assert again.status == 0, again.err
        usual = (usual + time.monotonic() - started) / 2
        assert _count(url, options) == n_words
        n_before, n_words = n_words, n_words + _N_NEW
    assert run(str(folder / "local"), None).status == 0
    _compare(Store(url, options=options), Store(folder / "local"))
    return f"{dict(counts)} in {time.monotonic() - began:.0f} s; nothing lost, torn or twice"


def _count(url: str, options: dict[str, str]) -> int:
    """Return the number of items of the store's only space, after a check of all its files; 0 without a store."""
    try:
        store = Store(url, options=options)
        found = store.verify()
    except StoreError as error:
        if "there is no store" in str(error):
            return 0
        raise
    assert found.ok, found.problems
    return sum(row["items"] for row in store.info())


def _compare(remote: Store, local: Store) -> None:
    """Raise AssertionError unless two stores have the same vectors, each once."""
    assert remote.verify(deep=True).ok
    [space] = local.catalog.cards
    for layer in local.catalog.cards[space].layers.names:
        (ids, _, vectors), (expected_ids, _, expected) = (it.vectors(space, layer) for it in (remote, local))
        order, expected_order = np.argsort(ids), np.argsort(expected_ids)
        assert np.array_equal(ids[order], expected_ids[expected_order])
        assert np.array_equal(vectors[order], expected[expected_order])


def main() -> None:
    """Kill builds into a bucket, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=45, help="number of builds to kill")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="build-kills-")))
        os.environ |= {"EMBSTORE_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        bucket = started_bucket(stack)
        print(kill_builds(folder, bucket.url, bucket.options, chosen.kills, random.Random(chosen.seed)), flush=True)


if __name__ == "__main__":
    main()
