"""The nearest items of a text, over spaces and layers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.errors import QueryError, UsageError
from embstore.query.layer_data import StoredLayer, TransformedLayer
from embstore.query.lookup import Embed, Found, Query, check_found, look_up
from embstore.query.nearest import Ask
from embstore.space import Layer, Unit
from embstore.storage.catalog import Catalog
from embstore.storage.selection import SpaceFilter, check_layer_numbers, select_layers
from embstore.storage.views.sandbox import NO_LIMITS, Limits
from embstore.table import Pivot, Table, table
from embstore.text import Item

if TYPE_CHECKING:
    from embstore.metrics.transforms import Step

COLUMNS = ("space", "model", "layer", "layer_name", "query", "rank", "item_id", "text", "context", "cosine")


def neighbours(
    catalog: Catalog,
    queries: Sequence[Query],
    spaces: SpaceFilter,
    layers: str,
    k: int,
    embed: Embed | None = None,
    transforms: "Sequence[Step]" = (),
    *,
    where: str | None = None,
    limits: Limits = NO_LIMITS,
    exact: bool = False,
) -> Table:
    """Find the k nearest items of each query, by cosine, in each space and layer.

    The item itself is left out. A layer without an index that covers all shards is scanned exactly, and a note says so;
    so is one that is transformed. What an index does not find of the exact answer, a note says too.

    Args:
        catalog: the store.
        queries: the texts.
        spaces: which spaces.
        layers: which layers, as :meth:`Layers.select` reads them.
        k: how many neighbours; fewer where the space has fewer.
        embed: encodes a text that is not stored; None refuses such a text.
        transforms: applied to the vectors of a layer first, fitted on those of the selected items, and to the queries'
            vectors too.
        where: an SQL expression over the item columns, which a neighbour must satisfy; None takes all.
        limits: What the evaluation of ``where`` may take.
        exact: scan the vectors, whatever indexes there are.

    Raises:
        NotStoredError: a text is in none of the spaces and ``embed`` is None.
        QueryError: no layer can be transformed like this, the SQL cannot be answered, or the layers of a space are
            shifted.
        UsageError: a word is in no other space than one that has it in several sentences.
        DamagedError: a file that is needed was altered.
    """
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}.")
    cards, shifted = check_layer_numbers(spaces.select(catalog.cards), spaces.spaces)
    if all(query.marked for query in queries):  # only occurrences can be what is meant
        cards = [card for card in cards if card.unit is Unit.OCCURRENCE] or cards
    chosen, notes = select_layers(cards, layers)
    notes += shifted
    if not exact and not transforms:
        index.open_soon(
            (catalog.paths.index(space, layer), catalog.shard_names(space))
            for space in chosen for layer in chosen[space]
        )  # fmt: skip
    found = [look_up(catalog, card, queries, chosen[card.space], embed) for card in cards if card.space in chosen]
    for query in queries:
        check_found(catalog, query, found, notes)
    ask = Ask(catalog, k, notes, None if where is None else _selected(catalog, where, limits, found), exact)
    rows = _search_all(ask, found, chosen, transforms)
    items = catalog.items({row["item_id"] for row in rows}) if rows else {}
    name = " ".join(step.name for step in transforms)
    said = {"where": where} if where is not None else {}
    said |= {"transform": name} if name else {}
    return _tabulate([row | _text_of(items, row) | said for row in rows], notes, [*said], several=len(queries) > 1)


def _selected(catalog: Catalog, where: str, limits: Limits, found: Sequence[Found]) -> NDArray[np.int64]:
    only = catalog.select(where, limits)
    for one in found:
        catalog.check_texts(one.card.space)  # an item without a text would be left out
    return only


def _search_all(
    ask: Ask, found: Sequence[Found], chosen: Mapping[str, Sequence[Layer]], transforms: "Sequence[Step]"
) -> list[dict[str, Any]]:
    """Return the hits in each space and layer."""
    rows: list[dict[str, Any]] = []
    refused: list[str] = []
    n_asked = 0
    for one in found:
        summaries = ask.catalog.summaries(one.card.space) if transforms and one.vectors else {}
        for layer in chosen[one.card.space] if one.vectors else []:
            n_asked += 1
            known = None if ask.only is not None else summaries.get(layer.id)
            data = StoredLayer(ask.catalog, one.card, layer, ask.only, known)
            transformed = _transformed(data, transforms, ask.notes, refused) if transforms else None
            if transformed is not None or not transforms:
                rows += ask.rows(one, layer, transformed)
    if refused and len(refused) == n_asked:
        raise QueryError(f"{refused[0]} Give another --transform.")
    ask.notes += refused
    return rows


def _transformed(
    data: StoredLayer, steps: "Sequence[Step]", notes: list[str], refused: list[str]
) -> TransformedLayer | None:
    """Return a layer after transforms that are fitted on its selected vectors; None, with the reason in ``refused``."""
    from embstore.metrics import NotComputable
    from embstore.metrics.transforms import fit

    space, names = data.card.space, " ".join(step.name for step in steps)
    try:
        transform = fit(data, steps)
    except NotComputable as error:
        refused.append(f"{space} layer {data.layer.name}: {error}.")
        return None
    notes.append(f"{space}: n = {data.summary.n}, after {names}: answered by an exact scan.")
    notes += [f"{space} layer {data.layer.name}: {note}." for note in transform.notes]
    return TransformedLayer(data, transform, transform.columns)


def _text_of(items: Mapping[int, Item], row: Mapping[str, Any]) -> dict[str, Any]:
    item = items[row["item_id"]]
    return {"text": item.text, "context": None if item.context is None else item.shown}


def _tabulate(rows: Sequence[Mapping[str, Any]], notes: Sequence[str], said: Sequence[str], *, several: bool) -> Table:
    return table(
        rows,
        columns=[*COLUMNS, *said],
        notes=list(dict.fromkeys(notes)),
        types={"context": "string"},
        pivot=Pivot(
            down=("query", "rank") if several else ("rank",),
            across=("space", "layer_name"),
            values=(("context", "text"), "cosine"),
            joined=True,
        ),
    )
