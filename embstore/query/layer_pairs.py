"""Compute a metric of two layers for each pair of layers, and hold similarities against those of
shuffled items.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle, product
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import QueryError, check_known
from embstore.base.progress import task
from embstore.base.space import Layer, Unit
from embstore.base.table import Pivot, Table, show
from embstore.metrics import LayerData, NotComputable, rows_of
from embstore.metrics.declaration import Similarity
from embstore.metrics.explain import CacheLookup
from embstore.metrics.numerics import statistics
from embstore.metrics.numerics.layer_pairs import zero_ids
from embstore.metrics.significance import PERMUTATION_COLUMNS
from embstore.query import provenance
from embstore.query.cache import Answers, Question
from embstore.query.common import difference_notes, source_notes
from embstore.query.compute import GroupLayer, restricted, selected_layers
from embstore.query.grouping import Groups, item_groups
from embstore.query.missing import build_command
from embstore.query.request import MetricRequest, missing_words, stored_ids
from embstore.storage.answers import Answer
from embstore.storage.card import Card, select_layers
from embstore.storage.catalog import Catalog, Ids

Positions = NDArray[np.int64]

_MATRIX_BYTES = 4 << 30
_MIN_ORDERS = 20


@dataclass(frozen=True)
class ShuffledLayer(GroupLayer):
    """The vectors of a layer in some order; its nearest neighbours are searched for once for all
    orders.
    """

    order: Positions | None = (
        None  # positions (n,) of the items that the vectors are of; None: their own
    )
    original: "ShuffledLayer | None" = None
    found: dict[Any, Any] = field(default_factory=dict)

    def in_order(self, order: Positions) -> "ShuffledLayer":
        """Return the layer with the items' vectors in another order."""
        return ShuffledLayer(self.ids, self.vectors[order], self.dims, order, self)

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False, only: Ids | None = None
    ) -> tuple[Ids, Positions, NDArray[np.float64]]:
        """Return the k nearest others, with the ties of the original order: see
        :class:`LayerData`.
        """
        is_whole = not distinct and (only is None or len(only) == len(self.ids))
        if self.order is not None and self.original is not None and is_whole:
            ids, positions, values = self.original.neighbours(k, distance)
            if len(ids) == len(self.ids):  # else zero vectors were left out
                return ids, np.argsort(self.order)[positions[self.order]], values[self.order]
        if not is_whole:
            return super().neighbours(k, distance, distinct=distinct, only=only)
        if (k, distance) not in self.found:
            self.found[k, distance] = super().neighbours(k, distance)
        return cast("tuple[Ids, Positions, NDArray[np.float64]]", self.found[k, distance])


def calibrated(
    request: MetricRequest,
    arguments: Mapping[str, Any],
    left: Sequence[LayerData],
    right: Sequence[LayerData] | None,
    ids: Ids,
    rows: Sequence[provenance.Row],
    blocks: Positions | None,
) -> Iterator[provenance.Row]:
    """Yield the rows of a grid of layers (None on the right: with each other) with what shuffled
    items give.

    The arguments are as of the metric's function; ``blocks`` (n,) are the numbers of the items'
    blocks, if any.
    """
    similarity, parameters = request.metric.similarity, request.parameters
    assert similarity is not None
    others, is_over_max = left if right is None else right, parameters["over"] == "max"
    scores = similarity.scores(rows).reshape(len(left), len(others))
    is_candidate = (
        np.ones(scores.shape, bool) if right is not None else ~np.eye(len(left), dtype=bool)
    )
    values, n_shuffled = np.full((4, *scores.shape), np.nan), None
    for excluded, pairs in _pairs_by_zeros(
        similarity, arguments, left, others, together=is_over_max
    ):
        used, used_2 = (np.flatnonzero(pairs.any(axis=axis)).tolist() for axis in (1, 0))
        grid = np.ix_(used, used_2)
        if np.isnan(scores[grid]).all():
            continue
        is_kept = np.isin(ids, excluded, invert=True)
        kept_blocks = None if blocks is None else np.unique(blocks[is_kept], return_inverse=True)[1]
        sides = [left[at] for at in used], [others[at] for at in used_2]
        observed, shuffled = _shuffled_similarities(
            request, arguments, *sides, ids[is_kept], kept_blocks
        )
        shuffled[:, np.isnan(scores[grid])] = np.nan
        found = statistics.calibrate(observed, shuffled, is_candidate if is_over_max else None)
        means = similarity.value_of(shuffled.mean(axis=0))
        part = np.stack([means, found.p, similarity.value_of(found.threshold), found.calibrated])
        values[:, pairs] = part[:, pairs[grid]]
        n_shuffled = int(is_kept.sum()) if is_over_max else None
    for row, (mean, p, threshold, score) in zip(rows, values.reshape(4, -1).T, strict=True):
        has_value = row[similarity.column] is not None and np.isfinite(threshold)
        yield row | {
            "permutations": parameters["permutations"],
            "over": parameters["over"],
            "n_shuffled": n_shuffled,
            "shuffled": float(mean) if has_value and np.isfinite(mean) else None,
            "p": float(p) if has_value else None,
            "threshold": float(threshold) if has_value else None,
            "calibrated": float(score) if has_value else None,
        }


def _pairs_by_zeros(
    similarity: Similarity,
    arguments: Mapping[str, Any],
    left: Sequence[LayerData],
    right: Sequence[LayerData],
    *,
    together: bool,
) -> list[tuple[Ids, NDArray[np.bool_]]]:
    """Group the pairs of a grid of layers by the items that are left out since their vector is zero
    in one of the two.

    Returns:
        The ids that are left out, and which pairs that holds for, bool (left, right); all pairs if
        the metric needs no direction, or if all are to be compared ``together``, without the zero
        vectors of any layer.
    """
    everything = np.ones((len(left), len(right)), bool)
    if not similarity.needs_direction(arguments):
        return [(np.empty(0, np.int64), everything)]
    zeros, zeros_2 = ([zero_ids(layer) for layer in side] for side in (left, right))
    if together:
        return [(np.concatenate([*zeros, *zeros_2]), everything)]
    groups: dict[bytes, NDArray[np.bool_]] = {}
    for i, j in np.ndindex(everything.shape):
        groups.setdefault(np.union1d(zeros[i], zeros_2[j]).tobytes(), np.zeros_like(everything))[
            i, j
        ] = True
    return [(np.frombuffer(excluded, np.int64), pairs) for excluded, pairs in groups.items()]


def _shuffled_similarities(
    request: MetricRequest,
    arguments: Mapping[str, Any],
    left: Sequence[LayerData],
    right: Sequence[LayerData],
    ids: Ids,
    blocks: Positions | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the similarities (left, right) of a grid of layers, and those of each permutation of
    the items.
    """
    similarity, n_draws = request.metric.similarity, request.parameters["permutations"]
    assert similarity is not None
    drawn = len(ids), n_draws, request.selection.seed
    if similarity.matrix is not None and similarity.has_matrix(arguments):
        matrices = _matrices(similarity, arguments, (*left, *right), ids)
        firsts, seconds = matrices[: len(left)], matrices[len(left) :]
        if blocks is None and n_draws < len(ids):
            return statistics.cyclic_products(firsts, seconds, *statistics.draw_cycle(*drawn))
        return statistics.permuted_products(
            firsts, seconds, statistics.draw_permutations(*drawn, blocks)
        )
    layers = {
        id(each): ShuffledLayer(ids, each.gather(ids)[1], each.dims) for each in (*left, *right)
    }
    own, shown = ([layers[id(each)] for each in side] for side in (left, right))

    def similarities(second: Sequence[LayerData]) -> NDArray[np.float64]:
        found = similarity.scores(rows_of(request.metric.function(own, second, ids, **arguments)))
        return found.reshape(len(left), len(right))

    orders = statistics.draw_permutations(*drawn, blocks)
    shuffled = np.array(
        [similarities([each.in_order(order) for each in shown]) for order in orders]
    )
    return similarities(shown), shuffled


def _matrices(
    similarity: Similarity, arguments: Mapping[str, Any], layers: Sequence[LayerData], ids: Ids
) -> list[NDArray[np.float32]]:
    """Return a matrix of each layer, of which a sum of products is the similarity; one of a layer
    that is repeated.
    """
    assert similarity.matrix is not None
    distinct = {id(layer): layer for layer in layers}
    n_bytes = (
        12 * len(distinct) * len(ids) ** 2
    )  # the matrices in float32, and as they are multiplied
    if n_bytes > _MATRIX_BYTES:
        raise QueryError(
            f"permutations of {len(ids):,} items in {len(distinct)} layers need {n_bytes >> 30}"
            " GiB. Draw some: sample=2000"
        )
    # In float32, as they are multiplied, so that only one at a time is wider.
    matrices = {
        key: similarity.matrix(layer, ids, **arguments).astype(np.float32)
        for key, layer in distinct.items()
    }
    return [matrices[id(layer)] for layer in layers]


def blocks_of(catalog: Catalog, card: Card, ids: Ids, column: str | None) -> Any:
    """Return the number of the block of each item (n,), by a column, else by sentence of
    occurrences; else None.
    """
    blocks = item_groups(catalog, card, ids, column)
    if blocks is not None and len(ids):
        n_orders = math.prod(
            math.factorial(min(n, 5)) for n in np.bincount(np.bincount(blocks)).tolist()
        )
        if n_orders < _MIN_ORDERS:
            raise QueryError(
                f"{card.space}: {n_orders} orders of {blocks.max() + 1} blocks: too few for a p of"
                " .05."
            )
    return blocks


_MIN_DRAWS = 19  # with which p may be .05


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two spaces of a comparison (possibly the same), with its layers that are
    compared.
    """

    catalog: Catalog
    card: Card
    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        return self.card.space

    @cached_property
    def ids(self) -> Ids:
        """Ids of all items of the space, ascending."""
        return stored_ids(self.catalog, self.card.space)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two spaces to compare, or a space with itself."""

    request: MetricRequest
    side: _Side
    other: _Side

    @property
    def is_one_space(self) -> bool:
        return self.side.name == self.other.name

    @cached_property
    def common_ids(self) -> Ids:
        """Ids of the items that both spaces have, ascending."""
        if self.is_one_space:
            return self.side.ids
        return np.intersect1d(self.side.ids, self.other.ids, assume_unique=True)

    @property
    def is_disjoint(self) -> bool:
        """Whether the spaces have no item in common."""
        if self.is_one_space:
            return False
        return self.side.card.unit is not self.other.card.unit or not len(self.common_ids)

    def disjoint_note(self) -> str:
        """Return a note on two spaces without common items, with the likely cause and the
        remedy.
        """
        card, other = self.side.card, self.other.card
        message = (
            f"{card.space} (of {card.unit}s) and {other.space} (of {other.unit}s) have no item in"
            " common. "
        )
        if card.unit is other.unit:
            return (
                f"{message}Embed the same texts in both, as with: {build_command(['SOURCE'], card)}"
            )
        return (
            f"{message}Items of two units are never the same: choose spaces of one unit, with"
            " `spaces` and `against`."
        )

    def selected(self) -> Ids:
        """Return the ids of the selected items that both spaces have, ascending."""
        selection, ids = self.request.selection, self.common_ids
        kept = selection.ids(self.side.catalog, [self.side.card, self.other.card])
        if kept is not None:
            ids = np.intersect1d(ids, kept, assume_unique=True)
        return selection.draw(ids)

    def find(self, answers: Answers) -> tuple[Question | None, Answer | None]:
        """Return the question to the store and its stored answer; None if incomplete."""
        side, other = self.side, self.other
        question = answers.question(side.card, side.layers, other.card, other.layers)
        answer, groups = answers.find(question), answers.groups(side.card, other.card)
        n_rows = (
            len(side.layers) * len(other.layers) * (1 if groups is None else len(groups.members))
        )
        return question, answer if answer is not None and len(answer.rows) == n_rows else None

    def compute(self, groups: Groups | None) -> Answer:
        """Compute the answer for the layers of one space, with each other or with those of another
        space.
        """
        request, side, other = self.request, self.side, self.other
        notes = []
        if len(self.common_ids) < max(len(side.ids), len(other.ids)):
            sizes = f"{len(side.ids)} and {len(other.ids)}"
            notes.append(
                f"{side.name} and {other.name} have {len(self.common_ids)} items in common, of"
                f" {sizes}."
            )
        ids = self.selected() if groups is None else groups.ids
        notes += provenance.sample_notes(request.selection, side.card, ids)
        down, down_notes = _layers(request, side, ids)
        across, across_notes = (None, []) if self.is_one_space else _layers(request, other, ids)
        notes += [*down_notes, *across_notes]
        if 0 < (n_draws := request.parameters.get("permutations", 0)) < _MIN_DRAWS:
            notes.append(
                f"{n_draws} permutations: p is {1 / (n_draws + 1):.3f} at least. Take {_MIN_DRAWS}"
                " or more."
            )
        if groups is None:
            return Answer(tuple(self._calibrated(down, across, ids)), tuple(notes))
        rows: list[provenance.Row] = []
        for group in groups.members:
            left = _restricted(down, group.ids)
            right = None if across is None else _restricted(across, group.ids)
            rows += [
                {"group": group.name} | row for row in self._calibrated(left, right, group.ids)
            ]
        return Answer(tuple(rows), (*notes, *groups.notes))

    def _calibrated(
        self,
        down: Sequence[LayerData | NotComputable],
        across: Sequence[LayerData | NotComputable] | None,
        ids: Ids,
    ) -> Iterable[provenance.Row]:
        """Compute the metric's rows; if it is asked for, with what shuffled items give."""
        request, catalog, card = self.request, self.side.catalog, self.side.card
        arguments = dict(request.arguments)
        if "group" in request.parameters:
            arguments["groups"] = item_groups(catalog, card, ids, request.parameters["group"])
        rows = list(_matrix(request, down, across, ids, arguments))
        parameters, usual = request.parameters, "sentence" if card.unit is Unit.OCCURRENCE else None
        if "group" in parameters:
            rows = [row | {"grouped_by": parameters["group"] or usual or "item"} for row in rows]
        if not parameters.get("permutations"):
            return rows
        rows = [row | {"block": parameters["block"] or usual} for row in rows]

        blocks = blocks_of(catalog, card, ids, request.parameters["block"])
        left = [layer for layer in down if not isinstance(layer, NotComputable)]
        right = (
            None
            if across is None
            else [layer for layer in across if not isinstance(layer, NotComputable)]
        )
        first = request.metric.similarity.column if request.metric.similarity else ""
        if (
            len(left) < len(down)
            or len(right or left) < len(across or down)
            or all(row[first] is None for row in rows)
        ):
            return [
                dict.fromkeys(column.name for column in PERMUTATION_COLUMNS) | row for row in rows
            ]
        return calibrated(request, arguments, left, right, ids, rows, blocks)


def compare(
    catalog: Catalog,
    request: MetricRequest,
    cards: Sequence[Card],
    layers: str,
    answers: Answers,
    notes: Sequence[str] = (),
) -> Table:
    """Compute a metric of two layers for each pair of layers; notes on the choice of the spaces
    come first.
    """
    pairs, missing = _pairs(catalog, request, cards, layers)
    rows: list[provenance.Row] = []
    disjoint = []
    notes = [*notes, *missing]
    for pair in pairs:
        side, other, (question, answer) = pair.side, pair.other, pair.find(answers)
        if answer is None and pair.is_disjoint:
            disjoint.append(pair.disjoint_note())
            continue
        if answer is None:
            n_read = len(side.layers) + (0 if pair.is_one_space else len(other.layers))
            with task("compute", f"{request.metric.name} of {side.name}", n_read):
                answer = pair.compute(answers.groups(side.card, other.card))
            answers.store(question, answer)
        notes += [*answer.notes, *provenance.draw_notes(request, answer.rows)]
        word_columns, word_notes = missing_words(
            catalog, request.selection.words, side.card, other.card
        )
        notes += word_notes
        rows += [row | word_columns for row in _described(request, side, other, answer)]
    if disjoint and len(disjoint) == len(pairs):
        raise QueryError(" ".join([*disjoint, *notes]))
    return _tabulate(
        request,
        rows,
        [
            *notes,
            *source_notes(catalog, request),
            *difference_notes(catalog, request, rows),
            *disjoint,
        ],
    )


def stored_pairs(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], layers: str, answers: Answers
) -> list[CacheLookup]:
    """Return the pairs of spaces that :func:`compare` would compare, each with whether its answer
    is stored.
    """
    states = []
    for pair in _pairs(catalog, request, cards, layers)[0]:
        is_stored = pair.find(answers)[1] is not None
        names = tuple(layer.name for layer in pair.side.layers)
        states.append(CacheLookup(pair.side.name, pair.other.name, names, is_stored))
    return states


def _pairs(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], layers: str
) -> tuple[list[_Pair], list[str]]:
    """Return the pairs of spaces to compare, each space with itself or with that of ``against``;
    and notes.
    """
    name = request.parameters.get("against")
    check_known("space", name, catalog.cards)
    against = None if name is None else catalog.cards[name]
    if against is not None:
        cards = [card for card in cards if card.space != against.space] or [against]
    other = [] if against is None or against in cards else [against]
    chosen, missing = select_layers([*cards, *other], layers)
    sides = [_Side(catalog, card, chosen[card.space]) for card in cards if card.space in chosen]
    if against is None:
        return [_Pair(request, side, side) for side in sides], missing
    if not sides or against.space not in chosen:
        raise QueryError(f"there is nothing to compare: {' '.join(missing)}")
    second = _Side(catalog, against, chosen[against.space])
    return [_Pair(request, side, second) for side in sides], missing


def _restricted(
    layers: Sequence[LayerData | NotComputable], ids: Ids
) -> list[LayerData | NotComputable]:
    """Return the vectors of some items in each layer."""
    return [
        layer if isinstance(layer, NotComputable) else restricted(layer, ids) for layer in layers
    ]


def _layers(
    request: MetricRequest, side: _Side, ids: Ids
) -> tuple[list[LayerData | NotComputable], list[str]]:
    """Return the vectors of each layer of one side, or the reason why there are none; and notes."""
    only = None if len(ids) == len(side.ids) else ids
    layers = list(selected_layers(side.catalog, request.selection, side.card, side.layers, only))
    return [data for data, _ in layers], [note for _, notes in layers for note in notes]


def _described(
    request: MetricRequest, side: _Side, other: _Side, answer: Answer
) -> Iterator[provenance.Row]:
    """Yield the rows of an answer with the columns that name their two layers, and their
    provenance.
    """
    revision = provenance.revision_of(other.card).values()
    pairs = [*product(side.layers, other.layers)]
    for (layer, layer_2), row in zip(
        cycle(pairs), answer.rows, strict=False
    ):  # the pairs of each group
        second = dict(
            zip(SECOND_COLUMNS, (other.name, *revision, layer_2.id, layer_2.name), strict=True)
        )
        row = row | {
            "reason": _with_layer_name(
                row["reason"], {"layer": (side, layer), "layer_2": (other, layer_2)}
            )
        }
        yield (
            provenance.describe(side.card, layer)
            | second
            | row
            | provenance.provenance(request, row)
        )


def _with_layer_name(reason: str | None, sides: Mapping[str, tuple[_Side, Layer]]) -> str | None:
    """Replace ``layer: …`` or ``layer_2: …`` at the beginning of a reason by the space and layer
    that it is about.
    """
    key, _, text = (reason or "").partition(": ")
    if key not in sides:
        return reason
    side, layer = sides[key]
    return f"{side.name}, layer {layer.name}: {text}"


def _matrix(
    request: MetricRequest,
    down: Sequence[LayerData | NotComputable],
    across: Sequence[LayerData | NotComputable] | None,
    ids: Ids,
    arguments: Mapping[str, Any],
) -> Iterator[provenance.Row]:
    """Compute the metric's rows, for each layer down and each across (None: the same layers).

    Layers that cannot be transformed get rows of nulls with the reason.
    """
    metric, failure = request.metric, None if len(ids) else provenance.NOTHING_SELECTED
    left = [layer for layer in down if not isinstance(layer, NotComputable)]
    right = (
        None
        if across is None
        else [layer for layer in across if not isinstance(layer, NotComputable)]
    )
    rows: Iterator[provenance.Row] = iter(())
    if failure is None and left and right != []:
        try:
            metric_rows = rows_of(metric.function(left, right, ids, **arguments))
        except NotComputable as error:
            failure = str(error)
        else:
            n_pairs = len(left) * len(left if right is None else right)
            if len(metric_rows) != n_pairs:  # a plug-in may give others
                found = f"{len(metric_rows)} rows for {n_pairs} pairs of layers"
                raise QueryError(f"{metric.name} gave {found}: see Metric.function.")
            rows = iter(metric_rows)
    for first in down:
        for second in down if across is None else across:
            if failure:
                yield metric.empty(len(ids), failure)
            elif isinstance(first, NotComputable):
                yield metric.empty(len(ids), f"layer: {first}")
            elif isinstance(second, NotComputable):
                yield metric.empty(len(ids), f"layer_2: {second}")
            else:
                yield next(rows)


SECOND_COLUMNS = ("space_2", "revision_2", "step_2", "layer_2", "layer_name_2")


def _tabulate(
    request: MetricRequest, rows: Sequence[provenance.Row], notes: Sequence[str]
) -> Table:
    """Return the rows as a table that is printed with layers down and layers across, with notes."""
    by, described = request.selection.by, [*request.selection.columns()]
    shown = next(column.name for column in request.metric.columns if column.shown)
    whole = provenance.whole_samples(request.selection, {row["space"] for row in rows}, notes)
    notes = [*notes, *_reasons(rows, shown), *provenance.counts(rows, described, (), whole)]
    down = ("layer_name",) if len({row["space"] for row in rows}) == 1 else ("space", "layer_name")
    heads = tuple("layer" if column == "layer_name" else column for column in down)
    if by is not None:
        down, heads = ("group", *down), (by.column, *heads)
    pivot = Pivot(down, across=("layer_name_2",), values=(shown,), heads=heads)
    if request.parameters.get("permutations") and (similarity := request.metric.similarity):
        values = dict.fromkeys((shown, similarity.column, similarity.chance, "p", "calibrated"))
        pivot = Pivot(
            (*down, "layer_name_2"), across=(), values=tuple(values), heads=(*heads, "layer_2")
        )
    notes += _notes_on_pairs(request, rows, pivot.values)
    return provenance.tabulate(request, rows, notes, pivot, SECOND_COLUMNS)


def _reasons(rows: Sequence[provenance.Row], shown: str) -> Iterator[str]:
    """Yield the reason of each row whose printed value is missing, with its space unless the reason
    names it.
    """
    for row in rows:
        if row["reason"] is None or row[shown] is not None:
            continue
        names_layer = row["reason"].startswith(
            (f"{row['space']}, layer ", f"{row['space_2']}, layer ")
        )
        subject = row["space"] if row.get("group") is None else f"{row['space']}, {row['group']}"
        yield f"{row['reason']}." if names_layer else f"{subject}: {row['reason']}."


def _notes_on_pairs(
    request: MetricRequest,
    rows: Sequence[provenance.Row],
    printed: Collection[str | tuple[str, ...]],
) -> Iterator[str]:
    """Yield notes on columns that are not printed, and that all pairs of layers of two spaces
    share.
    """
    for pair in dict.fromkeys((row["space"], row["space_2"]) for row in rows):
        pair_rows = [row for row in rows if (row["space"], row["space_2"]) == pair]
        name = pair[0] if pair[0] == pair[1] else f"{pair[0]} (down) and {pair[1]} (across)"
        for column in request.metric.columns:
            if column.name in printed:
                continue
            values = {row[column.name] for row in pair_rows} - {None}
            if column.name in ("n_tied", "chance") and len(values) > 1:
                yield (
                    f"{name}: {column.name} = {show(min(values))}–{show(max(values))}"
                    f" ({column.help})"
                )
            elif (
                not column.shown
                and len(values) == 1
                and ((value := values.pop()) or column.name == "chance")
            ):
                yield f"{name}: {column.name} = {show(value)} ({column.help})"
