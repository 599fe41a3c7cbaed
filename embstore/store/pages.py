"""Methods of Store on what it shows: papers reproduced and cited, the explorer, a report."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embstore.base.errors import UsageError
from embstore.base.keywords import Names, as_names
from embstore.base.progress import Observer
from embstore.base.table import Table
from embstore.storage.catalog import Catalog
from embstore.store.arguments import as_observer
from embstore.store.building import BuildMethods
from embstore.store.lookup import LookupMethods
from embstore.store.mapping import MapMethods
from embstore.store.metrics import MetricMethods

if TYPE_CHECKING:
    from embstore.explore.serving import Server
    from embstore.query.cite import Bibliography


class PageMethods(MetricMethods, BuildMethods, MapMethods, LookupMethods):
    """Reproduce papers, write their references, and show a store in a browser."""

    def reproduce(
        self,
        recipe: str = "wolfe2022",
        *,
        models: Names = (),
        sentences: str | os.PathLike[str] | None = None,
        quick: bool = False,
        seed: int = 0,
        device: str | None = None,
        allow_pickle: bool = False,
        dry_run: bool = False,
        observe: Observer | None = None,
    ) -> Table:
        """Build the spaces of a paper's recipe, compute its metrics, and compare them with the published numbers.

        Args:
            recipe: Name of a recipe, or path of your own (.toml).
            models: Checkpoints to use instead of the paper's, as in :meth:`build`. Published numbers go by the name:
                ``gpt2=folder`` is compared with GPT-2's.
            sentences: File of sentences from which occurrences are drawn, instead of the recipe's sources.
            quick: Whether to use only the small datasets, and the first texts of the others.
            seed: Random seed of all samples.
            device: ``cpu``, ``cuda`` …; by default an accelerator if there is one.
            allow_pickle: Whether to load pickled weights if there are no safetensors.
            dry_run: Whether to return the builds and queries without running them.
            observe: Function that is called with the progress; by default a notebook shows it.

        Returns:
            One row per number, measured or published: ``published`` with its ``relation`` and the band from ``low`` to
            ``high``, ``measured``, and the ``verdict``: hit, miss, not published or not measured, with a ``reason``.

        Raises:
            EmbstoreError: See :mod:`embstore.base.errors`. What was embedded stays; the same call continues.
        """
        from embstore.recipes.reproduce import ReproduceOptions, preview, reproduce

        path = None if sentences is None else os.fspath(sentences)
        options = ReproduceOptions(as_names(models), path, quick, seed, device, allow_pickle)
        if dry_run:
            return preview(recipe, options)
        return reproduce(self._pinned(), recipe, options, as_observer(observe))

    def cite(
        self, names: Names = (), *, result: str | os.PathLike[str] | Table | Sequence[Mapping[str, Any]] | None = None
    ) -> "Bibliography":
        """Return the references of embstore and of the metrics, datasets and checkpoints in use, as BibTeX.

        Args:
            names: ``embstore``, metrics, datasets, spaces or checkpoints.
            result: Result whose metrics, datasets and checkpoints are cited: a table, its rows, or a file written by
                ``--format json``. Without names and result, those of the store are cited: its checkpoints, its datasets
                and the metrics of its stored answers.

        Returns:
            ``str`` of it is BibTeX; ``notes`` name what has no known reference.

        Raises:
            UnknownNameError: A name is not known; lists the nearest.
        """
        from embstore.query.cite import cite, read_result

        rows = read_result(Path(result)) if isinstance(result, str | os.PathLike) else result
        return cite(self._catalog_if_any, as_names(names), None if rows is None else list(rows))

    def _catalog_if_any(self) -> Catalog | None:
        """Return the catalog; None if no store was named and there is none at the default place."""
        return self._newest() if self._is_named or self.path.exists() else None

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
