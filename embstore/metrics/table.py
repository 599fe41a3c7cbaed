"""The table of metrics: each is declared in the file of its family, and gathered here."""

from embstore.errors import UnknownNameError
from embstore.metrics import (
    association,
    comparison,
    contextuality,
    cosine,
    dimension,
    hubness,
    isotropy,
    norms,
    similarity,
    spectral,
    uniformity,
    valnorm,
)
from embstore.metrics.declaration.spec import Metric

# In the order in which the metrics are listed.
_FAMILIES = (
    cosine,
    norms,
    isotropy,
    spectral,
    dimension,
    hubness,
    uniformity,
    similarity,
    valnorm,
    association,
    contextuality,
    comparison,
)

METRICS: dict[str, Metric] = {metric.name: metric for family in _FAMILIES for metric in family.METRICS}


def get_metric(name: str) -> Metric:
    """Return the metric of that name, built in or from an installed package.

    Raises:
        UnknownNameError: There is no such metric; the message lists the nearest names.
        PluginError: An installed package declares the metric, but it cannot be used.
    """
    if name in METRICS:
        return METRICS[name]
    # Looking for packages takes 20 ms, which a built-in metric should not cost.
    from embstore.metrics.declaration.plugins import find_plugins, load_plugin

    plugins = find_plugins()
    if name in plugins:
        return load_plugin(name, plugins[name], METRICS)
    raise UnknownNameError("metric", name, [*METRICS, *(plugin for plugin in plugins if plugin not in METRICS)])


def all_metrics() -> tuple[dict[str, Metric], list[str]]:
    """Return all metrics by name, and an error message for each metric of an installed package that is not usable."""
    from embstore.metrics.declaration.plugins import load_plugins

    plugins, refused = load_plugins(METRICS)
    return METRICS | plugins, refused
