"""Metrics: arrays to numbers. One file a family; the table of metrics is :mod:`embstore.metrics.table`."""

from embstore.metrics.spec import Column, LayerData, Metric, Parameter, Value
from embstore.metrics.table import METRICS, get_metric

__all__ = ["METRICS", "Column", "LayerData", "Metric", "Parameter", "Value", "get_metric"]
