"""Measure how well a layer is a linear function of another, on items left out: cross-validated
ridge regression.
"""

from dataclasses import dataclass
from itertools import product
from typing import Annotated

import numpy as np

from embstore.base.arrays import Int64Array
from embstore.base.summary import Float64Array
from embstore.metrics.declaration import Column, Ids, Layers, Result, Similarity
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import GROUP, Option, quantity, share
from embstore.metrics.numerics.layer_pairs import Grid, read_vectors
from embstore.metrics.numerics.linear_algebra import eigenvectors_of, zero_insignificant
from embstore.metrics.numerics.statistics import draw_folds

Numbers = Int64Array

_STRENGTHS = 10.0 ** np.arange(-6, 5)
"""Ridge penalties that are tried, as multiples of the mean eigenvalue of the covariance of the
source.
"""


@metric(
    columns=(
        quantity(
            "r2",
            "share of the variance of layer_2 predicted from layer, on items left out",
            maximum=1,
            label="R²",
        ),
        share("r2_in_sample", "that of least squares on the fitted items themselves", shown=False),
        Column(
            "grouped_by",
            "string",
            "column whose values are the groups, or sentence or item",
            shown=False,
        ),
        share("chance", "expected r2_in_sample of unrelated layers: rank/(n − 1)", shown=False),
    ),
    formula=(
        "1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖² over the items of all folds, ŷ by ridge regression on the"
        " other folds"
    ),
    citation=(
        "Golub, Heath & Wahba (1979), Technometrics 21 (strength of the ridge); linear"
        " predictivity as in Yamins et al. (2014), PNAS"
    ),
    references=("golub1979", "yamins2014"),
    needs="layers",
    options=(GROUP,),
    label="Linear predictivity",
    similarity=Similarity("r2"),
    version=2,
    drawn_values=("r2", "r2_in_sample"),
    is_directed=True,
    drawn=lambda row: f"{row['folds']} folds",
)
def predictivity(
    left: Layers,
    right: Layers | None,
    ids: Ids,
    *,
    groups: Numbers | None = None,
    folds: Annotated[int, Option("Number of folds.", minimum=2)] = 5,
    seed: int = 0,
) -> list[Result]:
    """How well one layer predicts another linearly: R² on items left out.

    Directed: from layer to layer_2. Errors are summed over all dimensions and folds before they are
    divided, so that dimensions count by their variance, where scikit-learn's mean over dimensions
    gives dead ones the same weight; negative values are real, and kept. No group is divided between
    folds: of occurrences no sentence is, by default, since its occurrences come from one forward
    pass. The strength of the ridge minimises generalised cross-validation within the fitted items,
    on a grid of 10⁻⁶ to 10⁴ times the mean eigenvalue. In sample, least squares predicts anything
    where there are more dimensions than items: r2_in_sample is shown beside its chance level for
    that. Rotating either layer, or scaling it as a whole, changes nothing; one dimension of an
    outsized variance hides what others predict: compare transforms='standardize'.
    """
    grid, n = Grid.of(left, right), len(ids)
    groups = np.arange(n) if groups is None else groups
    n_groups = int(groups.max(initial=-1)) + 1
    if n_groups < max(folds, 3):
        reason = f"fewer than {max(folds, 3)} {'items' if n_groups == n else 'groups'}"
        return [{"n": n, "reason": reason, "seed": None} for _ in product(grid.left, grid.right)]
    fold_of_item = draw_folds(groups, folds, seed)
    parts = [
        (np.flatnonzero(fold_of_item != fold), np.flatnonzero(fold_of_item == fold))
        for fold in range(folds)
    ]
    rows: list[Result] = []
    for i in grid.left:
        source = read_vectors(grid.layers[i], ids)
        whole = Regression.on(source)
        fitted = [Regression.on(source[train]) for train, _ in parts]
        for j in grid.right:
            row: Result = {"n": n, "seed": seed}
            rows.append(row)
            target = read_vectors(grid.layers[j], ids)
            if why := grid.constant_reason(i, j):
                row["reason"] = why
                continue
            error = total = 0.0
            for regression, (train, test) in zip(fitted, parts, strict=True):
                residuals, deviations = regression.residuals(
                    target[train], source[test], target[test]
                )
                error += float(np.vdot(residuals, residuals))
                total += float(np.vdot(deviations, deviations))
            row |= {
                "r2": 1 - error / total,
                "r2_in_sample": whole.share_in_sample(target),
                "chance": len(whole.squares) / (n - 1),
            }
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """The singular value decomposition X = U √λ Vᵀ of the centred vectors of a source, which serves
    all targets.
    """

    mean: Float64Array  # of the vectors, (p,)
    squares: Float64Array  # eigenvalues λ above rounding, (r,)
    left: Float64Array  # U, (n, r)
    right: Float64Array  # V, (p, r)

    @classmethod
    def on(cls, vectors: Float64Array) -> "Regression":
        """Decompose the vectors (n, p) of the items that the regression is fitted to."""
        mean = vectors.mean(axis=0)
        x = vectors - mean
        n, p = x.shape
        is_wide = n < p
        squares, basis = eigenvectors_of(x @ x.T if is_wide else x.T @ x)
        squares = zero_insignificant(squares, min(n - 1, p))
        is_kept = squares > 0
        squares, basis = squares[is_kept], basis[:, is_kept]
        other = (x.T @ basis if is_wide else x @ basis) / np.sqrt(squares)
        return cls(mean, squares, *((basis, other) if is_wide else (other, basis)))

    def share_in_sample(self, target: Float64Array) -> float:
        """Return the share of the variance of a target (n, q) that least squares explains on the
        fitted items.
        """
        y = target - target.mean(axis=0)
        explained = self.left.T @ y
        return min(1.0, float(np.vdot(explained, explained)) / float(np.vdot(y, y)))

    def residuals(
        self, target: Float64Array, source_left_out: Float64Array, left_out: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Fit to a target (n, q), and predict that of items left out (m, q) from their source (m,
        p).

        Returns:
            y − ŷ and y − ȳ of the items left out, both (m, q).
        """
        mean = target.mean(axis=0)
        y = target - mean
        projected = self.left.T @ y
        penalty = self._penalty(np.vecdot(projected, projected), float(np.vdot(y, y)), len(y))
        scores = ((source_left_out - self.mean) @ self.right) * (
            np.sqrt(self.squares) / (self.squares + penalty)
        )
        deviations = left_out - mean
        return deviations - scores @ projected, deviations

    def _penalty(self, projected: Float64Array, total: float, n: int) -> float:
        """Return the penalty with the least (‖y − ŷ‖² / n) / (1 − tr(H) / n)²; H has the mean as
        its first dimension.

        Args:
            projected: Σ over the target's dimensions of its squared product with each column of U,
                (r,).
            total: ‖y‖².
            n: Number of items.
        """
        if not len(self.squares):  # a source that does not vary predicts the mean
            return 1.0
        penalties = _STRENGTHS * self.squares.mean()
        kept = self.squares / (self.squares + penalties[:, None])  # (strengths, r)
        errors = ((1 - kept) ** 2) @ projected + max(0.0, total - float(projected.sum()))
        freedom = n - 1 - kept.sum(axis=1)
        scores = np.divide(
            errors, freedom**2, out=np.full(len(penalties), np.inf), where=freedom > 1e-9 * n
        )
        return float(penalties[scores.argmin()])
