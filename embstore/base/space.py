"""Define what identifies a space: units, poolings, templates and layers."""

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self, TypeVar

from embstore.base.errors import QueryError, UnknownNameError, UsageError, check_known
from embstore.base.keywords import as_names

_Member = TypeVar("_Member", bound=StrEnum)

SPACE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
"""Regular expression of the names of spaces, which are also names of files and folders."""


class Unit(StrEnum):
    """What one vector represents: a word, a sentence, an occurrence of a word in a sentence, or a
    token of a text.
    """

    WORD = "word"
    SENTENCE = "sentence"
    OCCURRENCE = "occurrence"
    TOKEN = "token"

    @property
    def has_context(self) -> bool:
        """Whether its items are parts of a text, which is their context."""
        return self in IN_CONTEXT


IN_CONTEXT = (Unit.OCCURRENCE, Unit.TOKEN)
"""Units whose items are parts of a text."""


class Pooling(StrEnum):
    """How the tokens of a span become one vector; ``imported`` of vectors that were made elsewhere.

    ``mean`` is over the item's own tokens, ``mean-all`` over all tokens of the text that the model
    reads, special ones included; ``weighted`` and ``weighted-all`` are the same with the weights
    1 … t in the order of the tokens (Muennighoff 2022); ``model`` is the checkpoint's own recipe
    for a whole text.
    """

    LAST = "last"
    FIRST = "first"
    MEAN = "mean"
    MEAN_ALL = "mean-all"
    WEIGHTED = "weighted"
    WEIGHTED_ALL = "weighted-all"
    BOS = "bos"
    EOS = "eos"
    PROJECTION = "projection"
    MODEL = "model"
    IMPORTED = "imported"

    @classmethod
    def _missing_(cls, value: object) -> "Pooling | None":
        """Return ``bos`` for ``cls``, the name of BERT's token at the beginning."""
        return cls.BOS if value == "cls" else None

    @property
    def uses_span(self) -> bool:
        """Whether the vector comes from the tokens of the item's span, not from a special token of
        the text, or from all of its tokens.
        """
        return self in (Pooling.LAST, Pooling.FIRST, Pooling.MEAN, Pooling.WEIGHTED)


class TopForm(StrEnum):
    """Whether a top-layer state is from before (``raw``) or after (``normed``) the final norm."""

    RAW = "raw"
    NORMED = "normed"

    @property
    def other(self) -> "TopForm":
        """The other form."""
        return TopForm.NORMED if self is TopForm.RAW else TopForm.RAW


_CENTRED = ("center", "centre", "centered", "centred")
_SPELLINGS = (
    _CENTRED,
    tuple(f"un{word}" for word in _CENTRED),
    ("standardize", "standardise", "standardized", "standardised"),
    ("whiten", "whitened"),
)


def same_spelling(name: str, known: Iterable[str]) -> str:
    """Return the known name of which a name is a variant spelling (``centered``, ``centred``); else
    the name itself.
    """
    known = tuple(known)
    if name in known:
        return name
    forms = next((forms for forms in _SPELLINGS if name in forms), ())
    return next((form for form in forms if form in known), name)


def parse_member(kind: type[_Member], value: str) -> _Member:
    """Return the member of an enumeration with that value, or raise UnknownNameError with the known
    values.
    """
    try:
        return kind(value)
    except ValueError:
        raise UnknownNameError(
            kind.__name__.lower(), value, [member.value for member in kind]
        ) from None


def check_space_name(name: str) -> str:
    """Return ``name`` if it is valid for a space and its files, else raise UsageError."""
    if not re.fullmatch(SPACE_NAME, name):
        raise UsageError(
            f"{name!r} cannot name a space: use up to 200 letters, digits, '.', '_' and '-',"
            " beginning with a letter or digit."
        )
    return name


def parse_space(name: str, known: Container[str] = ()) -> tuple[str, str]:
    """Divide ``SPACE:LAYER``; the layer is empty if there is none, as in a known name with a colon
    of its own, such as ``pypi:model``.
    """
    space, _, layer = name.rpartition(":")
    return (space, layer) if space and layer and name not in known else (name, "")


@dataclass(frozen=True, slots=True)
class Template:
    """The text put around an item before it is tokenised.

    ``{text}`` stands for the item, ``{bos}`` and ``{eos}`` for the checkpoint's own special tokens.
    """

    pattern: str = "{text}"

    def __post_init__(self) -> None:
        for field in sorted(self.fields):
            check_known("template field", field, ["text", "bos", "eos"])
        if self.pattern.count("{text}") != 1:
            raise UsageError(f"the template {self.pattern!r} must contain {{text}} exactly once.")

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields in the pattern: ``text``, possibly ``bos`` and ``eos``."""
        return frozenset(re.findall(r"\{(.*?)\}", self.pattern))

    def render(self, text: str, *, bos: str = "", eos: str = "") -> tuple[str, int]:
        """Fill in the template.

        Args:
            text: Text of the item.
            bos: Value of ``{bos}``.
            eos: Value of ``{eos}``.

        Returns:
            The string for the tokenizer, and the position of ``text`` in it, in characters.
        """
        before, after = self.pattern.split("{text}")
        before = before.replace("{bos}", bos).replace("{eos}", eos)
        after = after.replace("{bos}", bos).replace("{eos}", eos)
        return before + text + after, len(before)


OUTPUT = "output"  # name of the layer with the output of a checkpoint's own recipe


class Layer(NamedTuple):
    """One layer of a space: its number on disk and its name."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a space, in order of their ids.

    Attributes:
        top_form: Form of layer L, ``raw`` or ``normed``; None for a model without a final norm. The
            other form, if stored, is layer L+1, named by its form.
        are_named: Whether they are those of ``SPACE:LAYER``, which every selection keeps.
    """

    members: tuple[Layer, ...]  # stored layers, by ascending id
    n_blocks: int  # number of blocks, L; layer L is the top layer
    top_form: TopForm | None
    are_named: bool = False

    @classmethod
    def of_model(cls, n_blocks: int, top_form: TopForm | None) -> Self:
        """Return all layers of a model: 0 (embeddings), 1…L (blocks), and the top layer's other
        form, L+1.
        """
        members = [Layer(i, str(i)) for i in range(n_blocks + 1)]
        if top_form is not None:
            members.append(Layer(n_blocks + 1, top_form.other.value))
        return cls(tuple(members), n_blocks, top_form)

    @classmethod
    def of_projection(cls, n_blocks: int, top_form: TopForm | None) -> Self:
        """Return the single layer of a projection space (id L+2)."""
        return cls((Layer(n_blocks + 2, "projection"),), n_blocks, top_form)

    @classmethod
    def of_recipe(
        cls, n_blocks: int, top_form: TopForm | None, *, output_only: bool = False
    ) -> Self:
        """Return the layers of pooling ``model``: the model's and the recipe's output (id L+2), or
        that alone.
        """
        members = () if output_only else cls.of_model(n_blocks, top_form).members
        return cls((*members, Layer(n_blocks + 2, OUTPUT)), n_blocks, top_form)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def ids(self) -> tuple[int, ...]:
        """The numbers of the layers."""
        return tuple(layer.id for layer in self.members)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the layers."""
        return tuple(layer.name for layer in self.members)

    def select(self, spec: str) -> Self:
        """Select layers by name or number.

        Args:
            spec: ``all``, ``top``, ``raw``, ``normed``, ``projection``, ``output``, a number,
                ``-1`` for layer L, ``-2`` for the one below …, a range ``0-6``, or several of these
                separated by commas. ``top`` is the output of a recipe, the projection, or layer L.
                A range selects those of its layers that exist.
        """
        if self.are_named:
            return self
        chosen: set[Layer] = set()
        for part in spec.split(","):
            matching = self._matching(part.strip().lower())
            if not matching:
                known = [*self.names, "all", "top"]
                if self.top_form is not None:
                    known += [form.value for form in TopForm if form.value not in known]
                raise UnknownNameError("layer", part.strip(), known, layer_hint(part.strip()))
            chosen.update(matching)
        return type(self)(tuple(sorted(chosen)), self.n_blocks, self.top_form)

    def select_stored(self, spec: str) -> Self:
        """Select the layers that a build stores; of a projection or the output of a recipe alone,
        that whatever.
        """
        return self if len(self) == 1 and self.members[0].id > self.n_blocks else self.select(spec)

    def _matching(self, part: str) -> list[Layer]:
        """Return the layers that one part of a selection names; none if there are none."""
        if part == "all":
            return list(self.members)
        if part == "top":
            if self.members[-1].name == OUTPUT:
                return [self.members[-1]]
            return [layer for layer in self if layer.id == self.n_blocks] or list(self.members[-1:])
        if self.top_form is not None and part == self.top_form.value:
            return [layer for layer in self if layer.id == self.n_blocks]
        if match := re.fullmatch(r"(\d+)-(\d+)", part):
            low, high = int(match[1]), int(match[2])
            return [layer for layer in self if low <= layer.id <= min(high, self.n_blocks)]
        if not re.fullmatch(r"-?\d+", part):
            return [layer for layer in self if layer.name == part]
        number = int(part)
        if number < 0:
            number += self.n_blocks + 1
        return [layer for layer in self if layer.id == number and number <= self.n_blocks]


def layer_hint(name: str) -> str:
    """Return how layers are written, for a name that is neither a number nor a word."""
    return (
        ""
        if name.isalpha() or re.fullmatch(r"-?\d+", name)
        else "Write ranges as 0-6, and several layers as 0,3,6."
    )


def default_space_name(
    model: str, unit: Unit, pooling: Pooling, revision: str | None = None
) -> str:
    """Return the default name of a space: ``gpt2.word.last``, or ``pythia.step1000.word.last`` with
    a revision.
    """
    part = "" if revision is None else f"{as_name(revision)}."
    return check_space_name(f"{model}.{part}{unit}.{pooling}")


def parse_pooling(value: str) -> Pooling:
    """Return the pooling of that name, or raise UnknownNameError with those that a checkpoint can
    have.
    """
    try:
        return Pooling(value)
    except ValueError:
        known = [pooling.value for pooling in Pooling if pooling is not Pooling.IMPORTED]
        raise UnknownNameError("pooling", value, known) from None


def check_pooling(unit: Unit, pooling: Pooling) -> None:
    """Raise QueryError if a pooling is undefined for a unit, whatever the checkpoint."""
    if pooling is Pooling.IMPORTED:
        known = ", ".join(p for p in Pooling if p is not Pooling.IMPORTED)
        raise QueryError(
            "pooling 'imported' is of vectors that were made elsewhere: embstore import. A"
            f" checkpoint has: {known}."
        )
    if unit is Unit.TOKEN and pooling is not Pooling.LAST:
        raise QueryError(
            f"pooling {pooling.value!r} is over several tokens, and an item of unit='token' is one"
            " token, whose vector it has. Leave out `poolings`."
        )
    if unit is Unit.OCCURRENCE and not pooling.uses_span:
        known = ", ".join(p for p in Pooling if p.uses_span)
        raise QueryError(
            f"pooling {pooling.value!r} is one vector for the whole sentence, so it cannot stand"
            f" for an occurrence. Known for occurrences: {known}. For whole sentences use"
            " unit='sentence'."
        )
    if unit is Unit.WORD and pooling is Pooling.PROJECTION:
        known = ", ".join(p for p in Pooling if p not in (Pooling.PROJECTION, Pooling.IMPORTED))
        raise QueryError(
            f"pooling 'projection' is for sentences. Known for words: {known}. "
            "To project single words, build them with unit='sentence'."
        )


# Pythia's step1000, OLMo's stage1-step1000-tokens5B, BLOOM's global_step1000, the Trainer's
# checkpoint-1000, or 1000.
_STEP = re.compile(
    r"(?:.*[-_.])?(?:(?:global_?)?step|checkpoint)[-_]?(\d{1,15})(?:[-_].*)?|(\d{1,15})", re.DOTALL
)
_OUTSIDE_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def parse_revisions(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the distinct revisions in texts such as ``step0,step1000``, in order."""
    parts = (part.strip() for text in as_names(names) for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def step_of(revision: str) -> int | None:
    """Return the training step that a revision is named by (``step1000``, ``checkpoint-1000``,
    ``1000``), or None.
    """
    match = _STEP.fullmatch(revision)
    return int(match[1] or match[2]) if match else None


def as_name(text: str) -> str:
    """Return a text with only the characters of names of spaces; empty if none is left."""
    return _OUTSIDE_NAMES.sub("-", text).lstrip("._-")


def without_revision(space: str, revision: str | None) -> str:
    """Return the name of a space without the part that is its revision.

    Spaces of several revisions that have the same name then differ in nothing else.
    """
    part = as_name(revision or "")
    if not part:
        return space
    return f".{space}.".replace(f".{part}.", ".", 1).strip(".") or space
