"""Kill pushes at random moments, and count what is lost, torn or twice.

    python benchmarks/push_kills.py [--kills 45] [--to folder|bucket|hub|all] [--seed 0]

Before each push the store gets new items. The push runs in a process of its own, which is killed
(SIGKILL) after a random time. Then the place must have the state before it or the one after it,
whole, and the same push again must complete it. The bucket is of moto, through a proxy with
latency; the hub is a fake of its HTTP API.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from buckets import Bucket
from fake_hub import TOKEN, FakeHub
from fault_proxy import FaultProxy
from object_servers import moto_server, new_bucket
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import StoreError


class Place(NamedTuple):
    """A place to push to.

    Attributes:
        name: Folder or URL.
        options: Values of ``--store-option``.
        open: Function that opens the store there.
    """

    name: str
    options: Mapping[str, str]
    open: Callable[[], Store]


def kill_pushes(root: Path, place: Place, n_kills: int, rng: random.Random) -> str:
    """Kill pushes, and return what was found; raise AssertionError if something was lost or
    torn.
    """
    counts, n_items, n_store = Counter[str](), 0, 40
    arguments = [
        part
        for name, value in place.options.items()
        for part in ("--store-option", f"{name}={value}")
    ]
    command = [
        sys.executable,
        "-m",
        "embstore",
        "push",
        place.name,
        "--store",
        str(root),
        "--quiet",
        *arguments,
    ]
    began, usual = time.monotonic(), 3.0  # seconds that a push takes
    synthetic_store(root, n=n_store, n_shards=4)
    while counts["killed"] < n_kills:
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                _, errors = process.communicate(timeout=usual * rng.uniform(0.4, 1.1))
                assert process.returncode == 0, errors.decode()
                counts["too late to kill"] += 1
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                counts["killed"] += 1
        found = _count(place.open())
        assert found in (n_items, n_store), (
            f"{found} items of {n_items} before and {n_store} after the push"
        )
        counts["committed" if found == n_store else "not committed"] += 1
        started = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        usual = (usual + time.monotonic() - started) / 2
        assert _count(place.open()) == n_store
        n_items, n_store = n_store, n_store + 20
        synthetic_store(
            root,
            texts=[f"new{number}" for number in range(n_items, n_store)],
            n_shards=2,
            seed=n_store,
        )
    problems = place.open().verify().problems
    assert not problems, problems
    return (
        f"{place.name.partition('://')[0]}: {dict(counts)} in {time.monotonic() - began:.0f} s;"
        " nothing lost or torn"
    )


def _count(store: Store) -> int:
    """Return the number of items of a store's only space, after a check of all its files; 0 without
    a store.
    """
    try:
        found = store.verify()
        assert found.ok, found.problems
        return sum(row["items"] for row in store.info())
    except StoreError as error:
        if re.search("there is no (store|such dataset repository)|is not a store", str(error)):
            return 0
        raise


def main() -> None:
    """Kill pushes to each kind of place, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=45, help="kills for each place")
    parser.add_argument("--to", choices=["folder", "bucket", "hub", "all"], default="all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="push-kills-")))
        os.environ["EMBSTORE_CACHE"] = str(folder / "cache")
        if options.to in ("folder", "all"):
            copy = folder / "copy"
            print(
                kill_pushes(
                    folder / "a", Place(str(copy), {}, lambda: Store(copy)), options.kills, rng
                ),
                flush=True,
            )
        if options.to in ("bucket", "all"):
            bucket = started_bucket(stack)
            remote = Place(
                bucket.url, bucket.options, lambda: Store(bucket.url, options=bucket.options)
            )
            print(kill_pushes(folder / "b", remote, options.kills, rng), flush=True)
        if options.to in ("hub", "all"):
            hub, url = stack.enter_context(FakeHub()), "hf://datasets/group/store"
            os.environ.update(
                HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1"
            )
            print(
                kill_pushes(folder / "c", Place(url, {}, lambda: Store(url)), options.kills, rng),
                flush=True,
            )


def started_bucket(stack: ExitStack) -> Bucket:
    """Start a server of the S3 interface with latency, and return a new bucket of it."""
    made = new_bucket(stack.enter_context(moto_server()))
    proxy = stack.enter_context(FaultProxy(made.endpoint, {}, latency=0.03))
    return Bucket(made.name, proxy.endpoint)


if __name__ == "__main__":
    main()
