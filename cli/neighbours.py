"""``embstore neighbours`` and ``cosine``."""

from typing import Annotated

from . import _options
from ._options import argument, open_store, open_stores, option
from ._output import Shown, ShownOfStores


def neighbours(
    texts: Annotated[list[str] | None, argument("TEXT", "Words or sentences.")] = None,
    marked: _options.Marked = None,
    positive: Annotated[list[str] | None, option("--positive WORDS",
        "Words to add, with commas or repeated: king,woman.")] = None,
    negative: Annotated[list[str] | None, option("--negative WORDS", "Words to subtract, likewise: man.")] = None,
    method: Annotated[str, option("--method 3cosadd|3cosmul",
        "How --positive and --negative words are combined.")] = "3cosadd",
    layer: _options.LayerNames = "top",
    k: Annotated[int, option("-k N", "Number of neighbours.")] = 10,
    *,
    encoding: _options.Encoding,
    filters: _options.Filters,
    transform: _options.Transforms = None,
    where: Annotated[str | None, option("--where SQL",
        "Only items for which this is true, as in \"text LIKE 'a%'\" (in the search).")] = None,
    listed: _options.Listed,
    exact: Annotated[bool, option("--exact", "Scan the vectors, whatever indexes there are.")] = False,
    shown: ShownOfStores,
) -> None:  # fmt: skip
    """Show the nearest stored items of a text, by cosine, layers and models side by side.

    Instead of a text: --positive and --negative, for the items nearest to king + woman - man.
    """
    with shown.progress():
        found = open_stores(shown.store).neighbours(
            texts or (), marked=marked or (), **filters, layers=layer, k=k, **encoding,
            transforms=transform or (), where=where, **listed, exact=exact,
            positive=_options.split_words(positive), negative=_options.split_words(negative), method=method,
        )  # fmt: skip
    shown.emit(found)


def cosine(
    texts: Annotated[list[str] | None, argument("TEXT", "Words or sentences; of more than two, all pairs.")] = None,
    marked: _options.Marked = None,
    layer: _options.LayerNames = "all",
    *,
    encoding: _options.Encoding,
    filters: _options.Filters,
    transform: _options.Transforms = None,
    shown: Shown,
) -> None:  # fmt: skip
    """Show the cosine of two texts, layers down and models side by side: exact, in float64."""
    with shown.progress():
        found = open_store(shown.store).cosine(
            texts or (), marked=marked or (), **filters, layers=layer, **encoding,
            transforms=transform or (),
        )  # fmt: skip
    shown.emit(found)
