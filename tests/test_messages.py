"""Errors and notes name arguments in Python and options on the command line; what to install fits
its origin.
"""

import ast
import re
from importlib.resources import files
from pathlib import Path

from embstore.base.messages import count, first_of


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
