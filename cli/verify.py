"""``embstore verify``."""

from typing import Annotated

import typer

from ._errors import MISTAKE, NO, explained
from ._options import Format, option
from ._output import Shown, say
from ._store import open_all, open_store


def verify(
    deep: Annotated[bool, option("--deep",
        "Also compute each id from its text, and compare the vectors in the indexes, and the sums of a space, with the "
        "shards.")] = False,
    quick: Annotated[bool, option("--quick",
        "Check instead only that each file is there with its size, and the footers of the shards. Of a store at a URL, "
        "fetches a listing and some kilobytes per shard.")] = False,
    *,
    shown: Shown,
) -> None:  # fmt: skip
    """Check every file of a store: hashes, rows, finite values, ids and indexes.

    Exit 1 if something is wrong, 2 if nothing is but something could not be read.
    """
    with explained():
        with shown.progress():
            opened = open_store(shown.store) if quick else open_all(shown.store, "add --quick.")
            result = opened.verify(deep=deep, quick=quick)
        for line in () if shown.quiet else result.lines():
            say(line)
        if not result.ok or shown.form is not Format.TABLE or shown.output is not None:
            shown.emit(result.to_table())
        if not result.ok:
            raise typer.Exit(NO if result.is_damaged else MISTAKE)
