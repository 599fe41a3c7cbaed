"""``embstore index``."""

from typing import Annotated

import typer

from . import _options
from ._errors import NO, explained
from ._options import option
from ._output import Shown, say
from ._store import open_store


def index(
    kind: Annotated[str | None, option("--kind auto|flat|hnsw|ivf|none",
        "Kind of index; later builds keep to it.  [default: the kind chosen before, else auto]")] = None,
    index_memory: _options.IndexMemory = None,
    recall: Annotated[float | None, option("--recall R",
        "Recall@10 to tune for, if not exact.  [default: 0.99]")] = None,
    force: Annotated[bool, option("--force", "Rebuild indexes that are up to date, too.")] = False,
    layer: _options.LayerNames = "all",
    *,
    filters: _options.Filters,
    shown: Shown,
) -> None:  # fmt: skip
    """Bring the indexes for neighbours up to date, or change their kind. Exit 1 if a recall is not reached."""
    with explained("Interrupted. The indexes that were done are kept; the others are as they were."):
        with shown.progress() as observe:
            done = open_store(shown.store).index(
                **filters, layers=layer, kind=kind, memory=index_memory, recall=recall, force=force,
                observe=observe,
            )  # fmt: skip
        if not len(done) and not shown.quiet:
            say("There is nothing to index: no space has a shard.")
        shown.emit(done)
        if any(row["recall"] is not None and row["recall"] < row["wanted_recall"] for row in done):
            raise typer.Exit(NO)
