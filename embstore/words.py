"""The words of a sentence, by Unicode's word boundaries.

They are the default word boundaries of UAX #29 (https://www.unicode.org/reports/tr29/#Word_Boundaries), as the package
regex finds them, with two tailorings that the standard allows: hyphens join words ("well-known"), and letters and
numbers that follow each other are never parted. So a run of a script that is written without spaces and needs a
dictionary (Chinese, Japanese, Thai, Khmer …) is one word, and so is H₂O. What lies between two boundaries is a word if
it has a letter or a number.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

WORD_RULE = "UAX #29, tailored: hyphens join words, letters and numbers in a row are not parted"
"""How sentences are cut into words. A change of the rule changes this string."""

# Sets of characters, in the syntax of regex. What joins words is, as in UAX #29, also an underscore.
_LETTER = r"[[\p{Alphabetic}\p{N}]--\p{M}]"
_IN_WORD = rf"[{_LETTER}\p{{WB=ALetter}}\p{{WB=Katakana}}\p{{WB=Numeric}}\p{{WB=ExtendNumLet}}]"
_MARKS = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*"
_HYPHENS = "-\u2010\u2011"


def word_spans(sentence: str) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each word of a sentence, in characters."""
    segments, has_letter, ends_word = _patterns()
    start = end = -1
    for segment in segments.finditer(sentence):
        begins, ends = segment.span()
        if not (sentence[begins].isalnum() or has_letter(sentence, begins, ends)):
            continue
        if begins == end + 1 and sentence[end] in _HYPHENS and ends_word(sentence, start, end):
            end = ends
            continue
        if start >= 0:
            yield start, end
        start, end = begins, ends
    if start >= 0:
        yield start, end


@cache
def word_boundaries() -> str:
    """Return the rule by which sentences are cut, with the versions of Unicode and of the library."""
    from importlib.metadata import distribution  # which takes 10 ms, and questions cut no sentences

    library = distribution("regex")
    _, _, unicode = (library.read_text("METADATA") or "").partition("supports Unicode ")
    return f"{WORD_RULE}; Unicode {(unicode.split() or ['unknown'])[0].rstrip('.')}, regex {library.version}"


def word_rule(boundaries: str | None) -> str | None:
    """Return the rule that a card names, without the versions; None for the rule of cards of format 1."""
    return boundaries and boundaries.partition(";")[0]


@cache
def _patterns() -> tuple[Any, Any, Any]:
    """Return what finds the segments that may be words, whether one has a letter, and whether it ends with one."""
    import regex  # takes 20 ms to load, which only occurrences need

    flags = regex.WORD | regex.DOTALL | regex.VERSION1
    in_a_row = rf"(?<={_IN_WORD}{_MARKS})(?={_IN_WORD})"
    return (
        regex.compile(rf"\b(?={_IN_WORD}).+?\b(?:{in_a_row}.+?\b)*+", flags),
        regex.compile(_LETTER, flags).search,
        regex.compile(rf"(?r){_IN_WORD}{_MARKS}\Z", flags).search,
    )
