"""Keep a store in shape: rebuild indexes, merge small files, remove spaces and columns."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embstore.base.errors import DamagedError, UnknownNameError, UsageError
from embstore.base.progress import task
from embstore.base.space import Layer
from embstore.base.table import ShownColumn, Table, table
from embstore.index import shown_parameters
from embstore.index.card import readable_card
from embstore.index.updating import Choice, Indexed, index_layers, recall_notes, remove_indexes
from embstore.storage import keys, tables
from embstore.storage.arrow import from_numpy
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card, SpaceFilter, select_layers
from embstore.storage.catalog import Catalog
from embstore.storage.column_tables import without_columns
from embstore.storage.compact import (
    Merged,
    in_place,
    merge_shards,
    merge_tables,
    plan_shards,
    plan_tables,
)
from embstore.storage.item_columns import ColumnTables, space_columns
from embstore.storage.lock import write_lock
from embstore.storage.manifest import Change, Entry, Manifest
from embstore.storage.maps import stored_maps
from embstore.storage.sql.reader import Reader
from embstore.storage.vectors import SHARD_BYTES

COLUMNS = (
    "space", "model", "layer", "layer_name", "did", "index", "n", "bytes", "recall",
    "wanted_recall", "parameters",
    "seconds",
)  # fmt: skip
_SHOWN = (
    ShownColumn("space"),
    ShownColumn("layer_name", "layer"),
    ShownColumn("did"),
    ShownColumn("index"),
    ShownColumn("n", kind="count"),
    ShownColumn("bytes", "size", "bytes"),
    ShownColumn("recall"),
    ShownColumn("parameters"),
)


_ACTION_COLUMNS = ("action", "file", "items", "bytes", "detail")
# The file comes first: a terminal that is too narrow repeats the first column beside those that go
# below.
_SHOWN_ACTIONS = (
    ShownColumn("file"),
    ShownColumn("action"),
    ShownColumn("items", kind="count"),
    ShownColumn("bytes", "size", "bytes"),
    ShownColumn("detail"),
)


_PLANNED = {
    "kept": "would keep", "merged": "would merge", "rebuilt": "would rebuild",
    "removed": "would remove",
    "rewritten": "would rewrite", "taken in": "would take in", "taken out": "would take out",
}  # fmt: skip
"""The verb of a planned action, by that of a done one."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action on a file or folder, done or planned.

    Attributes:
        action: Verb: ``merged``, ``removed``, ``rebuilt`` …
        file: File or folder.
        detail: Reason or consequence, as a sentence without its full stop.
        n_items: Number of items, rows or texts concerned; None if not applicable.
        n_bytes: Bytes of the files; None if not applicable.
    """

    action: str
    file: Path
    detail: str = ""
    n_items: int | None = None
    n_bytes: int | None = None


def tabulate(
    actions: Iterable[Action], root: Path, notes: Sequence[str] = (), *, dry_run: bool = False
) -> Table:
    """Return a table with one row per action, of a file below a folder; after a dry run,
    ``would remove``.
    """
    rows = []
    for each in actions:
        verb = _PLANNED.get(each.action, each.action) if dry_run else each.action
        file = (
            each.file.relative_to(root).as_posix()
            if each.file.is_relative_to(root)
            else str(each.file)
        )
        values = (verb, file, each.n_items, each.n_bytes, each.detail)
        rows.append(dict(zip(_ACTION_COLUMNS, values, strict=True)))
    return table(rows, columns=_ACTION_COLUMNS, notes=notes, shown=_SHOWN_ACTIONS)


def locked(files: StoreFiles, *, dry_run: bool = False) -> AbstractContextManager[None]:
    """Lock a store, which exists, within the context; a dry run needs no lock, since it writes
    nothing.
    """
    files.manifest()
    return nullcontext() if dry_run else write_lock(files)


def kind_of_indexes(named: Manifest, space: str) -> str | None:
    """Return the requested kind of a space's indexes; None if it has no indexes."""
    stored = (readable_card(named, space, layer) for layer in named.layers_of(keys.INDEXES, space))
    return next((facts.requested_kind for facts in stored if facts is not None), None)


def reindex(
    place: Path | StoreFiles, spaces: SpaceFilter, layers: str, choice: Choice | None
) -> Table:
    """Update the indexes of some layers, or remove them without a choice; return a table with one
    row per layer.
    """
    files = StoreFiles.of_folder(place)
    with locked(files):
        catalog = Catalog(files)
        cards = spaces.select(catalog.cards)
        chosen, notes = select_layers(cards, layers)
        rows = []
        for card in (card for card in cards if card.space in chosen):
            if choice is None:
                indexed = [
                    layer
                    for layer in chosen[card.space]
                    if catalog.index(card.space, layer.id) is not None
                ]
                remove_indexes(files, card.space, [layer.id for layer in indexed])
                removed = (
                    {**_head(card, layer), "did": "removed", "index": "none"} for layer in indexed
                )
                rows += [{column: row.get(column) for column in COLUMNS} for row in removed]
                continue
            done = index_layers(files, card, chosen[card.space], choice)
            rows += [_row(card, indexed) for indexed in done]
            notes += recall_notes(card, done)
    return table(rows, columns=COLUMNS, notes=notes, shown=_SHOWN)


def _row(card: Card, done: Indexed) -> dict[str, Any]:
    """Return the row of the result for an updated index."""
    stored = done.card
    return {
        **_head(card, done.layer),
        "did": done.action,
        "index": stored.kind,
        "n": stored.n,
        "bytes": done.n_bytes,
        "recall": stored.recall,
        "wanted_recall": stored.wanted_recall,
        "parameters": shown_parameters([stored]) or None,
        "seconds": stored.build_seconds,
    }


def _head(card: Card, layer: Layer) -> dict[str, Any]:
    return {"space": card.space, "model": card.model, "layer": layer.id, "layer_name": layer.name}


def compact(
    place: Path | StoreFiles, *, dry_run: bool = False, shard_bytes: int = SHARD_BYTES
) -> Table:
    """Merge the small shards of every space, and the small tables of items, of their columns, and
    of skipped texts.
    """
    files = StoreFiles.of_folder(place)
    actions: list[Action] = []
    with locked(files, dry_run=dry_run):
        catalog = Catalog(files)
        for kind in keys.TABLES:
            groups = plan_tables(files, catalog.manifest, kind)
            actions += [
                _action(files.root / kind.folder, f"{len(group)} tables into one", group)
                for group in groups
            ]
            if not dry_run:
                _commit(files, merge_tables(files, kind, groups))
        for card in catalog.cards.values():
            shards = plan_shards(files, catalog.manifest, card, shard_bytes)
            folder = files.root / keys.folder_of(keys.VECTORS, card.space)
            for group in shards:
                [first, *_] = group.values()
                detail = f"{len(first)} shards into one, in each of {len(group)} layers"
                old = [file for of_layer in group.values() for file in of_layer]
                actions.append(_action(folder, detail, old, sum(file.entry["n"] for file in first)))
            if shards and not dry_run:
                _commit(
                    files, _reported(card.space, len(shards), merge_shards(files, card, shards))
                )
        if not dry_run:
            files.collect()
    return tabulate(actions, files.root, dry_run=dry_run)


def _action(
    folder: Path, detail: str, files: Sequence[StoredFile], n_items: int | None = None
) -> Action:
    return Action("merged", folder, detail, n_items, sum(file.entry["bytes"] for file in files))


def _commit(files: StoreFiles, merged: Iterable[Merged]) -> None:
    """Commit merged files in place of the old ones, all at once."""
    added: dict[str, Entry] = {}
    removed: list[str] = []
    for group in merged:
        added |= group.new
        removed += [file.key for file in group.old]
    if added:
        files.commit(lambda base: in_place(files, base, added, removed))


def _reported(space: str, total: int, merged: Iterable[Merged]) -> Iterator[Merged]:
    """Yield merged shards, and report the progress."""
    with task("compact", space, total) as compacting:
        for number, group in enumerate(merged):
            compacting.finish(number)
            yield group


def remove(
    place: Path | StoreFiles,
    spaces: Sequence[str],
    columns: Sequence[str] = (),
    *,
    dry_run: bool = False,
) -> Table:
    """Remove spaces and columns from the manifest; their files are deleted when a day has
    passed.
    """
    files = StoreFiles.of_folder(place)
    with locked(files, dry_run=dry_run):
        named = files.manifest()
        if not spaces and not columns:
            known = ", ".join(_spaces(named))
            raise UsageError(f"name the space to remove ({known}), or the column of items.")
        actions = [*_removed_spaces(files, named, spaces), *_removed_columns(files, named, columns)]
        if not dry_run:
            files.commit(lambda base: without(files, base, spaces, columns))
            for path in (path for space in spaces for path in stored_maps(files.root, space)):
                path.unlink(missing_ok=True)
            files.collect()
    return tabulate(actions, files.root, dry_run=dry_run)


def without(
    files: StoreFiles, base: Manifest, spaces: Sequence[str], columns: Sequence[str] = ()
) -> Change:
    """Return the change that removes spaces and columns; damaged tables stay as they are.

    A later space of the same name must not have the columns and the skipped texts of this one.
    """
    own = [column for space in spaces for column in space_columns(space)]
    change = without_columns(files, base, [*columns, *own])
    added, removed = dict(change.added), [*change.removed]
    for file in files.files_of(base, base.keys_of(keys.SKIPPED)):
        with suppress(DamagedError):
            rows = tables.read(file)
            is_kept = np.array(
                [space not in spaces for space in rows["space"].to_pylist()], np.bool_
            )
            kept = rows.filter(from_numpy(is_kept))
            if len(kept) < len(rows):
                added |= tables.write_all(files, keys.SKIPPED, [kept])
                removed.append(file.key)
    return Change(added, removed + [key for space in spaces for key in base.keys_of_space(space)])


def _spaces(named: Manifest) -> list[str]:
    """Return the names of the spaces that a manifest has cards or vectors of."""
    return sorted({*named.names_of(keys.CARDS), *named.names_of(keys.VECTORS)})


def _removed_spaces(files: StoreFiles, named: Manifest, spaces: Sequence[str]) -> Iterator[Action]:
    """Yield one action per space, with its files, items and bytes."""
    known = _spaces(named)
    for space in dict.fromkeys(spaces):
        if space not in known:
            raise UnknownNameError("space", space, known)
        of_space = named.keys_of_space(space)
        n_items = max(
            (named.items_of(space, layer).n for layer in named.layers_of(keys.VECTORS, space)),
            default=0,
        )
        n_bytes = sum(named.files[key]["bytes"] for key in of_space)
        place = files.root / keys.folder_of(keys.VECTORS, space)
        yield Action("removed", place, f"{len(of_space)} files", n_items, n_bytes)


def _removed_columns(
    files: StoreFiles, named: Manifest, columns: Sequence[str]
) -> Iterator[Action]:
    """Yield one action per column of items, with its number of values."""
    if not columns:
        return
    stored = ColumnTables(Reader(files.root), files.files_of(named, named.keys_of(keys.COLUMNS)))
    for name in columns:
        if name not in stored.types:
            raise UnknownNameError("column", name, stored.types)
    counts = stored.counts()
    for name in dict.fromkeys(columns):
        detail = f"the column {name!r} ({stored.types[name]})"
        yield Action("removed", files.root / keys.COLUMNS.folder, detail, counts[name])
