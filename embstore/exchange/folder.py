"""Copy files into the folder of a store: each whole and checked, and all committed at once.

They come into the folder ``.incoming`` first, where a copy that was interrupted finds them again. No reader sees them
there, and no other writer deletes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, MissingFileError
from embstore.exchange.checking import problem_of, shard_hash
from embstore.exchange.part import Content
from embstore.storage.files.paths import StorePaths
from embstore.storage.maintenance.import_store import copy_hashed
from embstore.storage.remote import published
from embstore.storage.remote.file_lists import RemoteFile
from embstore.storage.remote.writing import stored_files
from embstore.storage.transaction.commit import Change, commit
from embstore.storage.transaction.manifest import read_snapshot
from embstore.storage.transaction.recovery import recover

INCOMING = ".incoming"
BY_HASH = ("items/", "columns/", "skipped/", "embeddings/")
_ORDER = (
    "summaries/", "indexes/", "items/", "columns/", "skipped/", "embeddings/", "merged/", "maps/", "datasets/",
    "spaces/",
)  # fmt: skip


class Incoming:
    """The files that are on their way into a store.

    Args:
        paths: Paths of the store, which is locked.
    """

    def __init__(self, paths: StorePaths) -> None:
        self._store = paths
        self.paths = StorePaths(paths.root / INCOMING)
        self._check()

    def _check(self) -> None:
        """Raise DamagedError if a received store has a link in place of a folder here."""
        for entry in disk.entries(self._store.root):
            if entry.name == INCOMING and (problem := disk.irregular(entry, folder=True)):
                raise DamagedError(f"{entry.path} is damaged: {problem}.")
        for entry in disk.entries_below(self.paths.root):
            is_folder = entry.is_dir(follow_symlinks=False)
            if problem := disk.irregular(entry, folder=is_folder):
                raise DamagedError(f"{entry.path} is damaged: {problem}.")

    def receive(self, key: str, source: Path) -> bool:
        """Copy a file, and check it against its hash; return False if it was there from an interrupted copy.

        Raises:
            DamagedError: The content does not match its hash.
            StoreError: The disk is full or cannot be written.
        """
        target = self.paths.root / key
        if disk.exists(target):
            if disk.size(target) == disk.size(source) and not problem_of(key, target, disk.sha256(target), self.find):
                return False
            disk.remove(target)
        with atomic.temporary(target.parent) as temp:
            if problem := problem_of(key, temp, copy_hashed(source, temp), self.find):
                raise DamagedError(f"{source} is damaged: {problem}. Run: embstore verify")
            atomic.publish(temp, target)
        return True

    def find(self, key: str) -> Path:
        """Return a file that is on its way, or is in the store."""
        path = self.paths.root / key
        return path if disk.exists(path) else self._store.root / key

    def publish(self, keys: Iterable[str], change: Change) -> None:
        """Move files to their places in the store, commit the change, and remove what is replaced.

        Args:
            keys: Paths of the files in a store; all of them were received.
            change: Change of the store.
        """
        ordered = sorted(keys, key=_rank)
        # No card may be taken for that of another index, even after a loss of power: the old ones go first, and the
        # new ones come last.
        last = {f"{key.removesuffix('faiss')}json" for key in ordered if key.endswith(".faiss")}.intersection(ordered)
        cards = [self._store.root / key for key in last]
        for card in cards:
            disk.remove(card, missing_ok=True)
        for folder in sorted({card.parent for card in cards if disk.exists(card.parent)}):
            disk.sync_folder(folder)
        self._move([key for key in ordered if key not in last])
        self._move([key for key in ordered if key in last])
        commit(self._store, change)
        recover(self._store)
        self.discard()

    def _move(self, keys: Sequence[str]) -> None:
        """Move files to their places in the store, and flush their names to the disk."""
        for key in keys:
            target = self._store.root / key
            disk.make_folder(target.parent)
            disk.replace(self.paths.root / key, target)
        for folder in sorted({(self._store.root / key).parent for key in keys}):
            disk.sync_folder(folder)

    def discard(self) -> None:
        """Remove what is on its way."""
        disk.remove_tree(self.paths.root)


def in_order(files: Iterable[str]) -> list[str]:
    """Return files in the order in which they can be checked: those with the hashes of others before these."""
    return sorted(files, key=lambda key: (_rank(key), not key.endswith(".json"), key))


def _rank(key: str) -> int:
    return next(rank for rank, prefix in enumerate(_ORDER) if key.startswith(prefix))


def missing_files(content: Content, stored: Mapping[str, object], paths: StorePaths) -> list[str]:
    """Return the paths of the files that a store does not have, or has with another content.

    Args:
        content: Files that the store is to have.
        stored: Files that its manifest names.
        paths: Paths of the store.
    """
    return [key for key in content if not _is_stored(key, content, stored, paths)]


def _is_stored(key: str, content: Content, stored: Mapping[str, object], paths: StorePaths) -> bool:
    target = paths.root / key
    if not disk.exists(target):
        return False
    if key.startswith((*BY_HASH, "spaces/")):  # it was checked to be the same space
        return key in stored
    if key.startswith("summaries/"):
        return f"embeddings/{key.removeprefix('summaries/')}" in stored
    if key.endswith(".faiss"):  # large, and its card has its hash
        key = str(Path(key).with_suffix(".json"))
        target = paths.root / key
    return disk.exists(target) and disk.sha256(target) == disk.sha256(content[key])


def write_published(paths: StorePaths) -> None:
    """Write ``manifest.json``, which names the files of a folder for readers through a web server."""
    path, before = paths.root / published.NAME, None
    with suppress(MissingFileError, DamagedError):
        before = published.parse_published(disk.read(path), str(path))
    old = before.files if before is not None else {}
    files = {key: _entry(paths, key, old.get(key)) for key in stored_files(paths, read_snapshot(paths))}
    if files != old:
        atomic.write_bytes(path, published.published_bytes(files, before))


def _entry(paths: StorePaths, key: str, before: RemoteFile | None) -> RemoteFile:
    """Return size and hash of a file; its name, or the summary of a shard, has the hash of what is never replaced."""
    size = disk.size(paths.root / key)
    if before is not None and before.size == size and key.startswith(BY_HASH):
        return before
    if key.startswith("embeddings/"):
        return RemoteFile(key, size, shard_hash(paths.summary_of(paths.root / key)))
    return RemoteFile(key, size, disk.sha256(paths.root / key))
