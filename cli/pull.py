"""``embstore pull``."""

from typing import Annotated

from ._errors import explained
from ._options import DryRun, PartLayers, Spaces, argument
from ._output import Shown
from ._store import open_both


def pull(
    source: Annotated[str, argument("SOURCE",
        "Folder, s3://, gs://, az://, hf://datasets/OWNER/NAME[@REVISION] or https://; only read.")],
    space: Spaces = None,
    layer: PartLayers = "all",
    dry_run: DryRun = False,
    *,
    shown: Shown,
) -> None:  # fmt: skip
    """Copy another store, or some of its spaces and layers, into this one.

    This one is missing, empty, or an earlier copy, of which only what is missing travels; with --space, its other
    spaces stay. Other content is refused. Each file is checked against its hash, and the same command goes on after
    an interruption.
    """
    with explained("Interrupted. Nothing was committed; the same command goes on with what is missing."):
        with shown.progress() as observe:
            here, options = open_both(shown.store, source)
            done = here.pull(
                source, spaces=space or (), layers=layer, options=options, dry_run=dry_run, observe=observe
            )
        shown.emit_actions(done, nothing="There is nothing new to copy.", dry_run=dry_run)
