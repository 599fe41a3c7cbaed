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

from embstore.base.arrays import Ids, concatenated
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
from embstore.storage.manifest import EMPTY, GARBAGE_SECONDS, Entry, Files

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
    present = set()
    for folder in sorted({key.partition("/")[0] for key in expected}):
        for info in target.objects.list(folder):
            file = expected.get(info.key)
            if file is None or info.modified.timestamp() < oldest:
                continue
            is_whole = info.size == file.entry["bytes"]
            if target.is_local:
                is_whole = file.has_content(target.root / file.key)
            if is_whole:
                present.add(info.key)
    return present


def open_source(files: StoreFiles) -> Catalog:
    """Return the catalog of a store that is copied, which has a space."""
    source = Catalog(files)
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
    message = str(error)
    if source.name not in message:
        return error
    place = shlex.quote(source.name)
    message = message.replace("embstore repair", f"embstore repair --store {place}")
    message = message.replace("embstore verify", f"embstore verify --store {place}")
    return DamagedError(message)


class NewRows(NamedTuple):
    """What a store does not have of the tables and datasets of another one.

    Attributes:
        added: Tables with the new rows, which were written.
        removed: Keys of the tables in whose place these are.
        differing: Names of datasets, each with a unit of which both have rows, and other ones.
    """

    added: Files
    removed: Sequence[str]
    differing: Sequence[tuple[str, str]]


def write_new_rows(
    source: Catalog,
    stored: Catalog | None,
    cards: Collection[Card],
    requested: Ids | None,
    target: StoreFiles,
) -> NewRows:
    """Write the rows of texts, columns, skipped texts and datasets that a store does not have.

    Args:
        source: The other store.
        stored: This store; None if it is a new one.
        cards: Spaces of which the skipped texts and the numbers of tokens are taken.
        requested: Ids of the items of which rows are taken, ascending; None for all.
        target: Store that the tables are written to.
    """
    spaces = {card.space for card in cards}
    ours = {kind: _tables(stored, kind) for kind in keys.TABLES}
    known = {file.key for files in ours.values() for file in files}
    theirs = {
        kind: [file for file in _tables(source, kind) if file.key not in known]
        for kind in keys.TABLES
    }
    columns = ColumnTables(source.reader, theirs[keys.COLUMNS])
    here = source if stored is None else stored
    own_columns = ColumnTables(here.reader, ours[keys.COLUMNS])
    names = (here.name, source.name)
    rows = {
        keys.ITEMS: _new_items(theirs[keys.ITEMS], ours[keys.ITEMS], requested),
        keys.COLUMNS: new_columns(own_columns, columns, names, spaces, requested),
        keys.SKIPPED: _new_skipped(
            theirs[keys.SKIPPED],
            ours[keys.SKIPPED],
            spaces if requested is not None else {*spaces, None},
        ),
    }
    added: dict[str, Entry] = {}
    for kind, tables_of_kind in rows.items():
        added |= tables.write_all(target, kind, tables_of_kind)
    removed: list[str] = []
    differing: list[tuple[str, str]] = []
    units = {card.unit.value for card in cards} if requested is not None else None
    own_datasets = {} if stored is None else {name_of(file): file for file in stored.dataset_files}
    for file in source.dataset_files:
        own_file = own_datasets.get(name_of(file))
        new, differing_units = _new_rows_of_dataset(file, own_file, units)
        differing += [(name_of(file), unit) for unit in differing_units]
        if new is not None:
            kind = (own_file or file).entry["kind"]
            table = new.replace_schema_metadata({"kind": kind})
            added |= tables.write(target, keys.DATASETS, table, name=name_of(file), kind=kind)
            removed += [] if own_file is None else [own_file.key]
    return NewRows(added, removed, differing)


def _tables(catalog: Catalog | None, kind: Kind) -> list[StoredFile]:
    """Return the tables of a kind."""
    if catalog is None:
        return []
    return catalog.files.files_of(catalog.manifest, catalog.manifest.keys_of(kind))


def _new_items(
    theirs: Sequence[StoredFile], ours: Sequence[StoredFile], requested: Ids | None
) -> Iterator[pa.Table]:
    """Yield, for each table of items of another store, the requested rows that are new to this
    store.
    """
    if requested is not None:
        sentences = [requested]  # and the sentences of occurrences
        for file in theirs:
            table = tables.read(file, ["item_id", "context_id"])
            occurrences = table.filter(pa.array(np.isin(to_numpy(table["item_id"]), requested)))
            sentences.append(to_numpy(occurrences["context_id"].drop_null()))
        requested = np.concatenate(sentences)
    seen = concatenated(to_numpy(tables.read(file, ["item_id"])["item_id"]) for file in ours)
    for file in theirs:
        table = tables.read(file)
        ids = to_numpy(table["item_id"])
        is_new = ~np.isin(ids, seen)
        if requested is not None:
            is_new &= np.isin(ids, requested)
        yield table.filter(pa.array(is_new))
        seen = np.concatenate([seen, ids[is_new]])


def _new_skipped(
    theirs: Sequence[StoredFile], ours: Sequence[StoredFile], spaces: Collection[str | None]
) -> Iterator[pa.Table]:
    """Yield the rows of skipped texts of some spaces, None for none, that are new here."""
    seen = {tuple(row.values()) for file in ours for row in tables.read(file).to_pylist()}
    for file in theirs:
        table = tables.read(file)
        is_new = []
        for row in table.to_pylist():
            values = tuple(row.values())
            is_new.append(row["space"] in spaces and values not in seen)
            seen.add(values)
        yield table.filter(pa.array(is_new, pa.bool_()))


def _new_rows_of_dataset(
    theirs: StoredFile, ours: StoredFile | None, units: Collection[str] | None
) -> tuple[pa.Table | None, list[str]]:
    """Return a dataset with the rows of units, or of some of them, that it does not have, None if
    there are none; and the units of which both have rows, and other ones.
    """
    table = tables.read(theirs)
    stored = table.slice(0, 0) if ours is None else tables.read(ours)
    parts, differing = [stored], []
    for unit in table["unit"].unique().to_pylist():
        if units is not None and unit not in units:
            continue
        rows, own_rows = (part.filter(pc.equal(part["unit"], unit)) for part in (table, stored))
        if not len(own_rows) and stored.schema.equals(table.schema):
            parts.append(rows)
        elif not own_rows.equals(rows):
            differing.append(unit)
    return pa.concat_tables(parts) if len(parts) > 1 else None, differing
