"""Find the part of a very long text that determines its truncated tokens, so that the rest is not tokenised.

A tokenizer uses about 300 bytes per character, and the model reads only the beginning of a text longer than its context
(or the end, if the tokenizer truncates on the left).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_WHOLE_CHARS = 1 << 18
_FIRST_CHARS = 1 << 14
_MAX_CHARS = 1 << 20
_CHARS_PER_TOKEN = 16
# Whitespace, without the control characters that BERT's normaliser deletes, which therefore do not end a word.
_SPACE = re.compile(r"\S[^\S\x0b\x0c\x1c-\x1f\x85]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text longer than the context.

    Attributes:
        text: Characters of the part.
        start: Position of its first character in the text.
    """

    text: str
    start: int


class NoPieceError(Exception):
    """The part that may be tokenised has fewer tokens than the context, and the text is too long to tokenise whole.

    Attributes:
        n_chars: Number of characters that were tokenised.
    """

    def __init__(self, n_chars: int) -> None:
        super().__init__()
        self.n_chars = n_chars


def find_piece(text: str, limit: int | None, tokenise: Callable[[str], Any], *, from_end: bool) -> Piece | None:
    """Return a part of a very long text with the same truncated tokens as the whole text.

    A part suffices if it has more tokens than the context and a part twice as long has the same truncated tokens at
    the same characters. A part at the end of a text starts at whitespace.

    Args:
        text: Whole text.
        limit: Maximum number of tokens, with special tokens; None if there is no limit.
        tokenise: Function from a string to its ``tokenizers.Encoding``, truncated to the limit.
        from_end: Whether the tokenizer truncates on the left, so that the end of the text is kept.

    Returns:
        The part; None if the text is to be tokenised whole, since it is short enough or there is no limit.

    Raises:
        NoPieceError: No part within the maximum number of characters suffices.
    """
    if limit is None or len(text) <= max(_WHOLE_CHARS, 2 * _CHARS_PER_TOKEN * limit):
        return None
    n_chars = max(_FIRST_CHARS, _CHARS_PER_TOKEN * limit)
    max_chars = max(_MAX_CHARS, 2 * n_chars)
    previous: tuple[Piece, list[int], list[tuple[int, int]]] | None = None
    while n_chars <= min(max_chars, len(text)):
        piece = _last_words(text, n_chars) if from_end else Piece(text[:n_chars], 0)
        if piece is not None and (tokens := tokenise(piece.text)).overflowing:
            candidate = (piece, tokens.ids, _token_positions(tokens, piece.start))
            if previous is not None and previous[1:] == candidate[1:]:
                return previous[0]
            previous = candidate
        n_chars *= 2
    if len(text) <= max_chars:
        return None
    raise NoPieceError(max_chars)


def _last_words(text: str, n_chars: int) -> Piece | None:
    """Return the end of a text from the first whitespace on, since a cut inside a word would change its tokens."""
    match = _SPACE.search(text, len(text) - n_chars, len(text) - n_chars // 2)
    return None if match is None else Piece(text[match.end() - 1 :], match.end() - 1)


def _token_positions(tokens: Any, start: int) -> list[tuple[int, int]]:
    """Return the (start, end) characters of each token in the whole text; (0, 0) for special tokens."""
    offsets = zip(tokens.offsets, tokens.special_tokens_mask, strict=True)
    return [(0, 0) if is_special else (start + begin, start + end) for (begin, end), is_special in offsets]
