"""Compute a metric of two layers for each pair of layers of a space, or of two spaces."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, cycle, product
from typing import Any

import numpy as np

from embstore.base.errors import QueryError, UsageError
from embstore.base.progress import task
from embstore.base.space import Layer
from embstore.metrics import LayerData, NotComputable, rows_of
from embstore.metrics.explain import CacheLookup
from embstore.metrics.significance import PERMUTATION_COLUMNS
from embstore.query import notes, provenance
from embstore.query.cache import Answers, Question
from embstore.query.compute import MetricRows, selected_layers
from embstore.query.group_layers import restricted
from embstore.query.grouping import Groups, item_groups
from embstore.query.lookup import look_up, missing_query_notes, parse_query
from embstore.query.missing import build_command
from embstore.query.permutations import blocks_of, calibrated
from embstore.query.request import NOTHING_SELECTED, MetricRequest, missing_words, stored_ids
from embstore.storage.answers import Answer
from embstore.storage.card import Card, compared_space, select_layers
from embstore.storage.catalog import Catalog, Ids

Row = provenance.Row
Layers = Sequence[LayerData | NotComputable]


@dataclass(frozen=True, eq=False)
class LayerPairs:
    """All pairs of layers of two spaces, or of one space with each other.

    Attributes:
        other: Card of the second space; that of the first to compare its layers with each other.
        items: Ids of the items that are measured one by one; None for no items.
    """

    catalog: Catalog
    request: MetricRequest
    card: Card
    layers: Sequence[Layer]
    other: Card
    other_layers: Sequence[Layer]
    items: Ids | None = None

    @property
    def is_one_space(self) -> bool:
        """Whether layers of one space are compared with each other."""
        return self.card.space == self.other.space

    @property
    def name(self) -> str:
        """Names of the spaces."""
        return self.card.space if self.is_one_space else f"{self.card.space} and {self.other.space}"

    @cached_property
    def ids(self) -> Ids:
        """Ids of the items that both spaces have, ascending."""
        ids = stored_ids(self.catalog, self.card.space)
        if self.is_one_space:
            return ids
        return np.intersect1d(ids, stored_ids(self.catalog, self.other.space), assume_unique=True)

    @property
    def disjoint_reason(self) -> str | None:
        """Why the spaces have no item in common, with the remedy; None if they have any."""
        is_of_one_unit = self.card.unit is self.other.unit
        if self.is_one_space or (is_of_one_unit and len(self.ids)):
            return None
        remedy = "Choose spaces of one unit, with `spaces` and `against`."
        if is_of_one_unit:
            command = build_command(["SOURCE"], self.card)
            remedy = f"Embed the same texts in both, as with: {command}"
        return f"{self.name} have no item in common. {remedy}"

    def selected(self) -> Ids:
        """Return the ids of the selected items that both spaces have, ascending."""
        selection, ids = self.request.selection, self.ids
        kept = selection.ids(self.catalog, [self.card, self.other])
        if kept is not None:
            ids = np.intersect1d(ids, kept, assume_unique=True)
        return selection.draw(ids)

    def with_items(self, ids: Ids) -> Ids:
        """Return ids with those of the items that are measured one by one."""
        return ids if self.items is None else np.union1d(ids, np.intersect1d(self.items, self.ids))

    def _left_out(self) -> Iterator[str]:
        """Yield how many items two spaces have in common, if one has others."""
        counts = [self.catalog.count(card.space) for card in (self.card, self.other)]
        if len(self.ids) < max(counts):
            yield (
                f"{self.name} have {len(self.ids):,} items in common, of {counts[0]:,} and"
                f" {counts[1]:,}."
            )

    def question(self, answers: Answers) -> Question | None:
        """Return the question to the store; None if answers are not stored."""
        return answers.question(self.card, self.layers, self.other, self.other_layers)

    def compute(self, groups: Groups | None) -> Answer:
        """Compute the answer for all pairs of layers, of all items or of each group."""
        selected = self.selected() if groups is None else groups.ids
        ids = self.with_items(selected)
        down, remarks = self._layers(self.card, self.layers, ids)
        remarks = [*self._left_out(), *remarks]
        if len(ids) > len(selected):
            remarks.append(
                f"{len(ids) - len(selected)} of the named items are not among the selected ones,"
                " and are added to them."
            )
        across: Layers | None = None
        if not self.is_one_space or self.other_layers != self.layers:
            across, more = self._layers(self.other, self.other_layers, ids)
            remarks += more
        if groups is None:
            return Answer(tuple(self._rows(down, across, ids)), tuple(remarks))
        rows: list[Row] = []
        for group in groups.members:
            left = _restricted(down, group.ids)
            right = None if across is None else _restricted(across, group.ids)
            rows += [{"group": group.name} | row for row in self._rows(left, right, group.ids)]
        return Answer(tuple(rows), (*remarks, *groups.notes))

    def _layers(
        self, card: Card, layers: Sequence[Layer], ids: Ids
    ) -> tuple[list[LayerData | NotComputable], list[str]]:
        """Return the vectors of each layer, or the reason why there are none; and notes."""
        only = None if len(ids) == self.catalog.count(card.space) else ids
        selected = selected_layers(self.catalog, self.request.selection, card, layers, only)
        vectors, remarks = zip(*selected, strict=True)
        return [*vectors], [*chain(*remarks)]

    def _rows(self, down: Layers, across: Layers | None, ids: Ids) -> list[Row]:
        """Compute the metric's rows; if it is asked for, with what shuffled items give."""
        request, catalog, card = self.request, self.catalog, self.card
        parameters, arguments = request.parameters, dict(request.arguments)
        usual = "sentence" if card.unit.has_context else None
        columns: Row = {}
        if "group" in parameters:
            arguments["groups"] = item_groups(catalog, card, ids, parameters["group"])
            columns["grouped_by"] = parameters["group"] or usual or "item"
        if parameters.get("permutations"):
            columns["block"] = parameters["block"] or usual
        if "text" in parameters:
            arguments["items"] = self.items
        rows = [row | columns for row in _matrix(request, down, across, ids, arguments)]
        if "text" in parameters:
            self._name_items(rows)
        if not parameters.get("permutations"):
            return rows
        blocks = blocks_of(catalog, card, ids, parameters["block"])
        left, right = _computable(down), None if across is None else _computable(across)
        is_whole = len(left) == len(down) and len(right or left) == len(across or down)
        column = request.metric.similarity.column if request.metric.similarity else ""
        if not is_whole or all(row[column] is None for row in rows):
            empty: Row = dict.fromkeys(column.name for column in PERMUTATION_COLUMNS)
            return [empty | row for row in rows]
        return [*calibrated(request, arguments, left, right, ids, rows, blocks)]

    def _name_items(self, rows: Sequence[Row]) -> None:
        """Put the texts of items into rows of items."""
        lists = [row[name] or [] for row in rows for name in ("lost", "gained")]
        ids = [*(row["item_id"] for row in rows if row["item_id"] is not None), *chain(*lists)]
        items = self.catalog.items(ids) if ids else {}
        for row in (row for row in rows if row["item_id"] is not None):
            item = items[row["item_id"]]
            row["text"], row["context"] = item.text, item.shown if item.context else None
            for name in ("lost", "gained"):
                row[name] = [items[neighbour].shown for neighbour in row[name]]

    def described(self, shared: Row, answer: Answer) -> Iterator[Row]:
        """Yield the rows of an answer with the columns that name their two layers, and their
        settings.
        """
        pairs = cycle(product(self.layers, self.other_layers))  # again for each group
        for row in answer.rows:
            if "pair" in row:
                layer, layer_2 = self.layers[row["pair"][0]], self.other_layers[row["pair"][1]]
            else:
                layer, layer_2 = next(pairs)
            places = {"layer": (self.card, layer), "layer_2": (self.other, layer_2)}
            key, _, text = (row["reason"] or "").partition(": ")
            if key in places:  # of a layer that cannot be transformed
                card, named = places[key]
                row = row | {"reason": f"{card.space}, layer {named.name}: {text}"}
            yield (
                provenance.describe(self.card, layer)
                | provenance.describe_second(self.other, layer_2)
                | provenance.with_settings(self.request, shared, row)
            )


def compare(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], answers: Answers
) -> MetricRows:
    """Compute a metric of two layers for each pair of layers."""
    pairs, missing = find_pairs(catalog, request, cards)
    if request.parameters.get("text"):
        pairs, missing_items = _with_items(catalog, request, pairs)
        missing += missing_items
    shared = provenance.settings(request)
    answered: list[tuple[LayerPairs, Answer]] = []
    for pair in pairs:
        question = pair.question(answers)
        answer = answers.find(question)
        if answer is None and (reason := pair.disjoint_reason) is not None:
            missing.append(reason)
            continue
        if answer is None:
            n_read = len(pair.layers) + (0 if pair.is_one_space else len(pair.other_layers))
            with task("compute", f"{request.metric.name} of {pair.card.space}", n_read):
                answer = pair.compute(answers.groups(pair.card, pair.other))
            answers.store(question, answer)
        answered.append((pair, answer))
    rows_of = {pair.card.space: answer.rows for pair, answer in answered}
    kept, without_items = request.with_items([pair.card for pair, _ in answered], rows_of)
    missing += without_items
    rows: list[Row] = []
    drawn: list[str] = []
    more: list[str] = []
    for pair, answer in answered:
        if pair.card not in kept:
            continue
        if not pair.is_one_space:
            form = "from {} to {}" if request.metric.is_of_items else "{} down, {} across"
            more.append(form.format(pair.card.space, pair.other.space))
        word_columns, word_notes = missing_words(
            catalog, request.selection.words, pair.card, pair.other
        )
        missing += [*answer.notes, *word_notes]
        drawn.extend(notes.drawn(request, shared, answer.rows))
        rows.extend(row | word_columns for row in pair.described(shared, answer))
    if not rows:
        raise QueryError(" ".join(missing))
    return MetricRows(rows, drawn, missing, shared, more=[*more, *shuffles(request, rows)])


def shuffles(request: MetricRequest, rows: Sequence[Row]) -> Iterator[str]:
    """Yield how the items were shuffled, and how many of them if that is not all."""
    n_draws = request.parameters.get("permutations")
    if not n_draws or all(row["p"] is None for row in rows):
        return
    counts = {row["n_shuffled"] for row in rows if row["n_shuffled"] not in (None, row["n"])}
    of = f"the {' or '.join(map(str, sorted(counts)))}" if counts else "the"
    left_out = ", without those that are zero in any layer" if counts else ""
    blocks = {row["block"] for row in rows} - {None}
    in_blocks = "".join(f" in blocks by {name}" for name in blocks)
    yield (
        f"p, at least {1 / (n_draws + 1):.2g}, from {n_draws:,} permutations of {of} items"
        f"{left_out}{in_blocks} (seed {request.selection.seed})"
    )


def stored_pairs(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], answers: Answers
) -> Iterator[CacheLookup]:
    """Yield the pairs of spaces that :func:`compare` would compare, each with whether its answer is
    stored.
    """
    pairs = find_pairs(catalog, request, cards)[0]
    if request.parameters.get("text"):
        pairs = _with_items(catalog, request, pairs)[0]
    for pair in pairs:
        names = tuple(layer.name for layer in pair.layers)
        is_stored = answers.find(pair.question(answers)) is not None
        yield CacheLookup(pair.card.space, pair.other.space, names, is_stored)


def find_pairs(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card]
) -> tuple[list[LayerPairs], list[str]]:
    """Return the pairs of spaces to compare, each space with itself or with that of ``against``;
    and which layers are missing.
    """
    name = request.parameters.get("against")
    if name is None:
        chosen, missing = select_layers(cards, request.layers, request.spaces)
        others = {card.space: card for card in cards}
        if request.metric.is_of_items:
            single = [space for space, layers in chosen.items() if len(layers) == 1]
            if len(single) < len(chosen):
                reason = "drift is between layers, and it has one of those chosen."
                missing = [*missing, *request.spaces.left_out(cards, dict.fromkeys(single, reason))]
                chosen = {space: chosen[space] for space in chosen if space not in single}
    else:
        against = compared_space(catalog.cards, name)
        cards = [card for card in cards if card.space != against.space] or cards
        if cards == [against] and request.metric.is_of_items:
            raise UsageError(
                f"`against` names another space than {name}: without it, drift is between its own"
                " layers."
            )
        both = cards if cards[0].space == against.space else [*cards, against]
        chosen, missing = select_layers(both, request.layers, request.spaces)
        if against.space not in chosen or not any(card.space in chosen for card in cards):
            without = [card.space for card in (against, *cards) if card.space not in chosen]
            raise QueryError(
                f"there is nothing to compare: {', '.join(without)} has no layer"
                f" {request.layers!r}. One of {against.space} alone is named as SPACE:LAYER."
            )
        others = {card.space: against for card in cards}
    pairs = []
    for card in (card for card in cards if card.space in chosen):
        other = others[card.space]
        layers = other.layers.members if other.layers.are_named else chosen[other.space]
        pairs.append(LayerPairs(catalog, request, card, chosen[card.space], other, layers))
    return pairs, missing


def _with_items(
    catalog: Catalog, request: MetricRequest, pairs: Sequence[LayerPairs]
) -> tuple[list[LayerPairs], list[str]]:
    """Return the pairs of spaces that have the texts of a request, with the ids of their items; and
    which texts are missing in others.
    """
    queries = [parse_query(text) for text in request.parameters["text"]]
    spaces = [look_up(catalog, pair.card, queries, pair.layers[:1], None) for pair in pairs]
    missing = [
        note
        for query in queries
        for note in missing_query_notes(catalog, query, spaces, can_embed=False)
    ]
    with_items = [
        replace(pair, items=np.array([*space.stored.values()], np.int64))
        for pair, space in zip(pairs, spaces, strict=True)
        if space.stored
    ]
    return with_items, missing


def _computable(layers: Layers) -> list[LayerData]:
    """Return the layers that have vectors."""
    return [layer for layer in layers if not isinstance(layer, NotComputable)]


def _restricted(layers: Layers, ids: Ids) -> Layers:
    """Return the vectors of some items in each layer."""
    return [
        layer if isinstance(layer, NotComputable) else restricted(layer, ids) for layer in layers
    ]


def _matrix(
    request: MetricRequest,
    down: Layers,
    across: Layers | None,
    ids: Ids,
    arguments: Mapping[str, Any],
) -> Iterator[Row]:
    """Compute the metric's rows, for each layer down and each across (None: the same layers).

    Layers that cannot be transformed get rows of nulls with the reason; where rows are of items,
    each over all pairs of layers, one row says why there are none.
    """
    metric, failure = request.metric, None if len(ids) else NOTHING_SELECTED
    if metric.is_of_items and failure is None:
        unfit = (layer for layer in (*down, *(across or ())) if isinstance(layer, NotComputable))
        failure = next(map(str, unfit), None)
    left, right = _computable(down), None if across is None else _computable(across)
    rows: Iterator[Row] = iter(())
    if failure is None and left and right != []:
        try:
            computed = rows_of(metric(left, right, ids, **arguments))
        except NotComputable as error:
            failure = str(error)
        else:
            n_pairs = len(left) * len(left if right is None else right)
            if computed and "pair" in computed[0]:
                yield from computed
                return
            if len(computed) != n_pairs:  # a plug-in may give others
                raise QueryError(
                    f"{metric.name} gave {len(computed)} rows for {n_pairs} pairs of layers: see"
                    " Metric.function."
                )
            rows = iter(computed)
    if failure and metric.is_of_items:
        yield metric.empty(len(ids), failure) | {"pair": [0, len(across or down) - 1]}
        return
    for first, second in product(down, down if across is None else across):
        if failure:
            yield metric.empty(len(ids), failure)
        elif isinstance(first, NotComputable):
            yield metric.empty(len(ids), f"layer: {first}")
        elif isinstance(second, NotComputable):
            yield metric.empty(len(ids), f"layer_2: {second}")
        else:
            yield next(rows)
