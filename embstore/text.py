"""Items and passages: what gets a vector, and the strings that are given to the model.

Word, sentence and occurrence differ only here. A passage is one string for the model with the spans in it that
become items; everything after that is one code path.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from embstore.errors import UsageError
from embstore.space import Template, Unit
from embstore.words import word_spans

NOT_UNICODE = "not valid Unicode (lone surrogate)"
"""Why a text is skipped that no tokenizer can read."""

TOO_LONG = "too long for the unit occurrence: cut it into sentences"
NO_WORD = "no word in it"
"""Why a text is skipped whose words get no ids in any bearable time."""

_MOST_HASHED = 8 << 30
_MOST_WORDS = 1 << 19


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of characters ``[start, end)`` of a string."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that gets a vector.

    Attributes:
        unit: Unit of the item.
        text: The item's own text, exactly as the source gave it.
        context: Sentence of an occurrence; None for words and sentences.
        span: Position of an occurrence in its sentence; None for words and sentences.
        id: A 63-bit hash of the other fields: the same on every machine.
    """

    unit: Unit
    text: str
    context: str | None
    span: Span | None
    id: int

    @classmethod
    def whole(cls, unit: Unit, text: str) -> "Item":
        """Return the item of a word or sentence by itself."""
        return cls(unit, text, None, None, item_id(unit, text))

    @classmethod
    def occurrence(cls, context: str, span: Span) -> "Item":
        """Return the item of the word at ``span`` in ``context``."""
        text = context[span.start : span.end]
        return cls(Unit.OCCURRENCE, text, context, span, item_id(Unit.OCCURRENCE, text, context, span))

    @property
    def context_id(self) -> int | None:
        """The id of the sentence that an occurrence stands in."""
        return None if self.context is None else item_id(Unit.SENTENCE, self.context)

    @property
    def shown(self) -> str:
        """The text; of an occurrence, its sentence with the word in brackets, as :func:`parse_marked` reads it."""
        if self.context is None or self.span is None:
            return self.text
        return f"{self.context[: self.span.start]}[{self.text}]{self.context[self.span.end :]}"


@dataclass(frozen=True, slots=True)
class Passage:
    """One string given to the model, with the spans that become items.

    Attributes:
        text: The string for the tokenizer, template applied.
        spans: Positions of the items in the string.
        item_ids: The ids of the items, one for each span.
    """

    text: str
    spans: tuple[Span, ...]
    item_ids: tuple[int, ...]


def item_id(unit: Unit, text: str, context: str | None = None, span: Span | None = None) -> int:
    """Return the id of an item: the first 63 bits of BLAKE2b over its length-prefixed fields.

    Lone surrogates are hashed as they are (``surrogatepass``), so that every Python string has an id.
    """
    fields = [unit.value, text]
    if context is not None and span is not None:
        fields += [context, _place(span)]
    return _id_of(_hashed(map(_bytes, fields)))


def _ids_in(context: str, spans: Sequence[Span]) -> list[int]:
    """Return the ids of occurrences in one sentence: what the same words in it have in common is hashed once."""
    sentence = _bytes(context)
    begun: dict[str, blake2b] = {}
    ids = []
    for span in spans:
        text = context[span.start : span.end]
        if text not in begun:
            begun[text] = _hashed([_bytes(Unit.OCCURRENCE.value), _bytes(text), sentence])
        digest = begun[text].copy()
        digest.update(_bytes(_place(span)))
        ids.append(_id_of(digest))
    return ids


def _hashed(fields: Iterable[bytes]) -> blake2b:
    return blake2b(b"".join(fields), digest_size=8, person=b"embstore.item.1")


def _bytes(field: str) -> bytes:
    data = field.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "little") + data


def _place(span: Span) -> str:
    return f"{span.start}:{span.end}"


def _id_of(digest: blake2b) -> int:
    return int.from_bytes(digest.digest(), "big") >> 1


def is_unicode(text: str) -> bool:
    """Whether a string has no lone surrogates, which neither UTF-8 nor a tokenizer can take."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    """Return a text with what UTF-8 cannot hold escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def words_in(sentence: str) -> list[Span]:
    """Return the spans of the words of a sentence, as :mod:`embstore.words` finds them."""
    return [Span(*span) for span in word_spans(sentence)]


def is_too_long(sentence: str) -> bool:
    """Whether the words of a sentence take too long, or too much memory: each different word is hashed with it.

    Some 10 seconds, and half a million words, are not too much: 5,000 different words in a million characters are
    taken, and so is every sentence of less than 2¹⁶ characters.
    """
    if len(sentence) < 1 << 16:
        return False
    most_different = _MOST_HASHED // len(sentence.encode("utf-8", "surrogatepass"))
    different = set()
    for number, (start, end) in enumerate(word_spans(sentence), 1):
        different.add(sentence[start:end])
        if number > _MOST_WORDS or len(different) > most_different:
            return True
    return False


def items_of(text: str, unit: Unit, *, per_text: int | None = None, seed: int = 0) -> list[Item]:
    """Return the items that a source's text gives.

    Args:
        text: A word or a sentence.
        unit: ``word`` and ``sentence`` give the text itself; ``occurrence`` each word of it, in its context.
        per_text: Number of occurrences to sample, without replacement; None for all. The sample depends on the
            seed and the text alone, so that it is the same in any order, on any machine and in any later build.
        seed: Random seed of the sample.
    """
    if unit is not Unit.OCCURRENCE:
        return [Item.whole(unit, text)]
    spans = words_in(text)
    items = [
        Item(unit, text[span.start : span.end], text, span, item)
        for span, item in zip(spans, _ids_in(text, spans), strict=True)
    ]
    if per_text is not None and per_text < len(items):
        drawn = {item.id for item in sorted(items, key=lambda item: _draw(seed, item.id))[:per_text]}
        items = [item for item in items if item.id in drawn]
    return items


def _draw(seed: int, item: int) -> bytes:
    return blake2b(f"{seed}:{item}".encode(), digest_size=8, person=b"embstore.draw.1").digest()


def passages_of(items: list[Item], template: Template, *, bos: str = "", eos: str = "") -> Iterator[Passage]:
    """Yield the passages that hold the items: one for each word or sentence, one for each context of occurrences.

    Occurrences of one sentence share a passage, so that the model reads the sentence once.
    """
    contexts: dict[str, list[Item]] = {}
    for item in items:
        if item.context is None:
            text, offset = template.render(item.text, bos=bos, eos=eos)
            yield Passage(text, (Span(offset, offset + len(item.text)),), (item.id,))
        else:
            contexts.setdefault(item.context, []).append(item)
    for context, members in contexts.items():
        text, offset = template.render(context, bos=bos, eos=eos)
        spans = tuple(Span(offset + m.span.start, offset + m.span.end) for m in members if m.span is not None)
        yield Passage(text, spans, tuple(member.id for member in members))


def parse_marked(text: str) -> Item:
    """Return the occurrence that is marked by brackets: ``the [bank] of the river``.

    Raises:
        UsageError: If there is not exactly one pair of brackets, or nothing in it.
    """
    match = re.fullmatch(r"([^\[\]]*)\[([^\[\]]+)\]([^\[\]]*)", text, re.DOTALL)
    if match is None:
        raise UsageError(f'mark exactly one word with brackets, as in "the [bank] of the river": {text!r}.')
    before, word, after = match.groups()
    return Item.occurrence(before + word + after, Span(len(before), len(before) + len(word)))
