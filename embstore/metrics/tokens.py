"""Measure one text by the vectors of its tokens: the entropy of their matrix, and the curvature of
the path that they take.
"""

import math
from typing import Annotated, Literal

import numpy as np

from embstore.base.space import IN_CONTEXT
from embstore.metrics.data import TokenOrder
from embstore.metrics.declaration import LayerData, NotComputable, Result
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import Option, amount
from embstore.metrics.isotropy import spread
from embstore.metrics.numerics import linear_algebra

_OF_TEXTS = "Of each text: by='context', and average=True for the mean over texts."


@metric(
    columns=(amount("prompt_entropy", "entropy, in nats or as a share of ln"),),
    formula="−Σ λ ln λ / ln min(n, d), λ = eigenvalues of XXᵀ / tr(XXᵀ)",
    citation="Skean et al. (2025), ICML; Sanchez Giraldo et al. (2015), IEEE Trans. Inf. Theory",
    references=("skean2025", "giraldo2015"),
    label="Prompt entropy",
    estimator=_OF_TEXTS,
)
def prompt_entropy(
    data: LayerData,
    *,
    normalization: Annotated[
        Literal["maximum", "log-n", "log-dim", "raw"],
        Option("Divide by the largest possible entropy ln min(n, d), by ln n, by ln d, or not."),
    ] = "maximum",
) -> Result:
    """Matrix-based entropy of a set of vectors, such as the tokens of a text.

    Exact: the von Neumann entropy, which is the limit α → 1 of the matrix-based Rényi entropies, in
    nats before the division. n is the number of vectors and d that of dimensions. Does not depend
    on the vectors' scale, but on their mean and lengths: the authors' program first takes the
    transforms center and normalize within a text. It also sets negative products of tokens to zero,
    which is not the published definition, and is not done here. The exponential of the raw entropy
    is the effective rank of variant uncentred-eigenvalues. Of one vector for each text (a space of
    sentences) it is the dataset entropy of the same paper.

    Raises:
        NotComputable: There are fewer than two vectors, all are zero, or they have one dimension.
    """
    n, matrix, _ = spread(data, centred=False)
    largest = {"maximum": min(n, data.dim), "log-n": n, "log-dim": data.dim, "raw": math.e}
    if largest[normalization] < 2:
        raise NotComputable("vectors of one dimension")
    eigenvalues = linear_algebra.zero_insignificant(linear_algebra.eigenvalues_of(matrix), n)
    entropy = linear_algebra.entropy(eigenvalues)
    return {"prompt_entropy": entropy / math.log(largest[normalization]), "n": n}


@metric(
    columns=(
        amount("curvature", "mean angle between successive steps", maximum=math.pi, unit="radians"),
    ),
    formula="mean arccos(cos(v_i, v_{i+1})), v_i = x_{i+1} − x_i",
    citation="Hosseini & Fedorenko (2023), NeurIPS; absolute: Skean et al. (2025), ICML",
    references=("hosseini2023", "skean2025"),
    needs="order",
    units=IN_CONTEXT,
    elsewhere=(
        "Words by themselves and sentences are not the tokens of a text in their order: embstore"
        " build SOURCE --unit token"
    ),
    estimator=_OF_TEXTS,
)
def curvature(
    data: LayerData,
    *,
    order: TokenOrder,
    variant: Annotated[
        Literal["signed", "absolute"],
        Option("The angle, from 0 to π; or that of the absolute cosine, from 0 to π/2."),
    ] = "signed",
) -> Result:
    """Mean angle by which the path through a text's tokens turns.

    Exact, in float64: 0 of a straight path, π/2 on average of independent steps in many dimensions,
    π of a path that goes back and forth. absolute is what the program of Skean et al. computes,
    after the transforms center and normalize within a text: there a step back counts as straight
    on. The path goes through the selected items in their order: of occurrences, or with `where`,
    `sample` or `per_text`, not through all tokens of the text. Between equal vectors there is no
    step with a direction: the value is null, where that program counts such an angle as 0.

    Raises:
        NotComputable: There are fewer than three vectors, vectors of several texts, or two equal
            ones in succession.
    """
    ids, vectors = data.gather()
    if len(ids) < 3:
        raise NotComputable("fewer than three tokens", len(ids))
    places = np.searchsorted(order.ids, ids)
    if (n_texts := len(np.unique(order.texts[places]))) > 1:
        raise NotComputable(f"tokens of {n_texts:,} texts: by='context' takes each by itself")
    path = vectors[np.argsort(order.ranks[places])].astype(np.float64)
    steps, is_zero = linear_algebra.unit_rows(np.diff(path, axis=0))
    if is_zero.any():
        raise NotComputable("equal vectors in succession: a step without a direction")
    cosines = np.vecdot(steps[:-1], steps[1:]).clip(-1, 1)
    angles = np.arccos(np.abs(cosines) if variant == "absolute" else cosines)
    return {"curvature": angles.mean(), "n": len(ids)}
