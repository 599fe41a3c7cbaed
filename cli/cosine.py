"""``embstore cosine``."""

from typing import Annotated

from . import _options
from ._errors import explained
from ._options import argument, option
from ._output import Shown
from ._store import open_store


def cosine(
    texts: Annotated[list[str] | None, argument("TEXT", "Words or sentences; of more than two, all pairs.")] = None,
    marked: Annotated[
        list[str] | None, option("--text TEXT", 'A word in its context (repeatable): --text "the [bank] of the river".')
    ] = None,
    layer: Annotated[str, option("--layer LAYERS", _options.LAYER_HELP)] = "all",
    embed: Annotated[
        bool, option("--embed", "Encode a text that is not stored, by each space's own checkpoint.")
    ] = False,
    download: Annotated[
        bool, option("--download", "With --embed: download checkpoints that are not on this machine.")
    ] = False,
    allow_pickle: _options.AllowPickle = False,
    *,
    filters: _options.Filters,
    transform: _options.Transforms = None,
    shown: Shown,
) -> None:
    """Show the cosine of two texts, layers down and models side by side: exact, in float64."""
    with explained():
        with shown.progress():
            found = open_store(shown.store).cosine(
                texts or (), marked=marked or (), **filters, layers=layer, embed=embed, download=download,
                allow_pickle=allow_pickle, transforms=transform or (),
            )  # fmt: skip
        shown.emit(found)
