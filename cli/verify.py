"""``embstore verify``."""

from typing import Annotated

import typer

from ._errors import MISTAKE, NO, explained
from ._options import CsvSafe, Format, OutputFile, OutputFormat, StoreDir
from ._output import emit, say


def verify(
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also compute each id from its text, and compare the indexes' vectors with the shards'."
        ),
    ] = False,
    store: StoreDir = None,
    form: OutputFormat = Format.TABLE,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
) -> None:
    """Check every file of a store: hashes, rows, finite values, ids and indexes.

    Exit 1 if something is wrong, 2 if nothing is but something could not be read.
    """
    with explained():
        from embstore.store import Store

        result = Store(store).verify(deep=deep)
        if result.ok:
            say(f"{result.store}: {result.n_files} files, all sound.")
        else:
            say(f"{result.store}: {len(result.problems)} problem(s) in {result.n_files} files.")
        if not result.ok or form is not Format.TABLE:
            emit(result.to_table(), form, output, csv_safe=csv_safe)
        if not result.ok:
            raise typer.Exit(NO if result.is_damaged else MISTAKE)
