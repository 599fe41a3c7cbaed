"""Select spaces and layers by the names that a user gives."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.keywords import as_names
from embstore.base.space import Layer, Pooling, Template, Unit, layer_hint, parse_member, parse_revisions
from embstore.storage.files.card import Card


@dataclass(frozen=True, slots=True)
class SpaceFilter:
    """Filter of spaces; None or an empty value does not restrict.

    Attributes:
        models: Short names or checkpoint ids, several or one.
        spaces: Names of spaces, several or one.
        unit: ``word``, ``sentence`` or ``occurrence``.
        pooling: Name of a pooling.
        template: Exact template.
        revisions: Branches, tags, commits or folders that the checkpoints' revisions are named by, several or one, also
            with commas.
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
        found = [
            card
            for card in cards.values()
            if (not self.models or {card.model, card.checkpoint} & set(self.models))
            and (not self.spaces or card.space in self.spaces)
            and unit in (None, card.unit)
            and pooling in (None, card.pooling)
            and self.template in (None, card.template.pattern)
            and (not self.revisions or {card.revision_name, card.revision} & set(self.revisions))
        ]
        if not found:
            raise QueryError(f"no space matches {self._described()}. The store holds: {', '.join(cards)}.")
        return found

    def _check_names(self, cards: Mapping[str, Card]) -> None:
        """Raise UnknownNameError if a space, model or revision of the filter does not exist."""
        for space in self.spaces:
            if space not in cards:
                raise UnknownNameError("space", space, cards)
        models = dict.fromkeys(name for card in cards.values() for name in (card.model, card.checkpoint))
        for model in self.models:
            if model not in models:
                hint = f"To add it to the store: embstore build --model {model}"
                raise UnknownNameError("model", model, dict.fromkeys(card.model for card in cards.values()), hint)

        named = dict.fromkeys(card.revision_name for card in cards.values() if card.revision_name is not None)
        commits = {card.revision for card in cards.values()}
        for revision in self.revisions:
            if revision not in named and revision not in commits:
                raise UnknownNameError("revision", revision, named)

    def _described(self) -> str:
        """Return the conditions of the filter in words."""
        parts = {
            "model": ",".join(self.models), "space": ",".join(self.spaces), "unit": self.unit,
            "pooling": self.pooling, "template": self.template, "revision": ",".join(self.revisions),
        }  # fmt: skip
        return ", ".join(f"{name} {value!r}" for name, value in parts.items() if value)


def select_layers(cards: Sequence[Card], spec: str) -> tuple[dict[str, tuple[Layer, ...]], list[str]]:
    """Select layers of several spaces by one specification.

    Each space contributes the layers that it has, since models differ in their number of layers.

    Returns:
        The layers of each space that has any of them, and notes: for each part of ``spec`` missing in a space, and for
        each range that ends above all layers.
    """
    if not spec.strip():
        raise UsageError("there is no layer in the selection (⦃layer⦄). Give at least one, such as top.")
    chosen: dict[str, set[Layer]] = {}
    notes = []
    for part in spec.split(","):
        missing: list[UnknownNameError] = []
        for card in cards:
            try:
                chosen.setdefault(card.space, set()).update(card.layers.select(part))
            except UnknownNameError as error:
                missing.append(error)
                notes.append(f"{card.space} has no layer {error.name!r} (it has {', '.join(card.layers.names)}).")
        if len(missing) == len(cards):
            raise UnknownNameError("layer", part.strip(), _known_layers(missing), layer_hint(part.strip()))
    notes += cut_notes(cards, spec)
    return {space: tuple(sorted(layers)) for space, layers in chosen.items() if layers}, notes


def _known_layers(errors: Sequence[UnknownNameError]) -> list[str]:
    """Return the layers that any of several spaces has: numbers first, ascending."""
    known = dict.fromkeys(name for error in errors for name in error.known)
    return sorted(known, key=lambda name: (0, int(name)) if name.isdecimal() else (1, 0))


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
