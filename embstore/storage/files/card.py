"""The card of a space: everything that its vectors depend on."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from embstore import atomic
from embstore.errors import DamagedError, EmbstoreError, SpaceMismatchError
from embstore.space import Layer, Layers, Pooling, Template, TopForm, Unit
from embstore.storage.files.paths import StorePaths
from embstore.words import word_rule

CARD_FORMAT = 2

# transformers' hidden_states of these begin after the first block, and builds before the check of every layer took
# them as they come.
_SHIFTED = frozenset({"FalconMambaModel", "Mamba2Model", "MambaModel", "RwkvModel"})

# What two builds must agree on to write into one space. Versions of libraries and dates may differ, and so may the
# place of a checkpoint whose files are the same.
_FINGERPRINT = ("weights_sha256", "tokenizer_sha256", "config_sha256")
_IDENTITY = ("revision", *_FINGERPRINT, "unit", "pooling", "template", "layers", "dim", "dtype")
_SHOWN = 300  # characters of what is wrong with a card, which may hold any text
_REMEDY = "Give the new space another name with --name, or build into another store."


@dataclass(frozen=True, slots=True)
class Card:
    """The provenance of a space.

    Attributes:
        space: its name.
        model: the short name of the checkpoint in this store.
        checkpoint: the Hugging Face id, or the folder's name for a local checkpoint.
        revision: the commit on the hub; None for a local checkpoint.
        weights_sha256: of the weight files; with the next two, the checkpoint's fingerprint.
        tokenizer_sha256: of the tokenizer's files.
        config_sha256: of ``config.json``.
        architecture: the class that was loaded.
        unit: what a vector stands for.
        pooling: how tokens became a vector.
        template: the text put round an item.
        layers: the stored layers.
        dim: components of a vector.
        dtype: ``float32`` or ``float16``, as stored.
        max_tokens: the longest passage that the checkpoint reads.
        versions: of the libraries that wrote the first shard.
        created: when, in UTC (ISO 8601).
        layer_check: the version of the check at load that established the layer numbers; None in cards of format 1.
        word_boundaries: of a space of occurrences, how sentences are cut into words: the rule, the Unicode version and
            the library; None for other units and in cards of format 1.
    """

    space: str
    model: str
    checkpoint: str
    revision: str | None
    weights_sha256: str
    tokenizer_sha256: str
    config_sha256: str
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

    @property
    def layer_fault(self) -> str | None:
        """What is wrong with the space's layer numbers, with the remedy; None where they are right."""
        if self.layer_check is not None or self.architecture not in _SHIFTED:
            return None
        return (
            f"the layers of {self.space} are shifted: an earlier version of embstore numbered the outputs of "
            f"{self.architecture}'s blocks from 0, so that its layer 0 is block 1 and the embeddings are missing. "
            f"Build it anew: embstore remove --space {self.space}, then the same embstore build again."
        )

    @property
    def word_fault(self) -> str | None:
        """What may be wrong with the words of a space of occurrences, with the remedy; None where they are whole."""
        if self.unit is not Unit.OCCURRENCE or self.word_boundaries is not None:
            return None
        return (
            f"words with combining marks, and numbers such as 1,000, are cut in {self.space}, which an earlier version "
            f"of embstore built. If its sentences have any, build it anew: embstore remove --space {self.space}, then "
            "the same embstore build again."
        )

    @property
    def checkpoint_at_revision(self) -> str:
        """The checkpoint with its revision, or with the first digits of its weights' hash."""
        return f"{self.checkpoint}@{(self.revision or 'sha256:' + self.weights_sha256)[:19]}"

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """What tells its checkpoint from others: the hashes of weights, tokenizer and configuration."""
        return tuple(getattr(self, name) for name in _FINGERPRINT)

    def differences(self, other: Self) -> dict[str, tuple[Any, Any]]:
        """Return what keeps two cards from being of one space: field → (mine, the other's)."""
        mine, its = self.to_dict(), other.to_dict()
        different = {name: (mine[name], its[name]) for name in _IDENTITY if mine[name] != its[name]}
        if (self.layer_fault is None) != (other.layer_fault is None):
            different["layer_check"] = (mine["layer_check"], its["layer_check"])
        if word_rule(self.word_boundaries) != word_rule(other.word_boundaries):
            different["word_boundaries"] = (mine["word_boundaries"], its["word_boundaries"])
        if mine["checkpoint"] != its["checkpoint"] and different.keys() & {*_FINGERPRINT}:
            return {"checkpoint": (mine["checkpoint"], its["checkpoint"])} | different
        return different

    def check_same_space(self, wanted: Self) -> None:
        """Raise SpaceMismatchError, showing each difference, unless ``wanted`` is this same space.

        A space whose layers are shifted, or whose words are cut, takes nothing more.
        """
        cut = None if wanted.word_fault is not None else self.word_fault
        if (fault := self.layer_fault or cut) is not None:
            raise SpaceMismatchError(f"nothing can be added to {self.space!r}: {fault}")
        if different := self.told_apart(wanted):
            raise SpaceMismatchError(f"the space {self.space!r} exists and is another one: its {different}. {_REMEDY}")

    def told_apart(self, other: Self) -> str:
        """Return :meth:`differences` in words, mine first; empty for the same space."""
        different = self.differences(other)
        return "; ".join(f"{name} is {_short(a)}, not {_short(b)}" for name, (a, b) in different.items())

    @property
    def identity(self) -> dict[str, Any]:
        """What two builds must agree on to write into one space, and its name."""
        mine = self.to_dict()
        return {name: mine[name] for name in ("space", *_IDENTITY)}

    def to_dict(self) -> dict[str, Any]:
        """Return the card as the JSON document that is stored."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["template"] = self.template.pattern
        values["layers"] = [asdict(layer) for layer in self.layers]
        return {
            "format": CARD_FORMAT,
            **values,
            "n_blocks": self.layers.n_blocks,
            "top_form": self.layers.top_form,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Return the card of a document that its schema allows, of any format up to this one.

        Raises:
            ValueError: its layers are not those of a model, in their order.
            EmbstoreError: its template is none.
        """
        values = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        values |= {
            "unit": Unit(document["unit"]),
            "pooling": Pooling(document["pooling"]),
            "template": Template(document["template"]),
            "layers": _layers(document),
        }
        return cls(**values)


def _layers(document: dict[str, Any]) -> Layers:
    n_blocks, top_form = document["n_blocks"], document["top_form"] and TopForm(document["top_form"])
    members = tuple(Layer(**layer) for layer in document["layers"])
    of_model = {*Layers.of_model(n_blocks, top_form), *Layers.of_projection(n_blocks, top_form)}
    if not of_model.issuperset(members) or list(members) != sorted(set(members)):
        raise ValueError(f"its layers are not those of a model of {n_blocks} blocks, in ascending order.")
    return Layers(members, n_blocks, top_form)


def write_card(paths: StorePaths, card: Card) -> None:
    """Store a card."""
    atomic.write_document(paths.card(card.space), card.to_dict())


def read_cards(paths: StorePaths) -> dict[str, Card]:
    """Return the cards of all spaces, by name, in order of their names."""
    return {space: read_card(path) for space, path in paths.cards().items()}


def read_card(path: Path) -> Card:
    """Return the card in a file.

    Raises:
        DamagedError: the file was altered, or is not a card.
    """
    document = atomic.read_document(path, "card")
    try:
        card = Card.from_dict(document)
    except (ValueError, EmbstoreError) as error:
        raise DamagedError(f"{path} is damaged: {str(error)[:_SHOWN]} Run: embstore verify") from error
    if card.space != path.stem:
        raise DamagedError(f"{path} is the card of another space, {card.space!r}: it was copied or renamed. Remove it.")
    return card


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        text = ",".join(layer["name"] for layer in value)
    return text if len(text) <= 64 else text[:61] + "…"
