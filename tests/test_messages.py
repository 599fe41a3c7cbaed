"""Errors and notes name arguments in Python and options on the command line; what to install fits
its origin.
"""

import ast
import pickle
import re
from importlib.resources import files
from pathlib import Path

import pytest

from embstore.base.messages import brief, count, first_of
from embstore.base.table import Table
from embstore.query.notes import joined


@pytest.mark.slow
def test_no_message_names_an_option_of_the_command_line():
    """Options stand in commands, and in tables of options, alone."""
    command = re.compile(
        r"(embstore [a-z]|pip install|embedding-atlas|jq -c|iconv)(?:(?!\. |; ).)*", re.DOTALL
    )
    for path in sorted(Path(str(files("embstore"))).rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        inner = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
        inner |= {
            id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values
        }
        for node in nodes:
            parts = (
                node.values
                if isinstance(node, ast.JoinedStr)
                else []
                if id(node) in inner
                else [node]
            )
            texts = [
                part.value
                for part in parts
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            prose = command.sub("", "".join(texts))
            assert not re.search(r"\s--[a-z]", prose), f"{path}:{node.lineno}: {prose}"


def test_numbers_have_their_nouns_and_lists_their_rest():
    assert [count(n, "pass", "es") for n in (0, 1, 1234)] == ["0 passes", "1 pass", "1,234 passes"]
    assert [first_of(range(n), 2) for n in range(4)] == ["", "0", "0, 1", "0, 1 and 1 more"]


def test_a_long_note_is_brief_but_names_every_reason_and_whole_in_python():
    sentences = [f"note {number}." for number in range(8)]
    reasons = [f"reason {number}." for number in range(6)]
    [note] = joined([*sentences, *reasons, *sentences], reasons)
    assert note == " ".join([*sentences, *reasons])
    assert brief(note) == " ".join([*sentences[:3], *reasons, "And 5 more."])
    assert pickle.loads(pickle.dumps(note)).brief == note.brief
    for whole in (joined(sentences[:4]), joined(sentences[:3], reasons)):
        assert brief(whole[0]) == whole[0]
    assert joined([]) == []
    shown = Table(("a",), ({"a": 1},), (note,))
    for text in (repr(shown), shown._repr_html_()):
        assert "And 5 more." in text
        assert "note 3" not in text
