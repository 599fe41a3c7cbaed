"""The table of metrics: each is declared here and nowhere else."""

from embstore.errors import UnknownNameError
from embstore.metrics.cosine import anisotropy, rogue_dims
from embstore.metrics.norms import norms
from embstore.metrics.spec import Column, Metric, Parameter

_N_ZERO = Column("n_zero", "integer", "zero vectors, which have no direction", shown=False)

_ALL = (
    Metric(
        name="anisotropy",
        help="Mean cosine over all pairs of vectors, exactly.",
        function=anisotropy,
        columns=(Column("anisotropy", "number", "mean pairwise cosine, in [-1, 1]"), _N_ZERO),
        parameters=(
            Parameter(
                "variant",
                "raw",
                "raw, or centred: after subtracting the mean vector.",
                choices=("raw", "centred"),
            ),
        ),
        formula="(‖Σu‖² − n) / (n (n − 1)), u = x/‖x‖",
        citation="Ethayarajh (2019), EMNLP; Wolfe & Caliskan (2022), ACL, eq. 1",
    ),
    Metric(
        name="norms",
        help="Vector lengths, and how few components make them.",
        function=norms,
        columns=(
            Column("mean", "number", "mean L2 norm"),
            Column("std", "number", "population standard deviation of the norms"),
            Column("min", "number", "smallest norm"),
            Column("max", "number", "largest norm"),
            Column("top_share", "number", "share of the largest components by signed value, in [0, 1]"),
            Column("top_share_abs", "number", "share of the largest components by absolute value, in [0, 1]"),
            _N_ZERO,
        ),
        parameters=(Parameter("top", 5, "How many components the shares count (0: none).", minimum=0),),
        formula="mean ‖x_top‖ / mean ‖x‖",
        citation="Wolfe & Caliskan (2022), ACL",
    ),
    Metric(
        name="rogue-dims",
        help="Dimensions that contribute most to the mean cosine.",
        function=rogue_dims,
        columns=(
            Column("anisotropy", "number", "mean pairwise cosine, in [-1, 1]"),
            Column("dims", "array of integers", "the dimensions, by descending contribution"),
            Column(
                "contributions",
                "array of numbers",
                "their parts of the mean cosine, each in [-1, 1]",
                shown=False,
            ),
            Column("shares", "array of numbers", "contribution over anisotropy; null where that is zero"),
            _N_ZERO,
        ),
        parameters=(Parameter("k", 5, "How many dimensions to return.", minimum=1),),
        formula="CC_i = ((Σu_i)² − Σu_i²) / (n (n − 1))",
        citation="Timkey & van Schijndel (2021), EMNLP",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}


def get_metric(name: str) -> Metric:
    """Return the metric of that name, or raise UnknownNameError with the nearest."""
    try:
        return METRICS[name]
    except KeyError:
        raise UnknownNameError("metric", name, METRICS) from None
