"""No control character passes, and nothing else is changed."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.messages import printable, printable_json
from embstore.base.table import table

BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
ANY = st.text(st.characters(codec=None), max_size=40) | st.text(
    "\x00\t\n\r\x1b[31m\x7f\x85\x9b\u2028\u202e\ud800a"
)


def is_unsafe(character):
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or ord(character) in BIDI


@settings(deadline=None)
@given(ANY)
def test_no_control_character_passes_and_all_else_stays(text):
    shown = printable(text)
    assert not any(map(is_unsafe, shown))
    assert shown == "".join(
        character.encode("unicode_escape").decode() if is_unsafe(character) else character
        for character in text
    )
    assert printable(text, lines=True).split("\n") == [printable(line) for line in text.split("\n")]


@settings(deadline=None)
@given(ANY)
def test_json_has_the_same_content(text):
    document = printable_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2))
    assert not any(is_unsafe(character) for character in document.replace("\n", ""))
    assert json.loads(document) == {text: [text]}


@settings(deadline=None)
@given(ANY)
def test_errors_and_tables_are_safe_to_print(text):
    rows = table([{"text": text}], columns=("text",))
    for shown in (
        str(UsageError(f"no {text}")),
        str(UnknownNameError("space", "a", [text])),
        repr(rows),
    ):
        assert not any(is_unsafe(character) for character in shown.replace("\n", ""))
    assert not any(map(is_unsafe, rows._repr_html_()))
    assert rows.to_pylist() == [{"text": text}]


@pytest.mark.parametrize("text", ["", "dog", "हिन्दी", "می‌خواهم", "👩‍🔬", "é e\u0301", "tab is \\t"])
def test_words_of_every_script_stay_as_they_are(text):
    assert printable(text) == text


def test_what_duckdb_shows_is_safe_to_print(make_store):
    evil = "evil\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202e"
    store = make_store(texts=[evil], n_blocks=0, top_form=None, index=False).store
    found = store.sql("SELECT text FROM items")
    for shown in (repr(found), str(found)):
        assert "evil" in shown
        assert not any(is_unsafe(character) for character in shown.replace("\n", ""))
    assert found.fetchall() == [(evil,)]
