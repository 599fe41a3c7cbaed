"""Metrics: functions from arrays to numbers. One file a family, which ends with the declarations of its metrics.

cosine, norms, isotropy, spectral, dimension, hubness, uniformity    of one layer
similarity, analogies, valnorm, association                          compared with human judgements
correlate                                                            with columns of the items
contextuality (mev, intra_sentence, group_rows)                      of words in context
comparison (cka, rsa, overlap)                                       of layers with layers

data           inputs other than vectors: pairs, words, lexicons, occurrences
transforms     transforms of the vectors before any metric
table          all metrics by name
declaration/   the declaration of a metric, also by other packages, and its explanation
numerics/      arithmetic shared by several metrics
"""

from typing import TYPE_CHECKING, Any

from embstore.metrics.declaration.spec import Column, LayerData, Metric, NotComputable, Parameter, Value, rows_of

if TYPE_CHECKING:
    from embstore.metrics.table import METRICS, all_metrics, as_metric, get_metric

__all__ = [
    "METRICS",
    "Column",
    "LayerData",
    "Metric",
    "NotComputable",
    "Parameter",
    "Value",
    "all_metrics",
    "as_metric",
    "get_metric",
    "rows_of",
]


def __getattr__(name: str) -> Any:
    """Import the table of metrics on first use: a search for neighbours needs no metric."""
    if name in ("METRICS", "all_metrics", "as_metric", "get_metric"):
        from embstore.metrics import table

        return getattr(table, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
