"""What a build is made of: its options, its checkpoints, and for each checkpoint the spaces and what they lack."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from embstore.progress import Observer, Progress
from embstore.encode import (Checkpoint, Encoded, Encoder, Fingerprint, Long, Plan, Skipped, Tokenizer, fingerprint, resolve)
from embstore.errors import UnknownNameError, UsageError
from embstore.index import KINDS
from embstore.sharding import Parts, Turn
from embstore.space import Pooling, Template, Unit, check_pooling, check_space_name
from embstore.storage.files.card import Card
from embstore.storage.staging.missing import Lacking, Work
from embstore.storage.files.shards import SHARD_BYTES
from embstore.text import Item, Passage, passages_of

DTYPES = ("float32", "float16")
LONG = ("skip", "truncate", "error")


@dataclass(frozen=True, slots=True)
class Options:
    """How a build makes its spaces.

    Attributes:
        unit: what a vector stands for.
        poolings: empty for each checkpoint's default.
        template: the text put round an item.
        layers: which layers, as :meth:`Layers.select` reads them.
        dtype: ``float32`` or ``float16``, as stored.
        device: ``cpu``, ``cuda`` …; None takes an accelerator where there is one.
        batch_tokens: tokens of a batch; None is what suits the device.
        long: ``skip``, ``truncate`` or ``error``: what to do with a text longer than the context.
        index: ``auto``, ``flat``, ``hnsw``, ``ivf`` or ``none``.
        index_memory: bytes that the indexes may take while they are built; None for half of the machine's.
        name: of the space, if the build makes one; None gives ``model.unit.pooling``.
        allow_pickle: load pickled weights where there are no safetensors.
        turn: which of the parts of the sources the build takes.
        shard_bytes: bytes of vectors in a shard, about.
    """

    unit: Unit = Unit.WORD
    poolings: tuple[Pooling, ...] = ()
    template: Template = field(default_factory=Template)
    layers: str = "all"
    dtype: str = "float32"
    device: str | None = None
    batch_tokens: int | None = None
    long: Long = "skip"
    index: str = "auto"
    index_memory: int | None = None
    name: str | None = None
    allow_pickle: bool = False
    turn: Turn = field(default_factory=Turn)
    shard_bytes: int = SHARD_BYTES

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("dtype", self.dtype, DTYPES),
            ("treatment of long texts", self.long, LONG),
            ("kind of index", self.index, KINDS),
        ):
            if value not in known:
                raise UnknownNameError(kind, value, known)
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise UsageError(f"batch_tokens must be at least 1, not {self.batch_tokens}.")
        if self.shard_bytes < 1:
            raise UsageError(f"shard_bytes must be at least 1, not {self.shard_bytes}.")
        for pooling in self.poolings:
            check_pooling(self.unit, pooling)
        if self.name is not None:
            check_space_name(self.name)


class Model:
    """A checkpoint of a build. Its weights are loaded when they are first needed.

    Args:
        spec: the checkpoint, as :func:`embstore.encode.resolve` reads it.
        options: of the build.
        observe: told when the weights are loaded.
    """

    def __init__(self, spec: str, options: Options, observe: Observer = lambda _: None) -> None:
        self._options = options
        self._observe = observe
        self.checkpoint: Checkpoint = resolve(spec, allow_pickle=options.allow_pickle)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The hashes of its files."""
        return fingerprint(self.checkpoint)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, which is loaded much faster than the weights."""
        return Tokenizer.load(self.checkpoint)

    @cached_property
    def encoder(self) -> Encoder:
        """The loaded model."""
        self._observe(Progress("load", self.checkpoint.name))
        return Encoder.load(self.checkpoint, device=self._options.device, allow_pickle=self._options.allow_pickle)


@dataclass(frozen=True, slots=True)
class SpacePlan:
    """One space of a build.

    Attributes:
        card: as it will be, or is, stored.
        n_missing: items that the space lacks and the checkpoint may embed, in the parts that this build takes.
        n_elsewhere: the same in the other parts.
        n_present: items that it has.
        unfit: reason → items that no build can embed, or none with the same options.
    """

    card: Card
    n_missing: int
    n_elsewhere: int
    n_present: int
    unfit: Counter[str]


@dataclass(frozen=True, slots=True)
class Group:
    """The spaces of a checkpoint that the same forward passes serve, and what they lack."""

    spaces: tuple[SpacePlan, ...]
    work: Work


@dataclass(frozen=True)
class Job:
    """The part of a build that one checkpoint does, in one run over its passages.

    Attributes:
        model: the checkpoint.
        options: of the build; the unit is that of the items.
        spaces: of the checkpoint.
        lacking: what the store lacks of the items.
        parts: how the items are cut into shards.
    """

    model: Model
    options: Options
    spaces: tuple[SpacePlan, ...]
    lacking: Lacking
    parts: Parts

    @cached_property
    def groups(self) -> list[Group]:
        """The spaces that lack items, by the forward passes that serve them: one for all.

        Where a text that is cut may lose the special token that the template gave it, the poolings of that token come
        from passes of their own, so that the others have every item.
        """
        lacking = [space for space in self.spaces if space.n_missing]
        groups = [lacking]
        if self.options.long == "truncate" and self.options.template.fields != {"text"}:
            groups = [[one for one in lacking if one.card.pooling.of_span is of_span] for of_span in (True, False)]
        return [
            Group(tuple(group), self.lacking.work([space.card.space for space in group], self.parts))
            for group in groups
            if group
        ]

    @property
    def present(self) -> str:
        """The SQL for the items whose vectors the store has, in the parts that this build takes."""
        return self.lacking.present([space.card.space for space in self.spaces], self.parts)

    @property
    def identity(self) -> dict[str, Any]:
        """What builds that share the parts of the sources must agree on."""
        staging = self.lacking.staging
        return {
            "unit": staging.unit.value, "items": staging.n_items, "digest": staging.digest,
            "parts": [self.parts.n, self.parts.n_windows], "of": self.parts.turn.of,
            "spaces": [space.card.identity for space in self.spaces],
        }  # fmt: skip

    def passages(self, items: list[Item]) -> Iterator[Passage]:
        """Yield the passages of items."""
        bos, eos = self.model.tokenizer.template_strings(self.options.template)
        return passages_of(items, self.options.template, bos=bos, eos=eos)

    def encode(self, windows: Iterable[Iterable[Passage]], group: Group) -> Iterator[Encoded | Skipped]:
        """Encode passages for a group of spaces, window by window, all poolings in one forward pass."""
        encoder, options = self.model.encoder, self.options
        return encoder.encode_windows(
            windows, poolings=[space.card.pooling for space in group.spaces],
            layers=encoder.layers.select(options.layers), batch_tokens=options.batch_tokens, long=options.long,
        )  # fmt: skip

    def count(self, passages: Iterable[Passage], group: Group) -> Plan:
        """Count what encoding the passages of a window for a group of spaces takes."""
        options = self.options
        return self.model.encoder.plan(
            passages,
            poolings=[space.card.pooling for space in group.spaces],
            batch_tokens=options.batch_tokens,
            long=options.long,
        )
