"""``embstore info``."""

from typing import Annotated

from embstore.base.errors import UsageError

from ._errors import explained
from ._options import option
from ._output import ShownItems
from ._store import open_store


def info(
    skipped: Annotated[bool, option("--skipped", "List the texts without a vector, and why.")] = False,
    columns: Annotated[bool, option("--columns",
        "List the columns of items, stored (build --keep) and built-in.")] = False,
    exact: Annotated[bool, option("--bytes", "Show sizes in bytes, all digits (as JSON and CSV always do).")] = False,
    *,
    shown: ShownItems,
) -> None:  # fmt: skip
    """Show the spaces of a store: layers, items, size and index.

    --json and --csv have more: checkpoint, unit, pooling, template, dtype, shards, and how the indexes were made.
    """
    with explained():
        opened = open_store(shown.store)
        if skipped and columns:
            raise UsageError("--skipped and --columns are two lists: give one of them.")
        table = opened.skipped() if skipped else opened.columns() if columns else opened.info()
        shown.emit_actions(
            table.exact_sizes() if exact else table,
            nothing="No text was skipped." if skipped else "The store holds no space yet. Fill it with: embstore build",
        )
