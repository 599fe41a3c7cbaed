"""Metrics: arrays to numbers. One file a family, which ends with their declarations.

spec         how a metric is declared (with validation); data: what it gets beside vectors
table        all of them; plugins (validation, isolation): other packages'; explain: what each says of itself

cosine, norms, isotropy, spectral, dimension, hubness, uniformity       one layer
similarity (correlation, bootstrap), valnorm, association (directions, permutation)       against people
contextuality (groups, group_rows, mev, intra_sentence)       words in context
comparison (grid, products, cka, rsa, overlap, ties)       layers with layers

moments      mean and covariance in one pass; blas: products in the threads that read
transforms   centred, whitened, …, before any of these (with fitting, affine)
"""

from typing import TYPE_CHECKING, Any

from embstore.metrics.declaration.spec import Column, LayerData, Metric, NotComputable, Parameter, Value, rows_of

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
