"""``embstore info``."""

from typing import Annotated

import typer

from ._errors import explained
from ._options import CsvSafe, Format, OutputFile, OutputFormat, StoreDir
from ._output import emit, say


def info(
    store: StoreDir = None,
    skipped: Annotated[bool, typer.Option("--skipped", help="List the texts without a vector, and why.")] = False,
    form: OutputFormat = Format.TABLE,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
) -> None:
    """Show the spaces of a store: checkpoint, unit, pooling, layers, items, bytes and index."""
    with explained():
        from embstore.store import Store

        opened = Store(store)
        table = opened.skipped() if skipped else opened.info()
        if not len(table):
            say("No text was skipped." if skipped else "The store holds no space yet. Fill it with: embstore build")
        emit(table, form, output, csv_safe=csv_safe)
