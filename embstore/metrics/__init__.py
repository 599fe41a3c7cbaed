"""Metrics: functions from arrays to numbers, in a table by name.

Each is declared at the end of the file of its family, which is loaded when one of its metrics is
used.

geometry, isotropy, neighbourhood             of one layer
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
)

if TYPE_CHECKING:
    METRICS: dict[str, Metric]

__all__ = [
    "METRICS", "Column", "LayerData", "Metric", "NotComputable", "Parameter", "Value",
    "all_metrics", "as_metric",
    "get_metric", "rows_of",
]  # fmt: skip

# Files, and names of metrics that they declare, in the order in which the metrics are listed.
_FAMILIES = (
    ("geometry", ("anisotropy", "rogue-dims", "norms")),
    ("isotropy", ("isoscore", "partition", "effective-rank", "participation-ratio", "spectrum")),
    ("neighbourhood", ("intrinsic-dimension", "hubness")),
    ("geometry", ("uniformity", "alignment")),
    ("judgements", ("similarity", "analogies")),
    ("correlate", ("correlate",)),
    ("association", ("valnorm", "weat", "sc-weat")),
    ("ceat", ("ceat",)),
    ("axis", ("axis",)),
    ("labels", ("knn", "clusters", "probe")),
    ("contextuality", ("self-similarity", "intra-sentence", "mev")),
    ("change", ("change",)),
    ("comparison", ("cka", "rsa", "overlap")),
    ("arrangement", ("procrustes",)),
    ("predictivity", ("predictivity",)),
    ("arrangement", ("cknna", "imbalance")),
)
_FAMILY_OF = {name: family for family, names in _FAMILIES for name in names}


@cache
def _load(family: str) -> dict[str, Metric]:
    """Return the metrics that a file declares, by name."""
    return {metric.name: metric for metric in import_module(f"embstore.metrics.{family}").METRICS}


@cache
def _load_all() -> dict[str, Metric]:
    return {name: _load(family)[name] for name, family in _FAMILY_OF.items()}


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
    if (
        name in _FAMILY_OF and not _load_all.cache_info().currsize
    ):  # else METRICS may hold another in its place
        return _load(_FAMILY_OF[name])[name]
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
    if isinstance(metric, Metric):
        is_known = metric.name in (_load_all() if _load_all.cache_info().currsize else _FAMILY_OF)
        if metric.package == CALLER or (is_known and get_metric(metric.name) is metric):
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
