"""A passage's tokens, and which of them are each span's."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from embstore.encode.records import Skipped
from embstore.space import Pooling
from embstore.text import Passage, Span


@dataclass(frozen=True, slots=True)
class Text:
    """A passage as the model reads it.

    Attributes:
        ids: token ids (t,).
        type_ids: token type ids (t,); None where the tokenizer gives none.
        item_ids: the items that get a vector.
        tokens: for each item, the positions of its span's tokens, at least one.
        begin: position of the beginning mark, if there is one.
        end: position of the end mark, if there is one.
    """

    ids: list[int]
    type_ids: list[int] | None
    item_ids: list[int]
    tokens: list[list[int]]
    begin: int | None
    end: int | None


def place(
    passage: Passage, text: Text, tokens: Any, poolings: Collection[Pooling], *, cut: str, n_tokens: int | None
) -> tuple[Text | None, list[Skipped]]:
    """Put into ``text`` the items of a passage that have tokens there, and report the others.

    Args:
        passage: the string and its spans.
        text: its ids, no items yet.
        tokens: the ``tokenizers.Encoding`` of the ids, which has their offsets.
        poolings: an item that lacks the special token of one of them is left out.
        cut: why the text was truncated; empty where it was not.
        n_tokens: tokens before it was; None where they were not counted.

    Returns:
        The text, or None if no item is left; and what was skipped or truncated.
    """
    skipped: list[Skipped] = []
    lacks = _lacks(text, poolings)
    tokens_of = _finder(tokens.offsets, tokens.special_tokens_mask)
    for span, item_id in zip(passage.spans, passage.item_ids, strict=True):
        positions = tokens_of(span)
        if lacks or not positions:
            reason = lacks or ("beyond the cut" if cut else "no tokens")
            skipped.append(Skipped(item_id, f"{reason}: {cut}" if cut else reason, "skipped", n_tokens))
            continue
        if cut:
            skipped.append(Skipped(item_id, cut, "truncated", n_tokens))
        text.item_ids.append(item_id)
        text.tokens.append(positions)
    return (text if text.item_ids else None), skipped


def skip_all(passage: Passage, reason: str, n_tokens: int | None) -> list[Skipped]:
    """Report every item of a passage as skipped."""
    return [Skipped(item_id, reason, "skipped", n_tokens) for item_id in passage.item_ids]


def _finder(offsets: Sequence[tuple[int, int]], special: Sequence[int]) -> Callable[[Span], list[int]]:
    """Return the function that gives the positions of the tokens that a span has a character of."""
    text = [position for position, is_special in enumerate(special) if not is_special]
    starts, ends = [offsets[position][0] for position in text], [offsets[position][1] for position in text]
    # A long text has many spans and many tokens: where these are in order, as ever, not each is tried for each.
    in_order = all(a <= b for bounds in (starts, ends) for a, b in pairwise(bounds))

    def find(span: Span) -> list[int]:
        if in_order:
            return text[bisect_right(ends, span.start) : bisect_left(starts, span.end)]
        return [
            position
            for position, start, end in zip(text, starts, ends, strict=True)
            if start < span.end and end > span.start
        ]

    return find


def _lacks(text: Text, poolings: Collection[Pooling]) -> str:
    if Pooling.BOS in poolings and text.begin is None:
        return "no special token at the beginning"
    if text.end is None and (Pooling.EOS in poolings or Pooling.PROJECTION in poolings):
        return "no special token at the end"
    return ""
