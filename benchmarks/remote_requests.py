"""Count the requests and bytes that questions to a store in a bucket take, from an empty cache on.

    python benchmarks/remote_requests.py [--items 10000 100000 1000000]

The store is synthetic: 7 layers of 48 components, in shards of 8,192 items, as many as MiniLM's
have. The server is SeaweedFS on this machine. Each answer is compared with that of the same store
in a folder, to the last digit.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
import numpy as np
from benchmark_stores import blocks, write_synthetic
from object_servers import new_bucket, seaweedfs

from embstore import Store
from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.storage.bucket import Bucket
from embstore.storage.objects import ObjectInfo

LAYERS, DIM = 7, 48

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
    counts = [0, 0]
    get, download, listed = Bucket.get, Bucket.download, Bucket.list

    def count(n_bytes: int) -> None:
        counts[0] += 1
        counts[1] += n_bytes

    def counted_get(self: Bucket, key: str, max_bytes: int | None = None) -> bytes:
        data = get(self, key, max_bytes)
        count(len(data))
        return data

    def counted_download(self: Bucket, key: str, target: Path) -> None:
        download(self, key, target)
        count(target.stat().st_size)

    def counted_list(self: Bucket, prefix: str) -> Iterator[ObjectInfo]:
        count(0)
        return listed(self, prefix)

    with (
        patch.object(Bucket, "get", counted_get),
        patch.object(Bucket, "download", counted_download),
        patch.object(Bucket, "list", counted_list),
    ):
        yield counts


def measure(n: int, endpoint: str, folder: Path) -> dict[str, tuple[int, int]]:
    """Return the requests and bytes of each question to a store of ``n`` items."""
    os.environ["EMBSTORE_CACHE"] = str(folder / "cache")
    bucket = new_bucket(endpoint)
    items = [Item.whole(Unit.WORD, f"w{number}") for number in range(n)]
    # A build divides its items by id into shards.
    ids = np.sort(np.array([item.id for item in items], np.int64))
    vectors = ((ids[rows], block) for rows, block in blocks(n, LAYERS, DIM))
    write_synthetic(folder / "local", vectors, n, LAYERS, DIM, {item.id: item for item in items})
    Store(folder / "local").index(kind="flat", layers="top")
    Store(folder / "local").push(bucket.url, options=bucket.options)
    shutil.rmtree(folder / "cache")  # where the push has left copies
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
        (
            f"{n_bytes / size:,.1f} {unit}"
            for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
            if n_bytes >= size
        ),
        f"{n_bytes} B",
    )


def main() -> None:
    """Measure stores of several sizes, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
