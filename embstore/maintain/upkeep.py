"""Keep a store in shape: rebuild sums and indexes, merge small files."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embstore.base.messages import count
from embstore.base.progress import task
from embstore.base.space import Layer
from embstore.base.table import ShownColumn, Table, show_size, table
from embstore.index import shown_parameters
from embstore.index.card import readable_card
from embstore.index.updating import (
    Choice,
    Indexed,
    index_layers,
    recall_notes,
    remove_indexes,
    update_indexes,
)
from embstore.storage import keys
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card, SpaceFilter, select_layers
from embstore.storage.catalog import Catalog
from embstore.storage.compact import (
    COMPACT_BYTES,
    Merged,
    in_place,
    merge_shards,
    merge_tables,
    plan_shards,
    plan_tables,
)
from embstore.storage.keys import Kind
from embstore.storage.lock import write_lock
from embstore.storage.manifest import Entry, ItemSet, Manifest
from embstore.storage.writer import commit_sums

COLUMNS = (
    "space",
    "model",
    "layer",
    "layer_name",
    "did",
    "index",
    "n",
    "bytes",
    "recall",
    "wanted_recall",
    "parameters",
    "seconds",
)
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
    ShownColumn("file", "part", "part"),
    ShownColumn("action"),
    ShownColumn("items", kind="count"),
    ShownColumn("bytes", "size", "bytes"),
    ShownColumn("detail"),
)


_PLANNED = {
    "kept": "would keep", "merged": "would merge", "pulled": "would pull", "pushed": "would push",
    "rebuilt": "would rebuild", "removed": "would remove", "rewritten": "would rewrite",
    "taken out": "would take out",
}  # fmt: skip
"""The verb of a planned action, by that of a done one."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action on a file or folder, done or planned.

    Attributes:
        action: Verb: ``merged``, ``removed``, ``rebuilt`` …
        file: Key of a file or folder.
        detail: Reason or consequence, as a sentence without its full stop.
        n_items: Number of items, rows or texts concerned; None if not applicable.
        n_bytes: Bytes of the files; None if not applicable.
    """

    action: str
    file: str
    detail: str = ""
    n_items: int | None = None
    n_bytes: int | None = None


def tabulate(
    actions: Iterable[Action], notes: Sequence[str] = (), *, dry_run: bool = False
) -> Table:
    """Return a table with one row per action; after a dry run, ``would remove``. Columns without a
    value are not printed.
    """
    rows = []
    for action in actions:
        verb = _PLANNED.get(action.action, action.action) if dry_run else action.action
        values = (verb, action.file, action.n_items, action.n_bytes, action.detail)
        rows.append(dict(zip(_ACTION_COLUMNS, values, strict=True)))
    shown = [col for col in _SHOWN_ACTIONS if any(row[col.column] is not None for row in rows)]
    return table(rows, columns=_ACTION_COLUMNS, notes=notes, shown=shown)


def locked(files: StoreFiles, *, dry_run: bool = False) -> AbstractContextManager[None]:
    """Lock a store, which exists, within the context; a dry run needs no lock, since it writes
    nothing.
    """
    files.manifest()
    return nullcontext() if dry_run else write_lock(files)


def keys_of_layers(named: Manifest, kind: Kind, space: str, layers: Iterable[int]) -> list[str]:
    """Return the keys of a kind of some layers of a space."""
    return [key for layer in layers for key in named.keys_of(kind, space, layer)]


def kind_of_indexes(named: Manifest, space: str) -> str | None:
    """Return the requested kind of a space's indexes; None if it has no indexes."""
    stored = (readable_card(named, space, layer) for layer in named.layers_of(keys.INDEXES, space))
    return next((facts.requested_kind for facts in stored if facts is not None), None)


def rebuild(
    files: StoreFiles,
    named: Manifest,
    card: Card,
    items: ItemSet,
    removed: Collection[str] = (),
    *,
    dry_run: bool = False,
) -> Iterator[Action]:
    """Compute the sums of a space again, and its indexes if it had any, unless there are those of
    its items; yield the actions.

    Args:
        files: Files of the store.
        named: Manifest before the items changed.
        card: Card of the space.
        items: Items that it has now.
        removed: Keys of files that were there then and are no more.
        dry_run: Whether to write nothing.
    """

    def is_current(kind: Kind, layer: int | None = None) -> bool:
        stored = (key for key in named.keys_of(kind, card.space, layer) if key not in removed)
        return any(ItemSet.of_entry(named.files[key]) == items for key in stored)

    if not is_current(keys.SUMS):
        yield Action("rebuilt", keys.SUMS.folder, f"the sums of {card.space}", items.n)
        if not dry_run:
            commit_sums(files, card.space)
    n_behind = sum(not is_current(keys.INDEXES, layer) for layer in card.layers.ids)
    if (kind := kind_of_indexes(named, card.space)) is not None and n_behind:
        folder = keys.folder_of(keys.INDEXES, card.space)
        yield Action("rebuilt", folder, f"the indexes of {count(n_behind, 'layer')}", items.n)
        if not dry_run:
            update_indexes(files, card, kind)


def reindex(
    place: Path | StoreFiles, spaces: SpaceFilter, layers: str, choice: Choice | None
) -> Table:
    """Update the indexes of some layers, or remove them without a choice; return a table with one
    row per layer.
    """
    files = StoreFiles.of_folder(place)
    with locked(files):
        catalog = Catalog(files)
        cards = spaces.select_with_layers(catalog.cards)
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
    place: Path | StoreFiles, *, dry_run: bool = False, shard_bytes: int = COMPACT_BYTES
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
                _action(kind.folder, f"{len(group)} tables into one", group) for group in groups
            ]
            if not dry_run:
                _commit(files, merge_tables(files, kind, groups))
        for card in catalog.cards.values():
            shards = plan_shards(files, catalog.manifest, card, shard_bytes)
            folder = keys.folder_of(keys.VECTORS, card.space)
            for group in shards:
                [first, *_] = group.values()
                detail = f"{len(first)} shards into one, in each of {count(len(group), 'layer')}"
                old = [file for of_layer in group.values() for file in of_layer]
                actions.append(_action(folder, detail, old, sum(file.entry["n"] for file in first)))
            if shards and not dry_run:
                _commit(
                    files, _reported(card.space, len(shards), merge_shards(files, card, shards))
                )
        if not dry_run:
            files.collect()
        return tabulate(actions, kept_notes(files, catalog.manifest), dry_run=dry_run)


def kept_notes(files: StoreFiles, before: Manifest) -> list[str]:
    """Return a note on the files dropped since a manifest that are kept for a day, if there are
    any.
    """
    dropped = before.files.keys() & files.manifest().removed.keys()
    size = show_size(sum(before.files[key]["bytes"] for key in dropped))
    note = (
        f"Old files ({size}) stay on the disk for a day, for those who are reading them. The first"
        " build, compact, remove or repair after that deletes them."
    )
    return [note] if dropped else []


def _action(
    folder: str, detail: str, files: Sequence[StoredFile], n_items: int | None = None
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
        for group in merged:
            compacting.finish()
            yield group
