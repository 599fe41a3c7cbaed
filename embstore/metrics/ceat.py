"""Test associations of words over their contexts: the Contextualized Embedding Association Test
(CEAT).
"""

import math
import sys
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from embstore.base.arrays import Float64Array, Int64Array
from embstore.base.messages import MOST_NAMED, first_of
from embstore.base.space import IN_CONTEXT
from embstore.metrics.data import Contexts, Words
from embstore.metrics.declaration import Column, LayerData, Result
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import (
    AttributesA,
    AttributesB,
    MissingWords,
    Option,
    amount,
    quantity,
    share,
)
from embstore.metrics.numerics.linear_algebra import unit_rows

_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
_BATCH_VALUES = 1 << 22


@metric(
    columns=(
        *(
            quantity(
                name,
                f"{level:.0%} quantile of the effect sizes",
                shown=name not in ("q25", "q75"),
                interval=("q05", "q95") if name == "median" else (),
                label="median effect size"
                if name == "median"
                else f"{level:.0%} quantile".replace("%", " %"),
            )
            for name, level in _QUANTILES.items()
        ),
        quantity(
            "ces",
            "combined effect size, weighted by the sampling variances",
            interval=("se",),
            label="combined effect size",
        ),
        amount("se", "its standard error", label="standard error"),
        share("p", "two-sided p-value of ces, which falls with the number of draws", shown=False),
        quantity(
            "ces_association", "combined effect size, weighted as in the authors' code", shown=False
        ),
        amount("se_association", "its standard error", shown=False),
        share("p_association", "two-sided p-value of it", shown=False),
        Column("sizes", "array of integers", "words used of X, Y, A and B", minimum=0, shown=False),
    ),
    formula=(
        "Σ e/(V + τ²) / Σ 1/(V + τ²) over draws, e = (mean_X s − mean_Y s) / std_{X∪Y} s, "
        "s(w) = mean_a cos(w, a) − mean_b cos(w, b)"
    ),
    citation=(
        "Guo & Caliskan (2021), AIES; DerSimonian & Laird (1986), Controlled Clinical"
        " Trials 7; effect size: Caliskan et al. (2017), Science 356"
    ),
    references=("guo2021", "dersimonian1986", "caliskan2017"),
    needs="word contexts",
    units=IN_CONTEXT,
    label="CEAT",
    drawn_values=("median", "ces", "ces_association"),
    drawn=lambda row: f"{row['draws']:,} draws of one occurrence of each word",
)
def ceat(
    data: LayerData,
    *,
    contexts: Contexts,
    x: Annotated[Words, Option("Target words X, one a line or with commas.")],
    y: Annotated[Words, Option("Target words Y, one a line or with commas.")],
    a: AttributesA,
    b: AttributesB,
    missing: MissingWords = "error",
    draws: Annotated[
        int, Option("Number of draws of one occurrence of each word.", minimum=1)
    ] = 1000,
    seed: int = 0,
) -> Result:
    """Association of words over their contexts: the distribution of WEAT's effect size (CEAT).

    The distribution of the effect sizes is the result: its quantiles come first. The draws share
    occurrences, and their number can be raised at will, with which p and se go to 0: as evidence p
    is without meaning. V is the sampling variance of an effect size of this many words in ces, and
    the variance of the associations s in ces_association, which the authors' code takes and which
    gives more weight to draws whose cosines are close together. Standard deviations have ddof 1.
    """
    ids, vectors = data.gather(contexts.ids)
    units, is_zero = unit_rows(vectors)
    groups = contexts.groups[np.searchsorted(contexts.ids, ids)]
    members = {
        name: np.flatnonzero((groups == number) & ~is_zero)
        for number, name in enumerate(contexts.names)
    }
    sets = [[members[text] for text in words.texts] for words in (x, y, a, b)]
    lost = [text for words in (x, y, a, b) for text in words.texts if not len(members[text])]
    if lost and missing == "error":
        reason = f"no occurrence of {first_of(lost, MOST_NAMED)} (missing: error)"
        return {"n": 0, "reason": reason, "seed": None}
    sets = [[word for word in words if len(word)] for words in sets]
    sizes = [len(words) for words in sets]
    n = sum(len(word) for words in sets for word in words)
    row: Result = {"n": n, "sizes": sizes, "seed": None}
    if min(sizes) == 0 or sizes[0] + sizes[1] < 3:
        return row | {"reason": "fewer than three target words, or an empty set"}
    effects, spreads = _draw(units, sets, draws, seed)
    defined = np.isfinite(effects)
    effects, spreads = effects[defined], spreads[defined]
    if not len(effects):
        return row | {"reason": "all target words are associated alike"}
    n_x, n_y = sizes[:2]
    sampling = (n_x + n_y) / (n_x * n_y) + effects**2 / (2 * (n_x + n_y))
    row |= {name: float(np.quantile(effects, level)) for name, level in _QUANTILES.items()}
    for suffix, variances in (("", sampling), ("_association", spreads)):
        ces, se = combine(effects, variances)
        p = max(math.erfc(abs(ces / se) / math.sqrt(2)), sys.float_info.min) if se else None
        row |= {f"ces{suffix}": ces, f"se{suffix}": se, f"p{suffix}": p}
    return row | {"seed": seed}


def _draw(
    units: Float64Array, sets: Sequence[Sequence[Int64Array]], draws: int, seed: int
) -> tuple[Float64Array, Float64Array]:
    """Return the effect size of each draw, NaN if all associations are equal, and the variance of
    the associations.
    """
    rng = np.random.default_rng(seed)
    n_x, effects, variances = len(sets[0]), [], []
    size = max(1, _BATCH_VALUES // units.shape[1])
    for start in range(0, draws, size):
        n = min(size, draws - start)
        chosen = [[rng.choice(word, n) for word in words] for words in sets]
        # The mean cosine with some unit vectors is the product with their mean.
        a, b = (sum(units[rows] for rows in words) / len(words) for words in chosen[2:])
        s = np.stack(
            [np.vecdot(units[rows], a - b) for words in chosen[:2] for rows in words], axis=1
        )
        spread = s.std(axis=1, ddof=1)
        difference = s[:, :n_x].mean(axis=1) - s[:, n_x:].mean(axis=1)
        effects.append(np.divide(difference, spread, out=np.full(n, np.nan), where=spread > 1e-12))
        variances.append(spread**2)
    return np.concatenate(effects), np.concatenate(variances)


def combine(effects: Float64Array, variances: Float64Array) -> tuple[float, float]:
    """Combine effect sizes (n,) with their variances (n,) by a random-effects model; return the
    mean and its error.

    DerSimonian & Laird (1986), Controlled Clinical Trials 7: the variance between the effects is
    max(0, (Q − (n − 1)) / (Σw − Σw²/Σw)), w = 1/variance, Q = Σw e² − (Σw e)²/Σw.
    """
    weights = 1 / variances
    total = float(weights.sum())
    q = float(weights @ effects**2) - float(weights @ effects) ** 2 / total
    room = total - float(weights @ weights) / total
    between = max(0.0, (q - (len(effects) - 1)) / room) if room > 0 else 0.0
    weights = 1 / (variances + between)
    return float(weights @ effects / weights.sum()), float(1 / math.sqrt(weights.sum()))
