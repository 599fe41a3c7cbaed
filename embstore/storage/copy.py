"""Copy files of one store into another: only what is missing there, each checked against its hash.

Nothing is committed here: the caller commits all that was copied at once. What an interrupted copy has left is found
again by the next one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from embstore.base import disk
from embstore.base.errors import DamagedError, MissingFileError, MissingObjectError, StoreError
from embstore.storage import keys
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.catalog import Catalog
from embstore.storage.manifest import EMPTY, GARBAGE_SECONDS, Files

_BATCH = 32
"""Number of files that are copied at the same time, and stored together."""


def copy_files(
    source: StoreFiles,
    files: Sequence[StoredFile],
    target: StoreFiles,
    progress: Callable[[int], None] = lambda n_files: None,
) -> Files:
    """Copy files of a store that another one does not name, and return all of them as a manifest names them.

    Args:
        source: Store with the files.
        files: Files that its manifest names.
        target: Store to copy to.
        progress: Function that is called with the number of files that are there.

    Raises:
        DamagedError: A file is missing, or does not have the size and the hash that the manifest says.
    """
    named = (target.find_manifest() or EMPTY).files
    missing = [file for file in files if file.key not in named]
    if missing:
        present = _left_by_earlier_copy(target, missing)
        missing = [file for file in missing if file.key not in present]
    done = len(files) - len(missing)
    progress(done)
    with ThreadPoolExecutor(_BATCH, "embstore-copy") as pool:
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            with ExitStack() as stack:
                temps = [stack.enter_context(target.temporary()) for _ in batch]
                list(pool.map(_download, [source] * len(batch), batch, temps))
                target.write({file.key: temp for file, temp in zip(batch, temps, strict=True)})
            done += len(batch)
            progress(done)
    return {file.key: named.get(file.key, file.entry) for file in files}


def _download(source: StoreFiles, file: StoredFile, temp: Path) -> None:
    """Copy a file to a temporary one, and check that."""
    try:
        source.objects.download(file.key, temp)
    except (MissingFileError, MissingObjectError) as error:
        raise file.damage("it is missing, and the manifest names it") from error
    if disk.size(temp) != file.entry["bytes"] or disk.sha256(temp) != file.entry["sha256"]:
        raise file.damage("its content does not have the size and the SHA-256 that the manifest says")


def _left_by_earlier_copy(target: StoreFiles, files: Sequence[StoredFile]) -> set[str]:
    """Return the keys of those files that are in a store, though its manifest does not name them.

    They are too young to be deleted as garbage before they are committed. What a server has stored it has stored whole.
    """
    expected = {file.key: file for file in files}
    oldest = time.time() - GARBAGE_SECONDS / 2
    folders = {parts.kind.folder for key in expected if (parts := keys.parse(key)) is not None}
    found = set()
    for info in (info for folder in sorted(folders) for info in target.objects.list(folder)):
        file = expected.get(info.key)
        if file is None or info.size != file.entry["bytes"] or info.modified.timestamp() < oldest:
            continue
        if not target.is_local or disk.sha256(target.root / file.key) == file.entry["sha256"]:
            found.add(info.key)
    return found


def open_source(place: Path | StoreFiles) -> Catalog:
    """Return the catalog of a store that is copied, which has a space."""
    source = Catalog(place)
    if not source.cards:
        raise StoreError(f"{source.name} holds no space: there is nothing to copy.")
    return source


@contextmanager
def explaining_changes(source: Catalog) -> Iterator[None]:
    """Report files that are missing since another process has changed the store that is read within the context."""
    try:
        yield
    except DamagedError as error:
        if source.is_outdated:
            raise StoreError(
                f"{source.name} was changed while it was read: another process writes to it. Nothing was committed; "
                "run the same command again."
            ) from error
        raise
