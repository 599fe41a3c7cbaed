"""Compute a metric over the layers of one space, and over groups of its items."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from embstore.base.messages import first_of
from embstore.base.space import Layer
from embstore.metrics import LayerData, NotComputable, rows_of
from embstore.metrics.data import Words
from embstore.metrics.explain import UNGROUPED
from embstore.metrics.numerics.linear_algebra import one_thread
from embstore.query.averages import average
from embstore.query.estimates import Estimator
from embstore.query.group_layers import layers_of_groups, restricted
from embstore.query.layer_data import StoredLayer, TransformedLayer, stored_layers, transformed
from embstore.query.provenance import Row
from embstore.query.request import NOTHING_SELECTED, MetricRequest, Selection, stored_ids
from embstore.storage.answers import Answer
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog, Ids

if TYPE_CHECKING:
    from embstore.query.grouping import Groups


class MetricInputs(NamedTuple):
    """One set of inputs of a metric for one space.

    Attributes:
        columns: Columns that name it, such as ``dataset``.
        used: Parameters with the values that are used, in place of the given ones.
    """

    inputs: Mapping[str, Any] = MappingProxyType({})
    columns: Mapping[str, Any] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    sentence_space: str | None = None
    used: Mapping[str, Any] = MappingProxyType({})


class MetricRows(NamedTuple):
    """The rows of a metric, with the sentences of its notes.

    Attributes:
        drawn: What was drawn at random.
        missing: Which inputs are missing, and which spaces and items are left out.
        settings: Columns that are equal in all rows.
        across: Columns that a printed table spreads horizontally.
        more: Further remarks on how the rows were measured.
    """

    rows: Sequence[Row]
    drawn: Sequence[str]
    missing: Sequence[str]
    settings: Row
    across: Sequence[str] = ()
    more: Sequence[str] = ()


def compute_layers(
    catalog: Catalog,
    request: MetricRequest,
    card: Card,
    layers: Sequence[Layer],
    cases: Sequence[MetricInputs],
    groups: "Groups | None" = None,
) -> Iterator[tuple[Layer, Answer]]:
    """Compute a metric for some layers of a space; yield each layer with its answer as soon as it
    is computed.

    With ``versus``, rows also have the ``scores`` that their number is made of, on which layers are
    compared.
    """
    notes = [note for case in cases for note in case.notes]
    if groups is None:
        only = request.selection.select(catalog, card.space)
    else:
        only = groups.ids
        notes = [*groups.notes, *notes]
    used = [{**_used(catalog, request, card, case, only), **case.columns} for case in cases]
    across = tuple(dict.fromkeys(column for case in cases for column in case.columns))
    if groups is not None and request.metric.compares_groups:
        members = [(group.name, group.ids) for group in groups.members if group.name is not None]
        inputs = {"groups": members, "is_ordered": groups.is_ordered}
        cases = [case._replace(inputs={**case.inputs, **inputs}) for case in cases]
        groups = None
    is_empty = only is not None and not len(stored_ids(catalog, card.space, only))
    estimators = _estimators(catalog, request, card, groups, only)
    selected = selected_layers(catalog, request.selection, card, layers, only)
    for layer, (data, layer_notes) in zip(layers, selected, strict=True):
        rows: list[Row] = []
        if request.parameters.get("missing") == "skip" and not isinstance(data, NotComputable):
            layer_notes = [*layer_notes, *_zero_words(card, data, cases)]
        baseline = _baseline(request, data, cases[0].inputs)
        with one_thread() if groups is not None else nullcontext():
            for group, group_data in _divided(request, data, groups):
                for case, columns in zip(cases, used, strict=True):
                    computed = _compute(catalog, request, group_data, case, layer, data, baseline)
                    if estimators:
                        estimator = estimators[group.get("group")]
                        computed = [estimator.with_errors(row, data) for row in computed]
                    rows += [group | row | columns for row in computed]
        if request.is_averaged:
            rows = average(request, rows)
        if request.parameters.get("versus") is None:
            for row in rows:
                row.pop("scores", None)
        if "text" in request.metric.types:  # of items that rows name by their ids
            items = catalog.items([row["item_id"] for row in rows if row["item_id"] is not None])
            for row in rows:
                row["text"] = items[row["item_id"]].text if row["item_id"] in items else None
        if is_empty:
            rows = [row | {"reason": NOTHING_SELECTED} for row in rows]
        yield layer, Answer(tuple(rows), (*notes, *layer_notes), across)


def _zero_words(card: Card, data: LayerData, cases: Sequence[MetricInputs]) -> list[str]:
    """Return a note on the words of the inputs that a layer leaves out for their zero vectors."""
    texts: dict[int, str] = {}
    for case in cases:
        for words in case.inputs.values():
            if isinstance(words, Words):
                texts |= zip(words.ids.tolist(), words.texts, strict=True)
    ids, vectors = data.gather(np.array(sorted(texts), np.int64))
    zero = [repr(texts[item]) for item in ids[~vectors.any(axis=1)].tolist()]
    return [f"{card.space}: {first_of(zero)} left out where the vector is zero."] if zero else []


def _estimators(
    catalog: Catalog, request: MetricRequest, card: Card, groups: "Groups | None", only: Ids | None
) -> dict[str | None, Estimator]:
    """Return the estimator of the errors of each group, by its name, or of all items, by None; none
    if no errors are requested.
    """
    if not request.is_estimated:
        return {}
    members: dict[str | None, Ids] = {}
    if groups is None:
        members[None] = stored_ids(catalog, card.space, only)
    else:
        members = {group.name: group.ids for group in groups.members}
    fits_all = groups is not None and not request.selection.fits_groups
    steps = () if fits_all else request.selection.steps
    return {name: Estimator.of(catalog, request, card, ids, steps) for name, ids in members.items()}


def _baseline(
    request: MetricRequest, data: LayerData | NotComputable, inputs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the baseline of all selected items of a layer as an input; none for a metric without,
    or of each group.
    """
    measure = request.metric.baseline
    if measure is None or request.has_group_baselines or isinstance(data, NotComputable):
        return {}
    return {"baseline": measure(data, **inputs, **request.arguments)}


def _divided(
    request: MetricRequest, data: LayerData | NotComputable, groups: "Groups | None"
) -> Iterator[tuple[Row, LayerData | NotComputable]]:
    """Yield the vectors of a layer, or of each group of its items with the column that names it."""
    if groups is None:
        yield {}, data
        return
    steps = request.selection.steps if request.selection.fits_groups else ()
    with_summary = request.metric.needs == "summary" and not steps
    for group, group_data in layers_of_groups(data, groups, steps, with_summary=with_summary):
        yield {"group": group.name}, group_data


def _used(
    catalog: Catalog, request: MetricRequest, card: Card, case: MetricInputs, only: Ids | None
) -> Mapping[str, Any]:
    """Return parameters as they are used: of lists of words, those that are selected; those of a
    pole need not be.
    """
    used = dict(case.used)
    for parameter in request.metric.row_parameters:
        name = parameter.name
        if not parameter.is_words or name not in case.inputs:
            continue
        stored, words = catalog.ids(card.space), case.inputs[name]
        if only is not None and name not in ("positive", "negative"):
            stored = np.intersect1d(stored, only)
        if request.metric.needs == "word contexts":
            contexts = case.inputs["contexts"]
            groups = np.unique(contexts.groups[np.isin(contexts.ids, stored)]).tolist()
            selected = {contexts.names[group] for group in groups}
            used[name] = [text for text in words.texts if text in selected]
        else:
            is_selected = np.isin(words.ids, stored)
            used[name] = [words.texts[i] for i in np.flatnonzero(is_selected).tolist()]
    return used


def selected_layers(
    catalog: Catalog, selection: Selection, card: Card, layers: Sequence[Layer], only: Ids | None
) -> Iterator[tuple[LayerData | NotComputable, list[str]]]:
    """Return the vectors of some layers of a space, transformed, with notes; for one that cannot
    be, the reason.
    """
    selection.check_texts(catalog, card)
    steps = () if selection.fits_groups else selection.steps
    return (transformed(data, steps) for data in stored_layers(catalog, card, layers, only))


def _compute(
    catalog: Catalog,
    request: MetricRequest,
    data: LayerData | NotComputable,
    case: MetricInputs,
    layer: Layer,
    whole: LayerData | NotComputable,
    baseline: Mapping[str, Any],
) -> list[Row]:
    """Compute a metric for one layer and one set of inputs; if that is impossible, return a row
    with the reason.
    """
    if isinstance(data, NotComputable):
        return _without_vectors(request, data, case)
    try:
        inputs = {**case.inputs, **baseline}
        if case.sentence_space:
            inputs["sentences"] = _sentences(catalog, case.sentence_space, layer, whole)
        if "positive" in case.inputs and not isinstance(whole, NotComputable):
            inputs["everywhere"] = restricted(whole, None)
        return rows_of(request.metric(data, **inputs, **request.arguments))
    except NotComputable as error:
        return [request.metric.empty(data.summary.n, str(error))]


def _without_vectors(request: MetricRequest, error: NotComputable, case: MetricInputs) -> list[Row]:
    """Return the rows of a layer that cannot be transformed: as many as with vectors, each with n
    and the reason.
    """
    metric = request.metric
    if metric.needs in UNGROUPED:
        no_vectors = cast("LayerData", NoVectors(str(error)))
        try:
            return rows_of(metric(no_vectors, **case.inputs, **request.arguments))
        except NotComputable:
            return [metric.empty(0, str(error))]
    row = metric.empty(error.n, str(error))
    if request.parameters.get("word") and "word" in row:
        return [row | {"word": word} for word in case.inputs["contexts"].names]
    return [row]


def _sentences(
    catalog: Catalog, space: str, layer: Layer, data: LayerData | NotComputable
) -> LayerData:
    """Return the same layer's vectors in a space of sentences, after the transform that was fitted
    on ``data``.
    """
    card = catalog.cards[space]
    if layer not in card.layers.members:
        raise NotComputable(f"{space} has no layer {layer.name}")
    stored = StoredLayer(catalog, card, layer)
    if isinstance(data, TransformedLayer):
        return TransformedLayer(stored, data.transform, data.dims)
    return stored


class NoVectors:
    """A layer without computable vectors (the protocol ``LayerData``): every access raises
    NotComputable.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        raise NotComputable(self._reason)
