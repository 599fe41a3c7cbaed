"""Define items, which get vectors, and passages, the strings that are given to the model.

Words, sentences, occurrences and tokens differ only here. A passage is one string for the model,
with the spans in it that become items; the code after that is the same for all units.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b, sha256
from typing import Any, NamedTuple

from embstore.base.errors import UsageError
from embstore.base.space import Template, Unit

NOT_UNICODE = (  # reason for skipping a text that no tokenizer can read
    "not valid Unicode (lone surrogate)"
)

TOO_LONG = "too long for the unit occurrence: cut it into sentences"
"""Reason for skipping a sentence whose words would take too long to hash (:func:`is_too_long`)."""

NO_WORD = "no word in it"  # reason for skipping a sentence without words, with the unit occurrence

_MAX_HASHED_BYTES = 8 << 30
_MAX_WORDS = 1 << 19


class Span(NamedTuple):
    """A range of characters ``[start, end)`` of a string."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Item:
    """A word, a sentence, an occurrence of a word in a sentence, or a token of a text, which gets a
    vector.
    """

    unit: Unit
    # Text of the item, exactly as in the source; of a token, its string in the vocabulary.
    text: str
    # Sentence of an occurrence, text of a token; None for words and sentences.
    context: str | None
    # Characters of an occurrence or a token in its context, none for a special token; None for
    # words and sentences.
    span: Span | None
    id: int  # 63-bit hash of the other fields, the same on every machine

    @classmethod
    def whole(cls, unit: Unit, text: str) -> "Item":
        """Return the item of a word or a sentence."""
        return cls(unit, text, None, None, item_id(unit, text))

    @classmethod
    def occurrence(cls, context: str, span: Span) -> "Item":
        """Return the item of the word at a span of a sentence."""
        text = context[span.start : span.end]
        return cls(
            Unit.OCCURRENCE, text, context, span, item_id(Unit.OCCURRENCE, text, context, span)
        )

    @property
    def context_id(self) -> int | None:
        """The id of an occurrence's or a token's context; None for words and sentences."""
        return None if self.context is None else item_id(Unit.SENTENCE, self.context)

    @property
    def shown(self) -> str:
        """The text; for an occurrence or a token, the context with its characters in brackets, as
        :func:`parse_marked` reads it; a special token, which has none, is in brackets itself.
        """
        if self.context is None or self.span is None:
            return self.text
        start, end = self.span
        characters = self.context[start:end] or self.text
        return f"{self.context[:start]}[{characters}]{self.context[end:]}"


class Passage(NamedTuple):
    """One string given to the model, with the spans that become items."""

    text: str  # string for the tokenizer, with the template applied
    # Positions of the items in the string; of tokens, that of their context alone.
    spans: tuple[Span, ...]
    item_ids: tuple[int, ...]  # ids of the items, one per span; of tokens, of any number
    context: str | None = None  # context of items that are tokens; None for other items


def source_name(stem: str) -> str:
    """Return the name of a stored dataset as it is given: ``words:5000`` for ``words_5000``."""
    return re.sub(r"^words_(\d+)$", r"words:\1", stem)


def sha256_of_words(words: Iterable[str]) -> str:
    """Return the SHA-256 of words as of a file with one a line."""
    return sha256(
        "".join(f"{word}\n" for word in words).encode("utf-8", "surrogatepass")
    ).hexdigest()


def item_id(
    unit: Unit, text: str, context: str | None = None, span: Span | None = None, repeat: int = 0
) -> int:
    """Compute the id of an item: the first 63 bits of the BLAKE2b hash of its length-prefixed
    fields.

    Lone surrogates are hashed as they are (``surrogatepass``), so that every Python string has an
    id. ``repeat`` is the number of equal tokens of the same characters before a token, as of one
    character whose bytes are tokens; it is hashed unless it is 0.
    """
    fields = [unit.value, text]
    if context is not None and span is not None:
        fields += [context, _span_text(span)]
    fields += [str(repeat)] if repeat else []
    return _first_63_bits(_hash(map(_length_prefixed, fields)))


def items_in(unit: Unit, context: str, parts: Iterable[tuple[str, Span]]) -> list[Item]:
    """Return the occurrences or tokens in a context, given their texts and spans, in order.

    The context is hashed once per distinct text.
    """
    encoded = _length_prefixed(context)
    prefixes: dict[str, blake2b] = {}
    n_equal: Counter[tuple[str, Span]] = Counter()
    items = []
    for text, span in parts:
        if text not in prefixes:
            prefixes[text] = _hash([_length_prefixed(unit.value), _length_prefixed(text), encoded])
        digest = prefixes[text].copy()
        digest.update(_length_prefixed(_span_text(span)))
        if repeat := n_equal[text, span]:
            digest.update(_length_prefixed(str(repeat)))
        n_equal[text, span] += 1
        items.append(Item(unit, text, context, span, _first_63_bits(digest)))
    return items


def _hash(fields: Iterable[bytes]) -> blake2b:
    return blake2b(b"".join(fields), digest_size=8, person=b"embstore.item.1")


def _length_prefixed(field: str) -> bytes:
    """Encode a string as its length in bytes (8 bytes, little-endian) and its UTF-8."""
    data = field.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "little") + data


def _span_text(span: Span) -> str:
    return f"{span.start}:{span.end}"


def _first_63_bits(digest: blake2b) -> int:
    return int.from_bytes(digest.digest(), "big") >> 1


def is_unicode(text: str) -> bool:
    """Return whether a string is free of lone surrogates, which neither UTF-8 nor tokenizers can
    represent.
    """
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    r"""Escape the lone surrogates of a text, as in ``\ud800``, so that it can be encoded as
    UTF-8.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def is_too_long(sentence: str) -> bool:
    """Return whether hashing the words of a sentence, each distinct one with the whole sentence,
    would take too long.

    The limits are 8 GiB to hash, about 10 seconds, and half a million words. A million characters
    with 5,000 distinct words are within them, as is every sentence of less than 2¹⁶ characters.
    """
    if len(sentence) < 1 << 16:
        return False
    max_distinct = _MAX_HASHED_BYTES // len(sentence.encode("utf-8", "surrogatepass"))
    distinct = set()
    for n_words, (start, end) in enumerate(words_in(sentence), 1):
        distinct.add(sentence[start:end])
        if n_words > _MAX_WORDS or len(distinct) > max_distinct:
            return True
    return False


def items_of(text: str, unit: Unit, *, per_text: int | None = None, seed: int = 0) -> list[Item]:
    """Return the items of a source's text: the text itself, or its words in context for the unit
    ``occurrence``.

    Args:
        text: Word or sentence.
        unit: Unit of the items.
        per_text: Number of occurrences to sample, as :func:`sampled` does; None for all.
        seed: Random seed of the sample.
    """
    if unit is not Unit.OCCURRENCE:
        return [Item.whole(unit, text)]
    words = ((text[span.start : span.end], span) for span in words_in(text))
    items = items_in(unit, text, words)
    chosen = sampled([item.id for item in items], per_text, seed)
    return [item for item in items if item.id in chosen]


def sampled(ids: Sequence[int], n: int | None, seed: int) -> set[int]:
    """Return n of the ids of the items in a text, drawn without replacement; all of them for None.

    The sample depends only on the seed and the text, so it is the same in any order, on any machine
    and in any later build.
    """
    if n is None:
        return set(ids)
    return set(sorted(ids, key=lambda item: _sort_key(seed, item))[:n])


def _sort_key(seed: int, item: int) -> bytes:
    """Return a pseudorandom sort key of an item id; the items with the lowest keys are the
    sample.
    """
    return blake2b(f"{seed}:{item}".encode(), digest_size=8, person=b"embstore.draw.1").digest()


def passages_of(
    items: list[Item], template: Template, *, bos: str = "", eos: str = ""
) -> Iterator[Passage]:
    """Yield the passages of items: one per word or sentence, and one per context of occurrences or
    tokens, which share it.

    Args:
        items: Items to embed.
        template: Text put around each item or sentence.
        bos: Value of ``{bos}`` in the template.
        eos: Value of ``{eos}`` in the template.
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
        ids = tuple(member.id for member in members)
        if members[0].unit is Unit.TOKEN:
            yield Passage(text, (Span(offset, offset + len(context)),), ids, context)
            continue
        spans = tuple(
            Span(offset + m.span.start, offset + m.span.end) for m in members if m.span is not None
        )
        yield Passage(text, spans, ids)


def parse_marked(text: str) -> Item:
    """Parse an occurrence marked by brackets: ``the [bank] of the river``."""
    marked = split_marked(text)
    if marked is None:
        raise UsageError(
            f'mark exactly one word with brackets, as in "the [bank] of the river": {text!r}.'
        )
    return Item.occurrence(*marked)


def split_marked(text: str) -> tuple[str, Span] | None:
    """Return a text without its only pair of brackets, and the span of what they enclose.

    None if there is not exactly one pair, or it is empty.
    """
    match = re.fullmatch(r"([^\[\]]*)\[([^\[\]]+)\]([^\[\]]*)", text, re.DOTALL)
    if match is None:
        return None
    before, word, after = match.groups()
    return before + word + after, Span(len(before), len(before) + len(word))


WORD_RULE = "UAX #29, tailored: hyphens join words, letters and numbers in a row are not parted"
"""Description of the rule, recorded in cards; changes whenever the rule does."""

# Character sets, in the syntax of regex. As in UAX #29, an underscore (ExtendNumLet) joins words
# too.
_LETTER = r"[[\p{Alphabetic}\p{N}]--\p{M}]"
_IN_WORD = rf"[{_LETTER}\p{{WB=ALetter}}\p{{WB=Katakana}}\p{{WB=Numeric}}\p{{WB=ExtendNumLet}}]"
_MARKS = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*"
_HYPHENS = "-\u2010\u2011"


def words_in(sentence: str) -> Iterator[Span]:
    """Yield the span of each word of a sentence, in characters."""
    segments, has_letter, ends_word = _patterns()
    start = end = -1
    for segment in segments.finditer(sentence):
        segment_start, segment_end = segment.span()
        if not (
            sentence[segment_start].isalnum() or has_letter(sentence, segment_start, segment_end)
        ):
            continue
        if (
            segment_start == end + 1
            and sentence[end] in _HYPHENS
            and ends_word(sentence, start, end)
        ):
            end = segment_end
            continue
        if start >= 0:
            yield Span(start, end)
        start, end = segment_start, segment_end
    if start >= 0:
        yield Span(start, end)


@cache
def word_boundaries() -> str:
    """Return the rule for splitting sentences into words, with the versions of Unicode and of the
    package regex.
    """
    from importlib.metadata import distribution  # takes 10 ms to load, which only builds need

    library = distribution("regex")
    _, _, unicode = (library.read_text("METADATA") or "").partition("supports Unicode ")
    return (
        f"{WORD_RULE}; Unicode {(unicode.split() or ['unknown'])[0].rstrip('.')}, regex"
        f" {library.version}"
    )


def word_rule(boundaries: str | None) -> str | None:
    """Return the rule from a string of :func:`word_boundaries`, without versions; None for None."""
    return boundaries and boundaries.partition(";")[0]


@cache
def _patterns() -> tuple[Any, Any, Any]:
    """Return three functions of regex: iterate over candidate segments; find a letter; find a
    letter at the end.
    """
    import regex  # takes 20 ms to load, which only occurrences need

    flags = regex.WORD | regex.DOTALL | regex.VERSION1
    between_letters = rf"(?<={_IN_WORD}{_MARKS})(?={_IN_WORD})"
    return (
        regex.compile(rf"\b(?={_IN_WORD}).+?\b(?:{between_letters}.+?\b)*+", flags),
        regex.compile(_LETTER, flags).search,
        regex.compile(rf"(?r){_IN_WORD}{_MARKS}\Z", flags).search,
    )


N_TOKENS, TOKEN_INDEX, IS_SPECIAL = "n_tokens", "token_index", "is_special"
N_POOLED = "n_pooled"
OF_SPACE = (N_TOKENS, TOKEN_INDEX, IS_SPECIAL, N_POOLED)
"""Columns of items whose values depend on the space, and are stored for each by itself: the number
of tokens of an item; of a token its position in the model's input, and whether it is one of the
model's own special tokens; of an item of a pooled space the number of vectors behind it.
"""
CONTEXT = "context"  # column of the context of an occurrence or a token

_BUILT_IN = (*OF_SPACE, "position", "zipf_frequency")

_RESERVED = frozenset(
    (
        "item_id",
        "unit",
        "text",
        "context",
        "context_id",
        "span",
        "start",
        "end",
        "space",
        "layer",
        "layer_name",
        "vector",
        "model",
        "checkpoint",
        "revision",
        "step",
        "group",
        "all",
        "rowid",
        "filename",
        "file_row_number",
        "file_index",
        *_BUILT_IN,
    )
)
_MAX_CHARS = 100


def name_problem(name: str) -> str | None:
    """Return why a column of items cannot have a name, as a clause; None if it can.

    Letter case does not distinguish names, as in SQL.
    """
    if not name or name != name.strip():
        return "a name is not empty, and has no space around it"
    if len(name) > _MAX_CHARS:
        return f"a name has at most {_MAX_CHARS} characters"
    if not name.isprintable():
        return "a name has no control characters"
    if name.lower() in _RESERVED or name.lower().partition(".")[0] in OF_SPACE:
        return "the name is one of embstore's own"
    return None
