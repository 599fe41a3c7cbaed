"""``embstore drift``."""

from typing import Annotated, Any

from . import _options
from ._errors import explained
from ._options import argument, grouped, option
from ._output import ShownItems
from ._store import open_store


@grouped
def arguments(
    texts: Annotated[list[str] | None, argument("WORD",
        "Words or sentences.  [default: those that change most and least]")] = None,
    marked: _options.Marked = None,
    most: Annotated[int | None, option("--most N",
        "The N items that change most, and the N that change least.  [10]")] = None,
    k: Annotated[int, option("-k N", "Number of neighbours.")] = 10,
    pairs: Annotated[str, option("--pairs adjacent|all",
        "Compare each layer with the next, or all with all.")] = "adjacent",
    against: Annotated[str | None, option("--against SPACE",
        "Compare with the layers of this space, the first with the first, and so on.")] = None,
    layer: _options.LayerNames = "all",
    *,
    filters: _options.Filters,
    where: Annotated[str | None, option("--where SQL",
        "Only items for which this holds are compared, and neighbours.")] = None,
    listed: _options.Listed,
    sample: _options.Sample = None,
    seed: Annotated[int, option("--seed S", "Seed of the sample.")] = 0,
) -> dict[str, Any]:  # fmt: skip
    """Return the arguments of :meth:`Store.drift` that the options give."""
    return {
        "texts": texts or (), "marked": marked or (), "most": most, "k": k, "pairs": pairs, "against": against,
        "layers": layer, **filters, "where": where, **listed, "sample": sample, "seed": seed,
    }  # fmt: skip


def drift(
    *,
    given: Annotated[dict[str, Any], arguments],
    no_cache: Annotated[bool, option("--no-cache", "Compute all anew: take no stored answer, and store none.")] = False,
    shown: ShownItems,
) -> None:  # fmt: skip
    """Show how the neighbourhoods of items change over layers, or between two spaces.

    overlap: share of the k nearest that an item keeps. turnover: 1 − cosine of its cosines with all its neighbours.
    """
    with explained():
        with shown.progress():
            found = open_store(shown.store).drift(**given, cache=not no_cache)
        shown.emit(found)
