"""Methods of Store that show it in a browser: explore."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from embstore.store.lookup import LookupMethods
from embstore.store.mapping import MapMethods
from embstore.store.metrics import MetricMethods

if TYPE_CHECKING:
    from embstore.explore.serving import Server


class PageMethods(MapMethods, MetricMethods, LookupMethods):
    """Show a store in a browser."""

    def explore(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        open: bool = False,
        report: Callable[[str], None] | None = None,
    ) -> "Server":
        """Serve a web page that explores the store: maps of every layer, neighbours, metrics and SQL.

        The server runs in the background and only reads. It needs the extra ``explore``.

        Args:
            host: Address to listen on.
            port: Port; the next free one if it is in use, and any free one for 0.
            open: Whether to open the page in a browser of this machine.
            report: Function that is called with a line for each request that is refused or fails; by default nothing
                is reported.

        Returns:
            The running server: ``url`` is the address, ``stop()`` or the end of a ``with`` block ends it, and
            ``wait()`` waits for Ctrl-C.

        Raises:
            UsageError: The extra is not installed, or no port is free.
            StoreError: There is no store.
        """
        from embstore.explore.serving import Server

        server = Server(self, host, port, report or _ignore)
        if open:
            server.open()
        return server


def _ignore(_line: str) -> None:
    """Report nothing."""
