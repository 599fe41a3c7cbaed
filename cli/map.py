"""``embstore map``."""

from typing import Annotated

import typer

from . import _options
from ._errors import explained
from ._options import option
from ._output import Shown
from ._store import open_store

_OF_LIST = (
    "method", "layer", "model", "revision", "space", "unit", "pooling", "template", "stored", "quiet", "store",
    "store_option", "form", "output", "csv_safe",
)  # fmt: skip
"""Parameters that suit a list of stored maps."""


def map(
    context: typer.Context,
    method: Annotated[str | None, option("--method pca|tsne",
        "pca: principal components, with axes that all layers share; instant. tsne: t-SNE on exact nearest neighbours, "
        "each layer starting from the one below; keeps more of them.  [default: pca]")] = None,
    layer: _options.LayerNames = "all",
    *,
    filters: _options.Filters,
    where: Annotated[str | None, option("--where SQL",
        "Map the items for which this holds: --where \"text LIKE 'a%'\".")] = None,
    listed: _options.Listed,
    sample: _options.Sample = None,
    seed: Annotated[int, option("--seed S", "Seed of the sample, and of the method.")] = 0,
    force: Annotated[bool, option("--force", "Make maps again that are stored.")] = False,
    stored: Annotated[bool, option("--list",
        "List the stored maps, of this method, these layers and spaces; make none.")] = False,
    shown: Shown,
) -> None:  # fmt: skip
    """Map the items of each layer into the plane. The maps are stored, as tables of item_id, x and y.

    The layers of one call are mapped together, so that a point moves where its neighbours change.
    """
    with explained("Interrupted. The layers that were done are stored; the same command goes on after them."):
        opened = open_store(shown.store)
        if stored:
            _check_list(context)
            stored_maps = opened.maps(method=method, layers=layer, **filters)
            shown.emit_actions(stored_maps, nothing="No such map is stored. Make one with: embstore map")
            return
        with shown.progress() as observe:
            done = opened.map(
                method=method or "pca", layers=layer, **filters, where=where, **listed,
                sample=sample, seed=seed, force=force, observe=observe,
            )  # fmt: skip
        shown.emit(done)


def _check_list(context: typer.Context) -> None:
    """Raise UsageError if options of new maps are given, which do not choose among stored ones."""
    from embstore.base.errors import UsageError

    if given := _options.given_options(context, _OF_LIST):
        raise UsageError(
            f"--list lists stored maps with their settings, and {given[0]} is about new ones. Leave {given[0]} out; "
            "--space, --layer and --method choose what is listed."
        )
