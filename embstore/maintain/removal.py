"""Remove spaces, columns, datasets, or items of spaces."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from embstore.base.errors import DamagedError, NotStoredError, StoreError, UsageError, check_known
from embstore.base.messages import count, first_of
from embstore.base.table import Table
from embstore.base.text import escaped, source_name
from embstore.maintain.upkeep import Action, kept_notes, locked, rebuild, tabulate
from embstore.storage import keys, tables
from embstore.storage.arrow import from_numpy
from embstore.storage.cache import StoreFiles
from embstore.storage.card import SpaceFilter
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.column_tables import without_columns
from embstore.storage.item_columns import ColumnTables, space_columns
from embstore.storage.keys import Kind
from embstore.storage.manifest import Change, Entry, Manifest
from embstore.storage.maps import stored_maps
from embstore.storage.sql import connections
from embstore.storage.sql.reader import FILES, Reader
from embstore.storage.vectors import items_with
from embstore.storage.writer import rewrite_shard

_NO_IDS = np.empty(0, np.int64)
_UNUSED = f"""
WITH item AS (SELECT item_id, context_id FROM {FILES}),
gone AS (FROM item SEMI JOIN removed USING (item_id) ANTI JOIN held USING (item_id)),
needed AS (SELECT context_id AS item_id FROM item ANTI JOIN gone USING (item_id)
           UNION ALL SELECT item_id FROM held)
SELECT DISTINCT item_id FROM (SELECT item_id FROM gone UNION ALL SELECT context_id FROM gone)
ANTI JOIN needed USING (item_id) WHERE item_id IS NOT NULL
"""
"""SQL for the items that no space has any more, and their contexts, without the contexts of others:
the tables ``removed`` and ``held`` have those that go, and those that a space still has.
"""
_NAMES = f"""SELECT unnest($names) AS name INTERSECT
(SELECT text FROM {FILES} SEMI JOIN held USING (item_id) UNION SELECT item_id::VARCHAR FROM held)"""


def remove(
    place: Path | StoreFiles,
    spaces: Sequence[str],
    columns: Sequence[str] = (),
    datasets: Sequence[str] = (),
    *,
    dry_run: bool = False,
) -> Table:
    """Remove spaces, columns and datasets from the manifest; their files are deleted when a day has
    passed.
    """
    files = StoreFiles.of_folder(place)
    with locked(files, dry_run=dry_run):
        named = files.manifest()
        if not (spaces or columns or datasets):
            known = ", ".join(_spaces(named))
            raise UsageError(
                f"name the space to remove ({known}), the column of items, the dataset, or the"
                " items."
            )
        actions = [*_removed_spaces(named, spaces), *_removed_columns(files, named, columns)]
        actions += _removed_datasets(named, datasets)
        if not dry_run:
            files.commit(lambda base: without(files, base, spaces, columns, datasets))
            _discard(files, spaces)
        return tabulate(actions, kept_notes(files, named), dry_run=dry_run)


def _discard(files: StoreFiles, spaces: Iterable[str]) -> None:
    """Delete the maps of spaces, and garbage."""
    for path in (path for space in spaces for path in stored_maps(files.root, space)):
        path.unlink(missing_ok=True)
    files.collect()


def without(
    files: StoreFiles,
    base: Manifest,
    spaces: Sequence[str],
    columns: Sequence[str] = (),
    datasets: Sequence[str] = (),
) -> Change:
    """Return the change that removes spaces, columns and datasets; damaged tables stay as they are.

    A later space of the same name must not have the columns and the skipped texts of this one.
    """
    of_spaces = [column for space in spaces for column in space_columns(space)]
    removed = [key for space in spaces for key in base.keys_of_space(space)]
    for name in datasets:
        removed += base.keys_of(keys.DATASETS, name.replace(":", "_"))
    changes = (
        without_columns(files, base, [*columns, *of_spaces]),
        _without_rows(files, base, keys.SKIPPED, "space", spaces),
        Change(removed=removed),
    )
    return _united(changes)


def _without_rows(
    files: StoreFiles, base: Manifest, kind: Kind, column: str, dropped: Container[Any]
) -> Change:
    """Write the tables of a kind without the rows that have some values in a column; damaged tables
    stay as they are.
    """
    added: dict[str, Entry] = {}
    removed = []
    for file in files.files_of(base, base.keys_of(kind)):
        with suppress(DamagedError):
            rows = tables.read(file)
            values = rows[column].to_pylist()
            is_kept = np.array([value not in dropped for value in values], np.bool_)
            if not is_kept.all():
                added |= tables.write_all(files, kind, [rows.filter(from_numpy(is_kept))])
                removed.append(file.key)
    return Change(added, removed)


def _spaces(named: Manifest) -> list[str]:
    """Return the names of the spaces that a manifest has cards or vectors of."""
    return sorted({*named.names_of(keys.CARDS), *named.names_of(keys.VECTORS)})


def _removed_spaces(named: Manifest, spaces: Sequence[str]) -> Iterator[Action]:
    """Yield one action per space, with its files, items and bytes."""
    known = _spaces(named)
    for space in dict.fromkeys(spaces):
        check_known("space", space, known)
        of_space = named.keys_of_space(space)
        n_items = max(
            (named.items_of(space, layer).n for layer in named.layers_of(keys.VECTORS, space)),
            default=0,
        )
        n_bytes = sum(named.files[key]["bytes"] for key in of_space)
        place = keys.folder_of(keys.VECTORS, space)
        yield Action("removed", place, count(len(of_space), "file"), n_items, n_bytes)


def _removed_columns(
    files: StoreFiles, named: Manifest, columns: Sequence[str]
) -> Iterator[Action]:
    """Yield one action per column of items, with its number of values."""
    if not columns:
        return
    stored = ColumnTables(Reader(files.root), files.files_of(named, named.keys_of(keys.COLUMNS)))
    for name in columns:
        check_known("column", name, stored.types)
    counts = stored.counts()
    for name in dict.fromkeys(columns):
        detail = f"the column {name!r} ({stored.types[name]})"
        yield Action("removed", keys.COLUMNS.folder, detail, counts[name])


def _removed_datasets(named: Manifest, datasets: Sequence[str]) -> Iterator[Action]:
    """Yield one action per dataset."""
    known = [source_name(stem) for stem in named.names_of(keys.DATASETS)]
    for name in datasets:
        check_known("dataset", source_name(name), known)
        yield Action("removed", keys.DATASETS.folder, f"the dataset {name!r}")


def remove_items(
    place: Path | StoreFiles,
    spaces: Sequence[str],
    choose: Callable[..., Any],
    texts: Sequence[str] = (),
    *,
    dry_run: bool = False,
) -> Table:
    """Remove items from spaces, or from all, in one commit; then compute sums and indexes anew.

    Until there are new ones, no query uses the old ones. Texts and columns go too of items that no
    space has any more.

    Args:
        place: Folder or files of the store.
        spaces: Names of spaces; none for all.
        choose: Function of a catalog and a list of cards that returns the ids of the chosen items,
            among which may be others.
        texts: Texts and ids that it chooses by; a note names those that no space has.
        dry_run: Whether to write nothing.

    Raises:
        NotStoredError: There is no such item.
        UsageError: Nothing would be left of a space.
    """
    files = StoreFiles.of_folder(place)
    with locked(files, dry_run=dry_run):
        catalog, items = Catalog(files), dict[str, Ids]()
        for card in SpaceFilter(spaces=spaces).select(catalog.cards):
            catalog.check_texts(card.space)  # an item without its text would not be found
            items[card.space] = np.intersect1d(catalog.ids(card.space), choose(catalog, [card]))
        searched = [*items]
        missing = _missing(catalog, catalog.ids_of(items), texts)
        items = {space: ids for space, ids in items.items() if len(ids)}
        if not items:
            near = catalog.nearest_texts(missing[0], searched) if missing else ()
            hint = f" Nearest stored texts: {first_of(map(repr, near))}." * bool(near)
            what = f"there is no such item in {', '.join(spaces) or 'any space'}"
            if len(missing) < len(texts):
                what = "these items are stored, but `where` holds for none of them"
            raise NotStoredError(f"{what}: nothing is removed.{hint}")
        left = {
            space: np.setdiff1d(catalog.ids(space), items.get(space, _NO_IDS))
            for space in catalog.cards
        }
        if whole := ",".join(space for space in items if not len(left[space])):
            raise UsageError(
                f"these are all items of {whole}: nothing is removed. Name others to remove"
                f" them from, with `spaces`. To remove whole spaces: embstore remove --space"
                f" {whole}; the whole store: its folder."
            )
        if not dry_run:
            files.commit(partial(_without_items, catalog, items, np.concatenate([*left.values()])))
        actions = []
        for space, ids in items.items():
            folder = keys.folder_of(keys.VECTORS, space)
            actions.append(Action("removed", folder, f"{len(left[space]):,} left", len(ids)))
            card, rest = catalog.cards[space], items_with(left[space])
            # It works as its actions are read; the row above says enough of the space.
            list(rebuild(files, catalog.manifest, card, rest, dry_run=dry_run))
        if not dry_run:
            _discard(files, items)
        notes = kept_notes(files, catalog.manifest)
    if missing:
        names = first_of(map(repr, missing))
        notes.append(f"Not there: {len(missing):,} of the {len(texts):,} texts and ids: {names}.")
    return tabulate(actions, notes, dry_run=dry_run)


def _missing(catalog: Catalog, ids: Ids, texts: Sequence[str]) -> list[str]:
    """Return those of some texts and ids that no item has of those with some ids."""
    if not texts:
        return []
    names, reader = [*map(escaped, texts)], catalog.reader
    with connections.with_ids(reader.connection, "held", ids):
        present = {*reader.rows(_NAMES, catalog.checked_item_tables(), names=names)}
    return [name for name in names if (name,) not in present]


def _without_items(
    catalog: Catalog, items: Mapping[str, Ids], remaining: Ids, base: Manifest
) -> Change:
    """Write shards without the items that go out of their spaces, and tables without those that
    nothing needs then, and return the change that puts them in place of the old ones.

    ``remaining`` are the items that spaces still have then. Raises StoreError if the state that was
    listed is the newest no more.
    """
    if base.number != catalog.manifest.number:
        raise StoreError(
            f"another process has changed {catalog.name} meanwhile. Nothing was removed; run the"
            " same command again."
        )
    reader, removed = catalog.reader, np.concatenate([*items.values()])
    with (
        connections.with_ids(reader.connection, "removed", removed),
        connections.with_ids(reader.connection, "held", remaining),
    ):
        unused = {item for (item,) in reader.rows(_UNUSED, catalog.checked_item_tables())}
    changes = [_without_rows(catalog.files, base, kind, "item_id", unused) for kind in keys.TABLES]
    for space, ids in items.items():
        card = catalog.cards[space]
        for layer in card.layers:
            for shard in catalog.shards(space, layer.id):
                kept = np.setdiff1d(shard.ids, ids, assume_unique=True)
                if len(kept) < shard.n:
                    shard.file.check()  # the new hash must not be one of altered vectors
                    new = rewrite_shard(card, layer, shard, kept)
                    changes.append(Change(new, [shard.file.key]))
    return _united(changes)


def _united(changes: Sequence[Change]) -> Change:
    """Return several changes as one."""
    added = {key: entry for change in changes for key, entry in change.added.items()}
    return Change(added, [key for change in changes for key in change.removed])
