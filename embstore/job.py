"""Plan a build: which spaces, their cards, and the items that each lacks. Nothing is written here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embstore import __version__
from embstore.encode import Checkpoint, Encoder, Fingerprint, fingerprint, resolve
from embstore.encode.records import Long
from embstore.errors import UnknownNameError, UsageError
from embstore.index import KINDS
from embstore.space import (
    Layers,
    Pooling,
    Template,
    Unit,
    check_pooling,
    check_space_name,
    default_space_name,
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
        index: ``flat`` or ``none``.
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
    index: str = "flat"
    name: str | None = None
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("dtype", self.dtype, DTYPES),
            ("long", self.long, LONG),
            ("index", self.index, KINDS),
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
    """A checkpoint of a build. Its weights are loaded when they are first needed."""

    def __init__(self, spec: str, options: Options) -> None:
        self._options = options
        self.checkpoint: Checkpoint = resolve(spec, allow_pickle=options.allow_pickle)
        self.loading: Callable[[], None] = lambda: None

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The hashes of its files."""
        return fingerprint(self.checkpoint)

    @cached_property
    def encoder(self) -> Encoder:
        """The loaded model."""
        self.loading()
        return Encoder.load(self.checkpoint, device=self._options.device, allow_pickle=self._options.allow_pickle)


@dataclass(frozen=True, slots=True)
class SpacePlan:
    """One space of a build.

    Attributes:
        card: as it will be, or is, stored.
        missing: ids of the items that the space lacks, ascending.
        n_present: items that it has.
    """

    card: Card
    missing: NDArray[np.int64]
    n_present: int


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
    def poolings(self) -> tuple[Pooling, ...]:
        """The poolings that are needed."""
        return tuple(space.card.pooling for space in self.spaces if len(space.missing))

    @property
    def layers(self) -> Layers:
        """The layers that are stored."""
        return self.model.encoder.layers.select(self.options.layers)

    def passages(self, items: Mapping[int, Item]) -> Iterator[Passage]:
        """Yield the passages of the missing items, in the order of the sources."""
        missing = set(self.missing.tolist())
        bos, eos = self.model.encoder.template_strings(self.options.template)
        wanted = [item for id_, item in items.items() if id_ in missing]
        return passages_of(wanted, self.options.template, bos=bos, eos=eos)


def plan_job(
    model: Model,
    options: Options,
    item_ids: Sequence[int],
    stored_cards: Mapping[str, Card],
    stored_ids: Callable[[str], NDArray[np.int64]],
) -> Job:
    """Plan what one checkpoint has to do.

    The weights are not loaded where the stored cards answer for them: a build of which nothing is missing stays quick.

    Args:
        model: the checkpoint.
        options: of the build.
        item_ids: of all items of the sources.
        stored_cards: the cards of the store, by name.
        stored_ids: the ids of the items that a stored space has.

    Raises:
        SpaceMismatchError: a space of that name exists and is another one.
        CheckpointError, QueryError, UsageError: the checkpoint cannot do what is asked.
    """
    wanted = np.unique(np.fromiter(item_ids, np.int64, len(item_ids)))
    spaces = []
    for pooling in _poolings(model, options):
        name = options.name or default_space_name(model.checkpoint.name, options.unit, pooling)
        stored = stored_cards.get(name)
        card = _card(model, options, pooling, name, stored)
        if stored is not None:
            stored.check_same_space(card)
        missing = wanted if stored is None else np.setdiff1d(wanted, stored_ids(name), assume_unique=True)
        spaces.append(SpacePlan(stored or card, missing, len(wanted) - len(missing)))
    return Job(model, options, tuple(spaces))


def _poolings(model: Model, options: Options) -> tuple[Pooling, ...]:
    if not options.poolings:
        if options.unit is not Unit.SENTENCE:
            return (Pooling.LAST,)
        return (model.encoder.default_pooling(options.unit, options.template),)
    poolings = tuple(dict.fromkeys(options.poolings))
    if options.name is not None and len(poolings) > 1:
        raise UsageError(
            f"--name names one space, and {len(poolings)} poolings make {len(poolings)}. Build them one by one."
        )
    return poolings


def _card(model: Model, options: Options, pooling: Pooling, name: str, stored: Card | None) -> Card:
    checkpoint, prints = model.checkpoint, model.fingerprint
    same_files = stored is not None and (
        (
            stored.weights_sha256,
            stored.tokenizer_sha256,
            stored.config_sha256,
            stored.pooling,
            stored.template,
        )
        == (prints.weights_sha256, prints.tokenizer_sha256, prints.config_sha256, pooling, options.template)
    )
    if stored is not None and same_files:
        full = _full_layers(stored.layers, pooling)
        dim, architecture, max_tokens = stored.dim, stored.architecture, stored.max_tokens
        versions = stored.versions
    else:
        encoder = model.encoder
        encoder.check(options.unit, pooling, options.template)
        full, dim = encoder.layers_of(pooling), encoder.dim_of(pooling)
        architecture, max_tokens = encoder.architecture, encoder.max_tokens
        versions = {"embstore": __version__, **encoder.versions}
    return Card(
        space=name, model=checkpoint.name, checkpoint=checkpoint.id, revision=checkpoint.revision,
        weights_sha256=prints.weights_sha256, tokenizer_sha256=prints.tokenizer_sha256,
        config_sha256=prints.config_sha256, architecture=architecture, unit=options.unit, pooling=pooling,
        template=options.template, layers=full if pooling is Pooling.PROJECTION else full.select(options.layers),
        dim=dim, dtype=options.dtype, max_tokens=max_tokens, versions=versions,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def _full_layers(stored: Layers, pooling: Pooling) -> Layers:
    if pooling is Pooling.PROJECTION:
        return Layers.of_projection(stored.n_blocks, stored.top_form)
    return Layers.of_model(stored.n_blocks, stored.top_form)
