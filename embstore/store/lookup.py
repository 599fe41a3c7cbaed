"""Methods of Store that answer questions: metrics, neighbours, vectors, SQL, and what is stored,
missing or skipped.
"""

import operator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import distinct
from embstore.base.errors import EmbstoreError, UsageError, check_known
from embstore.base.keywords import Names, as_names
from embstore.base.table import Table
from embstore.storage.card import only_space
from embstore.storage.catalog import Catalog
from embstore.store.opened import (
    FilterOptions,
    LayerSpec,
    OpenStore,
    QueryOptions,
    SpaceFilters,
    as_filters,
    as_layers,
    as_limits,
    metric_request,
)
from embstore.store.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from embstore.metrics import Metric
    from embstore.metrics.explain import CacheState, Explanation
    from embstore.query.lookup import Embed
    from embstore.query.request import Selection
    from embstore.query.words import WordSource
    from embstore.storage.views.users_sql import SqlResult


class LookupMethods(OpenStore):
    """Compute and explain metrics; look up items, their neighbours and their vectors."""

    @overload
    def query(
        self, metric: "str | Metric", *, cache: bool = True, **options: Unpack[QueryOptions]
    ) -> Result: ...
    @overload
    def query(self, metric: "str | Metric", *, cache: bool = True, **parameters: Any) -> Result: ...
    def query(self, metric: "str | Metric", *, cache: bool = True, **parameters: Any) -> Result:
        """Compute a metric for each space and layer.

        Answers computed from vectors are kept in the store, if it can be written, and returned
        again as long as nothing that they depend on has changed.

        Args:
            metric: Name of the metric, such as ``anisotropy``; :meth:`metrics` lists them. Or a
                :class:`~embstore.metrics.Metric` of your own, whose answers are not stored.
            cache: Whether to return stored answers, and to store new ones.
            models: Checkpoints (short names or ids) whose spaces are used; by default all.
            spaces: Names of the spaces to use, such as ``gpt2.word.last``, or with a layer
                (``gpt2.word.last:6``, whatever ``layers``); by default all.
            unit: ``word``, ``sentence`` or ``occurrence``: use only spaces of this unit.
            pooling: ``last``, ``first``, ``mean``, ``mean-all``, ``weighted``,
                ``weighted-all``, ``bos``, ``eos``, ``projection`` or ``model``: use only spaces of
                this pooling.
            template: Template, such as ``This is {text}``: use only spaces of exactly this
                template.
            revisions: Revisions of checkpoints, such as ``step1000``, whose spaces are used; by
                default all.
            layers: Layers: a number (``-1`` for the last), numbers and ranges (``"0,6-12"``),
                ``all``, ``top``, ``raw`` or ``normed``.
            where: SQL expression that selects items, over item_id, unit, text, context_id, start
                and "end", and over the columns that :meth:`columns` lists; a name with spaces
                stands in double quotes.
            words: Words to restrict the metric to: a file with a word a line, a sequence, or a
                string with commas (``"rose,tulip"``). Of spaces of occurrences, all occurrences of
                the words; of sentences, those whose text is in the list. A metric with a parameter
                ``words`` of its own (sc-weat) takes it as that.
            word: Further such words; a metric with a parameter ``word`` of its own takes them as
                that.
            timeout: Time limit of ``where`` in seconds; None for no limit.
            memory: Memory limit of ``where``, in bytes or as in ``"2GB"``; by default half of the
                machine's memory.
            sample: Number of items to draw at random, without replacement; None for all.
            seed: Random seed of the sample, and of what the metric draws; at least 0.
            transforms: Transforms of the vectors, applied left to right, each fitted on the
                selected items: ``center``, ``standardize``, ``abtt:K``, ``abtt-original:K``,
                ``drop:138,378``, ``whiten``, ``normalize``, ``clamp:0.95``.
            by: Column of the items whose values divide them into groups, each with rows of its own:
                a column that a build stored (``keep``), a built-in one (``position``,
                ``zipf_frequency`` …) or ``text``; or several with commas (``"genre,label"``), whose
                combinations of values are the groups. Items without a value are a group too, the
                last, whose name is None. Of items in a text, ``context`` is that. With
                ``average=True`` (metrics of a set of vectors) the result is the mean over the
                groups, of which there may be any number, else 1,000.
            bins: For a column of numbers, the intervals that are the groups: their number, with
                equally many items each (quantiles of the selected items), or ascending edges such
                as ``[0, 10, 100]``. An interval has its lower edge, and the last one both.
            fit: Whether transforms are fitted on ``all`` selected items or on each ``group``; None
                for ``group`` with ``average=True``, else ``all``.
            common: Whether to keep only the items that all spaces of the query have, so that these
                are measured over the same items (or pairs, or questions of them).
            **parameters: Parameters of the metric; :meth:`explain` lists them.

        Returns:
            One row per space and layer (and group, named in ``group``), with ``n`` and, for what
            cannot be computed, None and a ``reason``.

        Raises:
            UnknownNameError: A name is not known; lists the nearest.
            QueryError: Nothing matches, or the SQL cannot be answered.
        """
        from embstore.query.metric import query

        request = metric_request(metric, **parameters)
        return self._ask_table(lambda catalog: query(catalog, request, cache=cache))

    def cache_state(self, metric: "str | Metric", **options: Any) -> "CacheState":
        """Return which answers :meth:`query` would take from the store, and which it would compute.

        The arguments and errors are those of :meth:`query`. Nothing is computed.
        """
        from embstore.query.metric import cache_state

        request = metric_request(metric, **options)
        return self._ask(lambda catalog: cache_state(catalog, request))

    def explain_query(
        self, metric: "str | Metric", *, cache: bool = True, **options: Any
    ) -> "Explanation":
        """Explain a metric as :meth:`explain` does, and say which answers of a query are stored.
        Nothing is computed.

        The arguments are those of :meth:`query`. What keeps a query from being answered, such as an
        unknown space, is named in the explanation. Where no store was named and there is none, only
        the metric is explained.

        Raises:
            UnknownNameError: There is no such metric; lists the nearest.
        """
        explained = self.explain(metric)
        if not cache:
            bypassed = "bypassed (cache=False): all answers would be computed, and none stored"
            return replace(explained, cache=bypassed)
        if not self._is_named and not self.path.exists():
            return explained
        try:
            return replace(explained, cache=self.cache_state(metric, **options))
        except EmbstoreError as error:  # a metric can be explained all the same
            return replace(explained, cache=f"not looked at: {error}")

    @staticmethod
    def metrics() -> Table:
        """Return one row per metric, of embstore and of installed packages: its help, inputs,
        formula and citation.

        Packages register metrics under the entry point group ``embstore.metrics``; the notes name
        those that cannot be used, with the reason.
        """
        from embstore.metrics import all_metrics

        metrics, refused = all_metrics()
        columns = ("name", "help", "needs", "formula", "citation", "package")
        rows = [
            {column: getattr(metric, column) for column in columns} for metric in metrics.values()
        ]
        return Table(columns, tuple(rows), tuple(refused))

    @staticmethod
    def explain(metric: "str | Metric") -> "Explanation":
        """Return the declaration of a metric: formula, citation, estimator, columns with ranges,
        and parameters.

        Args:
            metric: Name of the metric (:meth:`metrics` lists them), or the metric as an object.

        Returns:
            ``str`` of it is the text that ``embstore query METRIC --explain`` prints; ``to_dict()``
            is for programs.

        Raises:
            UnknownNameError: There is no such metric; lists the nearest.
        """
        from embstore.metrics import as_metric
        from embstore.metrics.explain import Explanation

        return Explanation(as_metric(metric))

    def neighbours(
        self,
        texts: Names = (),
        *,
        marked: Names = (),
        layers: LayerSpec = "top",
        k: int = 10,
        embed: bool = False,
        download: bool = False,
        allow_pickle: bool = False,
        transforms: Names = (),
        exact: bool = False,
        positive: Names = (),
        negative: Names = (),
        method: str = "3cosadd",
        vector: "ArrayLike | None" = None,
        **filters: Unpack[FilterOptions],
    ) -> Result:
        """Find the k nearest items of each text by cosine, without the text itself.

        Instead of texts, ``positive`` and ``negative`` ask for the items nearest to a sum and
        difference of words, as gensim's ``most_similar`` does, without these words; and ``vector``
        for those nearest to any vector.

        Args:
            texts: Words or sentences.
            marked: Sentences with one word in brackets (``the [bank] of the river``), for spaces of
                occurrences.
            layers: Layers, as in :meth:`query`; by default ``top``.
            k: Number of neighbours, at least 1; fewer are returned where a space has fewer items.
            embed: Whether to encode texts that are not stored, by each space's own checkpoint,
                which must be on this machine.
            download: With ``embed``: whether to download a checkpoint that is not on this machine.
                The store names it: allow this for stores whose origin you trust.
            allow_pickle: With ``embed``: whether to load pickled weights if there are no
                safetensors.
            transforms: Transforms, as in :meth:`query`, fitted on the items that ``where`` and the
                other filters select; with any, vectors are scanned, whatever indexes there are.
            exact: Whether to compare all vectors, whatever indexes there are.
            positive: Words to add, as ``["king", "woman"]``; a sentence with a word in brackets is
                an occurrence.
            negative: Words to subtract, as ``["man"]``.
            method: Score of a combination of words: ``3cosadd``, the cosine with the mean of the
                signed unit vectors; or ``3cosmul``, the product of cosines of Levy & Goldberg
                (2014), by an exact scan.
            vector: Vector (dim,) of any length but zero, or several (n, dim), of the same dimension
                as the spaces.
            where, words, word, timeout, memory: Filters of items, as in :meth:`query`, that a
                neighbour must satisfy; the texts themselves need not.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Returns:
            One row per neighbour: space, model, layer, query, rank, item_id, text, context, cosine
            in [-1, 1] (with ``3cosmul`` instead score, ≥ 0); also where, words with words_missing
            (their number that the space has not) and transform, if given, and method, of a
            combination. The notes name the layers whose answer is approximate.

        Raises:
            NotStoredError: A text is in none of the spaces, and ``embed`` is false.
            CheckpointError: A text cannot be encoded: the space's checkpoint is not on this
                machine, is another one, or needs what is not allowed.
            UnknownNameError: A transform is not known; lists the nearest.
        """
        from embstore.query.neighbours import neighbours
        from embstore.query.request import Selection

        wanted = _wanted(texts, marked, positive, negative, method, vector)
        steps = Selection(transforms=as_names(transforms)).steps
        spaces, candidates = as_filters(self.neighbours, filters, FilterOptions)
        embedder = _embedder(embed=embed, download=download, allow_pickle=allow_pickle)
        return self._ask_table(
            lambda catalog: neighbours(
                catalog,
                spaces=spaces,
                layers=as_layers(layers),
                k=operator.index(k),
                embed=embedder,
                transforms=steps,
                candidates=candidates,
                exact=exact,
                **wanted,
            )
        )

    neighbors = neighbours

    def cosine(
        self,
        texts: Names = (),
        *,
        marked: Names = (),
        layers: LayerSpec = "all",
        embed: bool = False,
        download: bool = False,
        allow_pickle: bool = False,
        transforms: Names = (),
        **filters: Unpack[SpaceFilters],
    ) -> Result:
        """Compute the cosine of each pair of texts, in every space and layer, exactly in float64.

        Args:
            texts: Words or sentences, two or more together with ``marked``; of more, all pairs are
                compared.
            marked: Sentences with one word in brackets (``the [bank] of the river``), for spaces of
                occurrences.
            layers: Layers, as in :meth:`query`; by default ``all``.
            embed: Whether to encode texts that are not stored, as in :meth:`neighbours`.
            download: With ``embed``: whether to download a checkpoint that is not on this machine.
            allow_pickle: With ``embed``: whether to load pickled weights if there are no
                safetensors.
            transforms: Transforms, as in :meth:`query`, fitted on all vectors of a layer.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Returns:
            One row per space, layer and pair: space, model, layer, layer_name, text, text_2, cosine
            in [-1, 1] and reason, why there is none; also transform, if given.

        Raises:
            NotStoredError: A text is in none of the spaces, and ``embed`` is false.
            CheckpointError: A text cannot be encoded, as in :meth:`neighbours`.
            UnknownNameError: A transform is not known; lists the nearest.
        """
        from embstore.query.lookup import parse_queries
        from embstore.query.neighbours import cosines
        from embstore.query.request import Selection

        queries = parse_queries(as_names(texts), as_names(marked), "cosine bank river")
        embedder = _embedder(embed=embed, download=download, allow_pickle=allow_pickle)
        steps = Selection(transforms=as_names(transforms)).steps
        spaces, _ = as_filters(self.cosine, filters, SpaceFilters)
        return self._ask_table(
            lambda catalog: cosines(catalog, queries, spaces, as_layers(layers), embedder, steps)
        )

    def vectors(
        self,
        space: str,
        layer: int | str,
        where: str | None = None,
        *,
        words: "WordSource | None" = None,
        missing: str = "error",
        columns: Names = (),
        timeout: float | None = None,
        memory: str | int | None = None,
    ) -> tuple[NDArray[np.int64], list[str], NDArray[np.float32], *tuple[NDArray[Any], ...]]:
        """Return the vectors of one layer, and columns of their items.

        Args:
            space: Name of the space.
            layer: Number of the layer, ``top``, ``raw`` or ``normed``.
            where: SQL expression over the item columns; None for all items.
            words: Texts of the items, as in :meth:`query`, whose vectors are returned in this
                order, with repetitions; of a space of occurrences, sentences with one word in
                brackets. None for all items.
            missing: ``error``, or ``skip`` to leave out the words that have no vector.
            columns: Columns of the items: kept by builds, or built-in.
            timeout: Time limit of ``where`` in seconds; None for no limit.
            memory: Memory limit of ``where``, as in :meth:`query`.

        Returns:
            Item ids int64 (n,), ascending or in the order of the words, and their texts (n) and
            vectors float32 (n, dim), in the same order; then an array (n,) for each column: int64,
            float64, bool, or object of strings. Where a value is missing, float64 has NaN, and the
            others are object with None.

        Raises:
            NotStoredError: Some of the words have no vector, and are not skipped; names them.
        """
        from embstore.query.request import Selection
        from embstore.query.words import read_texts

        if not isinstance(layer, int | str | np.integer):
            raise UsageError(
                f"vectors are of one layer. Of several: [store.vectors(space, n) for n in {layer}]"
            )
        check_known("treatment of missing words", missing, ("error", "skip"))
        selection = Selection(where, limits=as_limits(timeout, memory))
        texts = None if words is None else read_texts(words, "words")
        names = as_names(columns)
        return self._ask(
            lambda catalog: _vectors(catalog, space, str(layer), selection, names, texts, missing)
        )

    def missing(
        self,
        sources: Names,
        *,
        span: Names = (),
        targets: str | None = None,
        **filters: Unpack[SpaceFilters],
    ) -> Result:
        """Return the texts of datasets and files that have no vector in the spaces.

        Args:
            sources: Names of datasets, in the store or on this machine, and files, as :meth:`build`
                takes them.
            span: Columns with the target of each sentence of a file, as in :meth:`build`, for
                spaces of occurrences.
            targets: ``brackets`` or the column of the targets, as in :meth:`build`.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Returns:
            One row per missing text and space: source, space, item_id, text. The notes say how many
            texts there are.

        Raises:
            UnknownNameError: A space or a source does not exist; lists the nearest.
            SourceError: A source cannot be read.
            QueryError: No space is of the unit of a source.
        """
        from embstore.query.missing import missing
        from embstore.sources.rows import Targets

        of_files = Targets.parse(targets, span)
        spaces, _ = as_filters(self.missing, filters, SpaceFilters)
        return self._ask_table(
            lambda catalog: missing(catalog, as_names(sources), spaces, of_files)
        )

    def info(self, *, spaces: Names = ()) -> Result:
        """Return one row per space, by default of all: its card, layers, numbers of items and
        shards, bytes and the state of its index.
        """
        from embstore.query.info import info

        return self._ask_table(lambda catalog: info(catalog, as_names(spaces)))

    def columns(self) -> Result:
        """Return one row per column of items: name, type, origin (stored or built-in), number of
        items with a value.
        """
        from embstore.query.info import columns

        return self._ask_table(columns)

    def skipped(self) -> Result:
        """Return one row per text that got no vector or was truncated, with the reason."""
        from embstore.query.info import skipped

        return self._ask_table(skipped)

    def sql(
        self,
        select: str,
        parameters: "Mapping[str, Any] | None" = None,
        *,
        timeout: float | None = None,
        memory: str | int | None = None,
    ) -> "SqlResult":
        """Return the result of one SELECT over the store, or of its EXPLAIN.

        Views: ``items``, ``columns``, ``built_in``, ``embeddings``, ``summaries``, ``skipped``,
        ``spaces`` and ``datasets.<name>``; see :meth:`sql_views`. Macros:
        ``vec(space, layer, text)``, ``cosine(a, b)`` and the table
        ``neighbours(space, layer, text, k := 10)``.

        The SQL reads these views and nothing else: no other file, no variable, no network. It
        cannot write, neither in the store nor elsewhere. ``timeout`` and ``memory`` limit it, and
        Ctrl-C ends it.

        Each method of the result runs the statement, and reads the files, again. One that is kept
        until its files are deleted (a day after they were replaced, by ``compact`` for instance)
        raises DamagedError: call this method again. SQL reads whole stores: one at a URL has to be
        pulled first.

        What it may read of ``items``, ``columns``, ``skipped`` and datasets is checked against its
        hash first. Vectors are not: :meth:`verify` finds what was altered in them.

        Args:
            select: The statement. Table functions in it: ``range``, ``generate_series``,
                ``unnest``, ``repeat``, ``repeat_row``, ``json_each``, ``json_tree`` and
                ``neighbours``.
            parameters: Values of parameters that the statement names as ``$name``; it is then run
                at once.
            timeout: Time limit of each run in seconds, with all batches of ``to_arrow_reader``;
                None for no limit.
            memory: Memory limit of DuckDB, in bytes or as in ``"2GB"``; by default half of the
                machine's memory. Values returned to Python, and single values that a function makes
                (up to 4 GiB), come on top.

        Raises:
            QueryError: It is not one SELECT, does something else than read the views, cannot be
                answered, or exceeds a limit; or the store is at a URL. The methods of the result
                raise this too.
            DamagedError: A file that it may read was altered, unless it is a shard; names it.
        """
        limits = as_limits(timeout, memory)
        return self._ask(lambda catalog: catalog.sql(select, limits, parameters))

    def sql_views(self) -> Result:
        """Return what :meth:`sql` can read: one row per view, and per macro, with columns and types
        or its result.
        """
        from embstore.query.info import sql_views

        return self._ask_table(sql_views)


def _vectors(
    catalog: Catalog,
    space: str,
    layer: str,
    selection: "Selection",
    columns: tuple[str, ...],
    words: "Sequence[str] | None",
    missing: str,
) -> tuple[NDArray[np.int64], list[str], NDArray[np.float32], *tuple[NDArray[Any], ...]]:
    from embstore.query.grouping import read_column
    from embstore.query.lookup import ids_of_words

    card = only_space(catalog.cards, space)
    layers = card.layers.select(layer).members
    if len(layers) != 1:
        raise UsageError(
            f"vectors are of one layer, and {layer!r} names {len(layers)}. Ask for one after the"
            " other."
        )
    only = selection.select(catalog, card.space)
    if words is not None:
        listed = ids_of_words(catalog, card, words, only, missing)
        only = distinct(listed)
    ids, vectors = catalog.vectors(card.space, layers[0].id, only).gather()
    order = slice(None) if words is None else np.searchsorted(ids, listed)
    values = (read_column(catalog, card.space, name, ids).with_missing()[order] for name in columns)
    return ids[order], catalog.texts(ids[order]), vectors[order], *values


def _wanted(
    texts: Names,
    marked: Names,
    positive: Names,
    negative: Names,
    method: str,
    vector: "ArrayLike | None",
) -> dict[str, Any]:
    """Return what neighbours are searched of, as arguments of
    :func:`embstore.query.neighbours.neighbours`.

    Raises:
        UsageError: It is none, or more than one, of texts, words with signs, and vectors.
    """
    from embstore.query.lookup import parse_queries

    texts, marked, positive, negative = map(as_names, (texts, marked, positive, negative))
    requested = [bool(texts or marked), bool(positive or negative), vector is not None]
    if sum(requested) > 1:
        kinds = ("texts", "positive and negative words", "a vector")
        named = [kind for kind, is_given in zip(kinds, requested, strict=True) if is_given]
        raise UsageError(f"give either {' or '.join(named)}, not both.")
    if not requested[1] and method != "3cosadd":
        raise UsageError(f"method={method!r} is for words given by `positive` and `negative`.")
    if vector is not None:
        from embstore.query.lookup import parse_vectors

        vectors = parse_vectors(vector)
        return {"queries": [*vectors], "vectors": vectors}
    if requested[1]:
        from embstore.query.nearest import parse_combination

        combination = parse_combination(positive, negative, method)
        return {"queries": combination.queries, "combination": combination}
    return {"queries": parse_queries(texts, marked)}


def _embedder(*, embed: bool, **trust: bool) -> "Embed | None":
    """Return a function that encodes a text, if texts may be encoded now."""
    if not embed:
        if any(trust.values()):
            raise UsageError(
                "download and allow_pickle are for texts that are encoded now: add embed=True."
            )
        return None
    from embstore.query.embed import Trust, embed_item  # loads a model when it is called

    return partial(embed_item, trust=Trust(**trust))
