"""Methods of Store for papers: reproduce one, and cite what one uses."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embstore.base.keywords import Names, as_names
from embstore.base.progress import Observer
from embstore.base.table import Table
from embstore.storage.catalog import Catalog
from embstore.store.arguments import as_observer
from embstore.store.building import BuildMethods
from embstore.store.metrics import MetricMethods

if TYPE_CHECKING:
    from embstore.query.cite import Bibliography


class PaperMethods(MetricMethods, BuildMethods):
    """Reproduce papers, and write their references."""

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
