"""Arguments that several methods of Store have in common, and what they are turned into."""

import operator
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypedDict

from embstore.base.keywords import Names, as_names
from embstore.base.progress import Observer, current_observer, ignore
from embstore.storage.files.card import SpaceFilter
from embstore.storage.sql.connections import Limits

if TYPE_CHECKING:
    from embstore.metrics import Metric
    from embstore.query.grouping import Bins
    from embstore.query.request import MetricRequest, WordSource

LayerSpec = str | int | Sequence[int]


class SpaceFilters(TypedDict, total=False):
    """Filters of spaces. :class:`SpaceFilter` has their defaults, and the docstring of ``query`` says what they are."""

    models: Names
    spaces: Names
    unit: str | None
    pooling: str | None
    template: str | None
    revisions: Names


class QueryOptions(SpaceFilters, total=False):
    """Options of a query of any metric. :func:`metric_request` has their defaults, and ``query`` describes them."""

    layers: LayerSpec
    where: str | None
    words: "WordSource | None"
    word: Names
    timeout: float | None
    memory: str | int | None
    sample: int | None
    seed: int
    transforms: Names
    by: str | None
    bins: "Bins | None"


def metric_request(
    metric: "str | Metric",
    *,
    layers: LayerSpec = "all",
    where: str | None = None,
    words: "WordSource | None" = None,
    word: Names = (),
    timeout: float | None = None,
    memory: str | int | None = None,
    sample: int | None = None,
    seed: int = 0,
    transforms: Names = (),
    by: str | None = None,
    bins: "Bins | None" = None,
    **parameters: Any,
) -> tuple["MetricRequest", SpaceFilter, str]:
    """Return the request for a metric, the filter of its spaces, and its layers; ``Store.query`` has the arguments."""
    from embstore.metrics import as_metric
    from embstore.query.metric import make_request
    from embstore.query.request import Selection, as_given, word_list

    filters = {name: parameters.pop(name) for name in SpaceFilters.__annotations__ if name in parameters}
    # Where a metric has a parameter of its own for words, that is meant.
    metric = as_metric(metric)
    own = {parameter.name for parameter in metric.parameters}
    words, word = as_given(words), as_names(word)
    parameters |= {name: value for name, value in (("words", words), ("word", word)) if name in own and value}
    listed = word_list(None if "words" in own else words, () if "word" in own else word)
    limits, grouping = as_limits(timeout, memory), None
    if by is not None or bins is not None:
        from embstore.query.grouping import parse_grouping

        grouping = parse_grouping(by, bins)
    selection = Selection(where, as_int(sample), operator.index(seed), as_names(transforms), limits, listed, grouping)
    return make_request(metric, parameters, selection), SpaceFilter(**filters), as_layers(layers)


def as_layers(layers: LayerSpec) -> str:
    """Return layers as they are written on the command line: ``0,6,top``."""
    return str(layers) if isinstance(layers, str | int | Integral) else ",".join(map(str, layers))


def as_int(number: int | None) -> int | None:
    """Return a whole number, which may be one of NumPy, as Python's; raise TypeError for any other value."""
    return None if number is None else operator.index(number)


def as_bytes(memory: str | int | None) -> int | None:
    """Return an amount of memory, such as ``"8GB"``, in bytes."""
    if not isinstance(memory, str):
        return memory
    from embstore.index import parse_memory

    return parse_memory(memory)


def as_limits(timeout: float | None, memory: str | int | None) -> Limits:
    """Return the limits of a user's SQL."""
    return Limits(timeout, as_bytes(memory))


def as_observer(observe: Observer | None) -> Observer:
    """Return the observer of a task: the one given, else that of the context, which in a notebook shows a line."""
    return observe or current_observer() or ignore
