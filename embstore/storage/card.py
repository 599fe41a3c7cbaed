"""Read, write and compare the cards of spaces, which record everything that their vectors depend
on.

Spaces and layers are selected here by the names that a user gives.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from embstore.base import atomic, documents
from embstore.base.documents import Document
from embstore.base.errors import (
    DamagedError,
    EmbstoreError,
    QueryError,
    SpaceMismatchError,
    UnknownNameError,
    UsageError,
    check_known,
)
from embstore.base.keywords import as_names
from embstore.base.space import (
    Layer,
    Layers,
    Pooling,
    Template,
    TopForm,
    Unit,
    layer_hint,
    parse_member,
    parse_revisions,
    parse_space,
    step_of,
    without_revision,
)
from embstore.base.text import word_rule
from embstore.storage.cache import StoredFile

CARD_FORMAT = 2
MAX_BLOCKS = 4096
"""Largest number of blocks of a model, as the schema has it."""

# Fields that must agree between builds that write into one space. Versions of libraries and dates
# may differ, and so may the location of a checkpoint with the same files.
_FINGERPRINT = ("weights_sha256", "tokenizer_sha256", "config_sha256")
_WEIGHTS = ("weights_dtype", "untrained", "adapter_sha256")
_NESTED = ("recipe", "pooled")
_IDENTITY = (
    "revision",
    *_FINGERPRINT,
    *_WEIGHTS,
    "unit",
    "pooling",
    "template",
    "layers",
    "dim",
    "dtype",
)
_ADAPTER = ("adapter", "adapter_revision", "adapter_sha256")
_OPTIONAL = ("revision_name", "imported", "untrained", "blanks", *_ADAPTER, *_NESTED)
_COMMIT_CHARS = 7  # of the shortest abbreviation of a commit
_MAX_MESSAGE_CHARS = 300  # an error of a damaged card may quote any text in it
_REMEDY = "Give the new space another name, or use another store."


@dataclass(frozen=True, slots=True)
class Card:
    """Provenance of a space.

    Attributes:
        model: Short name of the checkpoint in this store.
        checkpoint: Hugging Face id, or the folder's name for a local checkpoint; the file's name of
            imported vectors.
        revision: Commit on the hub; None for a local checkpoint.
        weights_sha256: SHA-256 of the weights (of an untrained model, of its random ones), or of
            imported files; with that of the tokenizer's files and of ``config.json``, the
            checkpoint's fingerprint.
        architecture: Name of the loaded model class.
        dtype: Stored dtype, ``float32`` or ``float16``.
        max_tokens: Maximum length of a passage in tokens.
        versions: Versions of the libraries that wrote the first shard.
        created: Time of creation in UTC (ISO 8601).
        layer_check: Version of the check that established the layer numbers; None for imported
            vectors.
        word_boundaries: Rule, Unicode version and library of the word segmentation, for
            occurrences; None for other units.
        revision_name: Branch, tag or commit that was asked for, or name of a local folder with the
            checkpoint of a training step; None if no revision was named.
        imported: Of vectors that were made elsewhere: ``format``, ``files`` (name, SHA-256 and
            bytes of each), and ``origin`` (the card of the space that they were exported from, if
            known). None for vectors of a checkpoint, which alone have hashes of a tokenizer and a
            configuration.
        weights_dtype: Type of the weights and of the computation: ``float32``, ``bfloat16`` or
            ``float16``.
        untrained: Random seed of an untrained model; None for the checkpoint's own weights.
        adapter: Hub id or folder of the LoRA adapter that was merged into the weights; None for
            none.
        adapter_revision: Commit of the adapter on the hub; None for a local one.
        adapter_sha256: SHA-256 of the adapter's files.
        recipe: Of pooling ``model``: what the checkpoint's own recipe does beside the model
            (pooling modes, modules with the SHA-256 of their weights, maximum length, lower case)
            and the text of the prompt. None otherwise.
        blanks: Tokens of a blank alone, such as ``▁``, that are none of an item's tokens where the
            tokenizer adds them; None for none, and for pooling ``model``.
        pooled: Of vectors that were pooled from those of another space: ``space`` (its name),
            ``by``, ``as`` and ``min``, and ``sha256``, a hash of its state then. None otherwise.
    """

    space: str
    model: str
    checkpoint: str
    revision: str | None
    weights_sha256: str
    tokenizer_sha256: str | None
    config_sha256: str | None
    architecture: str
    unit: Unit
    pooling: Pooling
    template: Template
    layers: Layers
    dim: int
    dtype: str
    max_tokens: int | None
    versions: dict[str, str]
    created: str
    layer_check: int | None = None
    word_boundaries: str | None = None
    revision_name: str | None = None
    imported: Document | None = None
    weights_dtype: str = "float32"
    untrained: int | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    adapter_sha256: str | None = None
    recipe: Document | None = None
    blanks: list[str] | None = None
    pooled: Document | None = None

    def with_layers(self, layers: str) -> Self:
        """Return the card with the named layers alone; itself if none is named."""
        named = replace(self.layers.select(layers or "all"), are_named=bool(layers))
        return replace(self, layers=named)

    @property
    def made_otherwise(self) -> str | None:
        """How the vectors were made if the checkpoint does not make them of a text, so that none
        can be added; else None.
        """
        if self.pooled is not None:
            return f"pooled from {self.pooled['space']}"
        return None if self.imported is None else "imported"

    @property
    def pool_command(self) -> str:
        """Command that pools the vectors again; empty if they were not pooled."""
        if (pooled := self.pooled) is None:
            return ""
        return (
            f"embstore pool {pooled['space']} --by {pooled['by']} --min {pooled['min']}"
            f" --as {pooled['as']} --name {self.space}"
        )

    @property
    def prompt(self) -> str:
        """Text that the recipe puts before each item; empty for none."""
        return str((self.recipe or {}).get("prompt", ""))

    @property
    def step(self) -> int | None:
        """Training step that the revision is named by; None if it is not named by one."""
        name = self.revision_name
        if name is None or (len(name) >= _COMMIT_CHARS and (self.revision or "").startswith(name)):
            return None
        return step_of(name)

    @property
    def layer_bytes(self) -> int:
        """Bytes of the vector of an item in a layer."""
        return self.dim * (2 if self.dtype == "float16" else 4)

    @property
    def order(self) -> tuple[str, int, str]:
        """Sort key of spaces: by name, those of several revisions together and by step."""
        return (
            without_revision(self.space, self.revision_name),
            -1 if self.step is None else self.step,
            self.space,
        )

    @property
    def checkpoint_at_revision(self) -> str:
        """Checkpoint with its revision, or with the first digits of its weights' hash; and the
        adapter with those of its own.
        """
        checkpoint = f"{self.checkpoint}@{(self.revision or 'sha256:' + self.weights_sha256)[:19]}"
        if self.adapter is None:
            return checkpoint
        return f"{checkpoint} + {self.adapter}@sha256:{(self.adapter_sha256 or '')[:12]}"

    @property
    def fingerprint(self) -> tuple[str | None, ...]:
        """Hashes of weights, tokenizer, configuration and adapter, which identify the model."""
        return tuple(getattr(self, name) for name in (*_FINGERPRINT, "adapter_sha256"))

    def differences(self, other: Self) -> dict[str, tuple[Any, Any]]:
        """Return the fields that differ and must agree for one space: field → (own value, value of
        the other).
        """
        values, others = self._comparable, other._comparable
        different = {
            name: (values[name], others[name]) for name in _IDENTITY if values[name] != others[name]
        }
        for field in _NESTED:
            mine, theirs = getattr(self, field) or {}, getattr(other, field) or {}
            for name in sorted({*mine, *theirs}):
                if mine.get(name) != theirs.get(name):
                    different[f"{field}.{name}"] = (mine.get(name), theirs.get(name))
        if word_rule(self.word_boundaries) != word_rule(other.word_boundaries):
            different["word_boundaries"] = (values["word_boundaries"], others["word_boundaries"])
        if values["checkpoint"] != others["checkpoint"] and different.keys() & {*_FINGERPRINT}:
            return {"checkpoint": (values["checkpoint"], others["checkpoint"])} | different
        return different

    def check_same_space(self, card: Self) -> None:
        """Raise SpaceMismatchError, with the differences, unless another card describes the same
        space.
        """
        if different := self.describe_differences(card):
            raise SpaceMismatchError(
                f"the space {self.space!r} exists and is another one: its {different}. {_REMEDY}"
            )

    def describe_differences(self, other: Self) -> str:
        """Return :meth:`differences` as text, such as ``dim is 384, not 768``; empty for the same
        space.
        """
        different = self.differences(other)
        return "; ".join(
            f"{name} is {_short(a)}, not {_short(b)}" for name, (a, b) in different.items()
        )

    def state(self, items: Mapping[str, Any]) -> str:
        """Return a hash of what the vectors of the space are, in any of its layers, given the facts
        of its set of items.
        """
        identity = {name: self._comparable[name] for name in _IDENTITY if name != "layers"}
        facts = [identity, self.recipe, self.pooled, items]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def _comparable(self) -> Document:
        """The card as a JSON document, with the fields that documents leave out if they have the
        usual value.
        """
        return {name: getattr(self, name) for name in _WEIGHTS} | self.to_dict()

    def to_dict(self) -> Document:
        """Return the card as a JSON document."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in _OPTIONAL:
            if values[name] is None:
                del values[name]
        if self.weights_dtype == "float32":
            del values["weights_dtype"]
        values["template"] = self.template.pattern
        values["layers"] = [layer._asdict() for layer in self.layers]
        return {
            "format": CARD_FORMAT,
            **values,
            "n_blocks": self.layers.n_blocks,
            "top_form": self.layers.top_form,
        }

    @classmethod
    def from_dict(cls, document: Document) -> Self:
        """Create a card from a document that was checked against its schema."""
        values = {
            field.name: document[field.name] for field in fields(cls) if field.name in document
        }
        values |= {
            "unit": Unit(document["unit"]),
            "pooling": Pooling(document["pooling"]),
            "template": Template(document["template"]),
            "layers": _layers(document),
        }
        return cls(**values)


def _layers(document: Document) -> Layers:
    """Return the layers in a card, after checking them against the numbers of blocks."""
    n_blocks, top_form = (
        document["n_blocks"],
        document["top_form"] and TopForm(document["top_form"]),
    )
    members = tuple(Layer(**layer) for layer in document["layers"])
    of_model = {
        *Layers.of_model(n_blocks, top_form),
        *Layers.of_projection(n_blocks, top_form),
        *Layers.of_recipe(n_blocks, top_form),
    }
    if not of_model.issuperset(members) or list(members) != sorted(set(members)):
        raise ValueError(
            f"its layers are not those of a model of {n_blocks} blocks, in ascending order."
        )
    return Layers(members, n_blocks, top_form)


def card_bytes(card: Card) -> bytes:
    """Return the content of the file of a card."""
    return atomic.checked_bytes(
        f"the card of {card.space}", card.to_dict(), "card", is_sealed=False
    )


def read_card(file: StoredFile, space: str) -> Card:
    """Return the card of a space from its file."""
    try:
        file.check()
        with file.opened() as path:
            card = Card.from_dict(documents.read(path, "card", is_sealed=False))
    except DamagedError:
        raise
    except (ValueError, EmbstoreError) as error:
        raise file.damage(str(error)[:_MAX_MESSAGE_CHARS]) from error
    if card.space != space:
        raise file.damage(f"it is the card of another space, {card.space!r}")
    return card


def _short(value: Any) -> str:
    """Return a value of a card as text of at most 64 characters; of a SHA-256, its first 12
    digits.
    """
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return f'"{value[:12]}…"'
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and all(
        isinstance(layer, dict) and "name" in layer for layer in value
    ):
        text = ",".join(layer["name"] for layer in value)
    if len(text) <= 64:
        return text
    return text[:60] + ('…"' if isinstance(value, str) else "…")


@dataclass(frozen=True, slots=True)
class SpaceFilter:
    """Filter of spaces; None or an empty value does not restrict.

    Attributes:
        models: Short names or checkpoint ids, several or one; the name of a space is that space.
        spaces: Names of spaces, several or one; the name of a model is all of its spaces.
        unit: ``word``, ``sentence`` or ``occurrence``.
        pooling: Name of a pooling.
        template: Exact template.
        revisions: Branches, tags, commits or folders that the checkpoints' revisions are named by,
            several or one, also with commas.
    """

    models: str | Sequence[str] = ()
    spaces: str | Sequence[str] = ()
    unit: str | None = None
    pooling: str | None = None
    template: str | None = None
    revisions: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        for field, names in (("models", self.models), ("spaces", self.spaces)):
            object.__setattr__(self, field, as_names(names))
        object.__setattr__(self, "revisions", parse_revisions(self.revisions))

    def select(self, cards: Mapping[str, Card]) -> list[Card]:
        """Return the cards that match the filter, in the order given."""
        if not cards:
            raise QueryError("the store holds no space yet. Fill it with: embstore build")
        unit = None if self.unit is None else parse_member(Unit, self.unit)
        pooling = None if self.pooling is None else parse_member(Pooling, self.pooling)
        if self.template is not None:
            Template(self.template)
        self._check_names(cards)
        matching = [
            card
            for card in cards.values()
            if (not self.models or self.names(card) & {*self.models})
            and (not self.spaces or self.names(card) & {*self.spaces})
            and unit in (None, card.unit)
            and pooling in (None, card.pooling)
            and self.template in (None, card.template.pattern)
            and (not self.revisions or {card.revision_name, card.revision} & set(self.revisions))
        ]
        if not matching:
            parts = {
                "model": ",".join(self.models),
                "space": ",".join(self.spaces),
                "unit": self.unit,
                "pooling": self.pooling,
                "template": self.template,
                "revision": ",".join(self.revisions),
            }
            described = ", ".join(f"{name} {value!r}" for name, value in parts.items() if value)
            raise QueryError(f"no space matches {described}. The store holds: {', '.join(cards)}.")
        return matching

    def select_with_layers(self, cards: Mapping[str, Card]) -> list[Card]:
        """Return the cards that match the filter; of ``SPACE:LAYER`` with this layer alone."""
        known = {name for card in cards.values() for name in self.names(card)}
        spaces = [parse_space(name, known) for name in self.spaces]
        matching = replace(self, spaces=[*dict(spaces)]).select(cards)
        return [
            card.with_layers(
                ",".join(layer for name, layer in spaces if layer and name in self.names(card))
            )
            for card in matching
        ]

    @staticmethod
    def names(card: Card) -> set[str]:
        """Return the names that a space is chosen by."""
        return {card.space, card.model, card.checkpoint}

    def left_out(self, cards: Sequence[Card], reasons: Mapping[str, object]) -> list[str]:
        """Return why spaces are left out, of those that were named and of models without another
        space.
        """
        models = {card.model for card in cards if card.space not in reasons}
        named = {*self.models, *self.spaces}
        return [
            f"{card.space} is left out: {reasons[card.space]}"
            for card in cards
            if card.space in reasons
            and (
                card.layers.are_named
                or card.space in self.spaces
                or (card.model not in models and self.names(card) & named)
            )
        ]

    def _check_names(self, cards: Mapping[str, Card]) -> None:
        """Raise UnknownNameError if a space, model or revision of the filter does not exist."""
        known = {name for card in cards.values() for name in self.names(card)}
        for space in self.spaces:
            if space not in known:
                raise UnknownNameError("space", space, cards)
        for model in self.models:
            if model not in known:
                models = dict.fromkeys(card.model for card in cards.values())
                hint = f"Another checkpoint is added by: embstore build --model {model}"
                raise UnknownNameError("model", model, models, hint)
        revisions = dict.fromkeys(card.revision_name for card in cards.values())
        commits = {card.revision for card in cards.values()}
        for revision in self.revisions:
            if revision not in revisions and revision not in commits:
                raise UnknownNameError("revision", revision, filter(None, revisions))


def compared_space(cards: Mapping[str, Card], name: str) -> Card:
    """Return the space that others are compared with; of ``SPACE:LAYER`` this layer alone, which is
    compared with every layer, as that of a space with a single layer is.
    """
    space, layer = parse_space(name)
    check_known("space", space, cards)
    return cards[space].with_layers(layer or "all" * (len(cards[space].layers) == 1))


def only_space(cards: Mapping[str, Card], name: str) -> Card:
    """Return the space of a name, which may be that of a model with a single space."""
    card, *others = SpaceFilter(spaces=[name]).select(cards)
    if others:
        raise UsageError(f"{name!r} has several spaces: name one, such as {card.space}.")
    return card


def select_layers(
    cards: Sequence[Card], spec: str, spaces: SpaceFilter = SpaceFilter()
) -> tuple[dict[str, tuple[Layer, ...]], list[str]]:
    """Select layers of several spaces by one specification.

    Each space contributes the layers that it has, since models differ in their number of layers.

    Returns:
        The layers of each space that has any of them, and notes: for each part of ``spec`` missing
        in a space that the filter names, and for each range that ends above all layers.
    """
    if not spec.strip():
        raise UsageError(
            "there is no layer in the selection (`layers`). Give at least one, such as top."
        )
    chosen: dict[str, set[Layer]] = {}
    notes, named = [], {*spaces.models, *spaces.spaces}
    for part in spec.split(","):
        missing: list[UnknownNameError] = []
        for card in cards:
            try:
                chosen.setdefault(card.space, set()).update(card.layers.select(part))
            except UnknownNameError as error:
                missing.append(error)
                if spaces.names(card) & named:
                    notes.append(
                        f"{card.space} has no layer {error.name!r} (it has"
                        f" {', '.join(card.layers.names)})."
                    )
        if len(missing) == len(cards):
            known = dict.fromkeys(name for error in missing for name in error.known)
            in_order = sorted(
                known, key=lambda name: (0, int(name)) if name.isdecimal() else (1, 0)
            )
            raise UnknownNameError("layer", part.strip(), in_order, layer_hint(part.strip()))
    notes += cut_notes(cards, spec)
    return {space: tuple(sorted(layers)) for space, layers in chosen.items() if layers}, notes


def cut_notes(cards: Sequence[Card], spec: str) -> list[str]:
    """Return a note for each range in ``spec`` that ends above the top layers of all spaces."""
    deepest = max(cards, key=lambda card: card.layers.n_blocks)
    top = deepest.layers.n_blocks
    ranges = (re.fullmatch(r"\d+-(\d+)", part.strip()) for part in spec.split(","))
    return [
        f"the range {match[0]} ends at layer {top}: {deepest.space} has no higher layer"
        + (", and no other space has." if len(cards) > 1 else ".")
        for match in ranges
        if match is not None and int(match[1]) > top
    ]
