"""``embstore neighbours``."""

from typing import Annotated

import typer

from ._errors import explained
from ._options import (
    LAYER_HELP,
    Format,
    Models,
    OutputFile,
    OutputFormat,
    PoolingName,
    Spaces,
    StoreDir,
    TemplateText,
    Transforms,
    UnitName,
)  # fmt: skip
from ._output import emit


def neighbours(
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Words or sentences.")] = None,
    marked: Annotated[
        list[str] | None,
        typer.Option(
            "--text", metavar="TEXT", help='A word in its context (repeatable): --text "the [bank] of the river".'
        ),
    ] = None,
    layer: Annotated[str, typer.Option("--layer", metavar="LAYERS", help=LAYER_HELP)] = "top",
    k: Annotated[int, typer.Option("-k", metavar="N", help="How many neighbours.")] = 10,
    embed: Annotated[
        bool, typer.Option("--embed", help="Encode a text that is not stored, by each space's own checkpoint.")
    ] = False,
    model: Models = None,
    space: Spaces = None,
    unit: UnitName = None,
    pooling: PoolingName = None,
    template: TemplateText = None,
    transform: Transforms = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="SQL",
            help="Only items for which this is true, as in \"text LIKE 'a%'\" (in the search).",
        ),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Scan the vectors, whatever indexes there are.")] = False,
    store: StoreDir = None,
    form: OutputFormat = Format.TABLE,
    output: OutputFile = None,
) -> None:
    """Show the nearest stored items of a text, by cosine, layers and models side by side."""
    with explained():
        from embstore.store import Store

        found = Store(store).neighbours(
            texts or (), marked=marked or (), models=model or (), spaces=space or (), unit=unit, pooling=pooling,
            template=template, layers=layer, k=k, embed=embed, transforms=transform or (),
            where=where, exact=exact,
        )  # fmt: skip
        emit(found, form, output)
