"""Define a request for a metric: the metric, its parameters, and the items that it is computed
over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.arrays import Int64Array, distinct
from embstore.base.errors import UsageError
from embstore.base.space import Layer, Unit
from embstore.base.text import OF_SPACE, item_id, sha256_of_words
from embstore.query.words import WordList, read_sets
from embstore.storage.card import Card, SpaceFilter
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.sql.connections import NO_LIMITS, Limits

if TYPE_CHECKING:
    from embstore.metrics import Metric
    from embstore.metrics.transforms import Step
    from embstore.query.grouping import Grouping, Groups

NOTHING_SELECTED = "no item is selected"  # reason of a row without vectors


@dataclass(frozen=True, slots=True)
class Selection:
    """The items that a metric is computed over, and the transforms of their vectors.

    Attributes:
        where: SQL expression over the item columns; None keeps all items.
        sample: Number of items to draw at random, without replacement; None keeps all.
        seed: Random seed of the sample, and of what the metric draws.
        transforms: Names of transforms, applied left to right, each fitted on the selected items;
            ``steps``: parsed.
        by: Column that divides the items into groups, each with rows of its own; None for no
            groups.
        common: Spaces that must all have an item; none for no such condition.
        fits_groups: Whether transforms are fitted on each group of ``by``, instead of on all.
    """

    where: str | None = None
    sample: int | None = None
    seed: int = 0
    transforms: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    words: WordList | None = None
    by: "Grouping | None" = None
    common: tuple[str, ...] = ()
    fits_groups: bool = False
    steps: tuple["Step", ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"sample must be at least 1, not {self.sample}.")
        check_seed(self.seed)
        if self.transforms:
            from embstore.metrics.transforms import parse_transforms

            object.__setattr__(self, "steps", parse_transforms(self.transforms))
            object.__setattr__(self, "transforms", tuple(step.name for step in self.steps))

    def ids(self, catalog: Catalog, cards: Iterable[Card]) -> Ids | None:
        """Return the ids to keep, ascending, for some spaces, before a sample is drawn from them;
        None for all items.

        Ids may be among them that a space does not have. Of a single space, columns that depend on
        the space, as ``n_tokens``, are columns of ``where``; of items in common, those of each.
        """
        units = {card.space: card.unit for card in cards}
        kept: list[Ids] = []
        if self.where is not None:
            spaces: tuple[str | None, ...] = tuple(units) if len(units) == 1 else (None,)
            if self.common and any(name in self.where for name in OF_SPACE):
                spaces = self.common
            kept += [catalog.select(self.where, self.limits, space) for space in spaces]
        if self.words is not None:
            listed = [ids_of_words(catalog, unit, self.words) for unit in set(units.values())]
            # Those of digits may be ids, which have 63 bits and so at most 19 digits.
            ids = [int(text[:19]) % 2**63 for text in self.words.texts if text.isdecimal()]
            listed.append(np.array(ids, np.int64))
            kept.append(distinct(np.concatenate(listed)))
        kept += [catalog.ids(name) for name in self.common]
        return reduce(partial(np.intersect1d, assume_unique=True), kept) if kept else None

    def check_texts(self, catalog: Catalog, card: Card) -> None:
        """Raise DamagedError if texts select items, and that of an item of a space is missing."""
        if self.where is not None or (self.words is not None and card.unit.has_context):
            catalog.check_texts(card.space)  # an item without a text would be left out silently

    def select(self, catalog: Catalog, space: str) -> Ids | None:
        """Return the selected ids, ascending; None for all. Without a sample, ids of other spaces
        may be included.
        """
        chosen = self.ids(catalog, [catalog.cards[space]])
        return chosen if self.sample is None else self.draw(stored_ids(catalog, space, chosen))

    def groups(self, catalog: Catalog, space: str, other: str | None = None) -> "Groups | None":
        """Return the groups of a space's selected items, or of those that it shares with another;
        None for no groups.
        """
        if self.by is None:
            return None
        from embstore.query.grouping import divide

        kept = self.ids(catalog, [catalog.cards[space]])
        ids = stored_ids(catalog, space, kept)
        if other not in (None, space):
            ids = np.intersect1d(ids, stored_ids(catalog, str(other)), assume_unique=True)
        return divide(catalog, space, self.by, self.draw(ids))

    def draw(self, ids: Ids) -> Ids:
        """Draw the random sample from ascending ids, and return it ascending; all ids if they are
        not more.
        """
        if self.sample is None or self.sample >= len(ids):
            return ids
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(ids, self.sample, replace=False, shuffle=False))

    def columns(self) -> dict[str, Any]:
        """Return the columns that describe the selection in each row; none if all items are used
        untransformed.
        """
        columns: dict[str, Any] = {}
        if self.where is not None:
            columns["where"] = self.where
        if self.common:
            columns["common"] = ",".join(self.common)
        if self.words is not None:
            columns |= {"words": self.words.name, "words_sha256": sha256_of_words(self.words.texts)}
        if self.sample is not None:
            columns |= {"sample": self.sample, "seed": self.seed}
        if self.transforms:
            columns["transform"] = " ".join(self.transforms)
            if self.fits_groups:
                columns["fit"] = "group"
        if self.by is not None:
            columns |= self.by.columns()
        return columns


SpaceLayer = tuple[str, Layer]


@dataclass(frozen=True)
class MetricRequest:
    """A metric, its parameters, the spaces and layers, and the items that it is computed over.

    Attributes:
        common: Whether to keep the items that all spaces of the query have.
        references: Space and layer → those that ``versus`` compares them with; None for the best,
            or if there are none.
    """

    metric: "Metric"
    parameters: Mapping[str, Any]
    selection: Selection
    spaces: SpaceFilter
    layers: str
    common: bool = False
    references: Mapping[SpaceLayer, SpaceLayer | None] = field(default_factory=dict)

    @cached_property
    def sets(self) -> dict[str, WordList]:
        """The word sets among the parameters, which are read once."""
        has_sets = self.metric.needs in ("word sets", "word contexts", "lexicon")
        if not has_sets and self.parameters.get("value") != "axis":
            return {}
        return read_sets(self.metric.name, self.parameters)

    @property
    def grouping(self) -> "Grouping | None":
        """The groups of items that have rows of their own; None for none."""
        has_rows = not (self.metric.compares_groups or self.is_averaged)
        return self.selection.by if has_rows else None

    @property
    def is_averaged(self) -> bool:
        """Whether rows are means over groups."""
        return bool(self.parameters.get("average"))

    @property
    def has_group_baselines(self) -> bool:
        """Whether the baseline of each group of ``by`` is that of its own items."""
        return self.parameters.get("baseline") == "group"

    @property
    def is_estimated(self) -> bool:
        """Whether the number of each row has an interval, from parts of the items."""
        is_requested = self.parameters.get("ci") or self.parameters.get("versus") is not None
        return self.metric.parts is not None and bool(is_requested) and not self.is_averaged

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the metric's function besides its inputs, with the seed if it takes
        one.
        """
        arguments = {
            parameter.name: self.parameters[parameter.name]
            for parameter in self.metric.parameters
            if not parameter.is_input
        }
        if self.metric.is_seeded:
            arguments["seed"] = self.selection.seed
        return arguments

    @property
    def is_from_sums(self) -> bool:
        """Whether the stored sums alone give the answer, as fast as a stored answer would; with
        parameters such as ``std``, all vectors are read.
        """
        if self.metric.needs != "summary" or self.selection.columns():
            return False
        return all(
            self.parameters[parameter.name] == parameter.default
            for parameter in self.metric.parameters
        )

    def with_items(
        self, cards: Sequence[Card], rows: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> tuple[Sequence[Card], list[str]]:
        """Return the spaces that have some of the selected items by their rows, all if none has;
        and why others are left out.
        """
        reasons = {
            card.space: "none of its items is selected."
            for card in cards
            if {row["reason"] for row in rows[card.space]} == {NOTHING_SELECTED}
        }
        kept = [card for card in cards if card.space not in reasons]
        return (kept, self.spaces.left_out(cards, reasons)) if kept else (cards, [])


def check_seed(seed: int) -> None:
    """Raise UsageError if a random seed is negative."""
    if seed < 0:
        raise UsageError(f"seed must be at least 0, not {seed}.")


ALL_ITEMS = Selection()


def stored_ids(catalog: Catalog, space: str, only: Ids | None = None) -> Ids:
    """Return the ids of the items of a space, ascending; only those in ``only`` if it is given."""
    ids = catalog.ids(space)
    return ids if only is None else np.intersect1d(ids, only, assume_unique=True)


def ids_of_words(catalog: Catalog, unit: Unit, words: WordList) -> Ids:
    """Return the ids of the items of a unit that belong to the words of a list, stored or not."""
    return _with_positions(catalog, unit, words)[0]


def _with_positions(catalog: Catalog, unit: Unit, words: WordList) -> tuple[Ids, Int64Array]:
    """Return the ids of the items of a unit that belong to the words of a list, and the position of
    the word of each.
    """
    if unit.has_context:
        from embstore.storage.item_lookup import occurrences_of_words

        return occurrences_of_words(catalog, unit, words.texts)
    ids = np.array([item_id(unit, text) for text in words.texts], np.int64)
    return ids, np.arange(len(ids))


def missing_words(
    catalog: Catalog, words: WordList | None, *cards: Card
) -> tuple[dict[str, Any], list[str]]:
    """Count the words of a list that a space, or one of two spaces, has no item of; and name
    them.
    """
    if words is None:
        return {}, []
    from embstore.query.missing import missing_note  # which loads the metrics

    notes: list[str] = []
    all_missing: set[str] = set()
    for card in {card.space: card for card in cards}.values():
        missing = _missing_from(catalog, card, words)
        all_missing.update(missing)
        if missing:
            total = f"of the {len(words.texts)} words of {words.source or 'the list'}"
            notes.append(missing_note(card, missing, total))
    return {"words_missing": len(all_missing)}, notes


def _missing_from(catalog: Catalog, card: Card, words: WordList) -> tuple[str, ...]:
    """Return the words of a list without an item in a space."""
    ids, positions = _with_positions(catalog, card.unit, words)
    stored = set(positions[np.isin(ids, catalog.ids(card.space), assume_unique=True)].tolist())
    return tuple(word for i, word in enumerate(words.texts) if i not in stored)
