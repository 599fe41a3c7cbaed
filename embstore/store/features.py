"""Methods of Store built on others: maps and drift, papers reproduced and cited, the explorer, a
report.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import UsageError, check_known
from embstore.base.keywords import Names, StrPath, as_names
from embstore.base.progress import Observer, observing
from embstore.base.table import Table
from embstore.base.text import parse_marked
from embstore.storage.catalog import Catalog
from embstore.store.building import BuildMethods
from embstore.store.lookup import LookupMethods
from embstore.store.opened import (
    LayerSpec,
    SampleOptions,
    SelectionOptions,
    SpaceFilters,
    as_filters,
    as_layers,
)
from embstore.store.result import Result

if TYPE_CHECKING:
    from embstore.explore.serving import Server
    from embstore.query.cite import Bibliography


class FeatureMethods(BuildMethods, LookupMethods):
    """Map items and measure their drift, reproduce papers, write references, and show a store in a
    browser.
    """

    def map(
        self,
        *,
        method: str = "pca",
        layers: LayerSpec = "all",
        force: bool = False,
        progress: bool | Observer = False,
        **options: Unpack[SelectionOptions],
    ) -> Result:
        """Map the items of each layer into the plane, and store the maps.

        Maps that are stored and current are found, not made again: a call that was interrupted goes
        on after the last layer that it finished. The same store, versions and seed give the same
        bytes.

        Args:
            method: ``pca`` (principal components, with axes that the layers of a space share;
                instant) or ``tsne`` (t-SNE on exact nearest neighbours, each layer starting from
                the map of the one below; needs the extra ``map``).
            layers: Layers that are mapped together, as in :meth:`query`. The axes of ``pca`` are
                fitted on all of them.
            force: Whether to make maps again that are stored and current.
            progress: Whether to show progress bars, or a function that is called with the progress.
            where, words, word, timeout, memory: Filters of items, as in :meth:`query`.
            sample, seed: Number of items to draw, and random seed of that and of what the method
                draws.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Returns:
            One row per space and layer: ``did`` (``made`` or ``found``), ``n``, ``kept`` (share of
            the ten nearest neighbours by cosine that are among the ten nearest on the map),
            ``n_kept`` (number of items that it is the mean of), ``file`` within the store …; with
            words, ``words_missing``, their number that the space has not.

        Raises:
            UsageError: openTSNE is not installed, or ``where`` may select other items another time.
            QueryError: No item is selected.
            StoreError: A map cannot be written. The layers before it are stored.
        """
        from embstore.query.layer_maps import map_spaces

        spaces, selection = as_filters(self.map, options, SelectionOptions)
        with observing(progress):
            return self._ask_table(
                lambda catalog: map_spaces(
                    catalog, spaces, as_layers(layers), method, selection, force=force
                )
            )

    def map_points(
        self,
        space: str,
        layer: int | str,
        *,
        method: str = "pca",
        layers: LayerSpec = "all",
        **items: Unpack[SampleOptions],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the map of one layer, from the store if it is there, else computed now.

        A map that is computed is stored, if the store can be written; with ``tsne`` the layers
        below too.

        Args:
            space: Name of the space.
            layer: Number of the layer, ``top``, ``raw`` or ``normed``.
            method: ``pca`` or ``tsne``, as in :meth:`map`.
            layers: Layers that are mapped together, as in :meth:`map`.
            **items: Selection of items, as in :meth:`map`.

        Returns:
            Item ids int64 (n,), ascending, and positions float32 (n, 2), in the same order. Items
            whose vector is zero are left out.

        Raises:
            QueryError: No item is selected.
        """
        from embstore.query.layer_maps import map_points

        _, selection = as_filters(self.map_points, items, SampleOptions)
        together = as_layers(layers)
        return self._ask(
            lambda catalog: map_points(catalog, space, str(layer), together, method, selection)
        )

    def map_items(
        self,
        *,
        method: str = "pca",
        layers: LayerSpec = "top",
        together: LayerSpec = "all",
        **options: Unpack[SelectionOptions],
    ) -> Result:
        """Return the maps of layers as a table of items, which can be drawn.

        Maps are found or made as by :meth:`map_points`.

        Args:
            method: ``pca`` or ``tsne``, as in :meth:`map`.
            layers: Layers whose maps are returned, as in :meth:`query`.
            together: Layers that are mapped together, as in :meth:`map`, and these among them.
            where, words, word, timeout, memory, sample, seed: Selection of items, as in
                :meth:`query`.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Returns:
            One row per space, layer and item: ``item_id``, ``text``, ``x`` and ``y``.

        Raises:
            QueryError: No item is selected.
        """
        from embstore.query.layer_maps import map_items

        spaces, selection = as_filters(self.map_items, options, SelectionOptions)
        shown, mapped = as_layers(layers), as_layers(together)
        return self._ask_table(
            lambda catalog: map_items(catalog, spaces, shown, mapped, method, selection)
        )

    def maps(
        self,
        *,
        method: str | None = None,
        layers: LayerSpec | None = None,
        **filters: Unpack[SpaceFilters],
    ) -> Result:
        """Return one row per stored map: space, layer, method, items, the share of neighbours that
        it keeps, and state.

        ``state`` is ``current``, or ``behind`` if items were added since, or if a later version
        would make another map.

        Args:
            method: ``pca`` or ``tsne``; None for both.
            layers: Layers whose maps are listed, as in :meth:`query`; None for all.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Raises:
            UnknownNameError: A space, layer or method does not exist.
        """
        from embstore.query.layer_maps import stored_maps

        spaces, _ = as_filters(self.maps, filters, SpaceFilters)
        chosen = None if layers is None else as_layers(layers)
        return self._ask_table(lambda catalog: stored_maps(catalog, spaces, chosen, method))

    def drift(
        self,
        texts: Names = (),
        *,
        marked: Names = (),
        most: int | None = None,
        k: int = 10,
        pairs: str = "adjacent",
        against: str | None = None,
        layers: LayerSpec = "all",
        cache: bool = True,
        **options: Unpack[SelectionOptions],
    ) -> Result:
        """Measure how the neighbourhoods of items change over layers, or between two spaces.

        With A and B the k nearest neighbours of an item by cosine in two layers: ``overlap`` is |A
        ∩ B| / k (Gonen et al., 2020); ``turnover`` is 1 − cos(s, t), s and t the item's cosines
        with all items of A ∪ B in either layer (Hamilton, Leskovec & Jurafsky, 2016: the local
        neighbourhood measure). Both are exact. An item that is zero in any of the requested layers
        is left out of all pairs.

        Args:
            texts: Words or sentences; by default the items that change most and least.
            marked: Sentences with one word in brackets (``the [bank] of the river``), for spaces of
                occurrences.
            most: Number of items that change most, and of those that change least, by their mean
                overlap over the pairs of layers; items that are equal by their mean turnover, then
                by id. By default 5.
            k: Number of neighbours, at least 1.
            pairs: ``adjacent``: each chosen layer with the next; ``all``: all with all.
            against: Space to compare with, or ``SPACE:LAYER``, over the items that both have: its
                first chosen layer with the first, and so on, or with ``pairs="all"`` all with all.
            layers: Layers, as in :meth:`query`.
            cache: Whether to return stored answers, and to store new ones.
            where, words, word, timeout, memory, sample, seed: Selection of the items to compare, as
                in :meth:`query`; they are also the only neighbours.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Returns:
            One row per space, item and pair of layers: overlap in [0, 1], turnover in [0, 2], their
            means over the pairs, the neighbours ``lost`` and ``gained``, nearest first, and ``n``,
            the number of items compared. With ``most``: ``change`` (``most`` or ``least``) and
            ``rank``. Where it cannot be computed, as with fewer than k other items, one row of None
            per space, with the reason.

        Raises:
            NotStoredError: A text is in none of the spaces; names the nearest.
            UsageError: The layers make no pairs, a word occurs in several sentences, or ``against``
                names the only space chosen.
            QueryError: Two spaces have no item in common.
        """
        for sentence in as_names(marked):
            parse_marked(sentence)  # which refuses one without brackets
        requested = (*as_names(texts), *as_names(marked))
        if requested and most is not None:
            raise UsageError(
                "give texts, or `most`, which ranks all items, not both. In CSV and JSON each text"
                " has its mean_overlap and mean_turnover."
            )
        parameters = {"text": requested, "most": most, "k": k, "pairs": pairs, "against": against}
        return self.query("drift", layers=layers, cache=cache, **parameters, **options)

    def reproduce(
        self,
        paper: str = "wolfe2022",
        *,
        models: Names = (),
        sentences: StrPath | None = None,
        quick: bool = False,
        seed: int = 0,
        device: str | None = None,
        allow_pickle: bool = False,
        dry_run: bool = False,
        progress: bool | Observer = False,
    ) -> Table:
        """Build the spaces of a paper, compute its metrics, and compare them with the published
        numbers.

        For a paper of your own see the tutorial "Reproduce a paper".

        Args:
            paper: Name of the paper: ``wolfe2022``, Wolfe & Caliskan (2022).
            models: Checkpoints to use instead of the paper's, as in :meth:`build`. Published
                numbers go by the name: ``gpt2=folder`` is compared with GPT-2's.
            sentences: File of sentences from which occurrences are drawn, instead of the sets'.
            quick: Whether to use only the small datasets, and the first texts of the others.
            seed: Random seed of all samples.
            device: ``cpu``, ``cuda`` …; by default an accelerator if there is one.
            allow_pickle: Whether to load pickled weights if there are no safetensors.
            dry_run: Whether to return the builds and queries without running them.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            One row per number, measured or published: ``published`` with its ``relation`` and the
            band from ``low`` to ``high``, ``measured``, and the ``verdict``: hit, miss, not
            published or not measured, with a ``reason``.

        Raises:
            EmbstoreError: See :mod:`embstore.base.errors`. What was embedded stays; the same call
                continues.
        """
        from embstore.recipes.wolfe2022 import NAME, Reproduction

        if os.path.isfile(paper):
            raise UsageError(
                f"{paper} is a file, and what is reproduced is a paper. To check a stored"
                " result, run its embstore query again with --no-cache, and compare the files."
            )
        check_known("paper", paper, [NAME])
        path = None if sentences is None else os.fspath(sentences)
        steps = Reproduction(as_names(models), path, quick, seed, device, allow_pickle)
        with observing(progress):
            return steps.run(self._pinned(), dry_run=dry_run)

    def cite(
        self, names: Names = (), *, result: Table | Sequence[Mapping[str, Any]] | None = None
    ) -> "Bibliography":
        """Return the references of embstore and of the metrics, datasets and checkpoints in use, as
        BibTeX.

        Args:
            names: ``embstore``, metrics, datasets, spaces or checkpoints.
            result: Result whose metrics, datasets and checkpoints are cited: a table, or its rows.
                Without names and result, those of the store are cited: its checkpoints, its
                datasets and the metrics of its stored answers.

        Returns:
            ``str`` of it is BibTeX; ``notes`` name what has no known reference.

        Raises:
            UnknownNameError: A name is not known; lists the nearest.
        """
        from embstore.query.cite import cite

        rows = None if result is None else [*result]
        return cite(self._catalog_if_any, as_names(names), rows)

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
        """Serve a web page that explores the store: maps of every layer, neighbours, metrics and
        SQL.

        The server runs in the background and only reads. It needs the extra ``explore``.

        Args:
            host: Address to listen on.
            port: Port; the next free one if it is in use, and any free one for 0.
            open: Whether to open the page in a browser of this machine.
            report: Function that is called with a line for each request that is refused or fails;
                by default nothing is reported.

        Returns:
            The running server: ``url`` is the address, ``stop()`` or the end of a ``with`` block
            ends it, and ``wait()`` waits for Ctrl-C.

        Raises:
            UsageError: The extra is not installed, or no port is free.
            StoreError: There is no store.
        """
        from embstore.explore.serving import Server

        server = Server(self._pinned(), host, port, report or (lambda _line: None))
        if open:
            server.open()
        return server

    def report(
        self,
        *,
        recipe: str | None = None,
        models: Names = (),
        sentences: StrPath | None = None,
        quick: bool = False,
        spaces: Names = (),
    ) -> str:
        """Return a report on the store as HTML: contents, metrics as pictures and tables, and an
        interactive map.

        The file opens without a network. The same store and versions give the same bytes. It needs
        the extra ``plot``.

        Args:
            recipe: Name of a paper whose reproduction the report begins with, as in
                :meth:`reproduce`.
            models: Checkpoints of the reproduction, as in :meth:`reproduce`.
            sentences: File of sentences of the reproduction, as in :meth:`reproduce`.
            quick: Whether the reproduction uses only the small datasets.
            spaces: Names of the spaces that the report is about; by default all.

        Raises:
            QueryError: The store has no space.
            UnknownNameError: There is no such space.
            UsageError: The extra is not installed, or an option of a reproduction is given without
                a recipe.
        """
        from embstore.explore.report import report

        if recipe is None:
            if models or sentences is not None or quick:
                raise UsageError(
                    "models, sentences and quick are for the reproduction of a recipe: give"
                    " `recipe`."
                )
            return report(self._pinned(), spaces=as_names(spaces))
        reproduction = self.reproduce(recipe, models=models, sentences=sentences, quick=quick)
        options = {"models": as_names(models), "sentences": sentences, "quick": quick or None}
        return report(self._pinned(), reproduction, recipe, options, as_names(spaces))
