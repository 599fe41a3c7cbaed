"""Count the requests and bytes that questions to a store in a bucket take, from an empty cache on.

    python benchmarks/remote_requests.py [--items 10000 100000 1000000]

The store is synthetic: 7 layers of 48 components, in shards of 16 MiB, of which a million items have as many as a
million of MiniLM in shards of 128 MiB. The server is SeaweedFS on this machine. Each answer is compared with that of
the same store in a folder, to the last digit.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
import numpy as np
from benchmark_stores import blocks, write_synthetic
from embstore.storage.remote.objects import ObjectStore
from embstore.storage.remote.remote_store import RemoteStore
from object_servers import new_bucket, seaweedfs

from embstore import Store
from embstore.base.space import Unit
from embstore.base.text import Item

LAYERS, DIM, SHARD_BYTES = 7, 48, 16 << 20

QUESTIONS: dict[str, Callable[[Store], object]] = {
    "open": lambda store: [*store.catalog.cards],
    "`query anisotropy`": lambda store: store.query("anisotropy").rows,
    "`info`": lambda store: store.info().rows,
    "`query isoscore --layer 3`": lambda store: store.query("isoscore", layers="3").rows,
    "`neighbours w7`, cold": lambda store: store.neighbours("w7").rows,
    "`neighbours w8`, warm": lambda store: store.neighbours("w8").rows,
    "`neighbours w8` again": lambda store: store.neighbours("w8").rows,
    "`verify --quick`": lambda store: store.verify(quick=True).problems,
}


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count the requests that read, and their bytes, within the context."""
    counts, own = [0, 0], {name: getattr(ObjectStore, name) for name in ("get", "get_range", "head", "list")}

    def counting(name: str) -> Callable[..., object]:
        def request(self: ObjectStore, *arguments: object, **options: object) -> object:
            found = own[name](self, *arguments, **options)
            counts[0] += 1
            counts[1] += len(found) if isinstance(found, bytes) else 0
            return found

        return request

    for name in own:
        setattr(ObjectStore, name, counting(name))
    try:
        yield counts
    finally:
        for name, function in own.items():
            setattr(ObjectStore, name, function)


def measure(n: int, endpoint: str, folder: Path) -> dict[str, tuple[int, int]]:
    """Return the requests and bytes of each question to a store of ``n`` items."""
    os.environ["EMBSTORE_CACHE"] = str(folder / "cache")
    bucket = new_bucket(endpoint)
    with RemoteStore(bucket.url, bucket.options).writing(is_new=True) as root:
        items = [Item.whole(Unit.WORD, f"w{number}") for number in range(n)]
        ids = np.sort(np.array([item.id for item in items], np.int64))  # a build divides its items by id into shards
        vectors = ((ids[rows], block) for rows, block in blocks(n, LAYERS, DIM))
        by_id = {item.id: item for item in items}
        write_synthetic(root, vectors, n, LAYERS, DIM, by_id, shard_bytes=SHARD_BYTES)
    Store(bucket.url, options=bucket.options).index(kind="flat", layers="top")
    [writing] = (folder / "cache").glob("*/writing/store")
    shutil.move(writing, folder / "local")
    shutil.rmtree(folder / "cache")
    found = {}
    for question, ask in QUESTIONS.items():
        with counted() as counts:
            answer = ask(Store(bucket.url, options=bucket.options))
        if answer != ask(Store(folder / "local")):
            sys.exit(f"{question}: another answer than that of the folder")
        found[question] = (counts[0], counts[1])
    return found


def shown(n_bytes: int) -> str:
    """Return a number of bytes in words."""
    return next(
        (f"{n_bytes / size:,.1f} {unit}" for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if n_bytes >= size),
        f"{n_bytes} B",
    )


def main() -> None:
    """Measure stores of several sizes, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    sizes = parser.parse_args().items
    measured = []
    with seaweedfs() as endpoint:
        for n in sizes:
            with tempfile.TemporaryDirectory() as folder:
                measured.append(measure(n, endpoint, Path(folder)))
    print("|", " | ".join(["question", *(f"{n:,} items" for n in sizes)]), "|")
    print("|", " | ".join(["---"] * (len(sizes) + 1)), "|")
    for question in QUESTIONS:
        cells = [f"{found[question][0]:,}, {shown(found[question][1])}" for found in measured]
        print("|", " | ".join([question, *cells]), "|")


if __name__ == "__main__":
    main()
