"""Which part of a very long text decides what the model reads of it, so that the rest is never tokenised.

A tokenizer takes some 300 bytes for each character. Of a text that is far longer than the context only its beginning
is read (with a tokenizer that truncates on the left, its end).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_WHOLE_CHARS = 1 << 18
_FIRST_CHARS = 1 << 14
_MOST_CHARS = 1 << 20
_CHARS_PER_TOKEN = 16
_SPACE = re.compile(r"\S\s")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that is longer than the context.

    Attributes:
        text: the part.
        start: where in the text it begins.
    """

    text: str
    start: int


class NoPieceError(Exception):
    """The beginning of a text has fewer tokens than the context, and the text is too long to be tokenised whole.

    Attributes:
        n_chars: how many of its characters were tokenised.
    """

    def __init__(self, n_chars: int) -> None:
        super().__init__()
        self.n_chars = n_chars


def find_piece(text: str, limit: int | None, tokenise: Callable[[str], Any], *, from_end: bool) -> Piece | None:
    """Return the part of a very long text whose truncated tokens are those of the whole text.

    A part is enough if it has more tokens than the context, and a part twice as long gives the same ones for the
    same characters: then what follows does not reach back to them. The end of a text is taken from a space on.

    Args:
        text: the text.
        limit: tokens of the context, special tokens counted; None where nothing limits it.
        tokenise: returns the ``tokenizers.Encoding`` of a string, truncated to the limit.
        from_end: whether the tokenizer truncates on the left, so that the end of the text is read.

    Returns:
        The part; None where the text is short enough, or has no limit, so that it is tokenised whole.

    Raises:
        NoPieceError: there is none in as many characters as may be tokenised.
    """
    if limit is None or len(text) <= max(_WHOLE_CHARS, 2 * _CHARS_PER_TOKEN * limit):
        return None
    n_chars = max(_FIRST_CHARS, _CHARS_PER_TOKEN * limit)
    most = max(_MOST_CHARS, 2 * n_chars)
    before: tuple[Piece, list[int], list[tuple[int, int]]] | None = None
    while n_chars <= min(most, len(text)):
        piece = _last_words(text, n_chars) if from_end else Piece(text[:n_chars], 0)
        if piece is not None and (tokens := tokenise(piece.text)).overflowing:
            found = (piece, tokens.ids, _places(tokens, piece.start))
            if before is not None and before[1:] == found[1:]:
                return before[0]
            before = found
        n_chars *= 2
    if len(text) <= most:
        return None
    raise NoPieceError(most)


def _last_words(text: str, n_chars: int) -> Piece | None:
    """Return the end of a text from a space on: from amid a word its tokens may be others, up to the word's end."""
    match = _SPACE.search(text, len(text) - n_chars, len(text) - n_chars // 2)
    return None if match is None else Piece(text[match.end() - 1 :], match.end() - 1)


def _places(tokens: Any, start: int) -> list[tuple[int, int]]:
    """Return which characters of the whole text each token is from."""
    places = zip(tokens.offsets, tokens.special_tokens_mask, strict=True)
    return [(0, 0) if mark else (start + begin, start + end) for (begin, end), mark in places]
