"""Map the spans of a passage to its tokens."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from embstore.base.space import Pooling
from embstore.base.text import Passage, Span
from embstore.encode.records import Skipped


@dataclass(frozen=True, slots=True)
class Text:
    """A tokenised passage.

    Attributes:
        ids: Token ids (t,).
        type_ids: Token type ids (t,); None if the tokenizer has none.
        item_ids: Ids of the items to embed.
        tokens: Positions of the tokens of each item's span, one or more per item.
        begin: Position of the beginning-of-text token; None if there is none.
        end: Position of the end-of-text token; None if there is none.
        n_own: Number of tokens of each item's span, if ``tokens`` are others: those that a recipe pools.
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
        """Number of tokens of each item itself, without special tokens, the template and the prompt."""
        return [len(positions) for positions in self.tokens] if self.n_own is None else self.n_own


def add_items(
    passage: Passage, text: Text, tokens: Any, poolings: Collection[Pooling], *, cut: str, n_tokens: int | None
) -> tuple[Text | None, list[Skipped]]:
    """Add the items of a passage to its tokenised text, and report the items without tokens.

    Args:
        passage: String and the spans of its items.
        text: Tokenised passage without items; modified in place.
        tokens: ``tokenizers.Encoding`` of the passage, with the offsets of its tokens.
        poolings: Poolings; all items are skipped if the special token of one of them is missing.
        cut: Reason of the truncation; empty if the text is whole.
        n_tokens: Number of tokens before truncation; None if unknown.

    Returns:
        The text, or None if it has no items; and the skipped and truncated items.
    """
    skipped: list[Skipped] = []
    missing_token = _missing_token(text, poolings)
    tokens_of = _finder(tokens.offsets, tokens.special_tokens_mask)
    for span, item_id in zip(passage.spans, passage.item_ids, strict=True):
        positions = tokens_of(span)
        if missing_token or not positions:
            reason = missing_token or ("beyond the cut" if cut else "no tokens")
            skipped.append(Skipped(item_id, f"{reason}: {cut}" if cut else reason, "skipped", n_tokens))
            continue
        if cut:
            skipped.append(Skipped(item_id, cut, "truncated", n_tokens))
        text.item_ids.append(item_id)
        text.tokens.append(positions)
    return (text if text.item_ids else None), skipped


def skip_all(passage: Passage, reason: str, n_tokens: int | None) -> list[Skipped]:
    """Return every item of a passage as skipped, for one reason."""
    return [Skipped(item_id, reason, "skipped", n_tokens) for item_id in passage.item_ids]


def _finder(offsets: Sequence[tuple[int, int]], special: Sequence[int]) -> Callable[[Span], list[int]]:
    """Return a function from a span to the positions of the tokens that overlap it."""
    text = [position for position, is_special in enumerate(special) if not is_special]
    starts, ends = [offsets[position][0] for position in text], [offsets[position][1] for position in text]
    # Bisection instead of a comparison of every span with every token: offsets are nearly always in order.
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


def _missing_token(text: Text, poolings: Collection[Pooling]) -> str:
    """Return the reason for skipping a text without a special token that a pooling needs; empty if it has all."""
    if Pooling.BOS in poolings and text.begin is None:
        return "no special token at the beginning"
    if text.end is None and (Pooling.EOS in poolings or Pooling.PROJECTION in poolings):
        return "no special token at the end"
    return ""
