"""Plan a build: its options, its checkpoints, and the job of each: the spaces with missing items.
Writes nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np

from embstore.base import __version__
from embstore.base.arrays import Ids
from embstore.base.errors import CheckpointError, SpaceMismatchError, UsageError, check_known
from embstore.base.progress import Progress, report_progress
from embstore.base.sharding import Parts, ShardSpec
from embstore.base.space import (
    Layers,
    Pooling,
    Template,
    Unit,
    check_pooling,
    check_space_name,
    default_space_name,
)
from embstore.base.text import NOT_UNICODE, Item, Passage, passages_of, word_boundaries
from embstore.build.report import reason_key
from embstore.build.texts import Texts, TokenReader
from embstore.encode.checkpoint import (
    Checkpoint,
    Fingerprint,
    expand_revisions,
    fingerprint,
    resolve,
)
from embstore.encode.forward import Encoder
from embstore.encode.recipe import Recipe, read_recipe
from embstore.encode.recipe_head import reader
from embstore.encode.records import Encoded, Long, Skipped, Weights
from embstore.encode.tokens import Tokenizer
from embstore.index import KINDS
from embstore.storage.cache import StoreFiles
from embstore.storage.card import Card, cut_notes
from embstore.storage.catalog import Catalog
from embstore.storage.staging.missing import MissingItems, Work
from embstore.storage.staging.staging import Staging
from embstore.storage.vectors import SHARD_BYTES

DTYPES = ("float32", "float16")


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a build."""

    unit: Unit = Unit.WORD
    # Poolings, each giving one space; empty for the default of each checkpoint.
    poolings: tuple[Pooling, ...] = ()
    template: Template = field(default_factory=Template)
    layers: str = "all"  # selection of layers, in the notation of :meth:`Layers.select`
    dtype: str = "float32"
    device: str | None = None
    batch_tokens: int | None = (
        None  # maximum number of tokens per batch; None for a default that suits the device
    )
    # Treatment of texts longer than the context: ``skip``, ``truncate`` or ``error``; None to skip
    # them, and for the pooling ``model`` to truncate them as sentence-transformers does.
    long: Long | None = None
    index: str = "auto"
    # Revisions of each checkpoint, each giving spaces of its own; empty for those that are named
    # with the checkpoints.
    revisions: tuple[str, ...] = ()
    name: str | None = (
        None  # name of the space, if the build makes only one; None for ``model.unit.pooling``
    )
    allow_pickle: bool = False
    weights: Weights = field(default_factory=Weights)
    # Share of the work that this build does: worker i of n.
    worker: ShardSpec = field(default_factory=ShardSpec)
    shard_bytes: int = (
        SHARD_BYTES  # approximate bytes of vectors in a shard: one layer of a batch of items
    )
    # Name of a prompt of the checkpoint's own recipe, for the pooling ``model``; "" for none, None
    # for the default of the recipe.
    prompt: str | None = None

    def __post_init__(self) -> None:
        check_known("dtype", self.dtype, DTYPES)
        check_known("treatment of long texts", self.long, get_args(Long))
        check_known("kind of index", self.index, KINDS)
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise UsageError(f"batch_tokens must be at least 1, not {self.batch_tokens}.")
        if self.shard_bytes < 1:
            raise UsageError(f"shard_bytes must be at least 1, not {self.shard_bytes}.")
        if self.is_part and self.index not in ("auto", "none"):
            raise UsageError(
                f"a build with `shard` makes no index: leave out index={self.index!r}. When all"
                f" parts are built, run: embstore index --kind {self.index}"
            )
        for pooling in self.poolings:
            check_pooling(self.unit, pooling)
        if self.name is not None:
            check_space_name(self.name)

    @property
    def is_part(self) -> bool:
        """Whether the build embeds one of several parts, and makes no index."""
        return self.worker.total > 1

    def long_for(self, pooling: Pooling) -> Long:
        """Return the treatment of texts that are too long, for a pooling."""
        return self.long or ("truncate" if pooling is Pooling.MODEL else "skip")


class Model:
    """A checkpoint whose hashes, tokenizer and weights are each loaded on first use."""

    def __init__(self, spec: str, options: Options, revision: str | None = None) -> None:
        self.options = options
        checkpoint = resolve(
            spec,
            revision,
            allow_pickle=options.allow_pickle,
            has_weights=options.weights.untrained is None,
        )
        if (adapter := options.weights.adapter) is not None:
            adapter.check_base(checkpoint)
        self.checkpoint: Checkpoint = replace(
            checkpoint, name=options.weights.name(checkpoint.name)
        )
        self.space_revision = None if revision is None else self.checkpoint.revision_name

    @property
    def label(self) -> str:
        """Name of the checkpoint for messages, with its revision where its spaces are named by
        it.
        """
        return self.checkpoint.name + (f"@{self.space_revision}" if self.space_revision else "")

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hashes of the checkpoint's files, and of the random weights of an untrained model."""
        if self.options.weights.untrained is None:
            return fingerprint(self.checkpoint)
        return fingerprint(self.checkpoint, self.encoder.untrained_sha256)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer of the checkpoint; loads much faster than the weights."""
        return Tokenizer.load(self.checkpoint)

    @cached_property
    def recipe(self) -> Recipe | None:
        """The checkpoint's own recipe; None if it declares none. Raises CheckpointError if it
        cannot be followed.
        """
        return read_recipe(self.checkpoint.recipe_folder, self.checkpoint.name)

    @cached_property
    def encoder(self) -> Encoder:
        """Encoder with the weights loaded."""
        report_progress(Progress("load", self.label))
        options = self.options
        return Encoder(
            self.checkpoint,
            device=options.device,
            allow_pickle=options.allow_pickle,
            weights=options.weights,
        )

    def release(self) -> None:
        """Release the weights; they are loaded again when they are used."""
        self.__dict__.pop("encoder", None)


@dataclass(frozen=True, slots=True)
class SpacePlan:
    """The plan for one space of a build."""

    card: Card
    n_missing: int
    n_elsewhere: int
    n_present: int
    unfit: Counter[str]


@dataclass(frozen=True, slots=True)
class Group:
    """Spaces of one checkpoint that share their forward passes, and their missing items."""

    cards: tuple[Card, ...]
    work: Work


@dataclass(frozen=True)
class Job:
    """The work of one checkpoint in a build."""

    model: Model
    options: Options
    spaces: tuple[SpacePlan, ...]
    missing: MissingItems
    parts: Parts
    notes: tuple[str, ...] = ()

    @cached_property
    def groups(self) -> list[Group]:
        """Groups of spaces with missing items, one group per set of forward passes: usually a
        single one.

        If a truncated text may lose a special token of the template, the poolings of that token get
        separate passes, so that the other poolings still embed every item. The pooling ``model``
        reads texts in its own way.
        """
        is_divided = self.options.long == "truncate" and self.options.template.fields != {"text"}
        groups: dict[tuple[bool, bool], list[Card]] = {}
        for card in (space.card for space in self.spaces if space.n_missing):
            key = card.pooling is Pooling.MODEL, is_divided and not card.pooling.uses_span
            groups.setdefault(key, []).append(card)
        return [
            Group(tuple(cards), self.missing.work([card.space for card in cards], self.parts))
            for _, cards in sorted(groups.items())
        ]

    @property
    def present(self) -> Ids:
        """Ids of the items of this build whose vectors are stored, ascending."""
        return self.missing.present([space.card.space for space in self.spaces], self.parts)


def item_passages(items: list[Item], tokenizer: Tokenizer, options: Options) -> Iterator[Passage]:
    """Yield the passages of items: the items in the template of the options, those of one sentence
    together.
    """
    bos, eos = tokenizer.template_strings(options.template)
    return passages_of(items, options.template, bos=bos, eos=eos)


def encode_windows(
    encoder: Encoder,
    windows: Iterable[Iterable[Passage]],
    cards: Sequence[Card],
    options: Options,
    *,
    steady: bool = False,
) -> Iterator[Encoded | Skipped]:
    """Encode passages, window by window, for spaces that share their forward passes."""
    card, layers = cards[0], encoder.layers
    if card.pooling is Pooling.MODEL:
        recipe = encoder.tokenizer.recipe
        if recipe is None or recipe.to_document(card.prompt) != card.recipe:
            raise SpaceMismatchError(
                f"the recipe of {encoder.checkpoint.name!r} in {encoder.checkpoint.folder} is not "
                "that of the space "
                f"{card.space!r}: its files have changed. Put the old ones back, or name another "
                "space with `name`."
            )
        layers = encoder.layers_of(card.pooling)
    return encoder.encode(
        windows,
        poolings=[card.pooling for card in cards],
        layers=layers.select_stored(options.layers),
        batch_tokens=options.batch_tokens,
        long=options.long_for(card.pooling),
        prompt=card.prompt,
        steady=steady,
    )


N_LOADED = 2
"""Number of checkpoints whose weights stay in memory between plan and encoding; of more, one at a
time.
"""


def resolve_models(specs: Sequence[str], options: Options) -> list[Model]:
    """Find the files of the checkpoints of a build, without loading tokenizers or weights; repeated
    ones count once.
    """
    if not specs:
        raise UsageError(
            "there is no checkpoint in the list (`models`). Give at least one, such as minilm."
        )
    of_each = {spec: expand_revisions(spec, options.revisions) or (None,) for spec in specs}
    members = [(spec, revision) for spec, revisions in of_each.items() for revision in revisions]
    if options.name is not None and len(members) > 1:
        raise UsageError(
            f"`name` names one space, and {len(members)} models make {len(members)}. Build them "
            "one by one."
        )
    models = [Model(spec, options, revision) for spec, revision in members]
    shared = Counter(model.checkpoint.name for model in models)
    for model in models:
        if shared[model.checkpoint.name] > 1:  # several revisions of one checkpoint
            model.space_revision = model.checkpoint.revision_name
    return models


def token_reader(model: Model, options: Options) -> TokenReader:
    """Return what reads the tokens of texts as the model of a space does."""
    return TokenReader(
        space_name(model, options, Pooling.LAST),
        model.tokenizer,
        options.template,
        options.long_for(Pooling.LAST),
    )


def space_name(model: Model, options: Options, pooling: Pooling) -> str:
    """Return the name of the space of a checkpoint and a pooling."""
    return options.name or default_space_name(
        model.checkpoint.name, options.unit, pooling, model.space_revision
    )


def open_catalog(place: Path | StoreFiles) -> Catalog | None:
    """Open a store; return None if there is none yet."""
    files = StoreFiles.of_folder(place)
    return None if files.find_manifest() is None else Catalog(files)


def plan_build(
    catalog: Catalog | None, texts: Sequence[Texts], models: Sequence[Model], options: Options
) -> list[tuple[Texts, list[Job]]]:
    """Plan the jobs for the texts of each unit; no space has items of two units."""
    if options.name is not None and len(texts) > 1:
        units = " and ".join(unit_texts.unit for unit_texts in texts)
        raise UsageError(
            f"`name` names one space, and these sources make one of each unit, {units}. Say which "
            "with `unit`, or "
            "build them one by one."
        )
    return [
        (part, plan_jobs(catalog, part.staging, models, replace(options, unit=part.unit)))
        for part in texts
    ]


def plan_jobs(
    catalog: Catalog | None, staging: Staging, models: Sequence[Model], options: Options
) -> list[Job]:
    """Plan the job of each checkpoint, given the vectors that are stored.

    The weights are loaded only if the stored cards do not suffice, so that a build with nothing
    missing is quick.
    """
    missing = MissingItems(staging, catalog)
    jobs = []
    for model in models:
        cards = []
        poolings, notes = choose_poolings(model, options, catalog)
        for pooling in poolings:
            name = space_name(model, options, pooling)
            stored = catalog.cards.get(name) if catalog and not catalog.is_empty(name) else None
            recipe = recipe_of(model, options) if pooling is Pooling.MODEL else None
            prompt = "" if recipe is None else recipe.prompt(options.prompt, model.checkpoint.name)
            card = _card(model, options, pooling, name, stored, prompt)
            if stored is not None:
                stored.check_same_space(card)
            cards.append(stored or card)
        if len(models) > N_LOADED:
            model.release()
        parts = Parts.plan(
            staging.n_items,
            staging.n_chars,
            max(card.layer_bytes for card in cards),
            options.shard_bytes,
            options.worker,
        )
        spaces = tuple(_space_plan(missing, card, model, options, parts) for card in cards)
        jobs.append(Job(model, options, spaces, missing, parts, notes))
    names = [space.card.space for job in jobs for space in job.spaces]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(
            f"two of the models make the same space, {repeated[0]!r}. Rename one: "
            "models='NAME=FOLDER'."
        )
    cut = cut_notes([space.card for job in jobs for space in job.spaces], options.layers)
    return [replace(jobs[0], notes=(*jobs[0].notes, *cut)), *jobs[1:]]


def _space_plan(
    missing: MissingItems, card: Card, model: Model, options: Options, parts: Parts
) -> SpacePlan:
    """Count the items of a space that are stored, missing, or cannot be embedded with these
    options.

    Of those that an earlier build skipped, only the tokenizer says which would be skipped again, so
    that a build with nothing else missing does not load the weights.
    """
    if options.unit is Unit.TOKEN:
        missing.exclude_others(card.space)
    n_present, long, poolings = (
        missing.load_present(card.space),
        options.long_for(card.pooling),
        [card.pooling],
    )
    unfit = Counter({NOT_UNICODE: missing.staging.n_invalid} if missing.staging.n_invalid else {})
    for items in missing.previously_skipped(card.space) if long != "error" else ():
        passages = item_passages(items, model.tokenizer, options)
        windows = reader(model.tokenizer, poolings, card.prompt).windows(
            passages, poolings=poolings, long=long
        )
        dropped = (item for _, dropped in windows for item in dropped)
        reasons = {item.item_id: item.reason for item in dropped if item.outcome == "skipped"}
        unfit.update(map(reason_key, reasons.values()))
        missing.exclude(card.space, np.fromiter(reasons, np.int64, len(reasons)))
    return SpacePlan(card, *missing.n_missing(card.space, parts), n_present, unfit)


def _card(
    model: Model, options: Options, pooling: Pooling, name: str, stored: Card | None, prompt: str
) -> Card:
    """Return the card of a space, from the stored card if it is of the same files, else from the
    loaded model.
    """
    checkpoint, hashes, adapter = model.checkpoint, model.fingerprint, options.weights.adapter
    recipe = model.recipe if pooling is Pooling.MODEL else None
    document = None if recipe is None else recipe.to_document(prompt)
    with_own_layers = {Pooling.PROJECTION, Pooling.MODEL}
    if (
        stored is not None
        and stored.fingerprint == (*astuple(hashes), adapter and adapter.sha256)
        and (stored.pooling is pooling or not {stored.pooling, pooling} & with_own_layers)
        and stored.recipe == document
    ):
        of_kind = Layers.of_projection if pooling is Pooling.PROJECTION else Layers.of_model
        all_layers = of_kind if recipe is None else recipe.layers
        layers = all_layers(stored.layers.n_blocks, stored.layers.top_form)
        dim, architecture, max_tokens = stored.dim, stored.architecture, stored.max_tokens
        versions, layer_check, blanks = stored.versions, stored.layer_check, stored.blanks
    else:
        encoder = model.encoder
        encoder.tokenizer.check(options.unit, pooling, options.template)
        layers, dim = encoder.layers_of(pooling), encoder.dim_of(pooling)
        architecture, max_tokens = (
            encoder.architecture,
            reader(encoder.tokenizer, [pooling]).max_tokens,
        )
        versions, layer_check = {"embstore": __version__, **encoder.versions}, encoder.layer_check
        blanks = [*encoder.tokenizer.blanks.values()] or None
    card = Card(
        space=name,
        model=checkpoint.name,
        checkpoint=checkpoint.id,
        revision=checkpoint.revision,
        weights_sha256=hashes.weights_sha256,
        tokenizer_sha256=hashes.tokenizer_sha256,
        config_sha256=hashes.config_sha256,
        architecture=architecture,
        unit=options.unit,
        pooling=pooling,
        template=options.template,
        layers=layers.select_stored(options.layers),
        dim=dim,
        dtype=options.dtype,
        max_tokens=max_tokens,
        versions=versions,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        layer_check=layer_check,
        word_boundaries=word_boundaries() if options.unit is Unit.OCCURRENCE else None,
        revision_name=checkpoint.revision_name,
        weights_dtype=options.weights.dtype,
        untrained=options.weights.untrained,
        recipe=document,
        blanks=blanks if document is None else None,
    )
    if adapter is None:
        return card
    return replace(
        card, adapter=adapter.id, adapter_revision=adapter.revision, adapter_sha256=adapter.sha256
    )


PoolingChoice = tuple[tuple[Pooling, ...], tuple[str, ...]]
"""Poolings of a checkpoint, and notes on the choice of a default."""


def choose_poolings(model: Model, options: Options, catalog: Catalog | None) -> PoolingChoice:
    """Return the poolings of a checkpoint, and notes on the choice of a default."""
    requested: PoolingChoice = (tuple(dict.fromkeys(options.poolings)), ())
    poolings, notes = requested if options.poolings else _default(model, options, catalog)
    if options.name is not None and len(poolings) > 1:
        raise UsageError(
            f"`name` names one space, and {len(poolings)} poolings make {len(poolings)}. Build "
            "them one by one."
        )
    if options.prompt and Pooling.MODEL not in poolings:
        raise UsageError(
            f"the prompt {options.prompt!r} belongs to pooling 'model', the own recipe of "
            f"{model.checkpoint.name!r}, "
            f"and the pooling is {poolings[0].value!r}. Add poolings='model', or put the prompt's "
            "text in `template`."
        )
    return poolings, notes


def recipe_of(model: Model, options: Options) -> Recipe | None:
    """Return the checkpoint's own recipe; None if it declares none."""
    recipe = model.recipe
    trained = (
        []
        if recipe is None
        else [module.type for module in recipe.modules if module.weights is not None]
    )
    if trained and options.weights.untrained is not None:
        raise CheckpointError(
            f"pooling 'model' does not follow the recipe of {model.checkpoint.name!r} with "
            "untrained weights: the "
            f"weights of its module {trained[0]} are trained. Choose another pooling."
        )
    return recipe


def _default(model: Model, options: Options, catalog: Catalog | None) -> PoolingChoice:
    """Return the default pooling of a unit, and notes on it.

    Words and occurrences have ``last``. Sentences have ``model`` if the checkpoint declares a
    recipe of its own, else ``eos`` or ``mean``.
    """
    if options.unit is not Unit.SENTENCE:
        return (Pooling.LAST,), ()
    try:
        recipe = recipe_of(model, options)
    except CheckpointError as error:
        pooling = model.tokenizer.default_pooling(options.unit, options.template)
        return (pooling,), (f"{error} The default is {pooling.value}.",)
    if recipe is None:
        return (model.tokenizer.default_pooling(options.unit, options.template),), ()
    name = space_name(model, options, Pooling.MODEL)
    if (
        catalog is not None
        and not catalog.is_empty(name)
        and catalog.cards[name].pooling is Pooling.MODEL
    ):
        return (Pooling.MODEL,), ()
    return (Pooling.MODEL,), (
        f"{name}: pooled by the own recipe of {model.checkpoint.name!r} ({recipe}), as by "
        f"{recipe.follows}; its layer output is the vector of the whole recipe.",
    )
