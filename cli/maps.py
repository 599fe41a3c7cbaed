"""``embstore drift`` and ``map``."""

from typing import Annotated, Any

import typer

from embstore.base.errors import UsageError

from . import _options
from ._errors import explained
from ._options import argument, open_store, option
from ._output import Shown, ShownItems


def arguments(
    texts: Annotated[
        list[str] | None,
        argument("WORD", "Words or sentences.  [default: those that change most and least]"),
    ] = None,
    marked: _options.Marked = None,
    most: Annotated[
        int | None,
        option("--most N", "The N items that change most, and the N that change least.  [10]"),
    ] = None,
    k: Annotated[int, option("-k N", "Number of neighbours.")] = 10,
    pairs: Annotated[
        str, option("--pairs adjacent|all", "Compare each layer with the next, or all with all.")
    ] = "adjacent",
    against: Annotated[
        str | None,
        option(
            "--against SPACE",
            "Compare with the layers of this space, the first with the first, and so on.",
        ),
    ] = None,
    layers: _options.LayerNames = "all",
    *,
    filters: _options.Filters,
    where: Annotated[
        str | None,
        option("--where SQL", "Only items for which this holds are compared, and neighbours."),
    ] = None,
    listed: _options.Listed,
    sample: _options.Sample = None,
    seed: Annotated[int, option("--seed S", "Seed of the sample.")] = 0,
) -> None:
    """Declare the arguments of :meth:`Store.drift`."""


def drift(
    *,
    given: Annotated[dict[str, Any], arguments],
    no_cache: Annotated[
        bool, option("--no-cache", "Compute all anew: take no stored answer, and store none.")
    ] = False,
    shown: ShownItems,
) -> None:
    """Show how the neighbourhoods of items change over layers, or between two spaces.

    overlap: share of the k nearest that an item keeps. turnover: 1 − cosine of its cosines with all
    its neighbours.
    """
    with shown.progress():
        found = open_store(shown.store).drift(**given, cache=not no_cache)
    shown.emit(found)


_OF_LIST = (
    "method", "layers", "models", "revisions", "spaces", "unit", "pooling", "template", "stored",
    "quiet", "store",
    "store_option", "form", "output", "csv_safe",
)  # fmt: skip
"""Parameters that suit a list of stored maps."""


def map(
    context: typer.Context,
    method: Annotated[
        str | None,
        option(
            "--method pca|tsne",
            "pca: principal components, with axes that all layers share; instant. tsne: t-SNE on"
            " exact nearest neighbours, "
            "each layer starting from the one below; keeps more of them.  [default: pca]",
        ),
    ] = None,
    layers: _options.LayerNames = "all",
    *,
    filters: _options.Filters,
    where: Annotated[
        str | None,
        option("--where SQL", "Map the items for which this holds: --where \"text LIKE 'a%'\"."),
    ] = None,
    listed: _options.Listed,
    sample: _options.Sample = None,
    seed: Annotated[int, option("--seed S", "Seed of the sample, and of the method.")] = 0,
    force: Annotated[bool, option("--force", "Make maps again that are stored.")] = False,
    stored: Annotated[
        bool,
        option(
            "--list", "List the stored maps, of this method, these layers and spaces; make none."
        ),
    ] = False,
    shown: Shown,
) -> None:
    """Map the items of each layer into the plane. The maps are stored, as tables of item_id, x and
    y.

    The layers of one call are mapped together, so that a point moves where its neighbours change.
    """
    with explained(
        "Interrupted. The layers that were done are stored; the same command goes on after them."
    ):
        opened = open_store(shown.store)
        if stored:
            if given := _options.given_options(context, _OF_LIST):
                raise UsageError(
                    f"--list lists stored maps with their settings, and {given[0]} is about new"
                    f" ones. Leave {given[0]} out; --space, --layer and --method choose what is"
                    " listed."
                )
            stored_maps = opened.maps(method=method, layers=layers, **filters)
            shown.emit_actions(
                stored_maps, nothing="No such map is stored. Make one with: embstore map"
            )
            return
        with shown.progress():
            done = opened.map(
                method=method or "pca",
                layers=layers,
                where=where,
                sample=sample,
                seed=seed,
                force=force,
                **filters,
                **listed,
            )
        shown.emit(done)
