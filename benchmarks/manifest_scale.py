"""Measure manifests of 100 million items, 13 layers of 768 components, before and after ``compact``.

    python benchmarks/manifest_scale.py [--items 100000000]

No vectors are written: the manifests name shards that do not exist, of the sizes that a build and
``compact`` give them.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from embstore.base.sharding import SHARD_ITEMS
from embstore.base.space import Layers, Pooling, Template, Unit
from embstore.exchange.copies import Selection, make_plan
from embstore.storage import keys
from embstore.storage.cache import StoreFiles
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.compact import COMPACT_BYTES, plan_shards
from embstore.storage.manifest import Change, Entry, ItemSet, Manifest
from embstore.storage.vectors import SHARD_BYTES
from embstore.storage.writer import write_card

DIM = 768
CARD = Card(
    space="gpt2.sentence.mean",
    model="gpt2",
    checkpoint="gpt2",
    revision=None,
    weights_sha256="0" * 64,
    tokenizer_sha256="0" * 64,
    config_sha256="0" * 64,
    architecture="GPT2Model",
    unit=Unit.SENTENCE,
    pooling=Pooling.MEAN,
    template=Template("{text}"),
    layers=Layers.of_model(12, None),
    dim=DIM,
    dtype="float32",
    max_tokens=1024,
    versions={},
    created="2026-12-03T00:00:00+00:00",
    layer_check=1,
)


def batch(first: int, n: int) -> Iterator[tuple[str, Entry]]:
    """Yield a shard of each layer, by key, for ``n`` items with ids from ``first`` on."""
    items = ItemSet(n, (n * first) % (1 << 64))
    for layer in CARD.layers.ids:
        sha256 = hashlib.sha256(f"{first} {n} {layer}".encode()).hexdigest()
        yield (
            keys.make(keys.VECTORS, sha256, name=CARD.space, layer=layer),
            {
                "bytes": n * (8 + CARD.layer_bytes) + 1000,
                "sha256": sha256,
                **items.facts,
                "first": first,
                "last": first + n - 1,
                "offsets": [64, 64 + 8 * n],
            },
        )


def built(n_items: int) -> dict[str, Entry]:
    """Return the shards of a build, by key, with ids that are spread as hashes are."""
    n = min(SHARD_ITEMS, SHARD_BYTES // CARD.layer_bytes)
    step = (1 << 63) // -(-n_items // n)
    return {
        key: entry
        for number, start in enumerate(range(0, n_items, n))
        for key, entry in batch(number * step, min(n, n_items - start))
    }


def compacted(files: StoreFiles, named: Manifest) -> Change:
    """Return the change that ``compact`` makes, without its vectors."""
    added: dict[str, Entry] = {}
    removed = []
    for group in plan_shards(files, named, CARD, COMPACT_BYTES):
        [of_layer, *_] = group.values()
        added |= batch(of_layer[0].entry["first"], sum(file.entry["n"] for file in of_layer))
        removed += [file.key for files_of_layer in group.values() for file in files_of_layer]
    return Change(added, removed)


def seconds(call: Callable[[], object], rounds: int = 3) -> float:
    """Return the least time of some calls."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(root: Path, folder: Path, number: int) -> Mapping[str, str]:
    """Return what the manifest of a store costs."""
    files = StoreFiles.of_folder(root)
    named = files.manifest()
    starts = iter(range(number, number + 3))

    def commit() -> Manifest:
        return files.commit(Change(dict(batch(next(starts), 1))))

    def plan() -> object:
        own = StoreFiles.of_folder(folder)
        return make_plan(Catalog(files), None, Selection(), own, "s3://bucket/store")

    return {
        "files": f"{len(named.files):,}",
        "bytes of the manifest": f"{named.n_bytes / 1e6:.1f} MB",
        "an open": f"{seconds(lambda: Catalog(StoreFiles.of_folder(root))):.2f} s",
        "the plan of a `push` to an empty place": f"{seconds(plan):.2f} s",
        "a commit of a batch": f"{seconds(commit):.2f} s",
    }


def main(n_items: int) -> None:
    """Print a table: before ``compact``, after it, and a day later."""
    with tempfile.TemporaryDirectory() as place:
        root, own = Path(place) / "store", Path(place) / "own"
        files = StoreFiles.of_folder(root)
        files.commit(Change({**write_card(files, CARD), **built(n_items)}))
        before = measure(root, own, 1)
        start = time.perf_counter()
        files.commit(lambda base: compacted(files, base))
        print(f"compact, without the vectors: {time.perf_counter() - start:.1f} s")
        after = measure(root, own, 11)
        fresh = StoreFiles.of_folder(Path(place) / "later")
        fresh.commit(Change({**files.manifest().files, **write_card(fresh, CARD)}))
        later = measure(fresh.root, own, 21)
    print("| | before | after `compact` | a day later |\n|---|---|---|---|")
    for name, value in before.items():
        print(f"| {name} | {value} | {after[name]} | {later[name]} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000_000)
    main(parser.parse_args().items)
