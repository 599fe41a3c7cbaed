"""Find the words of a sentence by Unicode's word boundaries.

The rule is the default of UAX #29 (https://www.unicode.org/reports/tr29/#Word_Boundaries), as the package regex
implements it, with two tailorings that the standard permits: hyphens join words ("well-known"), and consecutive letters
and numbers are never separated. So a run of a script without spaces (Chinese, Japanese, Thai, Khmer …) is one word, and
so is H₂O. A segment between two boundaries is a word if it contains a letter or a number.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

WORD_RULE = "UAX #29, tailored: hyphens join words, letters and numbers in a row are not parted"
"""Description of the rule, recorded in cards; changes whenever the rule does."""

# Character sets, in the syntax of regex. As in UAX #29, an underscore (ExtendNumLet) joins words too.
_LETTER = r"[[\p{Alphabetic}\p{N}]--\p{M}]"
_IN_WORD = rf"[{_LETTER}\p{{WB=ALetter}}\p{{WB=Katakana}}\p{{WB=Numeric}}\p{{WB=ExtendNumLet}}]"
_MARKS = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*"
_HYPHENS = "-\u2010\u2011"


def word_spans(sentence: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each word of a sentence, in characters."""
    segments, has_letter, ends_word = _patterns()
    start = end = -1
    for segment in segments.finditer(sentence):
        segment_start, segment_end = segment.span()
        if not (sentence[segment_start].isalnum() or has_letter(sentence, segment_start, segment_end)):
            continue
        if segment_start == end + 1 and sentence[end] in _HYPHENS and ends_word(sentence, start, end):
            end = segment_end
            continue
        if start >= 0:
            yield start, end
        start, end = segment_start, segment_end
    if start >= 0:
        yield start, end


@cache
def word_boundaries() -> str:
    """Return the rule for splitting sentences into words, with the versions of Unicode and of the package regex."""
    from importlib.metadata import distribution  # takes 10 ms to load, which only builds need

    library = distribution("regex")
    _, _, unicode = (library.read_text("METADATA") or "").partition("supports Unicode ")
    return f"{WORD_RULE}; Unicode {(unicode.split() or ['unknown'])[0].rstrip('.')}, regex {library.version}"


def word_rule(boundaries: str | None) -> str | None:
    """Return the rule from a string of :func:`word_boundaries`, without versions; None for None."""
    return boundaries and boundaries.partition(";")[0]


@cache
def _patterns() -> tuple[Any, Any, Any]:
    """Return three functions of regex: iterate over candidate segments; find a letter; find a letter at the end."""
    import regex  # takes 20 ms to load, which only occurrences need

    flags = regex.WORD | regex.DOTALL | regex.VERSION1
    between_letters = rf"(?<={_IN_WORD}{_MARKS})(?={_IN_WORD})"
    return (
        regex.compile(rf"\b(?={_IN_WORD}).+?\b(?:{between_letters}.+?\b)*+", flags),
        regex.compile(_LETTER, flags).search,
        regex.compile(rf"(?r){_IN_WORD}{_MARKS}\Z", flags).search,
    )
