"""Place items on a semantic axis between two poles of words, such as good and bad."""

from collections.abc import Iterable
from typing import Annotated

import numpy as np

from embstore.base.arrays import Float64Array, has_direction
from embstore.base.messages import MOST_NAMED, first_of
from embstore.base.space import Unit
from embstore.metrics.data import Words
from embstore.metrics.declaration import Block, Column, Ids, LayerData, NotComputable, Result
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import MissingWords, Option, coefficient, count
from embstore.metrics.numerics.linear_algebra import unit_rows


def find_axis(
    data: LayerData, positive: Words, negative: Words, missing: str = "error", k: int = 0
) -> tuple[Float64Array, tuple[int, int]]:
    """Return the axis from the mean of the negative to the mean of the positive words (An, Kwak &
    Ahn 2018, SemAxis).

    A unit vector (dim,), and how many words either pole has. With k > 0 each word is replaced by
    the mean of itself and its k nearest items by cosine. Of as many positive as negative words it
    is the mean of the differences of pairs (Kozlowski, Taddy & Evans 2019).

    Raises:
        NotComputable: A word has no vector or a zero vector and ``missing`` is ``error``, or no
            direction is left.
    """
    poles, sizes = [], []
    for words in (positive, negative):
        ids, vectors = data.gather(words.ids)
        is_used = (vectors != 0).any(axis=1)
        lost = [
            text
            for text, item in zip(words.texts, words.ids, strict=True)
            if item not in ids[is_used]
        ]
        if lost and missing == "error":
            raise NotComputable(
                f"no vector, or a zero vector, of {first_of(lost, MOST_NAMED)} (missing: error)"
            )
        ids, vectors = ids[is_used], vectors[is_used].astype(np.float64)
        if not len(ids):
            raise NotComputable("a pole has no word left")
        poles.append((_with_nearest(data, ids, vectors, k) if k else vectors).mean(axis=0))
        sizes.append(len(ids))
    direction = poles[0] - poles[1]
    length = float(np.linalg.norm(direction))
    if length <= 1e-12 * max(float(np.linalg.norm(pole)) for pole in poles):
        raise NotComputable("the two poles are the same")
    return direction / length, (sizes[0], sizes[1])


def _with_nearest(data: LayerData, ids: Ids, vectors: Float64Array, k: int) -> Float64Array:
    """Return the mean of each vector (n, dim) and those of its k nearest other items."""
    parts = data.map_with_ids(lambda block_ids, block: block_ids[has_direction(block)])
    with_direction = np.sort(np.concatenate([*parts]))
    nearest, _ = data.neighbours_of(ids, k, with_direction)
    means = np.empty_like(vectors)
    for number, positions in enumerate(nearest):
        _, others = data.gather(np.sort(with_direction[positions]))
        means[number] = np.concatenate([vectors[number : number + 1], others]).mean(axis=0)
    return means


def cosines_with(data: LayerData, direction: Float64Array) -> tuple[Ids, Float64Array]:
    """Return the ids of all items (n,), ascending, and their cosines with a unit vector, NaN for
    zero vectors.
    """

    def cosines(ids: Ids, block: Block) -> tuple[Ids, Float64Array]:
        units, is_zero = unit_rows(block)
        values = (units @ direction).clip(-1, 1)
        values[is_zero] = np.nan
        return ids, values

    return in_order(data.map_with_ids(cosines))


def in_order(parts: Iterable[tuple[Ids, Float64Array]]) -> tuple[Ids, Float64Array]:
    """Return the ids and values of all blocks, by ascending id."""
    blocks = [(np.empty(0, np.int64), np.empty(0)), *parts]
    ids, values = (np.concatenate([part[place] for part in blocks]) for place in (0, 1))
    order = np.argsort(ids)
    return ids[order], values[order]


@metric(
    columns=(
        Column("rank", "integer", "place from the positive end", minimum=1, is_key=True),
        Column("item_id", "integer", "id of the item", shown=False),
        Column("text", "string", "text of the item"),
        coefficient("score", "cosine with the axis", label="cosine"),
        count("n_zero", "zero vectors, which have no direction"),
        count("n_positive", "words of the positive pole"),
        count("n_negative", "words of the negative pole"),
    ),
    formula="cos(x, p − q), p and q the means of the words of either pole",
    citation=(
        "An, Kwak & Ahn (2018), ACL; of pairs: Kozlowski, Taddy & Evans (2019), Am. Sociol. Rev. 84"
    ),
    references=("an2018", "kozlowski2019"),
    needs="word sets",
    units=(Unit.WORD, Unit.SENTENCE),
    label="Semantic axis",
    version=2,
)
def axis(
    data: LayerData,
    *,
    everywhere: LayerData | None = None,
    positive: Annotated[Words, Option("Words of the positive pole, one a line or with commas.")],
    negative: Annotated[Words, Option("Words of the negative pole, one a line or with commas.")],
    missing: MissingWords = "error",
    k: Annotated[
        int,
        Option("Number of nearest items added to each word of a pole (SemAxis: 10).", minimum=0),
    ] = 0,
    top: Annotated[int, Option("Number of items at either end; 0 for all.", minimum=0)] = 10,
) -> list[Result]:
    """Items on a semantic axis between two poles of words, such as good and bad.

    Exact, in float64, over all items; the poles are means of raw vectors, as in SemAxis, so that
    long vectors count more: after transforms='standardize' they do less. Where all vectors share a
    direction, all scores have one sign: compare transforms='center'. As many positive as negative
    words are pairs, in any order. value='axis' of correlate compares a column of the items with the
    scores.
    """
    try:
        direction, sizes = find_axis(everywhere or data, positive, negative, missing, k)
        ids, values = cosines_with(data, direction)
    except NotComputable as error:
        return [{"n": 0, "reason": str(error)}]
    has_value = np.isfinite(values)
    ids, values = ids[has_value], values[has_value]
    order = np.argsort(-values, kind="stable")
    shown = np.arange(len(ids))
    if top:
        shown = np.union1d(shown[:top], shown[-top:])
    shared: Result = {
        "n": len(ids),
        "n_zero": (~has_value).sum(),
        "n_positive": sizes[0],
        "n_negative": sizes[1],
    }
    rows: list[Result] = [
        {"item_id": ids[item], "score": values[item], "rank": place + 1, **shared}
        for place, item in zip(shown.tolist(), order[shown].tolist(), strict=True)
    ]
    return rows or [shared | {"reason": "no item has a direction"}]
