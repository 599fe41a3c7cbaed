"""``embstore index``."""

import signal
from typing import Annotated

import typer

from ._errors import NO, explained
from ._options import (
    LAYER_HELP,
    Format,
    IndexMemory,
    Models,
    OutputFile,
    OutputFormat,
    PoolingName,
    Spaces,
    StoreDir,
    TemplateText,
    UnitName,
)  # fmt: skip
from ._output import emit, say


def index(
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="auto|flat|hnsw|ivf|none",
            help="Of index; later builds keep to it.  [default: what was chosen before, else auto]",
        ),
    ] = None,
    index_memory: IndexMemory = None,
    recall: Annotated[
        float | None,
        typer.Option("--recall", metavar="R", help="Recall@10 to tune for, if not exact.  [default: 0.99]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build anew also what is up to date.")] = False,
    layer: Annotated[str, typer.Option("--layer", metavar="LAYERS", help=LAYER_HELP)] = "all",
    model: Models = None,
    space: Spaces = None,
    unit: UnitName = None,
    pooling: PoolingName = None,
    template: TemplateText = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    store: StoreDir = None,
    form: OutputFormat = Format.TABLE,
    output: OutputFile = None,
) -> None:
    """Bring the indexes for neighbours up to date, or change their kind. Exit 1 if a recall is not reached."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch scheduler's way to say Ctrl-C
    with explained("Interrupted. The indexes that were done are kept; the others are as they were."):
        from embstore.store import Store

        from ._progress import show_progress

        with show_progress(quiet) as observe:
            done = Store(store).index(
                models=model or (), spaces=space or (), unit=unit, pooling=pooling, template=template, layers=layer,
                kind=kind, memory=index_memory, recall=recall, force=force, observe=observe,
            )  # fmt: skip
        if not len(done):
            say("There is nothing to index: no space has a shard.")
        emit(done, form, output)
        if any(row["recall"] is not None and row["recall"] < row["wanted_recall"] for row in done):
            raise typer.Exit(NO)
