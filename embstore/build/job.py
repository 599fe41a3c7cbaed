"""Define the options of a build, its checkpoints, and the job of each checkpoint: spaces with missing items."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from embstore.base.errors import SpaceMismatchError, UnknownNameError, UsageError
from embstore.base.progress import Observer, Progress
from embstore.base.sharding import Parts, ShardSpec
from embstore.base.space import Pooling, Template, Unit, check_pooling, check_space_name
from embstore.base.text import Item, Passage, passages_of
from embstore.encode import (
    Checkpoint,
    Encoded,
    Encoder,
    Fingerprint,
    Long,
    Recipe,
    Skipped,
    Tokenizer,
    Weights,
    fingerprint,
    read_recipe,
    resolve,
)
from embstore.index import KINDS
from embstore.storage.files.card import Card
from embstore.storage.files.shards import SHARD_BYTES
from embstore.storage.staging.missing import MissingItems, Work

DTYPES = ("float32", "float16")
LONG = ("skip", "truncate", "error", None)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a build."""

    unit: Unit = Unit.WORD
    poolings: tuple[Pooling, ...] = ()  # poolings, each giving one space; empty for the default of each checkpoint
    template: Template = field(default_factory=Template)
    layers: str = "all"  # selection of layers, in the notation of :meth:`Layers.select`
    dtype: str = "float32"
    device: str | None = None
    batch_tokens: int | None = None  # maximum number of tokens per batch; None for a default that suits the device
    # Treatment of texts longer than the context: ``skip``, ``truncate`` or ``error``; None to skip them, and for the
    # pooling ``model`` to truncate them as sentence-transformers does.
    long: Long | None = None
    index: str = "auto"
    # Memory limit in bytes while indexes are built; None for half of the machine's memory.
    index_memory: int | None = None
    # Revisions of each checkpoint, each giving spaces of its own; empty for those that are named with the checkpoints.
    revisions: tuple[str, ...] = ()
    name: str | None = None  # name of the space, if the build makes only one; None for ``model.unit.pooling``
    allow_pickle: bool = False
    weights: Weights = field(default_factory=Weights)
    worker: ShardSpec = field(default_factory=ShardSpec)  # share of the work that this build does: worker i of n
    shard_bytes: int = SHARD_BYTES  # approximate bytes of vectors per shard
    # Name of a prompt of the checkpoint's own recipe, for the pooling ``model``; "" for none, None for the default of
    # the recipe.
    prompt: str | None = None
    reports_tokens: bool = False  # whether the report says how many numbers of tokens were stored

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("dtype", self.dtype, DTYPES),
            ("treatment of long texts", self.long, LONG),
            ("kind of index", self.index, KINDS),
        ):
            if value not in known:
                raise UnknownNameError(kind, str(value), filter(None, known))
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise UsageError(f"batch_tokens must be at least 1, not {self.batch_tokens}.")
        if self.shard_bytes < 1:
            raise UsageError(f"shard_bytes must be at least 1, not {self.shard_bytes}.")
        for pooling in self.poolings:
            check_pooling(self.unit, pooling)
        if self.name is not None:
            check_space_name(self.name)

    def long_for(self, pooling: Pooling) -> Long:
        """Return the treatment of texts that are too long, for a pooling."""
        return self.long or ("truncate" if pooling is Pooling.MODEL else "skip")


class Model:
    """A checkpoint whose hashes, tokenizer and weights are each loaded on first use."""

    def __init__(
        self, spec: str, options: Options, observe: Observer = lambda _: None, revision: str | None = None
    ) -> None:
        self.options = options
        self._observe = observe
        checkpoint = resolve(
            spec, revision, allow_pickle=options.allow_pickle, has_weights=options.weights.untrained is None
        )
        self.checkpoint: Checkpoint = replace(checkpoint, name=options.weights.name(checkpoint.name))
        self.space_revision = None if revision is None else self.checkpoint.revision_name

    @property
    def label(self) -> str:
        """Name of the checkpoint for messages, with its revision where its spaces are named by it."""
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
        """The checkpoint's own recipe; None if it declares none. Raises CheckpointError if it cannot be followed."""
        return read_recipe(self.checkpoint.recipe_folder, self.checkpoint.name)

    @cached_property
    def encoder(self) -> Encoder:
        """Encoder with the weights loaded."""
        self._observe(Progress("load", self.label))
        options = self.options
        return Encoder.load(
            self.checkpoint, device=options.device, allow_pickle=options.allow_pickle, weights=options.weights
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

    spaces: tuple[SpacePlan, ...]
    work: Work

    @property
    def cards(self) -> tuple[Card, ...]:
        """Cards of the spaces."""
        return tuple(space.card for space in self.spaces)


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
        """Groups of spaces with missing items, one group per set of forward passes: usually a single one.

        If a truncated text may lose a special token of the template, the poolings of that token get separate passes, so
        that the other poolings still embed every item. The pooling ``model`` reads texts in its own way.
        """
        of_recipe = [space for space in self.spaces if space.n_missing and space.card.pooling is Pooling.MODEL]
        incomplete = [space for space in self.spaces if space.n_missing and space.card.pooling is not Pooling.MODEL]
        groups = [incomplete]
        if self.options.long == "truncate" and self.options.template.fields != {"text"}:
            groups = [
                [space for space in incomplete if space.card.pooling.uses_span is uses_span]
                for uses_span in (True, False)
            ]
        return [
            Group(tuple(group), self.missing.work([space.card.space for space in group], self.parts))
            for group in [*groups, of_recipe]
            if group
        ]

    @property
    def present(self) -> str:
        """SQL query for the items of this build whose vectors are stored."""
        return self.missing.present([space.card.space for space in self.spaces], self.parts)

    @property
    def identity(self) -> dict[str, Any]:
        """Description of the job, which must be equal for all workers of a shared build."""
        staging = self.missing.staging
        return {
            "unit": staging.unit.value, "items": staging.n_items, "digest": staging.digest,
            "parts": [self.parts.n, self.parts.n_windows], "of": self.parts.worker.total,
            "spaces": [space.card.identity for space in self.spaces],
        }  # fmt: skip


def item_passages(items: list[Item], tokenizer: Tokenizer, options: Options) -> Iterator[Passage]:
    """Yield the passages of items: the items in the template of the options, those of one sentence together."""
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
                f"the recipe of {encoder.checkpoint.name!r} in {encoder.checkpoint.folder} is not that of the space "
                f"{card.space!r}: its files have changed. Put the old ones back, or name another space with ⦃name⦄."
            )
        layers = encoder.layers_of(card.pooling)
    return encoder.encode_windows(
        windows, poolings=[card.pooling for card in cards], layers=layers.select_stored(options.layers),
        batch_tokens=options.batch_tokens, long=options.long_for(card.pooling), prompt=card.prompt, steady=steady,
    )  # fmt: skip
