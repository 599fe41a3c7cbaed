"""Metrics: arrays to numbers. One file a family; the table of metrics is :mod:`embstore.metrics.table`."""

from typing import TYPE_CHECKING, Any

from embstore.metrics.spec import Column, LayerData, Metric, NotComputable, Parameter, Value, rows_of

if TYPE_CHECKING:
    from embstore.metrics.table import METRICS, all_metrics, get_metric

__all__ = [
    "METRICS",
    "Column",
    "LayerData",
    "Metric",
    "NotComputable",
    "Parameter",
    "Value",
    "all_metrics",
    "get_metric",
    "rows_of",
]


def __getattr__(name: str) -> Any:
    """Load the table when it is asked for: who looks for neighbours needs no metric."""
    if name in ("METRICS", "all_metrics", "get_metric"):
        from embstore.metrics import table

        return getattr(table, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
