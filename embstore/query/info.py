"""List the spaces and the skipped texts of a store, as tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embstore import disk
from embstore.errors import DamagedError
from embstore.index import IndexCard, shown_parameters
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card
from embstore.table import ShownColumn, Table, table

INFO_COLUMNS = (
    "space", "checkpoint", "model", "unit", "pooling", "template", "dim", "dtype", "layers", "items", "shards", "bytes",
    "index", "index_recall", "index_parameters", "index_seconds",
)  # fmt: skip
_SHOWN = (
    ShownColumn("space"), ShownColumn("layers"), ShownColumn("dim"), ShownColumn("items", kind="count"),
    ShownColumn("bytes", "size", "bytes"), ShownColumn("index"),
)  # fmt: skip
SKIPPED_COLUMNS = ("space", "item_id", "text", "outcome", "reason", "origin")


def info(catalog: Catalog) -> Table:
    """Return one row per space.

    ``index`` is the kind that covers every shard (several with ``+``), ``behind``, ``none`` or ``damaged``, and
    ``index_recall`` the lowest recall@10 of its layers; ``bytes`` are of shards, summaries and indexes. A note
    names each shard that is lost, each space that has no items yet, and each whose layers are
    shifted or whose words may be cut.
    """
    rows = [
        {
            "space": card.space, "checkpoint": card.checkpoint_at_revision, "model": card.model,
            "unit": card.unit.value, "pooling": card.pooling.value, "template": card.template.pattern, "dim": card.dim,
            "dtype": card.dtype, "layers": _ranges(card), "items": catalog.count(card.space),
            "shards": len(catalog.shards[card.space]), "bytes": _bytes(catalog, card),
            **_index(catalog, card),
        }
        for card in catalog.cards.values()
    ]  # fmt: skip
    notes = [note for space in catalog.cards for note in _lacking(catalog, space)]
    faults = [fault for card in catalog.cards.values() for fault in (card.layer_fault, card.word_fault)]
    notes += [fault for fault in faults if fault is not None]
    return table(rows, columns=INFO_COLUMNS, notes=notes, shown=_SHOWN)


def _lacking(catalog: Catalog, space: str) -> list[str]:
    """Return a note for each missing shard of a space, or one if it has no shards yet."""
    lost = [f"{space}: {shard} is missing. Run: embstore verify" for shard in catalog.lost_shards(space)]
    if lost or catalog.shards[space]:
        return lost
    return [
        f"{space} has no items yet: its first shard is being written, or the build that began it was stopped. Run the "
        f"same build again, or: embstore remove --space {space}"
    ]


def skipped(catalog: Catalog) -> Table:
    """List the texts that were skipped or truncated, one per row."""
    rows = [dict(zip(SKIPPED_COLUMNS, row, strict=True)) for row in catalog.skipped()]
    return table(rows, columns=SKIPPED_COLUMNS)


def _ranges(card: Card) -> str:
    """Return the layers in short: ``0-12,raw``."""
    numbers = [layer.id for layer in card.layers if layer.name.isdigit()]
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ",".join(parts + [layer.name for layer in card.layers if not layer.name.isdigit()])


def _bytes(catalog: Catalog, card: Card) -> int:
    paths = catalog.paths
    folders = (paths.embeddings(card.space), paths.summaries(card.space), paths.indexes(card.space))
    return sum(disk.size(path) for folder in folders for path in disk.listed(folder) if disk.is_file(path))


def _index(catalog: Catalog, card: Card) -> dict[str, Any]:
    """Return the columns that are about the indexes of a space."""
    shards = catalog.shard_names(card.space)
    found = [_read(catalog.paths.index(card.space, layer)) for layer in card.layers]
    cards = [one for one in found if isinstance(one, IndexCard)]
    return {
        "index": _state(found, shards),
        "index_recall": min((one.recall for one in cards), default=None),
        "index_parameters": shown_parameters(cards) or None,
        "index_seconds": _seconds(cards),
    }


def _state(found: Sequence[IndexCard | str], shards: tuple[str, ...]) -> str:
    states = {one if isinstance(one, str) else one.kind if one.covers(shards) else "behind" for one in found}
    if "damaged" in states or states == {"none"}:
        return "damaged" if "damaged" in states else "none"
    return "behind" if states & {"none", "behind"} else "+".join(sorted(states))


def _read(path: Path) -> IndexCard | str:
    try:
        return IndexCard.read(path) or "none"
    except DamagedError:
        return "damaged"


def _seconds(cards: Sequence[IndexCard]) -> float | None:
    known = [one.build_seconds for one in cards if one.build_seconds is not None]
    return round(sum(known), 3) if known else None
