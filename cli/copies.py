"""Commands that copy between stores: ``embstore merge``, ``push`` and ``pull``."""

from typing import Annotated

from ._errors import explained
from ._options import DryRun, PartLayers, Spaces, argument, open_both, open_store
from ._output import Shown


def merge(
    other: Annotated[
        str, argument("OTHER", "The folder or URL of the other store; it is only read.")
    ],
    spaces: Spaces = None,
    dry_run: DryRun = False,
    *,
    shown: Shown,
) -> None:
    """Copy from another store what is missing in this one: whole spaces, and items of the same
    spaces.

    Each file is checked against its hash while it is copied, and nothing counts before all of it is
    here. A space of the same name with another checkpoint, template or layers is refused, and the
    difference shown. Where there is no store yet, embstore pull makes a copy of the other.
    """
    with explained(
        "Interrupted. Nothing counts but what was committed; run the same command again."
    ):
        with shown.progress():
            done = open_store(shown.store).merge(other, spaces=spaces or (), dry_run=dry_run)
        shown.emit_actions(done, nothing="There is nothing new to take in.", dry_run=dry_run)


def push(
    dest: Annotated[
        str,
        argument(
            "DEST",
            "Folder, s3://, gs://, az:// or hf://datasets/OWNER/NAME: empty, or with a store.",
        ),
    ],
    spaces: Spaces = None,
    layers: PartLayers = "all",
    dry_run: DryRun = False,
    *,
    shown: Shown,
) -> None:
    """Copy the store, or some of its spaces and layers, to another place.

    Only what is missing there travels. The files come first and the manifest last, so that the copy
    is complete or not to be seen, and each is checked against its hash. The same command goes on
    after an interruption. What else the place has stays; if each side has items of a space that the
    other lacks, it is refused.
    """
    with explained(
        "Interrupted. Nothing was committed; the same command goes on with what is missing."
    ):
        with shown.progress():
            here, options = open_both(shown.store, dest)
            done = here.push(
                dest, spaces=spaces or (), layers=layers, options=options, dry_run=dry_run
            )
        shown.emit_actions(done, nothing="There is nothing new to copy.", dry_run=dry_run)


def pull(
    source: Annotated[
        str,
        argument(
            "SOURCE",
            "Folder, s3://, gs://, az://, hf://datasets/OWNER/NAME[@REVISION] or https://; only"
            " read.",
        ),
    ],
    spaces: Spaces = None,
    layers: PartLayers = "all",
    dry_run: DryRun = False,
    *,
    shown: Shown,
) -> None:
    """Copy another store, or some of its spaces and layers, into this one.

    This one may not exist; else only what it lacks travels, and what else it has stays. If each
    side has items of a space that the other lacks, it is refused. Each file is checked against its
    hash, and the same command goes on after an interruption.
    """
    with explained(
        "Interrupted. Nothing was committed; the same command goes on with what is missing."
    ):
        with shown.progress():
            here, options = open_both(shown.store, source)
            done = here.pull(
                source, spaces=spaces or (), layers=layers, options=options, dry_run=dry_run
            )
        shown.emit_actions(done, nothing="There is nothing new to copy.", dry_run=dry_run)
