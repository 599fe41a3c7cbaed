"""Compute a metric over the layers of one space."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from embstore.base.space import Layer
from embstore.metrics import LayerData, NotComputable, rows_of
from embstore.metrics.transforms import fit
from embstore.query.inputs.case import Case
from embstore.query.layer_data import StoredLayer, TransformedLayer
from embstore.query.no_vectors import NoVectors
from embstore.query.provenance import Row, sample_notes
from embstore.query.request import MetricRequest, Selection
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.answers import Answer
from embstore.storage.files.card import Card

if TYPE_CHECKING:
    from embstore.query.grouping import Groups


def compute_layers(
    catalog: Catalog,
    request: MetricRequest,
    card: Card,
    layers: Sequence[Layer],
    cases: Sequence[Case],
    groups: "Groups | None" = None,
) -> Iterator[tuple[Layer, Answer]]:
    """Compute a metric for some layers of a space; yield each layer with its answer as soon as it is computed.

    Args:
        catalog: Store to read.
        request: Metric, its parameters and its items.
        card: Card of the space.
        layers: Layers of the space.
        cases: Sets of inputs of the metric; an answer has rows for each (:func:`embstore.query.inputs.dispatch.cases`).
        groups: Groups of the selected items, each of which has rows of its own; None for no groups.
    """
    only = request.selection.select(catalog, card.space) if groups is None else groups.ids
    notes = [*sample_notes(request.selection, card, only), *(() if groups is None else groups.notes)]
    case_notes = [note for case in cases for note in case.notes]
    across = tuple(dict.fromkeys(column for case in cases for column in case.columns))
    selected = selected_layers(catalog, request.selection, card, layers, only)
    for layer, (data, layer_notes) in zip(layers, selected, strict=True):
        divided = [({}, data)] if groups is None else _named_groups(request, data, groups)
        rows = tuple(
            name | row | dict(case.columns)
            for name, group_data in divided
            for case in cases
            for row in _compute(catalog, request, group_data, case, layer, data)
        )
        from_sums = request.metric.needs == "summary" and isinstance(data, StoredLayer) and not data.was_read
        from_sums = from_sums and groups is None
        yield layer, Answer(rows, (*notes, *layer_notes, *case_notes), across, from_sums=from_sums)


def selected_layers(
    catalog: Catalog, selection: Selection, card: Card, layers: Sequence[Layer], only: Ids | None
) -> Iterator[tuple[LayerData | NotComputable, list[str]]]:
    """Yield the vectors of some layers of a space, transformed, with notes; for a layer that cannot be, the reason.

    Args:
        catalog: Store to read.
        selection: Transforms to apply; if it reads texts, all texts of the space must be stored.
        card: Card of the space.
        layers: Layers of the space.
        only: Ids of the selected items, ascending; None for all items of the space.
    """
    selection.items.check_texts(catalog, card)
    summaries = catalog.summaries(card.space) if only is None else {}
    for layer in layers:
        yield _transformed(StoredLayer(catalog, card, layer, only, summaries.get(layer.id)), selection)


def _transformed(data: StoredLayer, selection: Selection) -> tuple[LayerData | NotComputable, list[str]]:
    """Fit and apply the selected transforms to a layer; return its vectors, or the reason why not, and notes."""
    if not selection.steps:
        return data, []
    try:
        transform = fit(data, selection.steps)
    except NotComputable as error:
        return NotComputable(str(error), data.summary.n), []
    notes = [f"{data.card.space} layer {data.layer.name}: {note}." for note in transform.notes]
    return TransformedLayer(data, transform, transform.columns), notes


def _named_groups(
    request: MetricRequest, data: LayerData | NotComputable, groups: "Groups"
) -> Iterator[tuple[Row, LayerData | NotComputable]]:
    """Yield the column with the name of each group, and its vectors."""
    from embstore.query.group_layers import layers_of_groups

    for group, layer in layers_of_groups(data, groups, with_summary=request.metric.needs == "summary"):
        yield {"group": group.name}, layer


def _compute(
    catalog: Catalog,
    request: MetricRequest,
    data: LayerData | NotComputable,
    case: Case,
    layer: Layer,
    whole: LayerData | NotComputable,
) -> list[Row]:
    """Compute a metric for one layer and one set of inputs; if that is impossible, return a row with the reason.

    Args:
        catalog: Store to read.
        request: Metric, its parameters and its items.
        data: Vectors, all of the layer or of a group; or the reason why there are none.
        case: Set of inputs.
        layer: Layer of the vectors.
        whole: The layer's vectors of all groups.
    """
    if isinstance(data, NotComputable):
        return _without_vectors(request, data, case)
    try:
        sentences = {"sentences": _sentences(catalog, case.sentence_space, layer, whole)} if case.sentence_space else {}
        return rows_of(request.metric.function(data, **case.inputs, **sentences, **request.arguments))
    except NotComputable as error:
        return [request.metric.empty(data.summary.n, str(error))]


def _without_vectors(request: MetricRequest, error: NotComputable, case: Case) -> list[Row]:
    """Return the rows of a layer that cannot be transformed: as many as with vectors, each with n and the reason."""
    metric = request.metric
    if metric.needs in ("pairs", "analogies", "lexicon", "word sets"):
        try:
            return rows_of(metric.function(NoVectors(str(error)), **case.inputs, **request.arguments))
        except NotComputable:
            return [metric.empty(0, str(error))]
    row = metric.empty(error.n, str(error))
    words = case.inputs["contexts"].names if request.parameters.get("word") and "word" in row else ()
    return [row | {"word": word} for word in words] or [row]


def _sentences(catalog: Catalog, space: str, layer: Layer, data: LayerData | NotComputable) -> LayerData:
    """Return the same layer's vectors in a space of sentences, after the transform that was fitted on ``data``."""
    card = catalog.cards[space]
    if layer not in card.layers.members:
        raise NotComputable(f"{space} has no layer {layer.name}")
    stored = StoredLayer(catalog, card, layer)
    return TransformedLayer(stored, data.transform, data.dims) if isinstance(data, TransformedLayer) else stored
