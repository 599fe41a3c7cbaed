"""Keep a store in shape: rebuild indexes, merge small files or another store, remove spaces and columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, SpaceMismatchError, UnknownNameError, UsageError
from embstore.base.progress import Progress, report_progress
from embstore.base.space import Layer
from embstore.base.table import ShownColumn, Table, table
from embstore.index import remove_index, shown_parameters
from embstore.index.updating import Choice, Indexed, index_layers, readable_card, recall_notes, update_indexes
from embstore.storage.catalog import Catalog
from embstore.storage import keys
from embstore.storage.card import Card, SpaceFilter, select_layers
from embstore.storage.item_columns import ColumnTables, token_column
from embstore.storage.items import PartChecks
from embstore.storage.files.paths import Shard, StorePaths, check_marker
from embstore.storage.vectors import SHARD_BYTES
from embstore.storage.vectors import Ids, LayerVectors
from embstore.storage.maintenance import compaction, copying
from embstore.storage.check import IdSet
from embstore.storage.column_tables import remove_columns
from embstore.storage.sql.reader import Reader
from embstore.storage.transaction.commit import count_items, leftover_spaces, maintenance_lock, remove_space
from embstore.storage.transaction.manifest import list_parts, read_cards, read_snapshot

COLUMNS = (
    "space", "model", "layer", "layer_name", "did", "index", "n", "bytes", "recall", "wanted_recall", "parameters",
    "seconds",
)  # fmt: skip
_SHOWN = (
    ShownColumn("space"), ShownColumn("layer_name", "layer"), ShownColumn("did"), ShownColumn("index"),
    ShownColumn("n", kind="count"), ShownColumn("bytes", "size", "bytes"), ShownColumn("recall"),
    ShownColumn("parameters"),
)  # fmt: skip


_ACTION_COLUMNS = ("action", "file", "items", "bytes", "detail")
# The file comes first: a terminal that is too narrow repeats the first column beside those that go below.
_SHOWN_ACTIONS = (
    ShownColumn("file"), ShownColumn("action"), ShownColumn("items", kind="count"),
    ShownColumn("bytes", "size", "bytes"), ShownColumn("detail"),
)  # fmt: skip


_PLANNED = {
    "kept": "would keep", "merged": "would merge", "rebuilt": "would rebuild", "removed": "would remove",
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


def tabulate(actions: Iterable[Action], root: Path, notes: Sequence[str] = (), *, dry_run: bool = False) -> Table:
    """Return a table with one row per action, of a file below a folder; after a dry run, ``would remove``."""
    rows = []
    for each in actions:
        verb = _PLANNED.get(each.action, each.action) if dry_run else each.action
        file = each.file.relative_to(root).as_posix() if each.file.is_relative_to(root) else str(each.file)
        values = (verb, file, each.n_items, each.n_bytes, each.detail)
        rows.append(dict(zip(_ACTION_COLUMNS, values, strict=True)))
    return table(rows, columns=_ACTION_COLUMNS, notes=notes, shown=_SHOWN_ACTIONS)


def kind_of_indexes(paths: StorePaths, card: Card) -> str | None:
    """Return the requested kind of a space's indexes, from the first readable index card; None if it has no indexes."""
    stored = (readable_card(paths.index(card.space, layer)) for layer in card.layers)
    return next((index_card.asked for index_card in stored if index_card is not None), None)


def renew_indexes(paths: StorePaths, card: Card) -> list[str]:
    """Update the indexes of a space, if it has any; return a note for each index below its target recall."""
    kind = kind_of_indexes(paths, card)
    if kind is None:
        return []
    return recall_notes(card, update_indexes(paths, card, kind))


def reindex(root: Path, spaces: SpaceFilter, layers: str, choice: Choice | None) -> Table:
    """Update the indexes of some layers, or remove them without a choice; return a table with one row per layer."""
    paths = StorePaths(disk.resolved(root))
    check_marker(paths)
    cards = spaces.select(read_cards(paths))
    chosen, notes = select_layers(cards, layers)
    rows = []
    with maintenance_lock(paths):
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


def compact(root: Path, *, dry_run: bool = False, shard_bytes: int = SHARD_BYTES) -> Table:
    """Merge the small shards of every space, and the small tables of items, of their columns, and of skipped texts."""
    paths = StorePaths(disk.resolved(root))
    actions: list[Action] = []
    notes: list[str] = []
    with nullcontext() if dry_run else maintenance_lock(paths):
        for kind in names.TABLES:
            folder = paths.root / kind.folder
            tables = compaction.plan_tables(paths, folder)
            if dry_run:
                actions += [_planned(folder, group, "tables") for group in tables]
            else:
                actions += [_merged(table, "tables") for table in compaction.compact_tables(paths, folder, tables)]
        for card in read_cards(paths).values():
            shards = compaction.plan_shards(paths, card, shard_bytes)
            if dry_run:
                folder = paths.embeddings(card.space)
                actions += [_planned(folder, [shard.path for shard in group], "shards") for group in shards]
            elif shards:
                # An index covers whole shards: it must cover all before their items are mixed with others'.
                notes += renew_indexes(paths, card)
                done, total = 0, sum(map(len, shards))
                report_progress(Progress("compact", card.space, 0, total, 0.0))
                for shard in compaction.compact_shards(paths, card, shards):
                    done += shard.n_old
                    report_progress(Progress("compact", card.space, done, total, done / total))
                    actions.append(_merged(shard, "shards"))
                compaction.write_merged(paths, card)
    return tabulate(actions, paths.root, notes, dry_run=dry_run)


def _merged(new: compaction.Compacted, noun: str) -> Action:
    return Action("merged", new.path, f"from {new.n_old} {noun}", new.n_items, disk.size(new.path))


def _planned(folder: Path, files: Sequence[Path], noun: str) -> Action:
    return Action("merged", folder, f"{len(files)} {noun} into one", n_bytes=sum(map(disk.size, files)))


def remove(root: Path, spaces: Sequence[str], columns: Sequence[str] = (), *, dry_run: bool = False) -> Table:
    """Remove spaces and columns: first from the manifest, which hides them from readers, then their files."""
    paths = StorePaths(disk.resolved(root))
    check_marker(paths)
    if not spaces and not columns:
        known = ", ".join(sorted(read_snapshot(paths).spaces))
        raise UsageError(f"name the space to remove with ⦃space⦄ ({known}), or the column of items with ⦃column⦄.")
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
    counts, actions = tables.counts(), []
    for space in dict.fromkeys(spaces):
        folders = paths.folders_of(space)
        below = [path for folder in folders for path in disk.files_below(folder)]
        detail = f"{len(below)} files in {', '.join(sorted(folder.parent.name for folder in folders)) or 'no folder'}"
        n_bytes = sum(map(disk.size, below))
        actions.append(Action("removed", paths.card(space), detail, count_items(paths, space), n_bytes))
    for name in dict.fromkeys(columns):
        detail = f"the column {name!r} ({tables.types[name]})"
        actions.append(Action("removed", paths.columns, detail, counts[name]))
    return actions


def merge(root: Path, other: Path, spaces: Sequence[str] = (), *, dry_run: bool = False) -> Table:
    """Copy the items that are missing here from another store, with their vectors, texts and datasets.

    A space that both stores have must be the same in both. All files are copied first, each checked against its hash,
    and then committed at once; then the indexes and merged summaries are updated. The other store is only read.
    """
    paths, source_root = StorePaths(disk.resolved(root)), disk.resolved(other)
    if paths.root == source_root or disk.is_same(paths.root, source_root):
        raise UsageError(f"{source_root} is the store itself: name another one to take in.")
    with maintenance_lock(paths), atomic.temporary(paths.root) as folder:
        source = copying.open_source(source_root)
        with copying.explaining_changes(source):
            cards = [card for card in SpaceFilter(spaces=spaces).select(source.cards) if source.shards[card.space]]
            requested = source.ids_of(card.space for card in cards) if spaces else None
            stored = Catalog(paths.root)  # as it was before
            _check_same(source, stored, cards)
            planned = [_new_shards(source, stored, card) for card in cards]
            actions = [action for _, action in planned if action.n_items]
            copying.check_same_items(source, stored, requested)
            incoming = copying.Incoming(paths, folder)
            keys: list[str] = []
            for card, (shards, _) in zip(cards, planned, strict=True) if not dry_run else ():
                keys += _copied(source, incoming, card, shards, is_new=_is_new(stored, card))
            for new in copying.write_new(source, stored, cards, requested, incoming.paths, dry_run=dry_run):
                place = paths.root / new.place
                actions += [Action("taken in", place, new.label, new.n_rows)] if new.n_rows else []
                actions += [
                    Action("kept", place, f"the rows of {unit} items are others there") for unit in new.differing
                ]
                keys += new.files
            if not dry_run:
                incoming.publish(keys)
        notes = []
        for card, (shards, _) in zip(cards, planned, strict=True) if not dry_run else ():
            if shards:
                compaction.write_merged(paths, card)
                done, below_target = _renewed_indexes(paths, source.paths, card, keys)
                actions += done
                notes += below_target
        return tabulate(actions, paths.root, notes, dry_run=dry_run)


def _is_new(stored: Catalog, card: Card) -> bool:
    """Return whether a store has no shards of a space."""
    return not stored.shards.get(card.space)


def _check_same(source: Catalog, stored: Catalog, cards: Iterable[Card]) -> None:
    """Raise SpaceMismatchError if both stores have a space and it is not the same."""
    for card in cards:
        here = None if _is_new(stored, card) else stored.cards.get(card.space)
        if here is not None and (different := here.describe_differences(card)):
            raise SpaceMismatchError(
                f"the space {card.space!r} is another one in {source.paths.root}: here its {different} there. "
                "Nothing was taken. To take other spaces, name them with ⦃space⦄."
            )


def _new_shards(source: Catalog, stored: Catalog, card: Card) -> tuple[dict[Shard, Ids | None], Action]:
    """Return the shards with items that are missing here, with their ids, None for a whole shard; and the action."""
    source.check_texts(card.space)
    is_new, shards = _is_new(stored, card), source.shards[card.space]
    found: dict[Shard, Ids | None] = {}
    n_items, seen = 0, IdSet(None if is_new else stored.ids(card.space))
    for shard in shards:
        ids = LayerVectors([shard], card.layers.ids[0], card.dim).ids()
        if len(new := seen.missing(ids)):
            found[shard] = None if len(new) == len(ids) else new
            seen.add(new)
            n_items += len(new)
    n_partial = sum(ids is not None for ids in found.values())
    detail = f"{len(found)} of {len(shards)} shards" + (f", {n_partial} of them in part" if n_partial else "")
    detail += ", a new space" if is_new else ""
    return found, Action("taken in", stored.paths.embeddings(card.space), detail, n_items)


def _copied(
    source: Catalog, incoming: copying.Incoming, card: Card, shards: Mapping[Shard, Ids | None], *, is_new: bool
) -> Iterator[str]:
    """Copy shards, or the missing items of one, and of a new space its card and indexes; yield the paths to commit.

    The indexes are those of a space that is copied whole; damaged ones are rebuilt.
    """

    def receive(*files: Path) -> list[str]:
        keys = [source.paths.key(file) for file in files]
        for key, file in zip(keys, files, strict=True):
            incoming.receive(key, file)
        return keys

    for done, (shard, ids) in enumerate(shards.items()):
        report_progress(Progress("merge", card.space, done, len(shards), done / len(shards)))
        if ids is None:
            yield from receive(shard.summary_path, shard.path)
        else:
            names.check_content(shard.path)
            new = copying.write_subset(incoming.paths, shard, card, ids)
            yield from map(incoming.paths.key, (new.path, new.summary_path))
    if not shards:
        return
    report_progress(Progress("merge", card.space, len(shards), len(shards), 1.0))
    if is_new:
        yield from receive(source.paths.card(card.space))
    for layer in card.layers if is_new and all(ids is None for ids in shards.values()) else ():
        index = source.paths.index(card.space, layer)
        with suppress(DamagedError):
            if (stored := readable_card(index)) is not None and stored.covers(shard.name for shard in shards):
                yield from receive(source.paths.index_card(index), index)


def _renewed_indexes(
    paths: StorePaths, source: StorePaths, card: Card, keys: Iterable[str]
) -> tuple[list[Action], list[str]]:
    """Build the indexes of a space that were not copied, if it has any here or there; return actions and notes."""
    kind = kind_of_indexes(paths, card) or kind_of_indexes(source, card)
    if kind is None:
        return [], []
    folder, n_layers = paths.indexes(card.space), len(card.layers)
    n_copied = sum(names.kind_of(key) is names.INDEXES and names.space_of(key) == card.space for key in keys)
    actions = [Action("taken in", folder, f"the indexes of {n_copied} of {n_layers} layers")] if n_copied else []
    if n_copied == n_layers:
        return actions, []
    notes = recall_notes(card, update_indexes(paths, card, kind))
    return [*actions, Action("rebuilt", folder, f"the indexes of {n_layers - n_copied} of {n_layers} layers")], notes
