"""``embstore push``."""

from typing import Annotated

from ._errors import explained
from ._options import (
    LAYER_HELP,
    CsvSafe,
    DryRun,
    Format,
    OutputFile,
    OutputFormat,
    Quiet,
    Spaces,
    StoreDir,
    argument,
    option,
)
from ._output import emit_actions
from ._store import open_both


def push(
    dest: Annotated[
        str,
        argument("DEST", "Folder, s3://, gs://, az:// or hf://datasets/OWNER/NAME: empty, or with an earlier copy."),
    ],
    space: Spaces = None,
    layer: Annotated[str, option("--layer --layers LAYERS", LAYER_HELP)] = "all",
    dry_run: DryRun = False,
    quiet: Quiet = False,
    store: StoreDir = None,
    form: OutputFormat = Format.TABLE,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
) -> None:
    """Copy the store, or some of its spaces and layers, to another place.

    Only what is missing there travels. The files come first and the manifest last, so that the copy is complete or
    not to be seen, and each is checked against its hash. The same command goes on after an interruption. A place
    with other content is refused; with --space, its other spaces stay.
    """
    with explained("Interrupted. Nothing was committed; the same command goes on with what is missing."):
        from ._progress import show_progress

        with show_progress(quiet) as observe:
            here, options = open_both(store, dest)
            done = here.push(dest, spaces=space or (), layers=layer, options=options, dry_run=dry_run, observe=observe)
        emit_actions(
            done, form, output, nothing="There is nothing new to copy.", dry_run=dry_run, quiet=quiet,
            csv_safe=csv_safe,
        )  # fmt: skip
