"""``embstore explore``: the web page over a store."""

from typing import Annotated

import typer

from . import _options
from ._errors import explained
from ._options import option
from ._output import say
from ._store import open_store


def explore(
    port: Annotated[int, option("--port PORT", "Port of the server; the next free one if it is in use.")] = 8765,
    host: Annotated[str, option("--host ADDRESS",
        "Address to listen on; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    browser: Annotated[bool, option("--open/--no-open", "Open the page in a browser.")] = True,
    store: _options.StoreDir = None,
) -> None:  # fmt: skip
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
