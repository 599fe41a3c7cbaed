"""A metric over spaces and layers: from the summaries where they suffice, from the vectors where not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.errors import UsageError
from embstore.metrics import Metric, get_metric
from embstore.selection import SpaceFilter, select_layers
from embstore.space import Layer
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog, Ids
from embstore.summary import Summary
from embstore.table import Pivot, Table, table

if TYPE_CHECKING:
    from embstore.storage.vectors import LayerVectors

T = TypeVar("T")

SPACE_COLUMNS = ("space", "model", "unit", "pooling", "template", "layer", "layer_name")


@dataclass(frozen=True, slots=True)
class Rows:
    """Which items a metric is computed over.

    Attributes:
        where: an SQL expression over the item columns; None keeps all.
        sample: how many items to draw at random, without replacement; None keeps all.
        seed: seed of the draw.
    """

    where: str | None = None
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"sample must be at least 1, not {self.sample}.")

    def select(self, catalog: Catalog, space: str) -> Ids | None:
        """Return the ids to keep, ascending, or None for all. What a space does not hold of them does not matter."""
        chosen = None if self.where is None else catalog.select(self.where)
        if self.sample is None:
            return chosen
        from embstore.storage.vectors import LayerVectors  # brings pyarrow, which a summary does not need

        card = catalog.cards[space]
        ids = LayerVectors(catalog.shards[space], card.layers.ids[0], card.dim, chosen).ids()
        if self.sample < len(ids):
            rng = np.random.default_rng(self.seed)
            ids = np.sort(rng.choice(ids, self.sample, replace=False, shuffle=False))
        return ids

    def described(self) -> dict[str, Any]:
        """Return what is said of the selection in each row of the result: nothing when all items are used."""
        said: dict[str, Any] = {} if self.where is None else {"where": self.where}
        return said if self.sample is None else said | {"sample": self.sample, "seed": self.seed}


@dataclass
class StoredLayer:
    """The vectors of one layer as a metric sees them (the protocol ``LayerData``)."""

    dim: int
    open_vectors: Callable[[], "LayerVectors"]
    known_summary: Summary | None = field(default=None)

    @cached_property
    def summary(self) -> Summary:
        """The stored summary, or the sums over the selected vectors."""
        return self.known_summary if self.known_summary is not None else self.open_vectors().summary

    def map(self, function: Callable[[NDArray[np.float32]], T]) -> Iterator[T]:
        """Yield ``function(block)`` for each block of vectors."""
        return self.open_vectors().map(function)


def query(
    catalog: Catalog,
    name: str,
    spaces: SpaceFilter,
    layers: str,
    rows: Rows,
    parameters: Mapping[str, Any],
) -> Table:
    """Compute a metric and return one row per space and layer.

    Args:
        catalog: the store.
        name: the metric.
        spaces: which spaces.
        layers: which layers, as :meth:`Layers.select` reads them.
        rows: which items.
        parameters: of the metric.

    Raises:
        UnknownNameError: a metric, space, model, layer, column or parameter that does not exist.
    """
    metric = get_metric(name)
    values = metric.check(parameters)
    cards = spaces.select(catalog.cards)
    chosen, notes = select_layers(cards, layers)
    result = []
    for card in cards:
        if card.space not in chosen:
            continue
        notes += [
            f"{card.space}: {shard} is missing. Run: embstore verify" for shard in catalog.lost_shards(card.space)
        ]
        if rows.where is not None:
            catalog.check_texts(card.space)
        only = rows.select(catalog, card.space)
        summaries = catalog.summaries(card.space) if only is None else {}
        if only is not None and rows.sample is not None and len(only) < rows.sample:
            notes.append(f"{card.space}: the sample of {rows.sample} is all {len(only)} items.")
        for layer in chosen[card.space]:
            data = StoredLayer(card.dim, _opener(catalog, card, layer, only), summaries.get(layer.id))
            result.append(_describe(card, layer) | metric.function(data, **values) | rows.described())
    return _tabulate(metric, result, [*rows.described()], notes)


def _opener(catalog: Catalog, card: Card, layer: Layer, only: Ids | None) -> Callable[[], "LayerVectors"]:
    def open_vectors() -> "LayerVectors":
        from embstore.storage.vectors import LayerVectors  # brings pyarrow, which a summary does not need

        return LayerVectors(catalog.shards[card.space], layer.id, card.dim, only)

    return open_vectors


def _describe(card: Card, layer: Layer) -> dict[str, Any]:
    return {
        "space": card.space, "model": card.model, "unit": card.unit.value, "pooling": card.pooling.value,
        "template": card.template.pattern, "layer": layer.id, "layer_name": layer.name,
    }  # fmt: skip


def _tabulate(metric: Metric, rows: list[dict[str, Any]], described: list[str], notes: list[str]) -> Table:
    names = [column.name for column in metric.columns]
    shown = tuple(column.name for column in metric.columns if column.shown)
    for row in rows:
        if row["reason"] and row["n"] < 2:
            empty = row["n"] == 0 and not row.get("n_zero")
            said = "no item is selected" if empty else f"layer {row['layer_name']}: {row['reason']}"
            notes.append(f"{row['space']}: {said}.")
    counts: dict[str, set[int]] = {}
    for row in rows:
        counts.setdefault(row["space"], set()).add(row["n"])
    drawn = f", a random sample (seed {rows[0]['seed']})" if "sample" in described else ""
    notes += [f"{space}: n = {'–'.join(map(str, sorted({min(n), max(n)})))}{drawn}" for space, n in counts.items()]
    return table(
        rows,
        columns=[*SPACE_COLUMNS, "n", *names, "reason", *described],
        notes=list(dict.fromkeys(notes)),
        pivot=Pivot(down=("layer_name",), across=("space",), values=shown, heads=("layer",), order="layer"),
    )
