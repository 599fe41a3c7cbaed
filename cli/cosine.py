"""``embstore cosine``."""

from typing import Annotated

from . import _options
from ._errors import explained
from ._options import argument
from ._output import Shown
from ._store import open_store


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
    with explained():
        with shown.progress():
            found = open_store(shown.store).cosine(
                texts or (), marked=marked or (), **filters, layers=layer, **encoding,
                transforms=transform or (),
            )  # fmt: skip
        shown.emit(found)
