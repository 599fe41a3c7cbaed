"""A question: a metric, and the items that it is asked of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from embstore.errors import UsageError
from embstore.metrics import LayerData, Metric, NotComputable, rows_of
from embstore.metrics.transforms import Step, fit, parse_transforms
from embstore.query.inputs.case import Case
from embstore.query.layer_data import StoredLayer, TransformedLayer
from embstore.query.no_vectors import NoVectors
from embstore.space import Layer
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.answers import Answer
from embstore.storage.files.card import Card
from embstore.storage.views.sandbox import NO_LIMITS, Limits
from embstore.table import show

SPACE_COLUMNS = ("space", "model", "unit", "pooling", "template", "layer", "layer_name")

NOTHING = "no item is selected"
"""Why a row has no vector."""
NONE_LEFT = "no item that is left is selected"
"""How the reason begins where shards are missing, which it then names."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which items a metric is computed over, and what is done to their vectors first.

    Attributes:
        where: an SQL expression over the item columns; None keeps all.
        sample: how many items to draw at random, without replacement; None keeps all.
        seed: seed of the draw.
        transforms: applied left to right, each fitted on the selected items.
        limits: What the evaluation of ``where`` may take.
    """

    where: str | None = None
    sample: int | None = None
    seed: int = 0
    transforms: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    steps: tuple[Step, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"sample must be at least 1, not {self.sample}.")
        check_seed(self.seed)
        object.__setattr__(self, "steps", parse_transforms(self.transforms))

    def select(self, catalog: Catalog, space: str) -> Ids | None:
        """Return the ids to keep, ascending, or None for all. What a space does not hold of them does not matter."""
        chosen = None if self.where is None else catalog.select(self.where, self.limits)
        return chosen if self.sample is None else self.draw(stored_ids(catalog, space, chosen))

    def draw(self, ids: Ids) -> Ids:
        """Return the sample of ascending ids, ascending; all of them where no sample, or a larger one, is asked for."""
        if self.sample is None or self.sample >= len(ids):
            return ids
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(ids, self.sample, replace=False, shuffle=False))

    def described(self) -> dict[str, Any]:
        """Return what is said of the selection in each row of the result: nothing when all items are used as stored."""
        said: dict[str, Any] = {} if self.where is None else {"where": self.where}
        if self.sample is not None:
            said |= {"sample": self.sample, "seed": self.seed}
        return said | ({"transform": " ".join(self.transforms)} if self.transforms else {})


@dataclass
class Question:
    """A metric, its parameters, and the rows that it is asked of.

    Attributes:
        notes: what a reader must know beside the numbers; grows while the question is answered.
    """

    catalog: Catalog
    metric: Metric
    values: Mapping[str, Any]
    rows: Rows
    notes: list[str]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the metric's function gets of the parameters, and the seed of all draws if it takes one."""
        settings = {p.name: self.values[p.name] for p in self.metric.parameters if not p.is_input}
        return settings | ({"seed": self.rows.seed} if self.metric.is_seeded else {})

    @cached_property
    def said(self) -> dict[str, Any]:
        """What each row says of how it was computed: the parameters, the seed of what is drawn, and the selection."""
        values = {parameter.name: self.values[parameter.name] for parameter in self.metric.said}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return plain | ({"seed": self.rows.seed} if self.metric.is_seeded else {}) | self.rows.described()

    def has_drawn(self, row: Mapping[str, Any]) -> bool:
        """Return whether the metric drew at random for a row that its function returned."""
        return "seed" in self.settings and row.get("seed", self.rows.seed) is not None

    def told(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is said of how a row was computed, with a seed only where something was drawn."""
        if "seed" not in self.said or self.rows.sample is not None or self.has_drawn(row):
            return self.said
        return self.said | {"seed": None}

    @property
    def changes(self) -> list[str]:
        """A note of the parameters that have another value than by default, and stand in no column for the eye."""
        values = {one.name: self.values[one.name] for one in self.metric.said if self.values[one.name] != one.default}
        said = [f"{name} = {value if isinstance(value, float) else show(value)}" for name, value in values.items()]
        return [f"{self.metric.name}: {', '.join(said)}"] if said else []

    def draws(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return a note of what was drawn at random for rows that the metric's function returned, with the seed."""
        drawn = self.metric.drawn
        rows = [row for row in rows if self.has_drawn(row)]
        told = ["drawn at random" if drawn is None else drawn({**self.said, **row}) for row in rows]
        return [f"{self.metric.name}: {text} (seed {self.rows.seed})" for text in dict.fromkeys(told)]

    def lost_shards(self, card: Card) -> list[str]:
        """Return a note for each shard of a space that is missing."""
        lost = self.catalog.lost_shards(card.space)
        return [f"{card.space}: {shard} is missing. Run: embstore verify" for shard in lost]

    def explained(self, row: dict[str, Any], *cards: Card) -> dict[str, Any]:
        """Return a row of spaces; where it has no vector and they have lost shards, with this as its reason."""
        if row["n"] or row.get("n_zero") or not row["reason"]:
            return row
        spaces = dict.fromkeys(card.space for card in cards)
        lost = [shard for space in spaces for shard in self.catalog.lost_shards(space)]
        if not lost:
            return row
        return row | {"reason": f"{NONE_LEFT}: {', '.join(lost)} {'is' if len(lost) == 1 else 'are'} missing"}

    def answers(self, card: Card, layers: Sequence[Layer], cases: Sequence[Case]) -> Iterator[tuple[Layer, Answer]]:
        """Yield the rows of some layers of a space, in all its cases, as they are computed."""
        only = self.rows.select(self.catalog, card.space)
        said = self.small_sample(card, only)
        notes = [note for case in cases for note in case.notes]
        across = tuple(dict.fromkeys(column for case in cases for column in case.columns))
        for layer, (data, of_layer) in zip(layers, self.layers_among(card, layers, only), strict=True):
            rows = tuple(row | dict(case.columns) for case in cases for row in self._answer(data, case, layer))
            yield layer, Answer(rows, (*said, *of_layer, *notes), across, from_sums=self._is_from_sums(data))

    def small_sample(self, card: Card, ids: Ids | None) -> list[str]:
        """Return a note where there are fewer items than the sample should have."""
        if ids is None or self.rows.sample is None or len(ids) >= self.rows.sample:
            return []
        return [f"{card.space}: the sample of {self.rows.sample} is all {len(ids)} items."]

    def layers_among(
        self, card: Card, layers: Sequence[Layer], only: Ids | None
    ) -> Iterator[tuple[LayerData | NotComputable, list[str]]]:
        """Yield the vectors of some layers of a space, and what must be said of each.

        Of a layer that cannot be transformed it yields why not.

        Args:
            card: of the space.
            layers: of the space.
            only: the ids of the items that are selected, ascending; None for all that the space holds.
        """
        if self.rows.where is not None:
            self.catalog.check_texts(card.space)
        summaries = self.catalog.summaries(card.space) if only is None else {}
        for layer in layers:
            yield self._transformed(StoredLayer(self.catalog, card, layer, only, summaries.get(layer.id)))

    def _transformed(self, data: StoredLayer) -> tuple[LayerData | NotComputable, list[str]]:
        if not self.rows.steps:
            return data, []
        try:
            transform = fit(data, self.rows.steps)
        except NotComputable as error:
            return NotComputable(str(error), data.summary.n), []
        notes = [f"{data.card.space} layer {data.layer.name}: {note}." for note in transform.notes]
        return TransformedLayer(data, transform, transform.columns), notes

    def _answer(self, data: LayerData | NotComputable, case: Case, layer: Layer) -> list[dict[str, Any]]:
        if isinstance(data, NotComputable):
            return self._without_vectors(data, case)
        try:
            beside = {"sentences": self._sentences(case.sentence_space, layer, data)} if case.sentence_space else {}
            return rows_of(self.metric.function(data, **case.inputs, **beside, **self.settings))
        except NotComputable as error:
            return [self.metric.empty(data.summary.n, str(error))]

    def _without_vectors(self, why: NotComputable, case: Case) -> list[dict[str, Any]]:
        """Return the rows of a layer that cannot be transformed: as many as there would be, n of what they count."""
        if self.metric.needs in ("pairs", "lexicon", "word sets"):
            try:
                return rows_of(self.metric.function(NoVectors(str(why)), **case.inputs, **self.settings))
            except NotComputable:
                return [self.metric.empty(0, str(why))]
        row = self.metric.empty(why.n, str(why))
        words = case.inputs["contexts"].names if self.values.get("word") and "word" in row else ()
        return [row | {"word": word} for word in words] or [row]

    def _sentences(self, space: str, layer: Layer, data: LayerData) -> LayerData:
        """Return the vectors of a layer of a space of sentences, after the transform of ``data``."""
        card = self.catalog.cards[space]
        if layer not in card.layers.members:
            raise NotComputable(f"{space} has no layer {layer.name}")
        stored = StoredLayer(self.catalog, card, layer)
        return TransformedLayer(stored, data.transform, data.dims) if isinstance(data, TransformedLayer) else stored

    def _is_from_sums(self, data: LayerData | NotComputable) -> bool:
        return self.metric.needs == "summary" and isinstance(data, StoredLayer) and not data.was_read


def check_seed(seed: int) -> None:
    """Raise UsageError if numpy cannot draw from this seed."""
    if seed < 0:
        raise UsageError(f"seed must be at least 0, not {seed}.")


def stored_ids(catalog: Catalog, space: str, only: Ids | None = None) -> Ids:
    """Return the ids that a space holds, ascending: all, or those that are in ``only``."""
    from embstore.storage.files.vectors import LayerVectors  # brings pyarrow, which a summary does not need

    card = catalog.cards[space]
    return LayerVectors(catalog.shards[space], card.layers.ids[0], card.dim, only).ids()


def describe(card: Card, layer: Layer) -> dict[str, Any]:
    """Return the columns that say of which space and layer a row is."""
    return {
        "space": card.space, "model": card.model, "unit": card.unit.value, "pooling": card.pooling.value,
        "template": card.template.pattern, "layer": layer.id, "layer_name": layer.name,
    }  # fmt: skip
