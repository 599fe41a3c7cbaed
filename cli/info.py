"""``embstore info``."""

from typing import Annotated

from embstore.base.errors import UsageError

from ._errors import explained
from ._options import CsvSafe, Format, IdsAsText, OutputFile, OutputFormat, Quiet, StoreDir, option
from ._output import emit_actions
from ._store import open_store


def info(
    store: StoreDir = None,
    skipped: Annotated[bool, option("--skipped", "List the texts without a vector, and why.")] = False,
    columns: Annotated[
        bool, option("--columns", "List the columns of items, stored (build --keep) and built-in.")
    ] = False,
    exact: Annotated[bool, option("--bytes", "Show sizes in bytes, all digits (as JSON and CSV always do).")] = False,
    quiet: Quiet = False,
    form: OutputFormat = Format.TABLE,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
    ids_as_text: IdsAsText = False,
) -> None:
    """Show the spaces of a store: layers, items, size and index.

    --json and --csv have more: checkpoint, unit, pooling, template, dtype, shards, and how the indexes were made.
    """
    with explained():
        opened = open_store(store)
        if skipped and columns:
            raise UsageError("--skipped and --columns are two lists: give one of them.")
        table = opened.skipped() if skipped else opened.columns() if columns else opened.info()
        emit_actions(
            table.exact_sizes() if exact else table, form, output,
            nothing="No text was skipped." if skipped else "The store holds no space yet. Fill it with: embstore build",
            quiet=quiet, csv_safe=csv_safe, ids_as_text=ids_as_text,
        )  # fmt: skip
