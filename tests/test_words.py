"""The words of a sentence: Unicode's word boundaries, tailored. The witness of the boundaries is
the package uniseg.
"""

import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from uniseg.derived import alphabetic
from uniseg.wordbreak import WB, word_break, words

from embstore.base.text import WORD_RULE, word_boundaries, word_rule, words_in

NFD = unicodedata.normalize("NFD", "résumés naïve Việt")
_MARKS = (WB.EXTEND, WB.FORMAT, WB.ZWJ)


def found(sentence):
    return [sentence[start:end] for start, end in words_in(sentence)]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("हिन्दी में लिखा।", ["हिन्दी", "में", "लिखा"]),
        (NFD, NFD.split()),
        ("שָׁלוֹם, עֲלֵיכֶם", ["שָׁלוֹם", "עֲלֵיכֶם"]),
        ('צה"ל', ['צה"ל']),
        ("مَرْحَبًا بِكَ؟", ["مَرْحَبًا", "بِكَ"]),
        ("สวัสดี ครับ", ["สวัสดี", "ครับ"]),
        ("សួស្តី ສະບາຍດີ မင်္ဂလာပါ", ["សួស្តី", "ສະບາຍດີ", "မင်္ဂလာပါ"]),
        (
            unicodedata.normalize("NFD", "한국어 각"),
            unicodedata.normalize("NFD", "한국어 각").split(),
        ),
        ("日本語テキスト、ひらがな。", ["日本語テキスト", "ひらがな"]),
        ("தமிழ் తెలుగు বাংলা", ["தமிழ்", "తెలుగు", "বাংলা"]),
        ("1,000 and 3.14, 1'000.", ["1,000", "and", "3.14", "1'000"]),
        ("can't l’été rock'n'roll 'quoted'", ["can't", "l’été", "rock'n'roll", "quoted"]),
        (
            "well-known well‐known well‑known a--b -a b-",
            ["well-known", "well‐known", "well‑known", "a", "b", "a", "b"],
        ),
        ("covid-19 2020-01-02 3-D", ["covid-19", "2020-01-02", "3-D"]),
        ("the U.S.A. e.g. this", ["the", "U.S.A", "e.g", "this"]),
        ("foo_bar __init__ _ ___", ["foo_bar", "__init__"]),
        ("H₂O x² 1½ ⅓", ["H₂O", "x²", "1½", "⅓"]),
        ("👩‍👩‍👧 👍🏽 🇫🇷 ok", ["ok"]),
        ("\u0301a \u0301", ["a"]),
        ("", []),
    ],
)
def test_words(sentence, expected):
    assert found(sentence) == expected


# Rule by rule: a boundary of UAX #29 is written |.
@pytest.mark.parametrize(
    "segments",
    [
        "a|\r\n|b",  # WB3
        "\n|\u0301",  # WB3a
        "a\u0301|\r",  # WB3b
        "a|👩\u200d👩",  # WB3c
        "a|  \u2003|b",  # WB3d
        "a\u0301\u00ad\u200d|!\u0301",  # WB4
        "aאकé",  # WB5
        "a'a|'|1",  # WB6, WB7
        "a.\u0301a:\u00ada\u00b7a|.|.|a",  # WB6, WB7
        "א'|!",  # WB7a
        'א"א|"',  # WB7b, WB7c
        "12٣",  # WB8
        "a1a",  # WB9, WB10
        "1,1.1;1'1|,",  # WB11, WB12
        "カタ|ひ",  # WB13
        "a_1_カ_",  # WB13a, WB13b
        "🇫🇷|🇩🇪|🇩",  # WB15, WB16
        "日|本|-|-|₂",  # WB999
    ],
)
def test_the_library_keeps_to_each_rule_of_the_standard(segments):
    text = segments.replace("|", "")
    assert (
        "|".join(regex.split(r"\b", text, flags=regex.WORD | regex.VERSION1)).strip("|") == segments
    )


def _is_letter(character):
    category = unicodedata.category(character)
    return (alphabetic(character) or category[0] == "N") and category[0] != "M"


def _in_word(character):
    return word_break(character) in (
        WB.ALETTER,
        WB.KATAKANA,
        WB.NUMERIC,
        WB.EXTENDNUMLET,
    ) or _is_letter(character)


def _last(segment):
    """The last character of a segment, marks on it aside."""
    return segment.rstrip("".join(c for c in segment if word_break(c) in _MARKS))[-1:]


def _witness(sentence):
    """Return the words by uniseg's boundaries, and the two tailorings by hand."""
    rows = []
    for segment in words(sentence):
        if rows and all(map(_in_word, (rows[-1][0], _last(rows[-1]) or " ", segment[0]))):
            rows[-1] += segment
        else:
            rows.append(segment)
    is_word = [_in_word(row[0]) and any(map(_is_letter, row)) for row in rows]
    found = []
    for at in (at for at, row in enumerate(rows) if is_word[at]):
        if (
            at > 1
            and rows[at - 1] in "-\u2010\u2011"
            and is_word[at - 2]
            and _in_word(_last(rows[at - 2]))
        ):
            found[-1] += rows[at - 1] + rows[at]
        else:
            found.append(rows[at])
    return found


# The cedilla is a letter since a later version of Unicode than uniseg's.
_ASSIGNED = st.characters(exclude_categories=["Cn", "Cs", "Co"], exclude_characters="¸")
_TELLING = st.sampled_from(
    "a1_'.:;,\" -\u2010\u0301\u200d\u00adא\u05b0〱\U0001f1e6👶🏻⌚あ日アสั\u0903िक²Ⓜ\n\r٠각ᄀ’"
)


@settings(deadline=None, max_examples=300)
@given(st.text(_TELLING, max_size=12) | st.text(_ASSIGNED, max_size=12))
def test_words_are_what_another_package_finds(sentence):
    assert found(sentence) == _witness(sentence)


@settings(deadline=None, max_examples=150)
@given(st.text(_TELLING | _ASSIGNED, max_size=20))
def test_no_mark_is_cut_off_and_no_letter_or_number_is_lost(sentence):
    # Joins a pictograph that is a letter, such as ℹ, to a space.
    sentence = sentence.replace("\u200d", "")
    spans = list(words_in(sentence))
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    for _, end in spans:
        assert end == len(sentence) or word_break(sentence[end]) not in _MARKS
    left = "".join(
        sentence[end:start]
        for (_, end), (start, _) in pairwise([(0, 0), *spans, (len(sentence), 0)])
    )
    lost = {unicodedata.category(c) for c in left if word_break(c) is not WB.EXTEND}
    assert not lost & {"Ll", "Lu", "Lt", "Lo", "Nd"}


def test_the_versions_are_named():
    rule, _, versions = word_boundaries().partition("; ")
    assert rule == WORD_RULE == word_rule(word_boundaries())
    assert regex.fullmatch(r"Unicode \d+\.\d+\.\d+, regex [\d.]+", versions)
    assert word_rule(None) is None
