"""``embstore neighbours``."""

from typing import Annotated

import typer

from ._errors import explained
from ._options import (
    Format,
    Models,
    OutputFile,
    OutputFormat,
    PoolingName,
    Spaces,
    StoreDir,
    TemplateText,
    UnitName,
)  # fmt: skip
from ._output import emit


def neighbours(
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Words or sentences.")] = None,
    marked: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TEXT", help='A word in its context: --text "the [bank] of the river".'),
    ] = None,
    layer: Annotated[str, typer.Option("--layer", help="Numbers, ranges, all, top, raw or normed.")] = "top",
    k: Annotated[int, typer.Option("-k", help="How many neighbours.")] = 10,
    embed: Annotated[bool, typer.Option("--embed", help="Encode a text that is not stored, now.")] = False,
    model: Models = None,
    space: Spaces = None,
    unit: UnitName = None,
    pooling: PoolingName = None,
    template: TemplateText = None,
    store: StoreDir = None,
    form: OutputFormat = Format.TABLE,
    output: OutputFile = None,
) -> None:
    """Show the nearest stored items of a text, by cosine, layers and models side by side."""
    from embstore.store import Store

    with explained():
        found = Store(store).neighbours(
            texts or (), marked=marked or (), models=model or (), spaces=space or (), unit=unit, pooling=pooling,
            template=template, layers=layer, k=k, embed=embed,
        )  # fmt: skip
        emit(found, form, output)
