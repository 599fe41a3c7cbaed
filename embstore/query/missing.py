"""List the texts of datasets and files that have no vector in a space."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.errors import QueryError
from embstore.base.space import Unit
from embstore.base.table import Table, table
from embstore.base.text import Item, item_id
from embstore.metrics.data import Words
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card
from embstore.storage.selection import SpaceFilter

if TYPE_CHECKING:
    from embstore.sources import Targets

COLUMNS = ("source", "space", "item_id", "text")
_TYPES = {"source": "string", "space": "string", "item_id": "integer", "text": "string"}


def missing(catalog: Catalog, sources: Sequence[str], spaces: SpaceFilter, targets: "Targets | None" = None) -> Table:
    """List the texts of sources that are missing from spaces, one row per text and space.

    Args:
        catalog: Store to read.
        sources: Datasets, stored or on this machine, and files of texts.
        spaces: Filter of the spaces; those of other units than a dataset's are ignored, and for files those of
            occurrences, or with targets those that are not.
        targets: Where the target of each sentence of files is given; None for whole texts.

    Returns:
        The columns ``source``, ``space``, ``item_id`` and ``text``, and a note with counts per source and space.

    Raises:
        UnknownNameError: A space or source does not exist.
        SourceError: A source cannot be read.
        QueryError: No space has the unit of a source.
    """
    cards = spaces.select(catalog.cards)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for source in sources:
        sides, remarks = _sides(catalog, source, {card.unit for card in cards}, targets)
        notes += remarks
        for card in cards:
            if card.unit in sides:
                missing_rows, note = _missing(catalog, card, source, sides[card.unit])
                rows += missing_rows
                notes.append(note)
    return table(rows, columns=COLUMNS, notes=notes, types=_TYPES)


def _missing(catalog: Catalog, card: Card, source: str, sides: Sequence[Words]) -> tuple[list[dict[str, Any]], str]:
    """Return a row for each text missing from a space, and a note with their count."""
    texts = {item: text for words in sides for item, text in zip(words.ids.tolist(), words.texts, strict=True)}
    ids = np.fromiter(texts, np.int64, len(texts))
    missing_ids = ids[~np.isin(ids, catalog.ids(card.space))].tolist()
    rows = [{"source": source, "space": card.space, "item_id": item, "text": texts[item]} for item in missing_ids]
    return rows, f"{card.space} lacks {len(missing_ids) or 'none'} of the {len(texts)} texts of {source}."


def _sides(
    catalog: Catalog, source: str, units: set[Unit], targets: "Targets | None"
) -> tuple[dict[Unit, list[Words]], list[str]]:
    """Return unit → texts of a source (two lists for pairs), and remarks on how it was read.

    Raises:
        QueryError: The source has no texts of these units, or is a file and all spaces are of occurrences.
    """
    if source.replace(":", "_") not in catalog.datasets():
        return _read(source, units, targets)
    unit_texts: dict[Unit, list[Words]] = {}
    refused: list[QueryError] = []
    for unit in sorted(units):
        try:
            columns = catalog.dataset(source, unit)
        except QueryError as error:
            refused.append(error)
            continue
        suffixes = [suffix for suffix in ("", "_2", "_3", "_4") if f"item_id{suffix}" in columns]
        unit_texts[unit] = [Words(columns[f"item_id{suffix}"], tuple(columns[f"text{suffix}"])) for suffix in suffixes]
    if not unit_texts:
        raise refused[0]
    return unit_texts, []


def _read(source: str, units: set[Unit], targets: "Targets | None") -> tuple[dict[Unit, list[Words]], list[str]]:
    """Read the texts of a source that is not in the store."""
    from embstore.sources import Row, find_dataset, open_source

    opened = open_source(source, targets=None if find_dataset(source) else targets)
    own = Unit.OCCURRENCE if targets is not None and opened.dataset is None else opened.unit
    if own is None and units == {Unit.OCCURRENCE}:
        raise QueryError(
            "files are of words or sentences, and every space that matches is of occurrences. Say where the targets "
            "are with ⦃span⦄ or ⦃targets⦄, or choose other spaces with ⦃space⦄, ⦃unit⦄ or ⦃model⦄."
        )
    if own is not None and own not in units:
        raise QueryError(
            f"{source!r} is of {own.value}s, and no space that matches is. Make one with: embstore build {source}"
        )
    rows = [row for row in opened.rows() if isinstance(row, Row)]
    if own is Unit.OCCURRENCE:
        items = [Item.occurrence(*pair) for row in rows for pair in zip(row.texts, row.spans, strict=True)]
        texts_of = {item.id: item.shown for item in items}
        return {own: [Words(np.fromiter(texts_of, np.int64), tuple(texts_of.values()))]}, opened.remarks
    texts = tuple(dict.fromkeys(text for row in rows for text in row.texts))
    sides = {
        unit: [Words(np.array([item_id(unit, text) for text in texts], np.int64), texts)]
        for unit in (units - {Unit.OCCURRENCE} if own is None else {own})
    }
    return sides, opened.remarks
