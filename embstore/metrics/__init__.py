"""Metrics: functions from arrays to numbers. One file a family, which ends with the declarations of its metrics.

cosine, norms, isotropy, neighbourhood, uniformity     of one layer
similarity, analogies, association                     compared with human judgements
correlate                                              with columns of the items
contextuality                                          of words in context
comparison                                             of layers with layers

declaration    the declaration of a metric, and the parameters and columns that several share
data           inputs other than vectors: pairs, words, lexicons, occurrences
transforms     transforms of the vectors before any metric
table          all metrics by name
plugins        metrics declared by other packages: check, load, contain their errors
explain        a declaration as text and as JSON
numerics/      arithmetic shared by several metrics
"""

from typing import TYPE_CHECKING, Any

from embstore.metrics.declaration import Column, LayerData, Metric, NotComputable, Parameter, Value, rows_of

if TYPE_CHECKING:
    from embstore.metrics.table import METRICS, all_metrics, as_metric, get_metric

__all__ = [
    "METRICS", "Column", "LayerData", "Metric", "NotComputable", "Parameter", "Value", "all_metrics", "as_metric",
    "get_metric", "rows_of",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the table of metrics on first use: a search for neighbours needs no metric."""
    if name in ("METRICS", "all_metrics", "as_metric", "get_metric"):
        from embstore.metrics import table

        return getattr(table, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
