"""``embstore cite``: BibTeX of what a paper uses."""

from pathlib import Path
from typing import Annotated

from . import _options
from ._errors import explained
from ._options import argument, option
from ._output import say, write
from ._store import open_store


def cite(
    names: Annotated[list[str] | None, argument("ENTRY", "embstore, metrics, datasets, spaces or checkpoints.")] = None,
    result: Annotated[Path | None, option("--from FILE",
        "Cite what a result uses: a file that --format json wrote.")] = None,
    store: _options.StoreDir = None,
    output: _options.OutputFile = None,
) -> None:  # fmt: skip
    """Write BibTeX of embstore, and of the metrics, datasets and checkpoints that a store, or a result, uses.

    Without a name, that is what the store uses: its checkpoints, its datasets, and the metrics of its stored answers.
    What has no known reference is named on standard error.

    embstore cite cka stsb > references.bib
    """
    with explained():
        found = open_store(store).cite(names or (), result=result)
        for note in found.notes:
            say(note)
        write(str(found), output)
