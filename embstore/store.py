"""Store: the one object that users and the command line talk to."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.errors import DamagedError, UsageError
from embstore.keywords import explain_singulars
from embstore.progress import current_observer, ignore
from embstore.storage.catalog import Catalog
from embstore.storage.selection import SpaceFilter, check_layer_numbers
from embstore.storage.views.sandbox import Limits
from embstore.table import Table
from embstore.wording import speak_python

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from embstore.build.report import BuildReport
    from embstore.maintain.verify import Verification
    from embstore.metrics.declaration.explain import CacheState, Explanation
    from embstore.metrics.transforms import Step
    from embstore.progress import Progress
    from embstore.query.cite import Bibliography
    from embstore.query.lookup import Embed
    from embstore.query.request import Selection

T = TypeVar("T")

Names = str | Sequence[str]
LayerSpec = str | int | Sequence[int]

DEFAULT_MODELS = ("gpt2", "clip")
DEFAULT_SOURCES = ("words",)


@speak_python
@explain_singulars
class Store:
    """A store of embeddings: the vectors of every layer of words, sentences and occurrences.

    A store is opened at the first question and answers from what it held then; :meth:`refresh` looks again.
    Several threads may ask it at once.

    Args:
        path: its folder; by default ``$EMBSTORE_STORE``, else ``./store``.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = _folder(path or os.environ.get("EMBSTORE_STORE") or "store")

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    @cached_property
    def catalog(self) -> Catalog:
        """What the store held when it was opened."""
        return Catalog(self.path)

    def _ask(self, question: "Callable[[Catalog], T]") -> T:
        """Return the answer to a question, asked of what the store holds now if what it held then has given way."""
        while True:
            catalog = self.catalog
            try:
                return question(catalog)
            except (DamagedError, FileNotFoundError):
                if not catalog.is_outdated:
                    raise
                self.refresh()

    def refresh(self) -> None:
        """Forget what was read of the store, so that the next question sees what was written since."""
        self.__dict__.pop("catalog", None)

    def build(
        self,
        sources: Names = DEFAULT_SOURCES,
        *,
        models: Names = DEFAULT_MODELS,
        unit: str | None = None,
        poolings: Names = (),
        template: str = "{text}",
        layers: LayerSpec = "all",
        dtype: str = "float32",
        columns: Names = (),
        header: bool = True,
        delimiter: str | None = None,
        limit: int | None = None,
        per_text: int | None = None,
        seed: int = 0,
        name: str | None = None,
        index: str = "auto",
        index_memory: str | int | None = None,
        long: str = "skip",
        device: str | None = None,
        batch_tokens: int | None = None,
        allow_pickle: bool = False,
        shard: str | None = None,
        shard_bytes: int | None = None,
        dry_run: bool = False,
        observe: "Callable[[Progress], None] | None" = None,
    ) -> "BuildReport":
        """Embed what the store lacks of some texts, every layer, and index it.

        Args:
            sources: files (.txt, .csv, .tsv, .jsonl, each also as .gz; .parquet), ``-`` for standard input, or names
                of datasets (:meth:`datasets`); one that is not at hand is downloaded.
            models: short names (``gpt2``, ``clip``, ``minilm``), hub ids with optional ``@revision``, local folders,
                or ``name=folder``.
            unit: ``word``, ``sentence`` or ``occurrence`` (each word of each sentence, in its context). By default what
                a dataset is of, and ``word`` for files: each unit makes spaces of its own.
            poolings: ``last``, ``first``, ``mean``, ``bos``, ``eos``, ``projection``; all from one forward pass. By
                default ``last``; for sentences ``eos`` where a causal model ends its input with a special token, else
                ``mean``.
            template: the text put round an item: ``{text}``, with ``{bos}`` and ``{eos}`` for the special tokens.
            layers: which layers to keep, as in ``"all"``, ``"0,6,12"``, ``"0-12"``, ``-1``.
            dtype: ``float32`` or ``float16``, as stored.
            columns: the columns of tables that hold texts.
            header: whether the first line of CSV and TSV files names the columns; else they are called 1, 2, 3 …
            delimiter: Character that separates the columns of CSV and TSV files, or ``tab``; by default it is found by
                their first lines.
            limit: stop after this many texts (of each unit). Half a dataset is not stored as a dataset.
            per_text: of occurrences, draw this many from each sentence.
            seed: of that draw.
            name: of the space; by default ``model.unit.pooling``.
            index: of each layer: ``auto`` (exact for small layers, then HNSW, or IVF where memory is scarce; a kind
                that :meth:`index` chose stays), ``flat``, ``hnsw``, ``ivf`` or ``none``.
            index_memory: what the indexes may take while they are built, in bytes or as in ``"8GB"``; by default half
                of the machine's memory.
            long: ``skip``, ``truncate`` or ``error``: what to do with a text longer than the context.
            device: ``cpu``, ``cuda`` …; by default an accelerator where there is one.
            batch_tokens: tokens of a batch; by default what suits the device.
            allow_pickle: load pickled weights where there are no safetensors.
            shard: ``i/n``: embed the i-th of n parts of the sources, by item id. n machines with the same sources build
                one store between them, in a shared folder or each in its own, to be merged.
            shard_bytes: bytes of vectors in a shard, about; by default 128 MiB.
            dry_run: write nothing, and report what would be done; times are then estimates.
            observe: told how far the build is.

        Returns:
            What was embedded, what was there already, and what was skipped, with the reasons.

        Raises:
            EmbstoreError: see :mod:`embstore.errors`. What was committed before stays; the same call goes on from it.
        """
        from embstore.build.estimate import estimate
        from embstore.build.job import Options
        from embstore.build.pipeline import build
        from embstore.build.texts import Sources, by_unit
        from embstore.sharding import ShardSpec
        from embstore.sources import missing_datasets
        from embstore.space import Pooling, Template, Unit, parse_member
        from embstore.storage.files.shards import SHARD_BYTES

        observe = observe or current_observer() or ignore
        given = None if unit is None else parse_member(Unit, unit)
        options = Options(
            unit=given or Unit.WORD,
            poolings=tuple(parse_member(Pooling, one) for one in _names(poolings)),
            template=Template(template),
            layers=_layer_spec(layers),
            dtype=dtype,
            device=device,
            batch_tokens=batch_tokens,
            long=long,  # type: ignore[arg-type]  # checked by Options
            index=index,
            index_memory=_memory(index_memory),
            name=name,
            allow_pickle=allow_pickle,
            worker=ShardSpec() if shard is None else ShardSpec.parse(shard),
            shard_bytes=SHARD_BYTES if shard_bytes is None else shard_bytes,
        )
        read = [
            Sources(members, of, _names(columns), limit, per_text, seed, header, delimiter)
            for of, members in by_unit(_names(sources), given).items()
        ]
        self.fetch_datasets(missing_datasets(_names(sources)), observe)
        if dry_run:
            return estimate(self.path, read, _names(models), options, observe)
        try:
            return build(self.path, read, _names(models), options, observe)
        finally:
            self.refresh()

    def query(
        self,
        metric: str,
        *,
        models: Names = (),
        spaces: Names = (),
        unit: str | None = None,
        pooling: str | None = None,
        template: str | None = None,
        layers: LayerSpec = "all",
        where: str | None = None,
        timeout: float | None = None,
        memory: str | int | None = None,
        sample: int | None = None,
        seed: int = 0,
        transforms: Names = (),
        cache: bool = True,
        **parameters: Any,
    ) -> Table:
        """Compute a metric for each space and layer.

        Answers that were read from vectors are kept in the store, where it can be written, and given again as long as
        nothing has changed that they depend on.

        Args:
            metric: its name; :meth:`metrics` lists them.
            models: keep the spaces of these checkpoints.
            spaces: keep these spaces.
            unit: keep the spaces of this unit.
            pooling: keep the spaces of this pooling.
            template: keep the spaces of this template.
            layers: numbers, ranges, ``all``, ``top``, ``raw`` or ``normed``.
            where: an SQL expression over the item columns (item_id, unit, text, context_id, start, "end").
            timeout: Seconds that the evaluation of ``where`` may take; None for no limit.
            memory: What DuckDB may use for it, in bytes or as in ``2GB``; by default half of the machine's memory.
            sample: draw this many items at random, without replacement.
            seed: of that draw.
            transforms: applied to the vectors first, left to right, each fitted on the selected items: ``center``,
                ``standardize``, ``abtt:K``, ``abtt-original:K``, ``drop:138,378``, ``whiten``.
            cache: whether to take answers that are stored, and to store new ones.
            **parameters: of the metric.

        Returns:
            One row per space and layer, with ``n`` and, for what cannot be computed, None and a ``reason``.

        Raises:
            UnknownNameError: a name that is not known; says the nearest.
            QueryError: nothing matches, or the SQL cannot be answered.
        """
        from embstore.query import metric as queries
        from embstore.query.request import Selection

        chosen = SpaceFilter(_names(models), _names(spaces), unit, pooling, template)
        selection = Selection(where, sample, seed, _names(transforms), _limits(timeout, memory))
        request = queries.make_request(metric, parameters, selection)
        return self._ask(lambda catalog: queries.query(catalog, request, chosen, _layer_spec(layers), cache=cache))

    def cache_state(
        self,
        metric: str,
        *,
        models: Names = (),
        spaces: Names = (),
        unit: str | None = None,
        pooling: str | None = None,
        template: str | None = None,
        layers: LayerSpec = "all",
        where: str | None = None,
        timeout: float | None = None,
        memory: str | int | None = None,
        sample: int | None = None,
        seed: int = 0,
        transforms: Names = (),
        **parameters: Any,
    ) -> "CacheState":
        """Return which answers :meth:`query` would take from the store, and which it would compute.

        The arguments and errors are those of :meth:`query`. Nothing is computed.
        """
        from embstore.query import metric as queries
        from embstore.query.request import Selection

        chosen = SpaceFilter(_names(models), _names(spaces), unit, pooling, template)
        selection = Selection(where, sample, seed, _names(transforms), _limits(timeout, memory))
        request = queries.make_request(metric, parameters, selection)
        return self._ask(lambda catalog: queries.cache_state(catalog, request, chosen, _layer_spec(layers)))

    @staticmethod
    def metrics() -> Table:
        """Return one row per metric, of embstore and of installed packages: what it is, and what it needs.

        Packages register metrics under the entry point group ``embstore.metrics``; the notes name those that cannot be
        used, with the reason.
        """
        from embstore.metrics import all_metrics

        metrics, refused = all_metrics()
        columns = ("name", "help", "needs", "formula", "citation", "package")
        rows = [{column: getattr(metric, column) for column in columns} for metric in metrics.values()]
        return Table(columns, tuple(rows), tuple(refused))

    @staticmethod
    def explain(metric: str) -> "Explanation":
        """Return what a metric says of itself: formula, citation, estimator, columns with ranges, and parameters.

        Args:
            metric: its name; :meth:`metrics` lists them.

        Returns:
            A text for the eye, as ``embstore query METRIC --explain`` prints it; ``to_dict()`` for programs.

        Raises:
            UnknownNameError: there is no such metric; says the nearest.
        """
        from embstore.metrics import get_metric
        from embstore.metrics.declaration.explain import Explanation

        return Explanation(get_metric(metric))

    def neighbours(
        self,
        texts: Names = (),
        *,
        marked: Names = (),
        models: Names = (),
        spaces: Names = (),
        unit: str | None = None,
        pooling: str | None = None,
        template: str | None = None,
        layers: LayerSpec = "top",
        k: int = 10,
        embed: bool = False,
        download: bool = False,
        allow_pickle: bool = False,
        transforms: Names = (),
        where: str | None = None,
        timeout: float | None = None,
        memory: str | int | None = None,
        exact: bool = False,
    ) -> Table:
        """Find the k nearest items of each text, by cosine, the text itself left out.

        Args:
            texts: words or sentences.
            marked: sentences with one word in brackets (``the [bank] of the river``), for occurrence spaces.
            models: as in :meth:`query`.
            spaces: as in :meth:`query`.
            unit: as in :meth:`query`.
            pooling: as in :meth:`query`.
            template: as in :meth:`query`.
            layers: as in :meth:`query`.
            k: how many; fewer where the space has fewer.
            embed: encode a text that is not stored, by the space's own checkpoint, which must be on this machine.
            download: with ``embed``, ask the hub for a checkpoint that is not on this machine. The store's cards name
                it: allow it for stores whose origin you trust.
            allow_pickle: with ``embed``, load pickled weights where there are no safetensors.
            transforms: as in :meth:`query`, fitted on the selected items; the search is then an exact scan.
            where: an SQL expression over the item columns, which a neighbour must satisfy.
            timeout: as in :meth:`query`.
            memory: as in :meth:`query`.
            exact: scan the vectors, whatever indexes there are.

        Returns:
            One row per hit: space, model, layer, query, rank, item_id, text, context, cosine in [-1, 1]; and where and
            transform, if there are any. The notes say whose answer is approximate.

        Raises:
            NotStoredError: a text is in none of the spaces, and ``embed`` is false.
            CheckpointError: a text cannot be encoded: the space's checkpoint is not on this machine, is another one, or
                needs what is not allowed.
            UnknownNameError: a transform that is not known; says the nearest.
        """
        from embstore.query import neighbours as nearest
        from embstore.query.lookup import parse_queries

        chosen = SpaceFilter(_names(models), _names(spaces), unit, pooling, template)
        wanted = parse_queries(_names(texts), _names(marked))
        if (download or allow_pickle) and not embed:
            raise UsageError("download and allow_pickle are for texts that are encoded now: add --embed.")
        steps, limits = _steps(_names(transforms)), _limits(timeout, memory)
        embedder = _embedder(download=download, allow_pickle=allow_pickle) if embed else None
        return self._ask(
            lambda catalog: nearest.neighbours(
                catalog,
                wanted,
                chosen,
                _layer_spec(layers),
                k,
                embedder,
                steps,
                where=where,
                limits=limits,
                exact=exact,
            )
        )

    neighbors = neighbours

    def index(
        self,
        *,
        models: Names = (),
        spaces: Names = (),
        unit: str | None = None,
        pooling: str | None = None,
        template: str | None = None,
        layers: LayerSpec = "all",
        kind: str | None = None,
        memory: str | int | None = None,
        recall: float | None = None,
        force: bool = False,
        observe: "Callable[[Progress], None] | None" = None,
    ) -> Table:
        """Bring indexes up to date, or change them.

        An index that lacks the newest shards gets their vectors; one that is whole and of the right kind stays.

        Args:
            models: as in :meth:`query`.
            spaces: as in :meth:`query`.
            unit: as in :meth:`query`.
            pooling: as in :meth:`query`.
            template: as in :meth:`query`.
            layers: as in :meth:`query`.
            kind: ``auto``, ``flat``, ``hnsw``, ``ivf`` or ``none``; by default what was chosen before, else ``auto``.
                Later builds keep to it.
            memory: what the indexes may take while they are built, in bytes or as in ``"8GB"``; by default half of the
                machine's memory.
            recall: recall@10 that approximate indexes are tuned to reach, by default 0.99.
            force: build anew also what is up to date.
            observe: told how far it is.

        Returns:
            One row per layer: what was done, the index's kind, its size, measured recall and parameters. Where the
            recall is not reached, a note says so.

        Raises:
            UsageError: the memory is too little for any index; says the least that would do.
            LockedError: a build is writing.
        """
        from embstore.indexing import Choice
        from embstore.maintain.reindex import reindex

        chosen = SpaceFilter(_names(models), _names(spaces), unit, pooling, template)
        wanted = None if kind == "none" else Choice(kind, _memory(memory), recall, force)
        try:
            return reindex(self.path, chosen, _layer_spec(layers), wanted, observe or current_observer() or ignore)
        finally:
            self.refresh()

    def vectors(
        self,
        space: str,
        layer: int | str,
        where: str | None = None,
        *,
        timeout: float | None = None,
        memory: str | int | None = None,
    ) -> tuple[NDArray[np.int64], list[str], NDArray[np.float32]]:
        """Return the vectors of one layer.

        Args:
            space: its name.
            layer: a number, ``top``, ``raw`` or ``normed``.
            where: an SQL expression over the item columns; None keeps all.
            timeout: as in :meth:`query`.
            memory: as in :meth:`query`.

        Returns:
            Item ids (n,), texts (n) and vectors float32 (n, dim), row by row, by ascending id.
        """
        from embstore.query.request import Selection

        selection = Selection(where, limits=_limits(timeout, memory))
        return self._ask(lambda catalog: _vectors(catalog, space, str(layer), selection))

    def missing(
        self,
        sources: Names,
        *,
        models: Names = (),
        spaces: Names = (),
        unit: str | None = None,
        pooling: str | None = None,
        template: str | None = None,
    ) -> Table:
        """Return the texts that spaces lack of datasets, in the store or at hand, and of files.

        Args:
            sources: names of datasets, and files, as :meth:`build` takes them.
            models: as in :meth:`query`.
            spaces: as in :meth:`query`.
            unit: as in :meth:`query`.
            pooling: as in :meth:`query`.
            template: as in :meth:`query`.

        Returns:
            One row per text and space that lacks it: source, space, item_id, text. The notes say of how many.

        Raises:
            UnknownNameError: a space or a source that does not exist; says the nearest.
            SourceError: a source cannot be read.
            QueryError: no space is of the unit of a source.
        """
        from embstore.query.missing import missing

        chosen = SpaceFilter(_names(models), _names(spaces), unit, pooling, template)
        return self._ask(lambda catalog: missing(catalog, _names(sources), chosen))

    @staticmethod
    def datasets() -> Table:
        """Return one row per dataset: kind, unit, rows, whether it is at hand or damaged, licence, address."""
        from embstore.sources import list_datasets

        return list_datasets()

    @staticmethod
    def fetch_datasets(names: Names, observe: "Callable[[Progress], None] | None" = None) -> dict[str, Path | None]:
        """Download datasets into ``$EMBSTORE_DATA``, else the platform's cache folder, unless they are there and sound.

        Args:
            names: of the datasets.
            observe: told how far the downloads are, in bytes.

        Returns:
            The file of each; None for one that is made, not downloaded.

        Raises:
            UnknownNameError: there is no such dataset.
            SourceError: some cannot be downloaded, or are other files than they should be; says of each how to get it
                by hand. The others are kept.
        """
        from embstore.progress import Progress
        from embstore.sources import fetch_datasets

        follow = observe or current_observer()

        def tell(name: str, done: int, total: int) -> None:
            if follow is not None:
                follow(Progress("fetch", name, done, total, done / total if total else 0.0))

        return fetch_datasets(_names(names), tell)

    @staticmethod
    def add_dataset(
        name: str, file: str | os.PathLike[str], *, kind: str | None = None, columns: Names = (), unit: str = "word"
    ) -> Table:
        """Keep a local copy of a dataset, whose hash is checked, or a table of your own as a dataset.

        Args:
            name: of the dataset; of your own table, one that is not taken.
            file: the copy, or the table: .csv, .tsv, .jsonl or .parquet.
            kind: of your own table: ``pairs`` or ``lexicon``.
            columns: of your own table: of pairs the two texts and the score, of a lexicon the text and its value.
            unit: of your own table: ``word`` or ``sentence``.

        Returns:
            The dataset's row of :meth:`datasets`.

        Raises:
            UnknownNameError, UsageError: an argument does not fit.
            SourceError: the file is another one than it should be (says both hashes), or has a text where a number
                should be (says the line).
        """
        from embstore.sources import add_dataset, list_datasets

        added = add_dataset(name, Path(file), kind=kind, columns=_names(columns), unit=unit)
        return list_datasets([added])

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
        observe: "Callable[[Progress], None] | None" = None,
    ) -> Table:
        """Build what a paper's recipe needs, ask its metrics, and set measured beside published.

        Args:
            recipe: its name, or the path of a recipe of your own (.toml).
            models: checkpoints instead of the paper's, as in :meth:`build`. Published numbers are those of a model's
                name, so that ``gpt2=folder`` is compared with GPT-2's.
            sentences: a file of sentences to draw occurrences from instead of the recipe's.
            quick: use the small sets, and the first texts of the others.
            seed: of all draws.
            device: ``cpu``, ``cuda`` …; by default an accelerator where there is one.
            allow_pickle: load pickled weights where there are no safetensors.
            dry_run: return the builds and queries, and do nothing.
            observe: told how far it is.

        Returns:
            One row per number, measured or published: ``published`` with its ``relation`` and the band from ``low`` to
            ``high``, ``measured``, and the ``verdict``: hit, miss, not published or not measured, with a ``reason``.

        Raises:
            EmbstoreError: see :mod:`embstore.errors`. What was embedded stays; the same call goes on from it.
        """
        from embstore.recipes import reproduce as reproduction

        choices = reproduction.Choices(
            _names(models), None if sentences is None else os.fspath(sentences), quick, seed, device, allow_pickle
        )
        if dry_run:
            return reproduction.preview(recipe, choices)
        return reproduction.reproduce(self, recipe, choices, observe or current_observer() or ignore)

    def cite(
        self, names: Names = (), *, result: "str | os.PathLike[str] | Table | Sequence[Mapping[str, Any]] | None" = None
    ) -> "Bibliography":
        """Return the references of embstore and of the metrics, datasets and checkpoints in use, as BibTeX.

        Args:
            names: ``embstore``, metrics, datasets, spaces or checkpoints.
            result: A result to cite the parts of: a table, its rows, or a file that ``--format json`` wrote. Without
                names and result, what the store uses is cited: its checkpoints, datasets and stored answers.

        Returns:
            ``str`` of it is BibTeX; ``notes`` name what has no known reference.

        Raises:
            UnknownNameError: A name that is not known; says the nearest.
        """
        from embstore.query.cite import cite, read_result

        rows = read_result(Path(result)) if isinstance(result, str | os.PathLike) else result
        return cite(self._catalog_if_any, _names(names), None if rows is None else list(rows))

    def _catalog_if_any(self) -> Catalog | None:
        """Return what the store holds; None where no store was named and there is none at the default place."""
        return None if self.path == Path("store") and not self.path.exists() else self.catalog

    def info(self) -> Table:
        """Return one row per space: its provenance, layers, items, bytes and the state of its index."""
        from embstore.query.info import info

        return self._ask(info)

    def skipped(self) -> Table:
        """Return one row per text that got no vector or was truncated, with the reason."""
        from embstore.query.info import skipped

        return self._ask(skipped)

    def verify(self, *, deep: bool = False, answers: int | str = 20, seed: int | None = None) -> "Verification":
        """Read every file and check hashes, rows, finite values, summaries, ids and indexes against each other.

        Args:
            deep: also compute each id from its text, compare the vectors in the indexes with those in the shards, and
                compute stored answers anew.
            answers: How many stored answers ``deep`` computes, drawn at random, none begun after a minute; or ``all``.
            seed: Random seed of that draw; None draws one, which the result tells.
        """
        from embstore.maintain.verify import verify
        from embstore.query.answer_checks import check_answers, sample_size

        sample_size(answers)
        found = verify(self.path, deep=deep)
        if not (deep and found.ok):
            return found
        self.refresh()
        checked, altered = self._ask(lambda catalog: check_answers(catalog, answers, seed))
        return replace(found, problems=altered, answers=checked)

    def repair(
        self, *, deep: bool = False, dry_run: bool = False, observe: "Callable[[Progress], None] | None" = None
    ) -> Table:
        """Mend what can be mended: leftovers go, summaries and indexes are made anew, damaged shards are taken out.

        What is taken out moves into the folder ``damaged`` of the store; the next build of the same sources embeds
        exactly its items again.

        Args:
            deep: also compute all stored answers anew, and remove those that differ; not while something is ``left``.
            dry_run: write nothing, and report what would be done.
            observe: told how many indexes are made.

        Returns:
            One row per thing done: action (``left`` where something else must be done), file, items, bytes, detail.
        """
        from embstore.maintain.repair import LEFT, remove_answers, repair
        from embstore.query.answer_checks import altered_answers

        try:
            done = repair(self.path, observe or current_observer() or ignore, dry_run=dry_run)
        finally:
            self.refresh()
        if not deep or LEFT in done["action"]:
            return done
        altered = self._ask(lambda catalog: list(altered_answers(catalog)))
        return remove_answers(self.path, done, altered, dry_run=dry_run)

    def compact(
        self,
        *,
        dry_run: bool = False,
        shard_bytes: int | None = None,
        observe: "Callable[[Progress], None] | None" = None,
    ) -> Table:
        """Merge small shards, and small tables of texts, into large ones; every answer stays what it was.

        Args:
            dry_run: write nothing, and report what would be merged.
            shard_bytes: the most bytes of vectors in a merged shard.
            observe: told how far it is.

        Returns:
            One row per new file: action, file, items, bytes, detail.

        Raises:
            StoreError: another process writes to the store, a file was altered, or the disk is full.
        """
        from embstore.maintain.compact import compact
        from embstore.storage.files.shards import SHARD_BYTES

        try:
            size = SHARD_BYTES if shard_bytes is None else shard_bytes
            return compact(self.path, observe or current_observer() or ignore, dry_run=dry_run, shard_bytes=size)
        finally:
            self.refresh()

    def merge(
        self,
        other: "str | os.PathLike[str] | Store",
        *,
        spaces: Names = (),
        dry_run: bool = False,
        observe: "Callable[[Progress], None] | None" = None,
    ) -> Table:
        """Take in the items of another store that this one lacks, with vectors, texts, datasets and skipped texts.

        Each file is checked against its hash while it is copied; nothing counts before all is here.

        Args:
            other: the other store, or its folder; it is only read.
            spaces: of the other store; none takes all.
            dry_run: write nothing, and report what would be taken.
            observe: told how far it is.

        Returns:
            One row per space, table and dataset with something new: action, file, items, bytes, detail.

        Raises:
            SpaceMismatchError: a space of that name is another one there; says the differences.
            SourceError: two different texts have one item id in the two stores; says both.
            StoreError: see :mod:`embstore.errors`. Nothing was taken.
        """
        from embstore.maintain.merge import merge

        folder = other.path if isinstance(other, Store) else Path(other)
        try:
            return merge(self.path, folder, _names(spaces), observe or current_observer() or ignore, dry_run=dry_run)
        finally:
            self.refresh()

    def remove(self, spaces: Names, *, dry_run: bool = False) -> Table:
        """Remove spaces: their vectors, summaries, indexes and card. The texts stay, which other spaces may have too.

        Args:
            spaces: their names.
            dry_run: write nothing, and report what would be removed.

        Returns:
            One row per space: action, file, items, bytes, detail.

        Raises:
            UnknownNameError: there is no such space; says the nearest.
            StoreError: another process writes to the store, or it cannot be written.
        """
        from embstore.maintain.remove import remove

        try:
            return remove(self.path, _names(spaces), dry_run=dry_run)
        finally:
            self.refresh()

    def sql(
        self, select: str, *, timeout: float | None = None, memory: str | int | None = None
    ) -> "duckdb.DuckDBPyRelation":
        """Return the DuckDB relation of one SELECT over the store.

        Views: ``items``, ``embeddings``, ``summaries``, ``skipped``, ``spaces`` and ``datasets.<name>``.

        The SQL reads these views and nothing else: no other file, no variable, no network. It can write nothing,
        neither in the store nor elsewhere; nor can the relation's own methods, such as ``to_parquet`` (give its
        ``to_arrow_table()`` or ``df()`` to what writes). What it may take is limited by ``timeout`` and ``memory``,
        and Ctrl-C ends it.

        The relation reads the files whenever it is run. One that is kept until its files have given way to others (by
        ``compact``, ``repair`` or ``remove``, here or in another process) raises DamagedError, "… has gone since the
        store was opened": ask for it again.

        What it may read of ``items``, ``skipped``, ``summaries`` and datasets is checked first. Vectors are not: DuckDB
        gives what the disk gives. :meth:`vectors` checks what it reads, and :meth:`verify` everything.

        Args:
            select: The statement. Table functions in it: ``range``, ``generate_series``, ``unnest``, ``repeat``,
                ``repeat_row``, ``json_each`` and ``json_tree``.
            timeout: Seconds that each run of the relation may take; None for no limit.
            memory: What DuckDB may use for it, in bytes or as in ``2GB``; by default half of the machine's memory.
                Values that Python gets, and single values that a function makes (up to 4 GiB), come on top.

        Raises:
            QueryError: It is not one SELECT, does something else than read the views, cannot be answered, or exceeds a
                limit. The relation raises this too.
            DamagedError: A file that it may read was altered, unless it is a shard; names it.
        """
        limits = _limits(timeout, memory)
        return self._ask(lambda catalog: catalog.relation(select, limits))


def _vectors(
    catalog: Catalog, space: str, layer: str, selection: "Selection"
) -> tuple[NDArray[np.int64], list[str], NDArray[np.float32]]:
    from embstore.storage.files.vectors import LayerVectors

    [card], _ = check_layer_numbers(SpaceFilter(spaces=[space]).select(catalog.cards))
    layers = card.layers.select(layer).members
    if len(layers) != 1:
        raise UsageError(f"vectors are of one layer, and {layer!r} names {len(layers)}.")
    only = selection.select(catalog, space)
    ids, vectors = LayerVectors(catalog.shards[space], layers[0].id, card.dim, only).gather()
    items = catalog.items(ids.tolist())
    return ids, [items[item].text for item in ids.tolist()], vectors


def _folder(path: str | os.PathLike[str]) -> Path:
    found = os.fspath(path)  # a Path has one slash where an address has two
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", found) and not os.path.isdir(found):
        raise UsageError(
            f"{re.sub(':/+', '://', found, count=1)} is an address, and a store is a folder of this machine: a path "
            "such as ./store, or a network folder that is mounted. Copy the store here first; remote stores are not "
            "supported yet."
        )
    return Path(found)


def _names(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _memory(memory: str | int | None) -> int | None:
    if memory is None or isinstance(memory, int):
        return memory
    from embstore.index import parse_memory

    return parse_memory(memory)


def _limits(timeout: float | None, memory: str | int | None) -> Limits:
    return Limits(timeout, _memory(memory))


def _steps(names: tuple[str, ...]) -> "tuple[Step, ...]":
    if not names:
        return ()
    from embstore.metrics.transforms import parse_transforms  # which most questions do not need

    return parse_transforms(names)


def _embedder(**trust: bool) -> "Embed":
    from embstore.query.embed import Trust, embed_item  # loads a model when it is called

    return partial(embed_item, trust=Trust(**trust))


def _layer_spec(layers: LayerSpec) -> str:
    return str(layers) if isinstance(layers, str | int) else ",".join(map(str, layers))
