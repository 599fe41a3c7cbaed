"""Copy files of one store into another: only what is missing there, each checked against its hash.

Nothing is committed here: the caller commits all that was copied at once. What an interrupted copy
has left is found again by the next one. Of tables, the rows that are missing are written as new
tables.
"""

import shlex
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embstore.base import disk
from embstore.base.arrays import Ids, concatenated, distinct
from embstore.base.errors import DamagedError, MissingObjectError, StoreError
from embstore.storage import keys, tables
from embstore.storage.arrow import to_numpy
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.column_tables import new_columns
from embstore.storage.datasets import name_of
from embstore.storage.item_columns import ColumnTables
from embstore.storage.keys import Kind
from embstore.storage.manifest import EMPTY, GARBAGE_SECONDS, Files
from embstore.storage.sql.reader import Reader

_BATCH = 32
"""Number of files that are copied at the same time, and stored together."""


def copy_files(
    source: StoreFiles,
    files: Sequence[StoredFile],
    target: StoreFiles,
    progress: Callable[[int], None] = lambda n_files: None,
) -> Files:
    """Copy files of a store that another one does not name, and return all of them as a manifest
    names them.

    Args:
        source: Store with the files.
        files: Files that its manifest names.
        target: Store to copy to.
        progress: Function that is called with the number of files that are there.

    Raises:
        DamagedError: A file is missing, or does not have the size and the hash that the manifest
            says.
    """
    named = (target.find_manifest() or EMPTY).files
    missing = [file for file in files if file.key not in named]
    if missing:
        present = _left_by_earlier_copy(target, missing)
        missing = [file for file in missing if file.key not in present]
    done = len(files) - len(missing)
    progress(done)
    for start in range(0, len(missing), _BATCH):
        batch = missing[start : start + _BATCH]
        with ExitStack() as stack:
            temps = [stack.enter_context(target.temporary()) for _ in batch]
            with ThreadPoolExecutor(
                _BATCH, "embstore-copy"
            ) as pool:  # ends before the temporary files are removed
                list(pool.map(_download, [source] * len(batch), batch, temps))
            target.write({file.key: temp for file, temp in zip(batch, temps, strict=True)})
        done += len(batch)
        progress(done)
    return {file.key: named.get(file.key, file.entry) for file in files}


def _download(source: StoreFiles, file: StoredFile, temp: Path) -> None:
    """Copy a file to a temporary one, and check that."""
    try:
        source.objects.download(file.key, temp)
    except (FileNotFoundError, MissingObjectError) as error:
        raise file.damage("it is missing, and the manifest names it") from error
    if not file.has_content(temp):
        raise file.damage(
            "its content does not have the size and the SHA-256 that the manifest says"
        )


def _left_by_earlier_copy(target: StoreFiles, files: Sequence[StoredFile]) -> set[str]:
    """Return the keys of those files that are in a store, though its manifest does not name them.

    They are too young to be deleted as garbage before they are committed. What a server has stored
    it has stored whole.
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
    files = StoreFiles.of_folder(place)
    try:
        source = Catalog(files)
    except DamagedError as error:
        raise _of_source(error, files) from error
    if not source.cards:
        raise StoreError(f"{source.name} holds no space: there is nothing to copy.")
    return source


@contextmanager
def explaining_changes(source: Catalog) -> Iterator[None]:
    """Report damage of the store that is read within the context with its name, or as a change by
    another process.
    """
    try:
        yield
    except DamagedError as error:
        if source.is_outdated:
            raise StoreError(
                f"{source.name} was changed while it was read: another process writes to it."
                " Nothing was committed; run the same command again."
            ) from error
        raise _of_source(error, source.files) from error


def _of_source(error: DamagedError, source: StoreFiles) -> DamagedError:
    """Return an error whose commands name the store that is read, if a file of that is damaged."""
    message = str(error.args[0])
    if type(error) is not DamagedError or source.name not in message:
        return error
    for verb in ("repair", "verify"):
        command = shlex.join(["embstore", verb, "--store", source.name])
        message = message.replace(f"embstore {verb}", command)
    return DamagedError(message)


class New(NamedTuple):
    """What a store does not have of the tables of a kind, or of a dataset.

    Attributes:
        place: Key of the folder of the tables, or name of the dataset's.
        label: What the rows are.
        n_rows: Number of new rows.
        added: Tables with these rows; empty if nothing was written.
        removed: Keys of the tables in whose place these are.
        differing: Units of which both stores have rows of a dataset, and other ones.
    """

    place: str
    label: str
    n_rows: int
    added: Files
    removed: Sequence[str] = ()
    differing: Sequence[str] = ()


def write_new(
    source: Catalog,
    stored: Catalog | None,
    cards: Collection[Card],
    requested: Ids | None,
    target: StoreFiles,
    *,
    dry_run: bool = False,
) -> Iterator[New]:
    """Write what a store does not have of texts, columns, skipped texts and datasets.

    Args:
        source: The other store.
        stored: This store; None if it is a new one.
        cards: Spaces of which the skipped texts and the numbers of tokens are taken.
        requested: Ids of the items of which rows are taken, ascending; None for all.
        target: Files of this store.
        dry_run: Whether to write nothing.
    """
    here = target.name if stored is None else stored.name  # a copy is written elsewhere first
    spaces = {card.space for card in cards}
    known = stored.manifest.files if stored is not None else {}
    ours = {kind: _tables(stored, kind) for kind in keys.TABLES}
    theirs = {kind: _tables(source, kind, known) for kind in keys.TABLES}
    own_columns = ColumnTables(Reader(target.root), ours[keys.COLUMNS])
    columns = ColumnTables(Reader(source.root), theirs[keys.COLUMNS])
    skipped_of = spaces if requested is not None else {*spaces, None}
    rows = (
        (keys.ITEMS, "texts", _new_items(theirs[keys.ITEMS], ours[keys.ITEMS], requested)),
        (
            keys.COLUMNS,
            "values of columns",
            new_columns(own_columns, columns, (here, source.name), spaces, requested),
        ),
        (
            keys.SKIPPED,
            "skipped texts",
            _new_skipped(theirs[keys.SKIPPED], ours[keys.SKIPPED], skipped_of),
        ),
    )
    for kind, label, new in rows:
        if dry_run:
            yield New(kind.folder, label, sum(map(len, new)), {})
        else:
            added = tables.write_all(target, kind, new)
            yield New(kind.folder, label, sum(entry["n"] for entry in added.values()), added)
    units = {card.unit.value for card in cards} if requested is not None else None
    own_datasets = (
        {name_of(file): file for file in stored.dataset_files} if stored is not None else {}
    )
    for file in source.dataset_files:
        yield _new_rows_of_dataset(
            file, own_datasets.get(name_of(file)), units, None if dry_run else target
        )


def _tables(catalog: Catalog | None, kind: Kind, known: Collection[str] = ()) -> list[StoredFile]:
    """Return the tables of a kind, without those of known keys, which have the same rows."""
    if catalog is None:
        return []
    named = catalog.manifest.keys_of(kind)
    return catalog.files.files_of(catalog.manifest, (key for key in named if key not in known))


def _new_items(
    theirs: Sequence[StoredFile], ours: Sequence[StoredFile], requested: Ids | None
) -> Iterator[pa.Table]:
    """Yield, for each table of items of another store, the requested rows that are new to this
    store.
    """
    seen = _ids_in(ours) if theirs else np.empty(0, np.int64)
    if requested is not None:
        sentences = [requested]  # and the sentences of occurrences
        for file in theirs:
            table = tables.read(file, ["item_id", "context_id"])
            occurrences = table.filter(pa.array(np.isin(to_numpy(table["item_id"]), requested)))
            sentences.append(to_numpy(occurrences["context_id"].drop_null()))
        requested = np.unique(np.concatenate(sentences))
    for file in theirs:
        table = tables.read(file)
        ids = to_numpy(table["item_id"])
        is_new = ~np.isin(ids, seen)
        if requested is not None:
            is_new &= np.isin(ids, requested)
        if is_new.any():
            yield table.filter(pa.array(is_new))
            seen = np.union1d(seen, ids[is_new])


def _ids_in(files: Sequence[StoredFile]) -> Ids:
    """Return the ids of the items in some tables, ascending."""
    parts = [to_numpy(tables.read(file, ["item_id"])["item_id"]) for file in files]
    return distinct(concatenated(parts))


def _new_skipped(
    theirs: Sequence[StoredFile], ours: Sequence[StoredFile], spaces: Collection[str | None]
) -> Iterator[pa.Table]:
    """Yield the rows of skipped texts of some spaces, None for none, that are new here, as at most
    one table.
    """
    if not theirs:
        return
    listed = {tuple(row.values()) for file in ours for row in tables.read(file).to_pylist()}
    table = pa.concat_tables([tables.read(file) for file in theirs])
    is_new = []
    for row in table.to_pylist():
        values = tuple(row.values())
        is_new.append(row["space"] in spaces and values not in listed)
        listed.add(values)
    if any(is_new):
        yield table.filter(pa.array(is_new, pa.bool_()))


def _new_rows_of_dataset(
    theirs: StoredFile,
    ours: StoredFile | None,
    units: Collection[str] | None,
    target: StoreFiles | None,
) -> New:
    """Add the rows of units that a dataset does not have, or of some of them; write nothing without
    a target.
    """
    table = tables.read(theirs)
    rows = {
        unit: table.filter(pc.equal(table["unit"], unit))
        for unit in table["unit"].unique().to_pylist()
    }
    rows = {unit: part for unit, part in rows.items() if units is None or unit in units}
    parts, differing = [], []
    if ours is not None:
        stored = tables.read(ours)
        parts.append(stored)
        for unit in [*rows]:
            own_rows = stored.filter(pc.equal(stored["unit"], unit))
            if len(own_rows) or not stored.schema.equals(table.schema):
                if not own_rows.equals(rows[unit]):
                    differing.append(unit)
                del rows[unit]
    added: Files = {}
    if rows and target is not None:
        kind = (ours or theirs).entry.get("kind", "")
        whole = pa.concat_tables(
            [part.replace_schema_metadata({"kind": kind}) for part in (*parts, *rows.values())]
        )
        added = tables.write(target, keys.DATASETS, whole, name=name_of(theirs), kind=kind)
    place = f"{keys.DATASETS.folder}/{name_of(theirs)}"
    n_rows = sum(map(len, rows.values()))
    removed = [ours.key] if ours is not None and added else []
    return New(place, "rows of the dataset", n_rows, added, removed, differing)
