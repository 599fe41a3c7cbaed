"""Copy a store into a dataset repository on the Hugging Face hub: all files first, the manifest in the last commit."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from embstore.base import disk
from embstore.base.errors import DamagedError, MissingObjectError, StoreError
from embstore.base.progress import Observer, Progress
from embstore.base.table import Table
from embstore.exchange.checking import problem_of
from embstore.exchange.content import check_content
from embstore.exchange.dataset_card import MARK, dataset_card
from embstore.exchange.folder import BY_HASH
from embstore.exchange.part import Part
from embstore.exchange.transfer import Selection, actions, make_part, open_source
from embstore.maintain.actions import tabulate
from embstore.storage.catalog import Catalog
from embstore.storage.files.paths import StorePaths
from embstore.storage.remote import cache, published
from embstore.storage.remote.file_lists import RemoteFile
from embstore.storage.remote.hub import HubDataset
from embstore.storage.remote.manifest import RemoteState
from embstore.storage.remote.mirror import Mirror
from embstore.storage.remote.objects import ObjectReader

_BATCH = 64
_README = "README.md"


def _columns(source: Catalog, part: Part, stored: Catalog | None) -> dict[str, tuple[str, int | None]]:
    """Return the type of each column of items that travels or that the place has, and its number of values if known.

    Args:
        source: Catalog of the store.
        part: What travels; of some spaces, the numbers of values are not known.
        stored: Catalog of the place, if what it has stays there.
    """
    counts: dict[str, int | None] = {**source.columns.counts()} if part.is_whole else {}
    travels = any(key.startswith("columns/") for key in part.files)
    types = {**({} if stored is None else stored.columns.types), **(source.columns.types if travels else {})}
    return {name: (kind, counts.get(name)) for name, kind in types.items()}


def push_to_hub(root: Path, url: str, selection: Selection, observe: Observer, *, dry_run: bool = False) -> Table:
    """Copy a store, or some of its spaces, into a dataset repository, which is created, private, if there is none.

    Args:
        root: Folder of the store.
        url: URL of the repository, with a branch or without.
        selection: What is copied.
        observe: Callback for progress, in files.
        dry_run: Write nothing, and report what would be copied.

    Raises:
        StoreError: The repository has other content, or was changed meanwhile; names both commits.
        RemoteError: The hub cannot be reached, or refuses.
        DamagedError: A file of the store is damaged; nothing was committed.
    """
    hub, source = HubDataset(url), open_source(root)
    if (parent := hub.head()) is None and not dry_run:
        hub.create()
        parent = hub.head()
    objects = hub.objects(parent) if parent is not None else None
    before = published.read_published(objects) if objects is not None else None
    with TemporaryDirectory(prefix="embstore-") as name:
        folder = Path(name)
        with _mirrored(url, objects, before) as stored:
            part = make_part(source, stored, selection, folder / "part")
            if stored is not None:
                check_content(part, source, stored, url)
            cards = {**(stored.cards if stored is not None and not part.is_whole else {}), **part.cards}
            counts = {space: stored.count(space) for space in stored.cards} if stored is not None else {}
            columns = _columns(source, part, None if part.is_whole else stored)
        counts |= {space: source.count(space) for space in part.cards}
        files, missing = _compared(part, before, source)
        paths = StorePaths(Path("/") / "hub")
        table = tabulate(actions("would push" if dry_run else "pushed", part, missing, paths), paths.root)
        gone = sorted(before.files.keys() - files.keys()) if before is not None else []
        if dry_run or not (missing or gone):
            return table
        if parent is None:
            raise StoreError(f"{url} was created, and is not there yet. Run the same command again.")
        added = []
        for start in range(0, len(missing), _BATCH):
            observe(Progress("push", url, start, len(missing), start / len(missing)))
            added += hub.upload({key: part.files[key] for key in missing[start : start + _BATCH]})
        last: dict[str, Path | bytes] = {published.NAME: published.published_bytes(files, before)}
        if _is_own(objects):
            last[_README] = dataset_card(cards, files, url, counts, columns).encode()
        message = f"embstore push: {len(missing)} files" if missing else "embstore push: remove what was replaced"
        hub.commit(added, last, gone, parent, message)
        observe(Progress("push", url, len(missing), len(missing), 1.0))
    return table


@contextmanager
def _mirrored(url: str, objects: ObjectReader | None, state: RemoteState | None) -> Iterator[Catalog | None]:
    """Yield the catalog of what a repository has, whose content is fetched when it is read; None for no store."""
    if objects is None or state is None:
        yield None
        return
    mirror = Mirror(cache.mirror_folder(url, state.store) / "pushing", objects)
    try:
        with mirror.locked(), disk.supplied(mirror.root, mirror):
            mirror.synchronise(state)
            yield Catalog(mirror.root)
    finally:
        mirror.close()


def _compared(part: Part, before: RemoteState | None, source: Catalog) -> tuple[dict[str, RemoteFile], list[str]]:
    """Return the files that the repository is to have, and the paths of those that it does not have.

    Raises:
        DamagedError: A file does not match its hash.
    """
    old: Mapping[str, RemoteFile] = before.files if before is not None else {}
    files = {key: old[key] for key in old.keys() - part.superseded(old)}
    missing = []
    for key, path in part.files.items():
        if key in old and (key.startswith(BY_HASH) or _is_same_space(key, path, source)):
            files[key] = old[key]
            continue
        digest = disk.sha256(path)
        if problem := problem_of(key, path, digest, part.files.__getitem__):
            raise DamagedError(f"{path} is damaged: {problem}. Nothing was committed. Run: embstore verify")
        files[key] = RemoteFile(key, disk.size(path), digest)
        if old.get(key) != files[key]:
            missing.append(key)
    return files, missing


def _is_same_space(key: str, path: Path, source: Catalog) -> bool:
    """Return whether a file is a card: that of a repository was checked to be of the same space."""
    return key.startswith("spaces/") and path.stem in source.cards


def _is_own(objects: ObjectReader | None) -> bool:
    """Return whether the README of a repository is missing, or one that embstore wrote."""
    if objects is None:
        return True
    try:
        return MARK.encode() in objects.get(_README)
    except MissingObjectError:
        return True
