"""Measure the peak memory of push and pull: it must not grow with the store.

    python benchmarks/push_memory.py [--folder FOLDER] [--server moto|seaweedfs]

Makes stores of two sizes, with flat indexes, and copies each to a folder and to a bucket and back,
each in a process of its own; prints the peaks and their ratios. It needs 12 GB in the folder, and
with moto 3 GB of memory.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
from object_servers import moto_server, new_bucket, seaweedfs
from peak_memory import peak

from embstore import Store

N_ITEMS, DIM, N_LAYERS = 60_000, 768, (2, 6)
"""The larger store has 1.1 GB of vectors in shards of 16 MB, and as much in its indexes; a file is
as large in both.
"""

PREPARE = (
    "from embstore import Store; from embstore.exchange import copies; from embstore.storage import"
    " bucket"
)


def make_store(folder: Path, n_layers: int) -> float:
    """Make a store of random vectors, and return the size of all its files in GB."""
    rng = np.random.default_rng(0)
    file = folder / "vectors.npy"
    vectors = np.lib.format.open_memmap(file, "w+", np.float32, (n_layers, N_ITEMS, DIM))
    for layer in vectors:
        for start in range(0, N_ITEMS, 5_000):
            layer[start : start + 5_000] = rng.standard_normal((5_000, DIM), np.float32)
    vectors.flush()
    (folder / "texts.txt").write_text("".join(f"w{number}\n" for number in range(N_ITEMS)))
    Store(folder / "store").import_vectors(file, "random", texts=folder / "texts.txt", index="flat")
    file.unlink()
    return (
        sum(path.stat().st_size for path in (folder / "store").rglob("*") if path.is_file()) / 1e9
    )


def measure(folder: Path, server: str) -> dict[str, float]:
    """Copy the store of a folder there and back, and return the peaks in MB."""
    with ExitStack() as stack:
        bucket = new_bucket(stack.enter_context(moto_server() if server == "moto" else seaweedfs()))
        os.environ["EMBSTORE_CACHE"] = str(folder / "cache")
        copy, url = str(folder / "copy"), bucket.url
        works = {
            "push to a folder": f"Store({str(folder / 'store')!r}).push({copy!r})",
            "pull from a folder": f"Store({str(folder / 'pulled')!r}).pull({copy!r})",
            f"push to {server}": (
                f"Store({str(folder / 'store')!r}).push({url!r}, options={bucket.options!r})"
            ),
            f"pull from {server}": (
                f"Store({str(folder / 'back')!r}).pull({url!r}, options={bucket.options!r})"
            ),
        }
        found = {}
        for name, work in works.items():
            began = time.monotonic()
            found[name] = peak(work, PREPARE)[0] / 1e3
            print(f"  {name}: {found[name]:.0f} MB, {time.monotonic() - began:.0f} s", flush=True)
            for place in ("copy", "pulled", "cache", "back"):
                if place != "copy" or "pull" in name:
                    shutil.rmtree(folder / place, ignore_errors=True)
    return found


def main() -> None:
    """Measure both sizes, and print the peaks and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--server", choices=["moto", "seaweedfs"], default="moto")
    chosen = parser.parse_args()
    peaks = []
    for n_layers in N_LAYERS:
        with tempfile.TemporaryDirectory(prefix="push-memory-", dir=chosen.folder) as name:
            print(f"{n_layers} layers, {make_store(Path(name), n_layers):.2f} GB", flush=True)
            peaks.append(measure(Path(name), chosen.server))
    print(", ".join(f"{name}: × {peaks[1][name] / peaks[0][name]:.2f}" for name in peaks[0]))


if __name__ == "__main__":
    main()
