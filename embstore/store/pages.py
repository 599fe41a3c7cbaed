"""Methods of Store that show it in a browser: explore and report."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from embstore.base.errors import UsageError
from embstore.base.keywords import Names, as_names
from embstore.store.lookup import LookupMethods
from embstore.store.mapping import MapMethods
from embstore.store.papers import PaperMethods

if TYPE_CHECKING:
    from embstore.explore.serving import Server


class PageMethods(PaperMethods, MapMethods, LookupMethods):
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

        server = Server(self._pinned(), host, port, report or _ignore)
        if open:
            server.open()
        return server

    def report(
        self,
        *,
        recipe: str | None = None,
        models: Names = (),
        sentences: str | os.PathLike[str] | None = None,
        quick: bool = False,
    ) -> str:
        """Return a report on the store as HTML: contents, metrics as pictures and tables, and an interactive map.

        The file opens without a network. The same store and versions give the same bytes. It needs the extra ``plot``.

        Args:
            recipe: Name or file of a recipe whose reproduction the report begins with, as in :meth:`reproduce`.
            models: Checkpoints of the reproduction, as in :meth:`reproduce`.
            sentences: File of sentences of the reproduction, as in :meth:`reproduce`.
            quick: Whether the reproduction uses only the small datasets.

        Raises:
            QueryError: The store has no space.
            UsageError: The extra is not installed, or an option of a reproduction is given without a recipe.
        """
        from embstore.explore.report import report

        if recipe is None:
            if models or sentences is not None or quick:
                raise UsageError("models, sentences and quick are for the reproduction of a recipe: give ⦃recipe⦄.")
            return report(self._pinned())
        reproduction = self.reproduce(recipe, models=models, sentences=sentences, quick=quick)
        options = {"models": as_names(models), "sentences": sentences, "quick": quick or None}
        return report(self._pinned(), reproduction, recipe, options)


def _ignore(_line: str) -> None:
    """Report nothing."""
