"""What a store holds, as tables."""

from collections.abc import Iterable
from pathlib import Path

from embstore.errors import DamagedError
from embstore.index import IndexCard
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.table import Table, table

INFO_COLUMNS = (
    "space", "checkpoint", "model", "unit", "pooling", "template", "dim", "dtype", "layers", "items", "shards", "bytes",
    "index",
)  # fmt: skip
SKIPPED_COLUMNS = ("space", "item_id", "text", "outcome", "reason", "origin")


def info(catalog: Catalog) -> Table:
    """Return one row per space.

    ``index`` is ``flat`` (covers every shard), ``behind``, ``none`` or ``damaged``; ``bytes`` are of shards, summaries
    and indexes.
    """
    rows = [
        {
            "space": card.space, "checkpoint": card.checkpoint_at_revision, "model": card.model,
            "unit": card.unit.value, "pooling": card.pooling.value, "template": card.template.pattern, "dim": card.dim,
            "dtype": card.dtype, "layers": _ranges(card), "items": catalog.count(card.space),
            "shards": len(catalog.shards[card.space]), "bytes": _bytes(catalog, card), "index": _index(catalog, card),
        }
        for card in catalog.cards.values()
    ]  # fmt: skip
    return table(rows, columns=INFO_COLUMNS)


def skipped(catalog: Catalog) -> Table:
    """Return one row per text that has no vector, or was truncated."""
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
    return sum(path.stat().st_size for folder in folders for path in folder.glob("*") if path.is_file())


def _index(catalog: Catalog, card: Card) -> str:
    shards = [shard.name for shard in catalog.shards[card.space]]
    states = {_state(catalog.paths.index(card.space, layer), shards) for layer in card.layers}
    if "damaged" in states:
        return "damaged"
    return states.pop() if len(states) == 1 else "behind"


def _state(path: Path, shards: Iterable[str]) -> str:
    try:
        stored = IndexCard.read(path)
    except DamagedError:
        return "damaged"
    if stored is None:
        return "none"
    return stored.kind if stored.covers(shards) else "behind"
