"""Kill builds into a bucket at random moments, and count what is lost, torn or twice.

    python benchmarks/build_kills.py [--kills 45] [--seed 0]

Before each build its source gets new words. The build runs in a process of its own, which commits
each batch and is killed (SIGKILL) shortly after a random one of its requests: most requests are
those of commits. Then the store must be sound and have all items that it had before, and the same
build again must complete it. In the end it must be the store that builds into a folder make. The
bucket is of moto, through a proxy with latency.
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
from multiprocessing.process import BaseProcess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
from buckets import Bucket
from fault_proxy import FaultProxy
from killing import Ended, run_command
from object_servers import moto_server, new_bucket
from tiny_checkpoint import make_checkpoint

from embstore import Store
from embstore.base.errors import StoreError

_N_NEW = 40  # words of each build
_SHARD_BYTES = 1500
_CODE = """
from embstore import Store
from embstore.storage import writer
writer._COMMIT_SECONDS = 0
Store({store!r}, options={options!r}).build({source!r}, models={checkpoint!r}, shard_bytes={shard_bytes})
"""


class Trial:
    """Builds into a bucket.

    Args:
        folder: Empty folder.
        proxy: Proxy before the server of the bucket.
        bucket: Bucket, reached through the proxy.
        rng: Generator of the moments.
    """

    def __init__(self, folder: Path, proxy: FaultProxy, bucket: Bucket, rng: random.Random) -> None:
        self._folder, self._proxy, self._rng = folder, proxy, rng
        self._url, self._options = bucket.url, bucket.options
        self._source, self._checkpoint = (
            folder / "words.txt",
            f"tiny={make_checkpoint(folder / 'tiny')}",
        )
        self._n_requests: list[int] = []  # of whole builds

    def run(self, n_kills: int) -> str:
        """Kill builds, and return what was found; raise AssertionError if something is lost, torn
        or there twice.
        """
        counts, began, n_before, n_words = Counter[str](), time.monotonic(), 0, _N_NEW
        while counts["killed"] < n_kills:
            self._source.write_text("".join(f"word{number}\n" for number in range(n_words)))
            if n_before:
                was_killed = self._killed()
                counts["killed" if was_killed else "too late to kill"] += 1
                found = _count(self._url, self._options)
                assert n_before <= found <= n_words, (
                    f"{found} items of {n_before} before and {n_words} after the build"
                )
                if was_killed:
                    counts[
                        (
                            "part"
                            if n_before < found < n_words
                            else "all"
                            if found == n_words
                            else "none"
                        )
                    ] += 1
            self._build(self._url, self._options)
            assert _count(self._url, self._options) == n_words
            n_before, n_words = n_words, n_words + _N_NEW
            print(dict(counts), f"{time.monotonic() - began:.0f} s", flush=True)
        self._build(str(self._folder / "local"), None)
        _compare(Store(self._url, options=self._options), Store(self._folder / "local"))
        committed = ", ".join(f"{name} {counts[name]}" for name in ("none", "part", "all"))
        return (
            f"{counts['killed']} kills in {time.monotonic() - began:.0f} s; of the new items the"
            f" store had then {committed}; nothing lost, torn or twice"
        )

    def _build(
        self, store: str, options: dict[str, str] | None, kill: "_Moment | None" = None
    ) -> Ended:
        code = _CODE.format(
            store=store,
            options=options,
            source=str(self._source),
            checkpoint=self._checkpoint,
            shard_bytes=_SHARD_BYTES,
        )
        before = len(self._proxy.requests)
        ended = run_command((), self._folder, after=kill, number=signal.SIGKILL, code=code)
        assert ended.status == 0 or (kill and ended.status == -signal.SIGKILL), ended.err
        if ended.status == 0 and (kill or not self._n_requests):
            self._n_requests.append(len(self._proxy.requests) - before)
        return ended

    def _killed(self) -> bool:
        """Kill a build shortly after a random one of its requests; return False if it had ended
        before.
        """
        usual = min(self._n_requests[-3:])
        n_requests = len(self._proxy.requests) + self._rng.randint(1, usual)
        moment = _Moment(self._proxy, n_requests, self._rng.uniform(0, 2 * self._proxy.latency))
        return self._build(self._url, self._options, moment).status != 0


class _Moment:
    """The moment some seconds after a request to a server."""

    def __init__(self, proxy: FaultProxy, n_requests: int, seconds: float) -> None:
        self._proxy, self._n_requests, self._seconds = proxy, n_requests, seconds

    def __call__(self, process: BaseProcess) -> None:
        """Wait for the moment, or for the end of the process."""
        while process.is_alive() and len(self._proxy.requests) < self._n_requests:
            time.sleep(0.001)
        time.sleep(self._seconds)


def _count(url: str, options: dict[str, str]) -> int:
    """Return the number of items of the store's only space, after a check of all its files; 0
    without a store.
    """
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
    assert remote.verify().ok
    [space] = local.catalog.cards
    for layer in local.catalog.cards[space].layers.names:
        (ids, _, vectors), (expected_ids, _, expected) = (
            it.vectors(space, layer) for it in (remote, local)
        )
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
        made = new_bucket(stack.enter_context(moto_server()))
        proxy = stack.enter_context(FaultProxy(made.endpoint, {}, latency=0.03))
        trial = Trial(folder, proxy, Bucket(made.name, proxy.endpoint), random.Random(chosen.seed))
        print(trial.run(chosen.kills), flush=True)


if __name__ == "__main__":
    main()
