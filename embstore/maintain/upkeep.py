"""Keep a store in shape: rebuild indexes, merge small files into few large ones, remove spaces and columns."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from embstore.base import disk
from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.progress import Observer, Progress, observing
from embstore.base.space import Layer
from embstore.base.table import ShownColumn, Table, table
from embstore.index import remove_index, shown_parameters
from embstore.index.updating import Choice, Indexed, index_layers, recall_notes
from embstore.maintain.actions import Action, renew_indexes, tabulate
from embstore.storage.files import names
from embstore.storage.files.card import Card
from embstore.storage.files.item_columns import ColumnTables, token_column
from embstore.storage.files.items import PartChecks
from embstore.storage.files.paths import StorePaths, check_marker
from embstore.storage.files.shards import SHARD_BYTES
from embstore.storage.maintenance.column_tables import remove_columns
from embstore.storage.maintenance.compaction import Compacted, compact_shards, compact_tables, plan_shards, plan_tables
from embstore.storage.maintenance.space_summary import write_merged
from embstore.storage.selection import SpaceFilter, select_layers
from embstore.storage.sql.reader import Reader
from embstore.storage.transaction.manifest import list_parts, read_cards, read_snapshot
from embstore.storage.transaction.recovery import count_items, leftover_spaces, maintenance_lock, remove_space

COLUMNS = (
    "space", "model", "layer", "layer_name", "did", "index", "n", "bytes", "recall", "wanted_recall", "parameters",
    "seconds",
)  # fmt: skip
_SHOWN = (
    ShownColumn("space"), ShownColumn("layer_name", "layer"), ShownColumn("did"), ShownColumn("index"),
    ShownColumn("n", kind="count"), ShownColumn("bytes", "size", "bytes"), ShownColumn("recall"),
    ShownColumn("parameters"),
)  # fmt: skip


def reindex(root: Path, spaces: SpaceFilter, layers: str, choice: Choice | None, observe: Observer) -> Table:
    """Update the indexes of some layers, or remove them without a choice; return a table with one row per layer."""
    paths = StorePaths(disk.resolved(root))
    check_marker(paths)
    cards = spaces.select(read_cards(paths))
    chosen, notes = select_layers(cards, layers)
    rows = []
    with maintenance_lock(paths), observing(observe):
        for card in (card for card in cards if card.space in chosen):
            if choice is None:
                rows += _remove(paths, card, chosen[card.space])
                continue
            done = index_layers(paths, card, chosen[card.space], choice)
            rows += [_row(card, indexed) for indexed in done]
            notes += recall_notes(card, done)
    return table(rows, columns=COLUMNS, notes=notes, shown=_SHOWN)


def _remove(paths: StorePaths, card: Card, layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Remove the indexes of some layers; return a row for each that existed."""
    rows = []
    for layer in layers:
        path = paths.index(card.space, layer)
        existed = disk.exists(path)
        remove_index(path)
        if existed:
            rows.append({**_head(card, layer), "did": "removed", "index": "none"})
    return [{column: row.get(column) for column in COLUMNS} for row in rows]


def _row(card: Card, done: Indexed) -> dict[str, Any]:
    """Return the row of the result for an updated index."""
    stored = done.card
    return {
        **_head(card, done.layer), "did": done.action, "index": stored.kind, "n": stored.n, "bytes": done.n_bytes,
        "recall": stored.recall, "wanted_recall": stored.wanted_recall,
        "parameters": shown_parameters([stored]) or None, "seconds": stored.build_seconds,
    }  # fmt: skip


def _head(card: Card, layer: Layer) -> dict[str, Any]:
    return {"space": card.space, "model": card.model, "layer": layer.id, "layer_name": layer.name}


def compact(
    root: Path, observe: Observer = lambda _: None, *, dry_run: bool = False, shard_bytes: int = SHARD_BYTES
) -> Table:
    """Merge the small shards of every space, and the small tables of items, of their columns, and of skipped texts."""
    paths = StorePaths(disk.resolved(root))
    actions: list[Action] = []
    notes: list[str] = []
    with nullcontext() if dry_run else maintenance_lock(paths):
        for kind in names.TABLES:
            folder = paths.root / kind.folder
            tables = plan_tables(paths, folder)
            if dry_run:
                actions += [_planned(folder, group, "tables") for group in tables]
            else:
                actions += [_merged(table, "tables") for table in compact_tables(paths, folder, tables)]
        for card in read_cards(paths).values():
            shards = plan_shards(paths, card, shard_bytes)
            if dry_run:
                folder = paths.embeddings(card.space)
                actions += [_planned(folder, [shard.path for shard in group], "shards") for group in shards]
            elif shards:
                # An index covers whole shards: it must cover all before their items are mixed with others'.
                notes += renew_indexes(paths, card, observe)
                done, total = 0, sum(map(len, shards))
                observe(Progress("compact", card.space, 0, total, 0.0))
                for shard in compact_shards(paths, card, shards):
                    done += len(shard.old)
                    observe(Progress("compact", card.space, done, total, done / total))
                    actions.append(_merged(shard, "shards"))
                write_merged(paths, card)
    return tabulate(actions, paths.root, notes, dry_run=dry_run)


def _merged(new: Compacted, noun: str) -> Action:
    return Action("merged", new.path, f"from {len(new.old)} {noun}", new.n_items, disk.size(new.path))


def _planned(folder: Path, files: Sequence[Path], noun: str) -> Action:
    return Action("merged", folder, f"{len(files)} {noun} into one", n_bytes=sum(map(disk.size, files)))


def remove(root: Path, spaces: Sequence[str], columns: Sequence[str] = (), *, dry_run: bool = False) -> Table:
    """Remove spaces and columns: first from the manifest, which hides them from readers, then their files."""
    paths = StorePaths(disk.resolved(root))
    if not spaces and not columns:
        raise UsageError("name the space to remove with ⦃space⦄, or the column of items with ⦃column⦄.")
    check_marker(paths)
    if dry_run:
        return tabulate(_described(paths, spaces, columns), paths.root, dry_run=True)
    resumed = {space for space in leftover_spaces(paths, read_snapshot(paths)) if space in spaces}
    with maintenance_lock(paths):  # finishes interrupted removals
        actions = [
            Action("removed", paths.card(space), "what an earlier removal had left") for space in sorted(resumed)
        ]
        others = [space for space in spaces if space not in resumed]
        actions += _described(paths, others, columns)
        remove_columns(paths, [*columns, *map(token_column, others)])  # else a later space of the name would have them
        for space in dict.fromkeys(others):
            remove_space(paths, space)
    return tabulate(actions, paths.root)


def _described(paths: StorePaths, spaces: Sequence[str], columns: Sequence[str]) -> list[Action]:
    """Return one action per space, with its files, items and bytes, and per column, with its number of values."""
    snapshot = read_snapshot(paths)
    known = sorted({*snapshot.spaces, *snapshot.spaces_with_shards, *leftover_spaces(paths, snapshot)})
    files = sorted(list_parts(paths, paths.columns).files) if columns else []
    tables = ColumnTables(Reader(paths.root), files, PartChecks())
    for kind, names_given, all_names in (("space", spaces, known), ("column", columns, tables.types)):
        for name in names_given:
            if name not in all_names:
                raise UnknownNameError(kind, name, all_names)
    counts = tables.counts()
    return [_described_space(paths, space) for space in dict.fromkeys(spaces)] + [
        Action("removed", paths.columns, f"the column {name!r} ({tables.types[name]})", counts[name])
        for name in dict.fromkeys(columns)
    ]


def _described_space(paths: StorePaths, space: str) -> Action:
    folders = paths.folders_of(space)
    files = [path for folder in folders for path in disk.files_below(folder)]
    n_bytes = sum(disk.size(path) for path in files)
    detail = f"{len(files)} files in {', '.join(sorted(folder.parent.name for folder in folders)) or 'no folder'}"
    return Action("removed", paths.card(space), detail, count_items(paths, space), n_bytes)
