"""``embstore report``: one HTML file about a store."""

from pathlib import Path
from typing import Annotated

from . import _options
from ._errors import explained
from ._options import option
from ._output import say, write
from ._store import open_store


def report(
    output: Annotated[Path, option("--output -o FILE", "File to write; - for standard output.")] = Path("report.html"),
    recipe: Annotated[str | None, option("--recipe NAME",
        "Begin with the reproduction of this paper, as embstore reproduce.")] = None,
    model: Annotated[list[str] | None, option("--model NAME",
        "With --recipe: checkpoint, as in embstore reproduce (repeatable).")] = None,
    sentences: Annotated[str | None, option("--sentences FILE",
        "With --recipe: draw occurrences from these sentences.")] = None,
    quick: Annotated[bool, option("--quick", "With --recipe: the small datasets only.")] = False,
    quiet: _options.Quiet = False,
    store: _options.StoreDir = None,
) -> None:  # fmt: skip
    """Write a report on a store: what it holds, its metrics as pictures and tables, and an interactive map.

    The file opens without a network, in any browser. It needs the extra plot.
    """
    with explained():
        from ._progress import show_progress

        _check_suffix(output)

        with show_progress(quiet):
            page = open_store(store).report(recipe=recipe, models=model or (), sentences=sentences, quick=quick)
        write(page, output)
        if output is not None and not quiet:
            say(f"Written: {output}")


def _check_suffix(output: Path | None) -> None:
    """Raise UsageError if the name of the file ends as that of another type, before anything is computed for it."""
    from embstore.base.errors import UsageError

    if output is not None and output.suffix.lower() not in ("", ".html", ".htm"):
        raise UsageError(f"--output {output}: a report is an HTML page. Name it {output.with_suffix('.html').name}.")
