"""Methods of Store that show how items move from layer to layer: maps and drift."""

import operator
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from embstore.base.keywords import Names, accepts, as_names
from embstore.base.progress import Observer, observing
from embstore.base.table import Table
from embstore.storage.selection import SpaceFilter
from embstore.store.arguments import LayerSpec, SpaceFilters, as_int, as_layers, as_limits, as_observer
from embstore.store.opened import OpenStore

if TYPE_CHECKING:
    from embstore.query.request import Selection, WordSource


class MapMethods(OpenStore):
    """Map the items of each layer into the plane, and measure how their neighbourhoods change."""

    @accepts(SpaceFilter)
    def map(
        self,
        *,
        method: str = "pca",
        layers: LayerSpec = "all",
        where: str | None = None,
        words: "WordSource | None" = None,
        word: Names = (),
        timeout: float | None = None,
        memory: str | int | None = None,
        sample: int | None = None,
        seed: int = 0,
        force: bool = False,
        observe: Observer | None = None,
        **filters: Unpack[SpaceFilters],
    ) -> Table:
        """Map the items of each layer into the plane, and store the maps.

        Maps that are stored and current are found, not made again: a call that was interrupted goes on after the last
        layer that it finished. The same store, versions and seed give the same bytes.

        Args:
            method: ``pca`` (principal components, with axes that the layers of a space share; instant) or ``tsne``
                (t-SNE on exact nearest neighbours, each layer starting from the map of the one below; needs the extra
                ``map``).
            layers: Layers that are mapped together, as in :meth:`query`. The axes of ``pca`` are fitted on all of them.
            where: SQL expression that selects items, as in :meth:`query`.
            words: Words whose items are mapped, as in :meth:`query`.
            word: Further such words.
            timeout: Time limit of ``where`` in seconds; None for no limit.
            memory: Memory limit of ``where``, as in :meth:`query`.
            sample: Number of items to draw at random, without replacement; None for all.
            seed: Random seed of the sample, and of what the method draws; at least 0.
            force: Whether to make maps again that are stored and current.
            observe: Callback for progress.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Returns:
            One row per space and layer: ``did`` (``made`` or ``found``), ``n``, ``kept`` (share of the ten nearest
            neighbours by cosine that are among the ten nearest on the map), ``n_kept`` (number of items that it is the
            mean of), ``file`` within the store …; with words, ``words_missing``, their number that the space has not.

        Raises:
            UsageError: openTSNE is not installed, or ``where`` may select other items another time.
            QueryError: No item is selected.
            StoreError: A map cannot be written. The layers before it are stored.
        """
        from embstore.query.layer_maps import map_spaces

        spaces, selection = SpaceFilter(**filters), _selection(where, words, word, timeout, memory, sample, seed)
        with observing(as_observer(observe)):
            return self._ask(
                lambda catalog: map_spaces(catalog, spaces, as_layers(layers), method, selection, force=force)
            )

    def map_points(
        self,
        space: str,
        layer: int | str,
        *,
        method: str = "pca",
        layers: LayerSpec = "all",
        where: str | None = None,
        words: "WordSource | None" = None,
        word: Names = (),
        timeout: float | None = None,
        memory: str | int | None = None,
        sample: int | None = None,
        seed: int = 0,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the map of one layer, from the store if it is there, else computed now.

        A map that is computed is stored, if the store can be written; with ``tsne`` the layers below too.

        Args:
            space: Name of the space.
            layer: Number of the layer, ``top``, ``raw`` or ``normed``.
            method: ``pca`` or ``tsne``, as in :meth:`map`.
            layers: Layers that are mapped together, as in :meth:`map`.
            where: SQL expression that selects items, as in :meth:`query`.
            words: Words whose items are mapped, as in :meth:`query`.
            word: Further such words.
            timeout: Time limit of ``where`` in seconds; None for no limit.
            memory: Memory limit of ``where``, as in :meth:`query`.
            sample: Number of items to draw at random, as in :meth:`map`.
            seed: Random seed, as in :meth:`map`.

        Returns:
            Item ids int64 (n,), ascending, and positions float32 (n, 2), in the same order. Items whose vector is zero
            are left out.

        Raises:
            QueryError: No item is selected.
        """
        from embstore.query.layer_maps import map_points

        selection, together = _selection(where, words, word, timeout, memory, sample, seed), as_layers(layers)
        return self._ask(lambda catalog: map_points(catalog, space, str(layer), together, method, selection))

    @accepts(SpaceFilter)
    def maps(
        self, *, method: str | None = None, layers: LayerSpec | None = None, **filters: Unpack[SpaceFilters]
    ) -> Table:
        """Return one row per stored map: space, layer, method, items, the share of neighbours that it keeps, and state.

        ``state`` is ``current``, or ``behind`` if items were added since, or if a later version would make another map.

        Args:
            method: ``pca`` or ``tsne``; None for both.
            layers: Layers whose maps are listed, as in :meth:`query`; None for all.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Raises:
            UnknownNameError: A space, layer or method does not exist.
        """
        from embstore.query.layer_maps import stored_maps

        spaces, chosen = SpaceFilter(**filters), None if layers is None else as_layers(layers)
        return self._ask(lambda catalog: stored_maps(catalog, spaces, chosen, method))

    @accepts(SpaceFilter)
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
        where: str | None = None,
        words: "WordSource | None" = None,
        word: Names = (),
        timeout: float | None = None,
        memory: str | int | None = None,
        sample: int | None = None,
        seed: int = 0,
        cache: bool = True,
        **filters: Unpack[SpaceFilters],
    ) -> Table:
        """Measure how the neighbourhoods of items change over layers, or between two spaces.

        With A and B the k nearest neighbours of an item by cosine in two layers: ``overlap`` is |A ∩ B| / k (Gonen et
        al., 2020); ``turnover`` is 1 − cos(s, t), s and t the item's cosines with all items of A ∪ B in either layer
        (Hamilton, Leskovec & Jurafsky, 2016: the local neighbourhood measure). Both are exact. An item that is zero in
        any of the requested layers is left out of all pairs.

        Args:
            texts: Words or sentences; by default the items that change most and least.
            marked: Sentences with one word in brackets (``the [bank] of the river``), for spaces of occurrences.
            most: Number of items that change most, and of those that change least, by their mean overlap over the
                pairs of layers; items that are equal by their mean turnover, then by id. By default 10.
            k: Number of neighbours, at least 1.
            pairs: ``adjacent``: each chosen layer with the next; ``all``: all with all.
            against: Space to compare with, over the items that both have: its first chosen layer with the first, and so
                on, or with ``pairs="all"`` all with all.
            layers: Layers, as in :meth:`query`.
            where: SQL expression that selects the items to compare, which are also the only neighbours.
            words: Words whose items are compared, as in :meth:`query`, and are the only neighbours.
            word: Further such words.
            timeout: Time limit of ``where`` in seconds; None for no limit.
            memory: Memory limit of ``where``, as in :meth:`query`.
            sample: Number of items to draw at random, without replacement; None for all.
            seed: Random seed of the sample; at least 0.
            cache: Whether to return stored answers, and to store new ones.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Returns:
            One row per space, item and pair of layers: overlap in [0, 1], turnover in [0, 2], their means over the
            pairs, the neighbours ``lost`` and ``gained``, nearest first, and ``n``, the number of items compared. With
            ``most``: ``change`` (``most`` or ``least``) and ``rank``.

        Raises:
            NotStoredError: A text is in none of the spaces; names the nearest.
            UsageError: The layers make no pairs, or a word occurs in several sentences.
            QueryError: There are fewer than k other items, or two spaces have no item in common.
        """
        from embstore.drift.pipeline import drift
        from embstore.drift.request import DriftRequest
        from embstore.query.lookup import parse_queries

        wanted, sentences = as_names(texts), as_names(marked)
        queries = tuple(parse_queries(wanted, sentences)) if wanted or sentences else ()
        selection = _selection(where, words, word, timeout, memory, sample, seed)
        request = DriftRequest(queries, as_int(most), operator.index(k), pairs, against, selection)
        spaces = SpaceFilter(**filters)
        return self._ask(lambda catalog: drift(catalog, request, spaces, as_layers(layers), cache=cache))


def _selection(
    where: str | None,
    words: "WordSource | None",
    word: Names,
    timeout: float | None,
    memory: str | int | None,
    sample: int | None,
    seed: int,
) -> "Selection":
    from embstore.query.request import Selection, word_list

    return Selection(
        where, as_int(sample), operator.index(seed), limits=as_limits(timeout, memory), words=word_list(words, word)
    )
