"""``embstore neighbours`` and ``cosine``."""

from typing import Annotated, Any

from . import _options
from ._options import argument, only_store, open_store, option
from ._output import Shown, ShownOfStores


def _arguments(
    texts: Annotated[list[str] | None, argument("TEXT", "Words or sentences.")] = None,
    marked: _options.Marked = None,
    positive: Annotated[
        list[str] | None,
        option(
            "--positive WORDS",
            "Words to add, with commas or repeated: king,woman.",
            callback=_options.split_words,
        ),
    ] = None,
    negative: Annotated[
        list[str] | None,
        option(
            "--negative WORDS", "Words to subtract, likewise: man.", callback=_options.split_words
        ),
    ] = None,
    method: Annotated[
        str, option("--method 3cosadd|3cosmul", "How --positive and --negative words are combined.")
    ] = "3cosadd",
    layers: _options.LayerNames = "top",
    k: Annotated[int, option("-k N", "Number of neighbours.")] = 10,
    *,
    encoding: _options.Encoding,
    filters: _options.Filters,
    transforms: _options.Transforms = None,
    where: Annotated[
        str | None,
        option(
            "--where SQL",
            "Only items for which this is true, as in \"text LIKE 'a%'\" (in the search).",
        ),
    ] = None,
    listed: _options.Listed,
    exact: Annotated[
        bool, option("--exact", "Scan the vectors, whatever indexes there are.")
    ] = False,
) -> None:
    """Declare the arguments of :meth:`Store.neighbours`."""


def neighbours(*, given: Annotated[dict[str, Any], _arguments], shown: ShownOfStores) -> None:
    """Show the nearest stored items of a text, by cosine, layers and models side by side.

    Instead of a text: --positive and --negative, for the items nearest to king + woman - man.
    """
    with shown.progress():
        found = open_store(only_store(shown.store)).neighbours(**given)
    shown.emit(found)


def cosine(
    texts: Annotated[
        list[str] | None, argument("TEXT", "Words or sentences; of more than two, all pairs.")
    ] = None,
    marked: _options.Marked = None,
    layers: _options.LayerNames = "all",
    *,
    encoding: _options.Encoding,
    filters: _options.Filters,
    transforms: _options.Transforms = None,
    shown: Shown,
) -> None:
    """Show the cosine of two texts, layers down and models side by side: exact, in float64."""
    with shown.progress():
        found = open_store(shown.store).cosine(
            texts or (),
            marked=marked or (),
            layers=layers,
            transforms=transforms or (),
            **encoding,
            **filters,
        )
    shown.emit(found)
