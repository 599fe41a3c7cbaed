"""``embstore explore``, the web page over a store, and ``report``, one HTML file about it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option, Typer, echo

from embstore.base.errors import UsageError

from ._errors import explained
from ._groups import opened_store, with_groups
from ._options import Quiet, Spaces, Values, divided, examples
from ._output import check_place, print_message, show_progress, write

if TYPE_CHECKING:
    from embstore.store import Store

app = Typer()


@app.command(
    epilog=examples(
        "how-to/explore.md", "embstore explore", "embstore explore --port 9000 --no-open"
    )
)
@with_groups(opened=opened_store)
def explore(
    port: Annotated[
        int, Option(metavar="PORT", help="Port of the server; the next free one if it is in use.")
    ] = 8765,
    host: Annotated[
        str,
        Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all of this machine."),
    ] = "127.0.0.1",
    browser: Annotated[bool, Option("--open/--no-open", help="Open the page in a browser.")] = True,
    *,
    opened: "Store",
) -> None:
    """Explore a store in a browser: maps of every layer, neighbours, metrics and SQL.

    The page is served from this machine until Ctrl-C, and only reads. It needs the extra explore.
    """
    with (
        explained(interrupted="The explorer has ended."),
        opened.explore(host=host, port=port, open=browser, report=print_message) as server,
    ):
        for note in server.notes:
            print_message(note)
        echo(server.url)
        print_message("Ctrl-C ends the explorer.")
        server.wait()


@app.command(
    epilog=examples(
        "how-to/explore.md",
        "embstore report",
        "embstore report --recipe wolfe2022 -o wolfe2022.html",
    )
)
@with_groups(opened=opened_store)
def report(
    output: Annotated[
        Path, Option("--output", "-o", metavar="FILE", help="File to write; - for standard output.")
    ] = Path("report.html"),
    recipe: Annotated[
        str | None,
        Option(
            metavar="NAME", help="Begin with the reproduction of this paper, as embstore reproduce."
        ),
    ] = None,
    models: Annotated[
        Values,
        Option(
            "--model",
            metavar="NAME",
            help="With --recipe: checkpoint, as in embstore reproduce (also with commas).",
            callback=divided,
        ),
    ] = None,
    sentences: Annotated[
        str | None,
        Option(metavar="FILE", help="With --recipe: draw occurrences from these sentences."),
    ] = None,
    quick: Annotated[
        bool, Option("--quick", help="With --recipe: the small datasets only.")
    ] = False,
    spaces: Spaces = None,
    *,
    opened: "Store",
    quiet: Quiet = False,
) -> None:
    """Write a report on a store: what it holds, its metrics as pictures and tables, and an
    interactive map.

    The file opens without a network, in any browser. It needs the extra plot.
    """
    if output.suffix.lower() not in ("", ".html", ".htm"):
        raise UsageError(
            f"--output {output}: a report is an HTML page. Name it"
            f" {output.with_suffix('.html').name}."
        )
    file = None if str(output) == "-" else output
    if file is not None:
        check_place(file)
    with show_progress(quiet):
        page = opened.report(
            recipe=recipe,
            models=models or (),
            sentences=sentences,
            quick=quick,
            spaces=spaces or (),
        )
    write(page, file)
    if str(file) == "report.html" and not quiet:
        print_message(f"Written: {file}")
