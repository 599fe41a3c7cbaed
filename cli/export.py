"""``embstore export``."""

from pathlib import Path
from typing import Annotated

from . import _options
from ._errors import explained
from ._options import argument, option
from ._store import open_store


def export(
    dest: Annotated[Path, argument("DEST", "File or folder to write.")],
    space: Annotated[str, option("--space NAME", "Space to export.")],
    form: Annotated[str | None, option("--as FORMAT",
        "Format, such as parquet, npy or word2vec.  [default: found by the suffix of DEST]")] = None,
    layer: Annotated[str | None, option("--layer LAYERS",
        f"{_options.LAYER_HELP}  [default: all, or top if the format has room for one]")] = None,
    where: Annotated[str | None, option("--where SQL",
        "Export the items for which this holds: --where \"text LIKE 'a%'\".")] = None,
    *,
    listed: _options.Listed,
    transform: _options.Transforms = None,
    keep: Annotated[list[str] | None, option("--keep NAMES",
        "Columns of the items to export too, as in pos,freq (repeatable), or all that are stored.")] = None,
    force: Annotated[bool, option("--force", "Replace what is at DEST.")] = False,
    quiet: _options.QuietSummary = False,
    store: _options.StoreDir = None,
) -> None:  # fmt: skip
    """Write the vectors of a space to a file or folder in the format of another program."""
    with explained("Interrupted. Nothing was written."):
        from ._output import say
        from ._progress import show_progress

        with show_progress(quiet) as observe:
            report = open_store(store).export(
                dest, space, format=form, layers=layer, where=where, **listed,
                transforms=transform or (), keep=_options.split_names(keep), force=force, observe=observe,
            )  # fmt: skip
        if not quiet:
            for line in [*report.notes, *report.lines()]:
                say(line)
