"""Metrics: arrays to numbers. One file a family; the table of metrics is :mod:`embstore.metrics.table`."""

from embstore.metrics.spec import Column, LayerData, Metric, NotComputable, Parameter, Value, rows_of
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
