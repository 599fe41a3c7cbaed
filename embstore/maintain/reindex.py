"""Update, change or remove the indexes of a store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embstore.base import disk
from embstore.base.progress import Observer
from embstore.base.space import Layer
from embstore.base.table import ShownColumn, Table, table
from embstore.index import remove_index, shown_parameters
from embstore.index.updating import Choice, Indexed, index_layers, recall_notes
from embstore.storage.files.card import Card
from embstore.storage.files.paths import StorePaths, check_marker
from embstore.storage.selection import SpaceFilter, select_layers
from embstore.storage.transaction.manifest import read_cards
from embstore.storage.transaction.recovery import maintenance_lock

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
    """Update the indexes of some layers, and return a table with one row per layer.

    Args:
        root: Folder of the store.
        spaces: Selection of spaces.
        layers: Selection of layers, in the notation of :meth:`Layers.select`.
        choice: Requested kind and settings of the indexes; None removes the indexes.
        observe: Callback for progress.

    Raises:
        UsageError: The memory limit is too small for any index.
        LockedError: Another process is writing to the store.
    """
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
            done = index_layers(paths, card, chosen[card.space], choice, observe)
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
