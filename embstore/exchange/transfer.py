"""Copy a store, or some of its spaces, to another place: plan, check, copy the files, commit them at once.

Files come into the folder ``.incoming`` first, where a copy that was interrupted finds them again. No reader sees them
there, and no other writer deletes them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from embstore.base import atomic, checksum, disk
from embstore.base.errors import DamagedError, MissingFileError, StoreError, UsageError
from embstore.base.progress import Observer, Progress
from embstore.base.table import Table
from embstore.exchange.part import Content, Part, Selection, make_part
from embstore.maintain.actions import Action, tabulate
from embstore.storage.catalog import Catalog
from embstore.storage.files.paths import StorePaths, check_marker
from embstore.storage.files.shards import SUMMARY_SCHEMA
from embstore.storage.files.tables import read_sealed
from embstore.storage.maintenance.import_store import copy_hashed
from embstore.storage.remote.manifest import PUBLISHED_NAME, RemoteFile, parse_published, published_bytes
from embstore.storage.remote.writing import stored_files
from embstore.storage.sql.reader import REMEDY
from embstore.storage.transaction.commit import Change, commit
from embstore.storage.transaction.manifest import read_snapshot
from embstore.storage.transaction.recovery import recover
from embstore.storage.writer import StoreWriter

INCOMING = ".incoming"
_BY_HASH = ("items/", "columns/", "skipped/", "embeddings/")
_NAMED = (*_BY_HASH, "datasets/", "spaces/")
_ORDER = ("summaries/", "indexes/", *_BY_HASH, "merged/", "maps/", "datasets/", "spaces/")
_KINDS = {"embeddings": "shards", "items": "tables", "columns": "tables", "skipped": "tables", "maps": "maps"}
_SINGLE = {"shards": "shard", "tables": "table", "maps": "map", "indexes": "index"}
_MISMATCH = "its content does not have the SHA-256 that it should have"


def copy_store(
    root: Path,
    target: Path,
    selection: Selection,
    observe: Observer,
    verb: str = "push",
    name: str = "",
    *,
    dry_run: bool = False,
) -> Table:
    """Copy a store into a folder: an empty one, an earlier copy, or with single spaces also another store.

    The same call goes on after an interruption, and copies only what is missing.
    """
    own, paths = disk.resolved(root), StorePaths(disk.resolved(target))
    if own == paths.root or (disk.exists(target) and disk.is_same(own, paths.root)):
        raise UsageError(f"{own} is the store itself: name another place.")
    if own in paths.root.parents or paths.root in own.parents:
        inner, outer = sorted((own, paths.root), key=lambda folder: len(folder.parts), reverse=True)
        raise UsageError(f"{inner} is inside {outer}, and a store is no part of another one: name another place.")
    source, name = open_source(root), name or str(paths.root)
    with TemporaryDirectory(prefix="embstore-") as temporary:
        try:
            with nullcontext() if dry_run else StoreWriter(target):
                stored = _stored(paths)
                part = make_part(source, stored, selection, Path(temporary), name)
                named = {} if stored is None else read_snapshot(paths).files
                missing = [key for key in part.files if not _is_stored(key, part.files, named, paths)]
                if not dry_run:
                    _receive(paths, part, missing, named, lambda n: observe(_progress(verb, name, n, len(missing))))
                    if verb == "push" and "://" not in name:
                        _write_published(paths)
                    observe(_progress(verb, name, len(missing), len(missing)))
                return report(f"would {verb}" if dry_run else f"{verb}ed", part, missing, paths)
        except DamagedError as error:
            if source.is_outdated:
                raise StoreError(
                    f"{own} was changed while it was read: another process writes to it. Nothing was committed; run "
                    "the same command again."
                ) from error
            raise


def open_source(root: Path) -> Catalog:
    """Return the catalog of a store that is copied."""
    source = Catalog(disk.resolved(root))
    source.paths.check_contents()
    if not source.cards:
        raise StoreError(f"{root} holds no space: there is nothing to copy.")
    return source


def _stored(paths: StorePaths) -> Catalog | None:
    """Return the catalog of a folder; None if it is missing or empty."""
    if not disk.exists(paths.marker):
        if any(not path.name.startswith(".") for path in disk.listed(paths.root)):
            check_marker(paths)  # raises for a folder that contains other files
        return None
    return Catalog(paths.root)


def is_settled(key: str, stored: Mapping[str, object]) -> bool:
    """Return whether a place that has a file has it with the same content, by its name, or as a card checked before."""
    return key in stored and key.startswith((*_BY_HASH, "spaces/"))


def _is_stored(key: str, content: Content, stored: Mapping[str, object], paths: StorePaths) -> bool:
    """Return whether a folder has a file with the same content, given the files that its manifest names."""
    target = paths.root / key
    if not disk.exists(target):
        return False
    if key.startswith((*_BY_HASH, "spaces/")):
        return is_settled(key, stored)
    if key.startswith("summaries/"):
        return f"embeddings/{key.removeprefix('summaries/')}" in stored
    if key.endswith(".faiss"):  # large, and its card has its hash
        key = str(Path(key).with_suffix(".json"))
        target = paths.root / key
    return disk.exists(target) and disk.sha256(target) == disk.sha256(content[key])


def _receive(
    paths: StorePaths, part: Part, missing: Sequence[str], named: Mapping[str, object], observe: Callable[[int], None]
) -> None:
    """Copy the missing files of a part into a folder, and commit them instead of those that they replace."""
    incoming = Incoming(paths)
    # Those with the hashes of others come before these.
    for done, key in enumerate(sorted(missing, key=lambda key: (_rank(key), not key.endswith(".json"), key))):
        observe(done)
        incoming.receive(key, part.files[key])
    added = [paths.file(key) for key in missing if key.startswith(_NAMED)]
    incoming.publish(missing, Change(tuple(added), tuple(map(paths.file, part.superseded(named)))))


def _progress(verb: str, name: str, done: int, total: int) -> Progress:
    return Progress(verb, name, done, total, done / total if total else 1.0)


class Incoming:
    """The files that are on their way into a store."""

    def __init__(self, paths: StorePaths) -> None:
        self._store = paths
        self._paths = StorePaths(paths.root / INCOMING)
        # A received store may have a link in place of a folder here.
        own = (entry for entry in disk.entries(paths.root) if entry.name == INCOMING)
        for entry in chain(own, disk.entries_below(self._paths.root)):
            is_folder = entry.name == INCOMING or entry.is_dir(follow_symlinks=False)
            if problem := disk.irregular(entry, folder=is_folder):
                raise DamagedError(f"{entry.path} is damaged: {problem}.")

    def receive(self, key: str, source: Path) -> None:
        """Copy a file, and check it against its hash, unless it is there from an interrupted copy."""
        target = self._paths.root / key
        if disk.exists(target):
            if disk.size(target) == disk.size(source) and not problem_of(key, target, disk.sha256(target), self._find):
                return
            disk.remove(target)
        with atomic.temporary(target.parent) as temp:
            if problem := problem_of(key, temp, copy_hashed(source, temp), self._find):
                raise DamagedError(f"{source} is damaged: {problem}. Run: embstore verify")
            atomic.publish(temp, target)

    def _find(self, key: str) -> Path:
        """Return a file that is on its way, or is in the store."""
        path = self._paths.root / key
        return path if disk.exists(path) else self._store.root / key

    def publish(self, keys: Iterable[str], change: Change) -> None:
        """Move files to their places in the store, commit the change, and remove what is replaced."""
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
        disk.remove_tree(self._paths.root)

    def _move(self, keys: Sequence[str]) -> None:
        """Move files to their places in the store, and flush their names to the disk."""
        for key in keys:
            target = self._store.root / key
            disk.make_folder(target.parent)
            disk.replace(self._paths.root / key, target)
        for folder in sorted({(self._store.root / key).parent for key in keys}):
            disk.sync_folder(folder)


def _rank(key: str) -> int:
    return next(rank for rank, prefix in enumerate(_ORDER) if key.startswith(prefix))


_MISMATCH = "its content does not have the SHA-256 that it should have"


def problem_of(key: str, path: Path, sha256: str, find: Callable[[str], Path]) -> str | None:
    """Return the problem of a file of a store whose content does not match its hash, or None.

    The hash is in its name, in itself, or in another file that ``find`` returns: the summary of a shard, or the card of
    an index.
    """
    folder = key.partition("/")[0]
    if folder in ("items", "columns", "skipped"):
        expected = Path(key).stem.removeprefix("part-")
    elif folder == "embeddings":
        summary = find(f"summaries/{key.removeprefix('embeddings/')}")
        expected = shard_hash(summary)
        if Path(key).stem != f"part-{expected[:16]}":
            return _MISMATCH
    elif key.endswith(".faiss"):
        expected = str(atomic.read_document(find(key.removesuffix("faiss") + "json"), "index-card")["sha256"])
    else:
        return None if checksum.has_valid_checksum(disk.read(path)) else checksum.ALTERED
    return None if sha256.startswith(expected) else _MISMATCH


def shard_hash(summary: Path) -> str:
    """Return the SHA-256 of a shard in hexadecimal, which each row of its summary has."""
    hashes = set(read_sealed(summary, SUMMARY_SCHEMA)["sha256"].to_pylist())
    if len(hashes) != 1:
        raise DamagedError(f"{summary} is damaged: its rows do not name one shard. {REMEDY}")
    return str(hashes.pop())


def _write_published(paths: StorePaths) -> None:
    """Write ``manifest.json``, which names the files of a folder for readers through a web server."""
    path, before = paths.root / PUBLISHED_NAME, None
    with suppress(MissingFileError, DamagedError):
        before = parse_published(disk.read(path), str(path))
    old = before.files if before is not None else {}
    files = {key: _entry(paths, key, old.get(key)) for key in stored_files(paths, read_snapshot(paths))}
    if files != old:
        atomic.write_bytes(path, published_bytes(files, before))


def _entry(paths: StorePaths, key: str, before: RemoteFile | None) -> RemoteFile:
    """Return size and hash of a file; its name, or the summary of a shard, has the hash of what is never replaced."""
    size = disk.size(paths.root / key)
    if before is not None and before.size == size and key.startswith(_BY_HASH):
        return before
    if key.startswith("embeddings/"):
        return RemoteFile(key, size, shard_hash(paths.summary_of(paths.root / key)))
    return RemoteFile(key, size, disk.sha256(paths.root / key))


def report(verb: str, part: Part, files: Iterable[str], paths: StorePaths) -> Table:
    """Return a row for each space, and for each folder of tables, with new files."""
    n_bytes: Counter[Path] = Counter()
    n_files: dict[Path, Counter[str]] = {}
    for key in files:
        place, kind = _place(key, paths)
        n_bytes[place] += disk.size(part.files[key])
        n_files.setdefault(place, Counter())[kind] += 1
    found = []
    for place in sorted(n_files):
        shown = {kind: n for kind, n in sorted(n_files[place].items()) if kind}
        detail = ", ".join(f"{n} {kind if n != 1 else _SINGLE[kind]}" for kind, n in shown.items())
        found.append(Action(verb, place, detail, None, n_bytes[place]))
    return tabulate(found, paths.root)


def rest_of_copy(n_files: int, n_bytes: int) -> Table:
    """Return the report on a copy into a bucket that was interrupted after its mirror had all files."""
    detail = f"{n_files} files, the rest of an interrupted copy"
    return tabulate([Action("pushed", Path(), detail, None, n_bytes)], Path())


def _place(key: str, paths: StorePaths) -> tuple[Path, str]:
    """Return the folder or file that a file is reported with, and what is counted there."""
    folder, _, entry = key.partition("/")
    kind = "indexes" if key.endswith(".faiss") else _KINDS.get(folder, "")
    if folder in ("spaces", "merged"):
        return paths.embeddings(Path(entry).stem), kind
    if folder in ("embeddings", "summaries", "indexes", "maps"):
        return paths.embeddings(entry.partition("/")[0].removeprefix("space=")), kind
    return (paths.dataset(Path(entry).stem) if folder == "datasets" else paths.root / folder), kind
