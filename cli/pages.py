"""``embstore explore``, the web page over a store, and ``report``, one HTML file about it."""

from pathlib import Path
from typing import Annotated

import typer

from embstore.base.errors import UsageError

from . import _options
from ._errors import explained
from ._options import open_store, option
from ._output import say, write
from ._progress import show_progress


def explore(
    port: Annotated[
        int, option("--port PORT", "Port of the server; the next free one if it is in use.")
    ] = 8765,
    host: Annotated[
        str, option("--host ADDRESS", "Address to listen on; 0.0.0.0 for all of this machine.")
    ] = "127.0.0.1",
    browser: Annotated[bool, option("--open/--no-open", "Open the page in a browser.")] = True,
    store: _options.StoreDir = None,
) -> None:
    """Explore a store in a browser: maps of every layer, neighbours, metrics and SQL.

    The page is served from this machine until Ctrl-C, and only reads. It needs the extra explore.
    """
    with (
        explained(interrupted="The explorer has ended."),
        open_store(store).explore(host=host, port=port, open=browser, report=say) as server,
    ):
        for note in server.notes:
            say(note)
        typer.echo(server.url)
        say("Ctrl-C ends the explorer.")
        server.wait()


def report(
    output: Annotated[
        Path, option("--output -o FILE", "File to write; - for standard output.")
    ] = Path("report.html"),
    recipe: Annotated[
        str | None,
        option(
            "--recipe NAME", "Begin with the reproduction of this paper, as embstore reproduce."
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        option("--model NAME", "With --recipe: checkpoint, as in embstore reproduce (repeatable)."),
    ] = None,
    sentences: Annotated[
        str | None,
        option("--sentences FILE", "With --recipe: draw occurrences from these sentences."),
    ] = None,
    quick: Annotated[bool, option("--quick", "With --recipe: the small datasets only.")] = False,
    quiet: _options.Quiet = False,
    store: _options.StoreDir = None,
) -> None:
    """Write a report on a store: what it holds, its metrics as pictures and tables, and an
    interactive map.

    The file opens without a network, in any browser. It needs the extra plot.
    """
    if output is not None and output.suffix.lower() not in ("", ".html", ".htm"):
        raise UsageError(
            f"--output {output}: a report is an HTML page. Name it"
            f" {output.with_suffix('.html').name}."
        )

    with show_progress(quiet):
        page = open_store(store).report(
            recipe=recipe, models=models or (), sentences=sentences, quick=quick
        )
    write(page, output)
    if output is not None and not quiet:
        say(f"Written: {output}")
