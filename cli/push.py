"""``embstore push``."""

from typing import Annotated

from ._errors import explained
from ._options import DryRun, PartLayers, Spaces, argument
from ._output import Shown
from ._store import open_both


def push(
    dest: Annotated[str, argument("DEST",
        "Folder, s3://, gs://, az:// or hf://datasets/OWNER/NAME: empty, or with an earlier copy.")],
    space: Spaces = None,
    layer: PartLayers = "all",
    dry_run: DryRun = False,
    *,
    shown: Shown,
) -> None:  # fmt: skip
    """Copy the store, or some of its spaces and layers, to another place.

    Only what is missing there travels. The files come first and the manifest last, so that the copy is complete or
    not to be seen, and each is checked against its hash. The same command goes on after an interruption. A place
    with other content is refused; with --space, its other spaces stay.
    """
    with explained("Interrupted. Nothing was committed; the same command goes on with what is missing."):
        with shown.progress() as observe:
            here, options = open_both(shown.store, dest)
            done = here.push(dest, spaces=space or (), layers=layer, options=options, dry_run=dry_run, observe=observe)
        shown.emit_actions(done, nothing="There is nothing new to copy.", dry_run=dry_run)
