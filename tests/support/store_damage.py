"""A store with a file of every kind, ways to damage its files, and what is there."""

import hashlib
import random
import re
from contextlib import contextmanager

from kept_columns import write_columns
from store_writing import SkippedText, write_skipped
from synthetic import synthetic_store
from tiny_checkpoint import named

from embstore.base import checksum
from embstore.base.space import Unit
from embstore.storage.cache import StoreFiles
from embstore.storage.writer import write_dataset


def kinds(space="*"):
    """The kinds of files of a store, and where those of a space are."""
    return {
        "manifest": "manifest/*.json",
        "items": "items/*.parquet",
        "columns": "columns/*.parquet",
        "skipped": "skipped/*.parquet",
        "dataset": "datasets/*.parquet",
        "card": f"spaces/{space}-*.json",
        "shard": f"vectors/space={space}/*/*.parquet",
        "sums": f"sums/{space}-*.npz",
        "index": f"indexes/space={space}/*.faiss",
        "answer": "derived/answers/*.json",
        "map": f"derived/maps/space={space}/*.parquet",
    }


KINDS = kinds()
_UNNAMED = ("manifest", "answer", "map")  # by the manifest


def the(root, kind, space="toy.word.last"):
    """Return a file of a kind that is part of a store: of a space, if it has any; the newest
    manifest.
    """
    found = sorted(root.glob(KINDS[kind]))
    if kind not in _UNNAMED:
        current = {root / key for key in named(root, "")}
        found = [path for path in found if path in current]
    return (
        found[-1]
        if kind == "manifest"
        else next((path for path in found if space in str(path)), found[0])
    )


def full_store(root):
    """A store with a file of every kind; called again it writes what is missing."""
    made = synthetic_store(root, n=20, dim=6, n_blocks=1, new_only=True)
    synthetic_store(
        root,
        unit="occurrence",
        texts=["the bank of the river", "a bank"],
        dim=6,
        n_blocks=1,
        new_only=True,
    )
    columns = {
        "item_id": made.ids.tolist(),
        "text": made.texts,
        "rank": [*range(20)],
        "note": ["é"] * 20,
    }
    write_dataset(made.files, "words", "word list", Unit.WORD, columns)
    write_columns(
        made, {"freq": [item % 7 for item in made.ids.tolist()], "note": ["é"] * len(made.ids)}
    )
    write_skipped(
        made.files, [SkippedText("", "skipped", "no tokens", made.space, 7, "words.txt:3")]
    )
    made.store.query("partition", spaces=made.space, layers=0)
    made.store.map(spaces=made.space, layers=0)
    return made


def named_files(root):
    """The files that the newest manifest names, and those derived from them."""
    made = StoreFiles.of_folder(root)
    return sorted(
        [*(made.root / key for key in made.manifest().files), *(made.root / "derived").rglob("*.*")]
    )


def files_of(root):
    """The files of a store that are part of it (not the lock)."""
    return sorted(
        path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")
    )


def committed(root):
    """The content of what a store is made of, by path: without locks, manifests and answers."""
    own = {path: path.relative_to(root).as_posix() for path in files_of(root)}
    return {
        key: path.read_bytes()
        for path, key in own.items()
        if not key.startswith((".", "manifest", "derived/"))
    }


def snapshot(root):
    """Every file below a folder, hidden ones too: its hash and the time of its last change."""
    return {
        str(path.relative_to(root)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in root.rglob("*")
        if path.is_file()
    }


@contextmanager
def damaged(path, data):
    """Give a file other content, or remove it, and restore it afterwards."""
    before = path.read_bytes()
    try:
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        yield
    finally:
        path.write_bytes(before)


def flip(path, at=None, bits=1):
    """Turn bits of one byte of a file over: of the middle one, if none is named."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= bits
    path.write_bytes(data)


def reseal(path, old, new):
    """Change a document, and the hash in it too."""
    data = re.sub(rb'(file_sha256": ")[0-9a-f]{64}', rb"\g<1>" + b"0" * 64, path.read_bytes())
    path.write_bytes(checksum.with_checksum(data.replace(old, new)))


def flipped(data, bit):
    """The bytes with one bit turned over."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def bits(data, n, seed):
    """Random places of bits, with the very first and last ones."""
    last = 8 * len(data) - 1
    return [0, last, *random.Random(seed).sample(range(last), min(n, last))]


def damaged_bytes(data, change):
    """The bytes of a file after some accident."""
    middle = len(data) // 2
    return {
        "bit": data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :],
        "empty": b"",
        "a byte short": data[:-1],
        "half": data[:middle],
        "a byte more": data + b"\n",
        "zeros": bytes(len(data)),
    }[change]
