"""List the spaces and the skipped texts of a store, as tables."""

from collections.abc import Iterable, Sequence
from typing import Any

from embstore.base.messages import MOST_NAMED, first_of
from embstore.base.table import ShownColumn, Table, show_layers, table
from embstore.index import readable_card, shown_parameters
from embstore.query.provenance import REVISION_COLUMNS, columns_with_values
from embstore.storage.card import Card, SpaceFilter
from embstore.storage.catalog import Catalog
from embstore.storage.item_columns import BUILT_IN, MEANINGS
from embstore.storage.views.macros import MACROS

INFO_COLUMNS = (
    "space",
    "checkpoint",
    "model",
    *REVISION_COLUMNS,
    "unit",
    "pooling",
    "template",
    "dim",
    "dtype",
    "layers",
    "items",
    "shards",
    "bytes",
    "index",
    "index_recall",
    "index_parameters",
    "index_seconds",
)
_SHOWN = (
    ShownColumn("space"),
    ShownColumn("layers"),
    ShownColumn("dim"),
    ShownColumn("items", kind="count"),
    ShownColumn("bytes", "size", "bytes"),
    ShownColumn("index"),
)
COLUMN_COLUMNS = ("column", "type", "origin", "items", "meaning")
SKIPPED_COLUMNS = ("space", "item_id", "text", "outcome", "reason", "origin")


def info(catalog: Catalog, names: Sequence[str] = ()) -> Table:
    """List the spaces, one per row; with names, those of these models and these spaces.

    ``index`` is the kind of the indexes that cover all items (several with ``+``), ``behind`` or
    ``none``; ``index_recall`` is the lowest recall@10 of the layers; ``bytes`` is of card, shards,
    sums and indexes. Notes name spaces without items.
    """
    cards = SpaceFilter(spaces=names).select(catalog.cards) if names else catalog.cards.values()
    rows = [
        {
            "space": card.space,
            "checkpoint": card.checkpoint_at_revision,
            "model": card.model,
            "revision": card.revision_name,
            "step": card.step,
            "unit": card.unit.value,
            "pooling": card.pooling.value,
            "template": card.template.pattern,
            "dim": card.dim,
            "dtype": card.dtype,
            "layers": show_layers(layer.name for layer in card.layers),
            "items": catalog.count(card.space),
            "shards": catalog.n_batches(card.space),
            "bytes": catalog.n_bytes(card.space),
            **_index(catalog, card),
        }
        for card in cards
    ]
    columns = columns_with_values(INFO_COLUMNS, rows)
    empty = [card.space for card in cards if catalog.is_empty(card.space)]
    remove = " ".join(f"--space {space}" for space in empty)
    notes = [
        f"{first_of(empty, MOST_NAMED)}: no items, since a build was stopped or a repair took the"
        f" shards out. Run the same build again, or: embstore remove {remove}"
    ]
    return table(rows, columns=columns, notes=notes if empty else (), shown=_SHOWN)


def columns(catalog: Catalog) -> Table:
    """List the columns of items, one per row: stored ones with their number of values, then
    built-in ones.
    """
    counts = catalog.columns.counts()
    rows: list[tuple[Any, ...]] = [
        (name, kind, "stored", counts[name], MEANINGS.get(name.partition(".")[0]))
        for name, kind in catalog.columns.types.items()
    ]
    rows += [
        (name, column.kind, "built-in", None, column.meaning) for name, column in BUILT_IN.items()
    ]
    return table(_named(COLUMN_COLUMNS, rows), columns=COLUMN_COLUMNS)


def skipped(catalog: Catalog) -> Table:
    """List the texts that were skipped or truncated, one per row."""
    return table(_named(SKIPPED_COLUMNS, catalog.skipped()), columns=SKIPPED_COLUMNS)


def _named(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return rows as dictionaries."""
    return [dict(zip(names, row, strict=True)) for row in rows]


def _index(catalog: Catalog, card: Card) -> dict[str, Any]:
    """Return the columns on the indexes of a space."""
    layers = [readable_card(catalog.manifest, card.space, layer) for layer in card.layers.ids]
    cards = [index for index in layers if index is not None]
    seconds = [index.build_seconds for index in cards if index.build_seconds is not None]
    items = catalog.items_of(card.space)
    is_complete = all(index is not None and index.covers(items) for index in layers)
    kinds = "behind" if cards else "none"
    if is_complete:
        kinds = "+".join(sorted({index.kind for index in cards}))
    return {
        "index": kinds,
        "index_recall": min((index.recall for index in cards), default=None),
        "index_parameters": shown_parameters(cards) or None,
        "index_seconds": round(sum(seconds), 3) if seconds else None,
    }


_COLUMNS = """
SELECT
    CASE table_schema WHEN 'main' THEN '' ELSE table_schema || '.' END || table_name AS name,
    string_agg(column_name || ' ' || data_type, ', ' ORDER BY ordinal_position) AS columns
FROM information_schema.columns
GROUP BY table_schema, table_name
ORDER BY table_schema <> 'main', table_name
"""


def sql_views(catalog: Catalog) -> Table:
    """Return one row per view and per macro: its name, kind, and columns with types, or its
    result.
    """
    rows = [(name, "view", columns) for name, columns in catalog.sql(_COLUMNS).fetchall()]
    rows += [(macro.signature, "macro", macro.help) for macro in MACROS.values()]
    names = ("name", "kind", "content")
    shown = (ShownColumn("name"), ShownColumn("content"))
    return table(_named(names, rows), columns=names, shown=shown)
