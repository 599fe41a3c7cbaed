"""The parts of a build: its options, its checkpoints, and for each checkpoint the spaces and what they lack."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embstore.encode import (
    Checkpoint,
    Encoded,
    Encoder,
    Fingerprint,
    Long,
    Plan,
    Skipped,
    Tokenizer,
    fingerprint,
    resolve,
)
from embstore.errors import UnknownNameError, UsageError
from embstore.index import KINDS
from embstore.report import Observer, Progress
from embstore.space import (
    Pooling,
    Template,
    Unit,
    check_pooling,
    check_space_name,
)
from embstore.storage.card import Card
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
        missing: ids of the items that the space lacks and the checkpoint may embed, ascending.
        n_present: items that it has.
        unfit: ids of the items that an earlier build with the same options could not embed → why.
    """

    card: Card
    missing: NDArray[np.int64]
    n_present: int
    unfit: Mapping[int, str]

    def lacks(self, item_id: int) -> bool:
        """Whether an item is among the missing."""
        at = int(np.searchsorted(self.missing, item_id))
        return at < len(self.missing) and int(self.missing[at]) == item_id


@dataclass(frozen=True, slots=True)
class Job:
    """The part of a build that one checkpoint does, in one run over its passages."""

    model: Model
    options: Options
    spaces: tuple[SpacePlan, ...]

    @property
    def missing(self) -> NDArray[np.int64]:
        """The ids of the items that any of the spaces lacks, ascending."""
        return np.unique(np.concatenate([space.missing for space in self.spaces]))

    @property
    def groups(self) -> list[list[SpacePlan]]:
        """The spaces that lack items, by the forward passes that serve them: one for all.

        Where a text that is cut may lose the special token that the template gave it, the poolings of that token come
        from passes of their own, so that the others have every item.
        """
        lacking = [space for space in self.spaces if len(space.missing)]
        if self.options.long != "truncate" or self.options.template.fields == {"text"}:
            return [lacking] if lacking else []
        by_span = [[space for space in lacking if space.card.pooling.of_span is of_span] for of_span in (True, False)]
        return [group for group in by_span if group]

    def held_ids(self, items: Iterable[int]) -> list[int]:
        """Return which of the items all spaces have."""
        without = {*self.missing.tolist(), *(item for space in self.spaces for item in space.unfit)}
        return [item for item in items if item not in without]

    def missing_items(self, items: Mapping[int, Item]) -> list[Item]:
        """Return the missing items, in the order of the sources."""
        missing = set(self.missing.tolist())
        return [item for id_, item in items.items() if id_ in missing]

    def passages(self, items: list[Item]) -> Iterator[Passage]:
        """Yield the passages of items."""
        bos, eos = self.model.encoder.tokenizer.template_strings(self.options.template)
        return passages_of(items, self.options.template, bos=bos, eos=eos)

    def encode(self, passages: Iterable[Passage], group: list[SpacePlan]) -> Iterator[Encoded | Skipped]:
        """Encode passages for a group of spaces, all poolings in one forward pass."""
        encoder, options = self.model.encoder, self.options
        return encoder.encode(
            passages, poolings=[space.card.pooling for space in group], layers=encoder.layers.select(options.layers),
            batch_tokens=options.batch_tokens, long=options.long,
        )  # fmt: skip

    def count(self, passages: Iterable[Passage], group: list[SpacePlan]) -> Plan:
        """Count what encoding passages for a group of spaces takes."""
        options = self.options
        return self.model.encoder.plan(
            passages,
            poolings=[space.card.pooling for space in group],
            batch_tokens=options.batch_tokens,
            long=options.long,
        )
