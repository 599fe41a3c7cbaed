"""Methods of Store about datasets and on embedding texts."""

import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embstore.base.errors import StoreError, UsageError, check_known
from embstore.base.keywords import Names, StrPath, as_names
from embstore.base.progress import Observer, observing
from embstore.base.table import Table
from embstore.store.opened import LayerSpec, OpenStore, as_int, as_layers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embstore.build.on_ray import Cluster
    from embstore.build.report import BuildReport
    from embstore.storage.cache import StoreFiles
    from embstore.storage.card import Card

DEFAULT_MODELS = ("gpt2", "clip")
DEFAULT_SOURCES = ("words",)
Text = str | tuple[str, Mapping[str, Any]]
SourceNames = StrPath | Sequence[StrPath]


class BuildMethods(OpenStore):
    """List, download, add and store datasets; embed texts."""

    @staticmethod
    def datasets() -> Table:
        """Return one row per dataset: kind, unit, rows, whether it is on this machine and sound,
        licence, address.
        """
        from embstore.sources.datasets import list_datasets

        return list_datasets()

    @staticmethod
    def fetch_datasets(names: Names, progress: bool | Observer = False) -> dict[str, Path | None]:
        """Download datasets into ``$EMBSTORE_DATA``, else the platform's cache folder, unless they
        are there and sound.

        Args:
            names: Names of datasets.
            progress: Whether to show progress bars, or a function that is called with the bytes
                downloaded so far.

        Returns:
            The file of each dataset; None for one that is generated, not downloaded.

        Raises:
            UnknownNameError: There is no such dataset.
            SourceError: Some cannot be downloaded, or differ from their published hash; says how to
                get each by hand. The others are kept.
        """
        from embstore.sources.datasets import fetch_datasets

        with observing(progress):
            return fetch_datasets(as_names(names))

    @staticmethod
    def add_dataset(name: str, file: StrPath) -> Table:
        """Keep a copy of the file of a published dataset in its place, for a machine without a
        network.

        A file of your own is given by its path wherever a dataset is; :meth:`add_pairs` stores one.

        Args:
            name: Name of the dataset.
            file: Its file, whose hash is checked.

        Returns:
            The dataset's row of :meth:`datasets`.

        Raises:
            UnknownNameError: There is no such dataset.
            SourceError: The file differs from the published one; shows both hashes.
        """
        from embstore.sources.datasets import add_dataset, list_datasets

        return list_datasets([add_dataset(name, Path(file))])

    def add_pairs(self, name: str, file: StrPath, *, unit: str | None = None) -> Table:
        """Store the pairs of texts in a file as a dataset of this store, which ``similarity`` and
        ``alignment`` then use, as they use published ones.

        The texts are not embedded. A dataset of this name and unit is replaced.

        Args:
            name: Name of the dataset, not that of a published one.
            file: Table of two texts and a score, as ``dataset=`` of :meth:`query` reads it:
                ``pairs.csv``, or with its columns ``pairs.csv:left,right,score``.
            unit: What the texts are as items: ``word``, ``sentence``, or ``occurrence`` where each
                has a word in brackets. By default ``sentence`` if at least 90 % of the texts have
                white space between words, and ``word`` if at most 10 % have some.

        Returns:
            One row: dataset, kind, unit and rows.

        Raises:
            UsageError: The name is taken or invalid, or the unit is not clear.
            SourceError: The file has no two columns of texts and one of numbers.
            StoreError: There is no store, or another process writes to it.
        """
        from embstore.base.space import Unit, parse_member
        from embstore.build.pairs import store_pairs

        chosen = None if unit is None else parse_member(Unit, unit)
        with self._writing() as files:
            return store_pairs(files, name, str(file), chosen)

    def store_datasets(
        self, names: Names, *, unit: str | None = None, progress: bool | Observer = False
    ) -> Table:
        """Store the rows of datasets without embedding them, for spaces that have their texts, such
        as imported ones.

        A build stores the rows of its datasets itself. Texts without a vector are named by
        :meth:`missing`.

        Args:
            names: Names of datasets (:meth:`datasets`), which are downloaded if they are not on
                this machine.
            unit: What the texts are as items, ``word`` or ``sentence``; by default the dataset's
                own unit.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            One row per dataset: dataset, kind, unit and rows.

        Raises:
            UnknownNameError: There is no such dataset.
            UsageError: The dataset's rows are of another unit.
            SourceError: The dataset cannot be downloaded, or its file was altered.
            StoreError: There is no store, or another process writes to it.
        """
        from embstore.base.space import Unit, parse_member
        from embstore.build.texts import store_datasets
        from embstore.sources.datasets import missing_datasets

        chosen = None if unit is None else parse_member(Unit, unit)
        with observing(progress):
            self.fetch_datasets(missing_datasets(as_names(names)))
            with self._writing() as files:
                return store_datasets(files, as_names(names), chosen)

    def encode(
        self,
        texts: Names,
        space: str,
        *,
        layers: LayerSpec = "top",
        download: bool = False,
        allow_pickle: bool = False,
    ) -> "NDArray[np.float32]":
        """Encode texts, stored or not, with the checkpoint, pooling and template of a space;
        nothing is stored.

        Args:
            texts: One text, or several; of a space of occurrences, sentences with one word in
                brackets.
            space: Name of the space.
            layers: Layers, as in :meth:`query`; by default ``top``.
            download: Whether to download a checkpoint that is not on this machine, as in
                :meth:`neighbours`.
            allow_pickle: Whether to load pickled weights if there are no safetensors.

        Returns:
            Vectors, float32 (layers, n, dim), in the order of the layers' numbers and of the texts;
            up to rounding as those of :meth:`vectors`. Where ``layers`` is one number or name, (n,
            dim); where ``texts`` is a string, without n.

        Raises:
            CheckpointError: The checkpoint is not on this machine, is another one, or needs what is
                not allowed.
            EncodeError: A text cannot be encoded, such as one longer than the context.
        """
        from embstore.query.embed import Trust, embed_items
        from embstore.query.lookup import items_of_texts
        from embstore.storage.card import only_space

        if wrong := [text for text in as_names(texts) if not isinstance(text, str)]:
            raise UsageError(
                f"texts must be strings, not {wrong[0]!r} of type {type(wrong[0]).__name__}."
            )
        card = only_space(self._newest().cards, space)
        chosen = card.layers.select(as_layers(layers))
        vectors = embed_items(
            card, items_of_texts(card.unit, as_names(texts)), Trust(download, allow_pickle)
        )
        vectors = vectors[[card.layers.ids.index(layer.id) for layer in chosen]]
        vectors = vectors[:, 0] if isinstance(texts, str) else vectors
        return vectors[0] if isinstance(layers, str | int) and len(chosen) == 1 else vectors

    def build(
        self,
        sources: SourceNames | None = None,
        *,
        texts: "Iterable[Text] | None" = None,
        models: Names = DEFAULT_MODELS,
        revisions: Names = (),
        unit: str | None = None,
        poolings: Names = (),
        template: str = "{text}",
        prompt: str | None = None,
        layers: LayerSpec = "all",
        dtype: str = "float32",
        weights_dtype: str = "float32",
        adapter: StrPath | None = None,
        untrained: int | None = None,
        device_map: str | None = None,
        columns: Names = (),
        keep: Names = (),
        header: bool = True,
        delimiter: str | None = None,
        span: Names = (),
        targets: str | None = None,
        limit: int | None = None,
        per_text: int | None = None,
        special: bool = False,
        seed: int = 0,
        name: str | None = None,
        index: str = "auto",
        long: str | None = None,
        device: str | None = None,
        batch_tokens: int | None = None,
        allow_pickle: bool = False,
        shard: str | None = None,
        shard_bytes: int | None = None,
        on: str | None = None,
        workers: int | None = None,
        worker_gpus: float | None = None,
        worker_cpus: int | None = None,
        ray_address: str | None = None,
        dry_run: bool = False,
        progress: bool | Observer = False,
    ) -> "BuildReport":
        """Embed the texts that are not stored yet, at every layer, and index them.

        Args:
            sources: Files (.txt, .csv, .tsv, .jsonl, each also as .gz; .parquet), ``-`` for
                standard input, or names of datasets (:meth:`datasets`), which are downloaded if
                they are not on this machine. By default ``words``, or none with
                ``texts``.
            texts: Strings, or pairs of a string and its columns, such as
                ``("the bank", {"pos": "NOUN"})``, which are stored with the item. The columns
                ``start`` and ``end`` are the span of a target. Any iterable, read once; the same
                call with the same texts resumes a build.
            models: Short names (``gpt2``, ``clip``, ``minilm``), hub ids with optional
                ``@revision``, local folders, or ``name=folder``; or the name that a model with
                random weights has in the store.
            revisions: Revisions of each checkpoint on the hub (branches, tags, commits), or
                subfolders of its folder, such as ``step1000`` or ``checkpoint-1000``, patterns of
                such names (``"step*"``), or ``"all"``; each makes a space of its own, named by it.
            unit: ``word``, ``sentence``, ``occurrence`` (each word of each sentence, in its
                context) or ``token`` (each token of each text). By default the unit of a dataset,
                ``occurrence`` with ``span`` or ``targets``; else, for each source, ``sentence`` if
                at least 90 % of its texts have white space between words, and ``word`` if at most
                10 % have some; others are refused. Each unit makes a space of its own.
            poolings: ``last``, ``first``, ``mean``, ``mean-all`` (of all tokens, special ones too),
                ``weighted`` and ``weighted-all`` (with the weights 1 … t in the order of the
                tokens), ``bos`` (or ``cls``), ``eos``, ``projection``, all from one forward pass;
                ``model``, the checkpoint's own recipe as sentence-transformers reads it. By default
                ``last``; for sentences ``model`` if the checkpoint declares a recipe, else ``eos``
                if a causal model ends its input with a special token, else ``mean``.
            template: Text around an item, with ``{text}`` for the item, and ``{bos}`` and ``{eos}``
                for special tokens.
            prompt: Name of a prompt of the checkpoint's own recipe, for the pooling ``model``;
                ``""`` for none. By default the recipe's own default.
            layers: Layers to store: ``"all"``, or numbers and ranges as in ``"0,6,12"``,
                ``"0-12"``, ``-1``.
            dtype: Type of the stored vectors: ``float32`` or ``float16``.
            weights_dtype: Type of the weights and of the computation: ``float32``, ``bfloat16`` or
                ``float16``; in 16 bits the weights take half the memory.
            adapter: Folder or hub id (with an optional ``@revision``) of a LoRA adapter, saved by
                peft, that is merged into the checkpoint's weights; its name is added to that of the
                checkpoint, and its hash to the space's card.
            untrained: Random seed of an untrained model: the checkpoint's architecture and
                tokenizer with random weights, the control for what training adds; None for the
                checkpoint's own weights.
            columns: Columns of tables that hold the texts; by default ``text``, or the only one.
            keep: Columns of tables whose values are stored with the items, or ``"all"``: integers,
                numbers, booleans or strings. Items that have vectors already get them too.
                Every file has ``file`` (the stem of its name) and ``line`` too. ``n_tokens``, the
                number of tokens of each item, is stored without it.
            header: Whether the first line of CSV and TSV files names the columns; else they are
                called 1, 2, 3 …
            delimiter: Character that separates the columns of CSV and TSV files, or ``tab``; by
                default detected from their first lines.
            span: Columns with the start and end of a target in each sentence, such as
                ``("start", "end")``: the only occurrences that are embedded. In characters (code
                points) from 0, as in ``text[start:end]``. A single name is a column with both, as
                in ``4:8``.
            targets: ``brackets`` if each text has its target in brackets, as in
                ``the [bank] of the river``; else the name of a column with the target, a word or
                phrase that occurs once in the sentence.
            limit: Maximum number of texts of each unit; None for all. A part of a dataset is not
                stored as a dataset.
            per_text: Number of occurrences to draw from each sentence, or of tokens from each text;
                None for all.
            special: Whether the model's own special tokens are items of the unit ``token`` too.
            seed: Random seed of that draw.
            name: Name of the space; by default ``model.unit.pooling``.
            index: Index of each layer: ``auto`` (exact for small layers or where memory is scarce,
                else HNSW; a kind that :meth:`index` chose stays), ``flat``, ``hnsw`` or ``none``.
            long: Treatment of texts longer than the model's context: ``skip``, ``truncate`` or
                ``error``. By default ``skip``; of the pooling ``model`` ``truncate``, as in
                sentence-transformers.
            device: ``cpu``, ``cuda`` …; by default an accelerator if there is one.
            device_map: ``auto`` (``balanced``, ``sequential``) to distribute a model that is too
                large for one device over all, with accelerate.
            batch_tokens: Number of tokens in a batch; by default what suits the device.
            allow_pickle: Whether to load pickled weights if there are no safetensors.
            shard: ``i/n``: embed the i-th of n parts of the sources, the items whose id modulo n is
                i - 1. n machines build one store together, in a shared folder or bucket, or each in
                its own, to be merged. No index is made: :meth:`index` does, afterwards.
            shard_bytes: Approximate bytes of vectors in a shard, which has at most 8,192 items; by
                default 16 MiB.
            on: ``"ray"`` to encode on a Ray cluster whose nodes share the store's folder; by
                default in this process.
            workers: Number of workers on Ray; by default as many as fit.
            worker_gpus: GPUs of each worker; by default one if the cluster has any.
            worker_cpus: CPU cores of each worker; by default one beside a GPU, else all of the
                smallest node.
            ray_address: Address of the cluster, as ``host:port``; by default that in
                ``RAY_ADDRESS``, else Ray is started on this machine for the build.
            dry_run: Whether to write nothing and only estimate.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            Counts of the texts embedded, present before, and skipped with the reasons; with
            ``dry_run`` an estimate.

        Raises:
            EmbstoreError: See :mod:`embstore.base.errors`. What was committed before stays; the
                same call continues.
        """
        from embstore.base.sharding import ShardSpec
        from embstore.base.space import Template, Unit, parse_member, parse_pooling, parse_revisions
        from embstore.build.job import Options
        from embstore.build.pipeline import build, estimate
        from embstore.build.texts import Sources
        from embstore.encode.adapters import Adapter
        from embstore.encode.records import Weights
        from embstore.sources.datasets import missing_datasets
        from embstore.sources.opening import GivenTexts
        from embstore.sources.rows import Keep, Targets
        from embstore.storage.vectors import SHARD_BYTES

        if untrained is None:
            models, untrained = self._untrained(as_names(models))
        source_names = _source_names(sources, () if texts is not None else DEFAULT_SOURCES)
        given_texts = None if texts is None else _iterable(texts)
        chosen_unit = None if unit is None else parse_member(Unit, unit)
        options = Options(
            unit=chosen_unit
            or Unit.SENTENCE,  # which takes every pooling: each unit checks its own
            poolings=tuple(parse_pooling(pooling) for pooling in as_names(poolings)),
            template=Template(template),
            layers=as_layers(layers),
            dtype=dtype,
            device=device,
            batch_tokens=batch_tokens,
            long=long,  # type: ignore[arg-type]  # checked by Options
            index=index,
            revisions=parse_revisions(revisions),
            name=name,
            allow_pickle=allow_pickle,
            weights=Weights(
                weights_dtype,
                as_int(untrained),
                device_map,
                None if adapter is None else Adapter.find(os.fspath(adapter)),
            ),
            worker=ShardSpec() if shard is None else ShardSpec.parse(shard),
            shard_bytes=SHARD_BYTES if shard_bytes is None else operator.index(shard_bytes),
            prompt=prompt,
        )
        kept_columns = Keep(tuple(as_names(keep)))
        chosen = Targets.parse(targets, span)
        of_python = None
        if given_texts is not None:
            of_files = {"columns": as_names(columns), "delimiter": delimiter, "header": not header}
            if not source_names and (option := next(filter(of_files.get, of_files), None)):
                raise UsageError(
                    f"{option}= is about files, and texts are given alone. Leave it out."
                )
            has_columns = chosen is None and chosen_unit in (None, Unit.OCCURRENCE)
            of_python = (
                GivenTexts.peek(given_texts) if has_columns else GivenTexts(given_texts, chosen)
            )
        read = Sources(
            source_names,
            chosen_unit,
            as_names(columns),
            kept_columns,
            limit,
            per_text,
            seed,
            header,
            delimiter,
            chosen,
            of_python,
            special=special,
        )
        with observing(progress):
            self.fetch_datasets(missing_datasets(source_names))
            cluster = _cluster(
                on,
                workers=workers,
                worker_gpus=worker_gpus,
                worker_cpus=worker_cpus,
                ray_address=ray_address,
            )
            if dry_run:
                report = estimate(self._files, [read], as_names(models), options)
            else:
                with self._writing() as files:
                    report = build(files, [read], as_names(models), options, cluster)
        return report

    def _untrained(self, names: tuple[str, ...]) -> tuple[tuple[str, ...], int | None]:
        """Return the checkpoints and the seed of models that have random weights in the store, by
        their names there; other names as they are, without a seed.
        """
        from embstore.encode.checkpoint_files import SHORT_NAMES
        from embstore.query.missing import model_argument

        known: dict[str, Card] = {}
        if {*names} - {*SHORT_NAMES}:
            with suppress(StoreError):  # there is none, or the build says what is wrong with it
                cards = self._newest().cards.values()
                known = {card.model: card for card in cards if card.untrained is not None}
        seeds = {known[name].untrained if name in known else None for name in names}
        for name in {*names} - {*known}:
            if match := re.fullmatch(r"([^=/]+)-untrained-(\d+)", name):
                raise UsageError(
                    f"there is no {name} in the store. Make it by its checkpoint and seed:"
                    f" models={match[1]!r}, untrained={match[2]}"
                )
        if len(seeds) > 1:
            raise UsageError(
                "models with random weights of several seeds, or beside others, are built one by"
                " one."
            )
        if None in seeds or not seeds:
            return names, None
        return tuple(model_argument(known[name]) for name in names), seeds.pop()


def _cluster(on: str | None, **options: Any) -> "Callable[[StoreFiles], Cluster] | None":
    """Return the function that connects to the cluster of a build, given the files of the store;
    None for none.

    Raises:
        UnknownNameError: ``on`` is not ``ray``.
        UsageError: An option of a cluster is given without ``on``, or is out of range.
    """
    if on is None:
        for name, value in options.items():
            if value is not None:
                raise UsageError(f"`{name}` is an option of builds on a cluster: add on='ray'.")
        return None
    check_known("cluster", on, ("ray",))
    from embstore.build.on_ray import Cluster, ClusterOptions

    cluster_options = ClusterOptions(*options.values())
    return lambda files: Cluster(cluster_options, files)


def _source_names(sources: SourceNames | None, default: Sequence[str]) -> tuple[str, ...]:
    """Return the names of sources, of which one may be given alone."""
    if sources is None:
        return tuple(default)
    members = [sources] if isinstance(sources, str | os.PathLike) else sources
    try:
        return tuple(os.fspath(member) for member in members)
    except TypeError as error:
        raise UsageError(
            "`sources` are names of files and datasets: give texts as texts=[…]."
        ) from error


def _iterable(texts: Any) -> Iterable[object]:
    """Return texts as an iterable of them; raise UsageError for what is none."""
    if isinstance(texts, str):
        return (texts,)
    if isinstance(texts, Mapping | bytes) or (
        hasattr(texts, "to_dict") and hasattr(texts, "columns")
    ):
        raise UsageError(
            f"texts cannot be a {type(texts).__name__}. Give an iterable of strings, or of pairs of"
            ' a string and its columns: zip(frame["text"], frame[["pos"]].to_dict("records")).'
        )
    if not isinstance(texts, Iterable):
        raise UsageError(
            f"texts must be an iterable of strings, not of type {type(texts).__name__}."
        )
    return texts
