"""Methods of Store that compute and explain metrics."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack, overload

from embstore.base.errors import EmbstoreError
from embstore.base.keywords import accepts
from embstore.base.messages import rendered
from embstore.base.table import Table
from embstore.storage.selection import SpaceFilter
from embstore.store.arguments import QueryOptions, metric_request
from embstore.store.opened import OpenStore

if TYPE_CHECKING:
    from embstore.metrics import Metric
    from embstore.metrics.explain import CacheState, Explanation


class MetricMethods(OpenStore):
    """Compute metrics, list them, and explain what a query would do."""

    @overload
    def query(self, metric: "str | Metric", *, cache: bool = True, **options: Unpack[QueryOptions]) -> Table: ...
    @overload
    def query(self, metric: "str | Metric", *, cache: bool = True, **parameters: Any) -> Table: ...
    @accepts(SpaceFilter, metric_request)
    def query(self, metric: "str | Metric", *, cache: bool = True, **parameters: Any) -> Table:
        """Compute a metric for each space and layer.

        Answers computed from vectors are kept in the store, if it can be written, and returned again as long as nothing
        that they depend on has changed.

        Args:
            metric: Name of the metric, such as ``anisotropy``; :meth:`metrics` lists them. Or a
                :class:`~embstore.metrics.Metric` of your own, whose answers are not stored.
            cache: Whether to return stored answers, and to store new ones.
            models: Checkpoints (short names or ids) whose spaces are used; by default all.
            spaces: Names of the spaces to use, such as ``gpt2.word.last``; by default all.
            unit: ``word``, ``sentence`` or ``occurrence``: use only spaces of this unit.
            pooling: ``last``, ``first``, ``mean``, ``bos``, ``eos``, ``projection`` or ``model``: use only spaces of
                this pooling.
            template: Template, such as ``This is {text}``: use only spaces of exactly this template.
            revisions: Revisions of checkpoints, such as ``step1000``, whose spaces are used; by default all.
            layers: Layers: a number, numbers and ranges (``"0,6-12"``), ``all``, ``top``, ``raw`` or ``normed``.
            where: SQL expression that selects items, over item_id, unit, text, context_id, start and "end", and over
                the columns that :meth:`columns` lists; a name with spaces stands in double quotes.
            words: Words to restrict the metric to: a file with a word a line, a sequence, or a string with commas
                (``"rose,tulip"``). Of spaces of occurrences, all occurrences of the words; of sentences, those whose
                text is in the list. A metric with a parameter ``words`` of its own (sc-weat) takes it as that.
            word: Further such words; a metric with a parameter ``word`` of its own takes them as that.
            timeout: Time limit of ``where`` in seconds; None for no limit.
            memory: Memory limit of ``where``, in bytes or as in ``"2GB"``; by default half of the machine's memory.
            sample: Number of items to draw at random, without replacement; None for all.
            seed: Random seed of the sample, and of what the metric draws; at least 0.
            transforms: Transforms of the vectors, applied left to right, each fitted on the selected items: ``center``,
                ``standardize``, ``abtt:K``, ``abtt-original:K``, ``drop:138,378``, ``whiten``.
            by: Column of the items whose values divide them into groups, each with rows of its own: a column that a
                build stored (``keep``), a built-in one (``position``, ``zipf_frequency`` …) or ``text``. Items without
                a value are a group too, the last, whose name is None. Transforms are fitted on all groups together.
            bins: For a column of numbers, the intervals that are the groups: their number, with equally many items
                each (quantiles of the selected items), or ascending edges such as ``[0, 10, 100]``. An interval has its
                lower edge, and the last one both.
            **parameters: Parameters of the metric; :meth:`explain` lists them.

        Returns:
            One row per space and layer (and group, named in ``group``), with ``n`` and, for what cannot be computed,
            None and a ``reason``.

        Raises:
            UnknownNameError: A name is not known; lists the nearest.
            QueryError: Nothing matches, or the SQL cannot be answered.
        """
        from embstore.metrics.declaration import CALLER
        from embstore.query.metric import query

        request, spaces, layers = metric_request(metric, **parameters)
        cache = cache and request.metric.package != CALLER
        return self._ask(lambda catalog: query(catalog, request, spaces, layers, cache=cache))

    @accepts(SpaceFilter, metric_request)
    def cache_state(self, metric: "str | Metric", **options: Any) -> "CacheState":
        """Return which answers :meth:`query` would take from the store, and which it would compute.

        The arguments and errors are those of :meth:`query`. Nothing is computed.
        """
        from embstore.query.metric import cache_state

        request, spaces, layers = metric_request(metric, **options)
        return self._ask(lambda catalog: cache_state(catalog, request, spaces, layers))

    @accepts(SpaceFilter, metric_request)
    def explain_query(self, metric: "str | Metric", *, cache: bool = True, **options: Any) -> "Explanation":
        """Explain a metric as :meth:`explain` does, and say which answers of a query are stored. Nothing is computed.

        The arguments are those of :meth:`query`. What keeps a query from being answered, such as an unknown space, is
        named in the explanation. Where no store was named and there is none, only the metric is explained.

        Raises:
            UnknownNameError: There is no such metric; lists the nearest.
        """
        explained = self.explain(metric)
        if not cache:
            bypassed = rendered("bypassed (⦃cache=False⦄): all answers would be computed, and none stored")
            return replace(explained, cache=bypassed)
        if not self._is_named and not self.path.exists():
            return explained
        try:
            return replace(explained, cache=self.cache_state(metric, **options))
        except EmbstoreError as error:  # a metric can be explained all the same
            return replace(explained, cache=f"not looked at: {error}")

    @staticmethod
    def metrics() -> Table:
        """Return one row per metric, of embstore and of installed packages: its help, inputs, formula and citation.

        Packages register metrics under the entry point group ``embstore.metrics``; the notes name those that cannot be
        used, with the reason.
        """
        from embstore.metrics import all_metrics

        metrics, refused = all_metrics()
        columns = ("name", "help", "needs", "formula", "citation", "package")
        rows = [{column: getattr(metric, column) for column in columns} for metric in metrics.values()]
        return Table(columns, tuple(rows), tuple(refused))

    @staticmethod
    def explain(metric: "str | Metric") -> "Explanation":
        """Return the declaration of a metric: formula, citation, estimator, columns with ranges, and parameters.

        Args:
            metric: Name of the metric (:meth:`metrics` lists them), or the metric as an object.

        Returns:
            ``str`` of it is the text that ``embstore query METRIC --explain`` prints; ``to_dict()`` is for programs.

        Raises:
            UnknownNameError: There is no such metric; lists the nearest.
        """
        from embstore.metrics import as_metric
        from embstore.metrics.explain import Explanation

        return Explanation(as_metric(metric))
