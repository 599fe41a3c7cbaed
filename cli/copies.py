"""Commands that copy between stores: ``embstore merge``, ``push`` and ``pull``."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Typer

from ._errors import explained
from ._groups import as_arguments, opened_store, plain_output, with_groups
from ._options import ALL, CopiedLayers, DryRun, Spaces, StoreDir, StoreOptions, examples, open_both
from ._output import Output

if TYPE_CHECKING:
    from embstore.store import Store

app = Typer()

_INTERRUPTED = "Interrupted. Nothing was committed; the same command goes on with what is missing."


@app.command(epilog=examples("how-to/machines.md", "embstore merge ../other/store"))
@with_groups(opened=opened_store, out=plain_output)
def merge(
    other: Annotated[
        str,
        Argument(metavar="OTHER", help="The folder or URL of the other store; it is only read."),
    ],
    spaces: Spaces = None,
    dry_run: DryRun = False,
    *,
    opened: "Store",
    out: Output,
) -> None:
    """Copy from another store what is missing in this one: whole spaces, and items of the same
    spaces.

    Each file is checked against its hash while it is copied, and nothing counts before all of it is
    here. A space of the same name with another checkpoint, template or layers is refused, and the
    difference shown. Where there is no store yet, embstore pull makes a copy of the other.
    """
    arguments = as_arguments(locals())
    with explained(
        "Interrupted. Nothing counts but what was committed; run the same command again."
    ):
        with out.progress():
            done = opened.merge(**arguments)
        out.emit_actions(done, nothing="There is nothing new to merge.", dry_run=dry_run)


@app.command(
    epilog=examples(
        "how-to/share-a-store.md",
        "embstore push hf://datasets/group/gpt2-words",
        "embstore push ../small --space gpt2.word.last --layer 0,6,top",
    )
)
@with_groups(out=plain_output)
def push(
    dest: Annotated[
        str,
        Argument(
            metavar="DEST",
            help="Folder, s3://, gs://, az:// or hf://datasets/OWNER/NAME: empty, or with a store.",
        ),
    ],
    spaces: Spaces = None,
    layers: CopiedLayers = ALL,
    dry_run: DryRun = False,
    store: StoreDir = None,
    store_option: StoreOptions = None,
    *,
    out: Output,
) -> None:
    """Copy the store, or some of its spaces and layers, to another place.

    Only what is missing there travels. The files come first and the manifest last, so that the copy
    is complete or not to be seen, and each is checked against its hash. The same command goes on
    after an interruption. What else the place has stays; if each side has items of a space that the
    other lacks, it is refused.
    """
    with explained(_INTERRUPTED):
        with out.progress():
            here, options = open_both(store, dest, store_option)
            done = here.push(
                dest, spaces=spaces or (), layers=layers, options=options, dry_run=dry_run
            )
        out.emit_actions(done, nothing="There is nothing new to copy.", dry_run=dry_run)


@app.command(
    epilog=examples(
        "how-to/share-a-store.md",
        "embstore pull s3://group/gpt2-words",
        "embstore pull ../other/store --space gpt2.word.last --dry-run",
    )
)
@with_groups(out=plain_output)
def pull(
    source: Annotated[
        str,
        Argument(
            metavar="SOURCE",
            help=(
                "Folder, s3://, gs://, az://, hf://datasets/OWNER/NAME\\[@REVISION] or https://;"
                " only read."
            ),
        ),
    ],
    spaces: Spaces = None,
    layers: CopiedLayers = ALL,
    dry_run: DryRun = False,
    store: StoreDir = None,
    store_option: StoreOptions = None,
    *,
    out: Output,
) -> None:
    """Copy another store, or some of its spaces and layers, into this one.

    This one may not exist; else only what it lacks travels, and what else it has stays. If each
    side has items of a space that the other lacks, it is refused. Each file is checked against its
    hash, and the same command goes on after an interruption.
    """
    with explained(_INTERRUPTED):
        with out.progress():
            here, options = open_both(store, source, store_option)
            done = here.pull(
                source, spaces=spaces or (), layers=layers, options=options, dry_run=dry_run
            )
        out.emit_actions(done, nothing="There is nothing new to copy.", dry_run=dry_run)
