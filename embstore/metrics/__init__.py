"""Metrics: functions from arrays to numbers, in a table by name.

Each is a function that :func:`metric` decorates, in the file of its family.

geometry, isotropy, neighbourhood, tokens     of one layer
judgements, association, ceat, axis           compared with human judgements
correlate, labels                             with columns of the items
contextuality, change                         of words in context
comparison, arrangement, predictivity         of layers with layers
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from embstore.base.errors import UnknownNameError
from embstore.metrics.declaration import (
    CALLER,
    Column,
    LayerData,
    Metric,
    NotComputable,
    Parameter,
    Value,
    rows_of,
    with_scores,
)
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import Option
from embstore.metrics.parts import Parts

if TYPE_CHECKING:
    METRICS: dict[str, Metric]

__all__ = [
    "METRICS", "Column", "LayerData", "Metric", "NotComputable", "Option", "Parameter", "Parts",
    "Value", "all_metrics", "as_metric", "get_metric", "metric", "rows_of", "with_scores",
]  # fmt: skip

# Files with metrics, in the order in which these are listed.
_FAMILIES = (
    "geometry", "isotropy", "neighbourhood", "tokens", "judgements", "correlate", "association",
    "ceat", "axis", "labels", "probe", "contextuality", "change", "comparison", "drift",
    "arrangement", "predictivity",
)  # fmt: skip


@cache
def _load_all() -> dict[str, Metric]:
    """Return all built-in metrics by name, file by file."""
    modules = [import_module(f"{__name__}.{family}") for family in _FAMILIES]
    declared = [value for module in modules for value in vars(module).values()]
    return {value.name: value for value in declared if isinstance(value, Metric)}


def __getattr__(name: str) -> Any:
    if name == "METRICS":
        return _load_all()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_metric(name: str) -> Metric:
    """Return the metric of that name, built in or from an installed package.

    Raises:
        UnknownNameError: There is no such metric; the message lists the nearest names.
        PluginError: An installed package declares the metric, but it cannot be used.
    """
    metrics = _load_all()
    if name in metrics:
        return metrics[name]
    # Looking for packages takes 20 ms, which a built-in metric should not cost.
    from embstore.metrics.plugins import find_plugins, load_plugin

    plugins = find_plugins()
    if name in plugins:
        return load_plugin(name, plugins[name], metrics)
    raise UnknownNameError(
        "metric", name, [*metrics, *(plugin for plugin in plugins if plugin not in metrics)]
    )


def as_metric(metric: str | Metric) -> Metric:
    """Return a metric that is given by its name or as an object; one of no package is checked and
    guarded.

    Raises:
        UnknownNameError: There is no metric of that name.
        PluginError: The object is no valid declaration, or has the name of another metric.
    """
    if isinstance(metric, str):
        return get_metric(metric)
    if isinstance(metric, Metric) and (
        metric.package == CALLER or _load_all().get(metric.name) is metric
    ):
        return metric
    from embstore.metrics.plugins import guard_own

    return guard_own(metric, _load_all())


def all_metrics() -> tuple[dict[str, Metric], list[str]]:
    """Return all metrics by name, and an error message for each metric of an installed package that
    is not usable.
    """
    from embstore.metrics.plugins import load_plugins

    metrics = _load_all()
    plugins, refused = load_plugins(metrics)
    return metrics | plugins, refused
