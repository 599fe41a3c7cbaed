"""Map the spans of a passage to its tokens, and find the part of a very long text that determines
its tokens.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from embstore.base.space import Pooling, Unit
from embstore.base.text import Item, Passage, Span, items_in
from embstore.encode.records import Skipped

BLANKS = ("▁", "Ġ")
"""Tokens of a blank alone: SentencePiece's, and that of byte-level BPE.

Where a tokenizer puts one before an item that has no such character, as SentencePiece does before a
word that its vocabulary lacks with a blank, it is none of the item's tokens: ``first`` and ``mean``
are of those after it.
"""

_MAX_CHARS = 1 << 18
_CHARS_PER_TOKEN = 32
# Whitespace, without the control characters that BERT's normaliser deletes, which therefore do not
# end a word.
_SPACE = re.compile(r"\S[^\S\x0b\x0c\x1c-\x1f\x85]")


@dataclass(frozen=True, slots=True)
class Text:
    """A tokenised passage.

    Attributes:
        type_ids: Token type ids (t,); None if the tokenizer has none.
        tokens: Positions of the tokens of each item's span, one or more per item.
        begin, end: Positions of the beginning- and end-of-text tokens; None if there are none.
        n_own: Number of tokens of each item's span, if ``tokens`` are others: those that a recipe
            pools.
    """

    ids: list[int]
    type_ids: list[int] | None
    item_ids: list[int]
    tokens: list[list[int]]
    begin: int | None
    end: int | None
    n_own: tuple[int, ...] | None = None

    @property
    def item_lengths(self) -> Sequence[int]:
        """Number of tokens of each item itself, without special tokens, the template and the
        prompt.
        """
        return [len(positions) for positions in self.tokens] if self.n_own is None else self.n_own


Tokenised = tuple[Text | None, list[Skipped]]
"""The text of a passage with its items, None if it has none, and the skipped or truncated items."""


def add_items(
    passage: Passage,
    text: Text,
    tokens: Any,
    poolings: Collection[Pooling],
    cut: str,
    blanks: Mapping[int, str],
) -> Tokenised:
    """Add the items of a passage to its tokenised text, and report those without tokens; None for a
    text without items.

    All items are skipped if the special token of one of the poolings is missing. ``cut`` is the
    reason of a truncation. ``blanks`` are the tokens of a blank alone, by id.
    """
    skipped: list[Skipped] = []
    missing_token = _missing_token(text, poolings)
    offsets = tokens.offsets
    tokens_of = _finder(offsets, tokens.special_tokens_mask)
    for span, item_id in zip(passage.spans, passage.item_ids, strict=True):
        positions = tokens_of(span)
        if positions and (blank := blanks.get(text.ids[positions[0]])):
            characters = [offsets[position] for position in positions[:2]]
            if _is_added(blank, characters, passage.text):
                del positions[0]
        if missing_token or not positions:
            reason = missing_token or ("beyond the cut" if cut else "no tokens")
            skipped.append(Skipped(item_id, f"{reason}: {cut}" if cut else reason, "skipped"))
            continue
        if cut:
            skipped.append(Skipped(item_id, cut, "truncated"))
        text.item_ids.append(item_id)
        text.tokens.append(positions)
    return (text if text.item_ids else None), skipped


class Token(NamedTuple):
    """A token of a text, as an item."""

    item: Item
    position: int  # in the model's input, from 0
    is_special: bool  # whether it is one of the model's own special tokens


class Vocabulary(NamedTuple):
    """What the ids of tokens stand for."""

    token_of: Callable[[int], str]
    special_ids: frozenset[int]  # of the model's own special tokens


def token_items(passage: Passage, tokens: Any, vocabulary: Vocabulary) -> list[Token]:
    """Return the tokens of a passage whose items are tokens, in order, as items of its context.

    Tokens of the template are none, except special ones. A special token has no characters: it is
    at the beginning or the end of the context.

    Args:
        passage: Passage, or the part of it that was tokenised.
        tokens: ``tokenizers.Encoding`` of its text.
        vocabulary: Vocabulary of the tokenizer.
    """
    [(start, end)] = passage.spans
    context = passage.context or ""
    places: list[tuple[int, bool, Span]] = []
    n_own = 0
    marks = zip(tokens.ids, tokens.offsets, tokens.special_tokens_mask, strict=True)
    for index, (number, (first, last), is_added) in enumerate(marks):
        is_inside = (first < end and last > start) or start <= first == last <= end
        if is_inside and not is_added:
            n_own += 1
            places.append((index, False, Span(max(first, start) - start, min(last, end) - start)))
        elif is_added or number in vocabulary.special_ids:
            place = len(context) if n_own else 0
            places.append((index, True, Span(place, place)))
    parts = ((vocabulary.token_of(tokens.ids[index]), span) for index, _, span in places)
    items = items_in(Unit.TOKEN, context, parts)
    return [
        Token(item, index, is_special)
        for item, (index, is_special, _) in zip(items, places, strict=True)
    ]


def add_tokens(
    passage: Passage, text: Text, tokens: Any, cut: str, vocabulary: Vocabulary
) -> Tokenised:
    """Add the items of a passage that are tokens to its tokenised text, as :func:`add_items`
    does.
    """
    items = token_items(passage, tokens, vocabulary)
    positions = {token.item.id: token.position for token in items}
    skipped = []
    for item_id in passage.item_ids:
        if item_id not in positions:
            reason = f"beyond the cut: {cut}" if cut else "no such token in this text"
            skipped.append(Skipped(item_id, reason, "skipped"))
            continue
        if cut:
            skipped.append(Skipped(item_id, cut, "truncated"))
        text.item_ids.append(item_id)
        text.tokens.append([positions[item_id]])
    return (text if text.item_ids else None), skipped


def _is_added(blank: str, characters: Sequence[tuple[int, int]], text: str) -> bool:
    """Return whether the tokenizer put a blank before an item, as before the first word of a text:
    it is no item's.

    Such a token has the characters of the item's next token, and not a blank or its own sign to
    itself.

    Args:
        blank: The item's first token.
        characters: Start and end of this token, and of the item's second one if it has one.
        text: The text of the passage.
    """
    (start, end), *second = characters
    is_in_text = text[start:end] == blank or text[start:end].isspace()
    return not is_in_text or (bool(second) and second[0][0] == start)


def shifted(spans: Sequence[Span], by: int) -> tuple[Span, ...]:
    """Return spans moved by a number of characters."""
    return tuple(Span(span.start + by, span.end + by) for span in spans)


def skip_all(passage: Passage, reason: str) -> list[Skipped]:
    """Return every item of a passage as skipped, for one reason."""
    return [Skipped(item_id, reason, "skipped") for item_id in passage.item_ids]


def _finder(
    offsets: Sequence[tuple[int, int]], special: Sequence[int]
) -> Callable[[Span], list[int]]:
    """Return a function from a span to the positions of the tokens that overlap it."""
    text = [position for position, is_special in enumerate(special) if not is_special]
    starts, ends = (
        [offsets[position][0] for position in text],
        [offsets[position][1] for position in text],
    )
    # Bisection instead of a comparison of every span with every token: offsets are nearly always in
    # order.
    in_order = all(a <= b for bounds in (starts, ends) for a, b in pairwise(bounds))

    def find(span: Span) -> list[int]:
        if in_order:
            return text[bisect_right(ends, span.start) : bisect_left(starts, span.end)]
        bounds = zip(text, starts, ends, strict=True)
        return [
            position for position, start, end in bounds if start < span.end and end > span.start
        ]

    return find


def _missing_token(text: Text, poolings: Collection[Pooling]) -> str:
    """Return the reason for skipping a text without a special token that a pooling needs; empty if
    it has all.
    """
    if Pooling.BOS in poolings and text.begin is None:
        return "no special token at the beginning"
    if text.end is None and (Pooling.EOS in poolings or Pooling.PROJECTION in poolings):
        return "no special token at the end"
    return ""


def read_part(text: str, limit: int | None, *, from_end: bool) -> str:
    """Return the part of a very long text that is tokenised: its beginning, or its end.

    A tokenizer uses about 300 bytes per character, and the model reads only the beginning of a text
    longer than its context of ``limit`` tokens, or the end (``from_end``), whose part begins at
    whitespace if there is some.
    """
    n_chars = max(_MAX_CHARS, _CHARS_PER_TOKEN * (limit or 0))
    if limit is None or len(text) <= n_chars:
        return text
    if not from_end:
        return text[:n_chars]
    space = _SPACE.search(text, len(text) - n_chars, len(text) - n_chars // 2)
    return text[space.end() - 1 :] if space else text[-n_chars:]
