"""Errors and notes name arguments in Python and options on the command line; what to install fits
its origin.
"""

import ast
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest

from embstore.base.errors import UsageError
from embstore.base.messages import command_line, rendered, set_call, written_as
from embstore.base.table import Table


def test_commands_name_the_store_of_the_command_that_runs():
    message = "Run: ⦃embstore verify --deep⦄, or ⦃again unit=word⦄."
    assert rendered(message) == 'Run: embstore verify --deep, or unit="word".'
    with command_line():
        set_call(["embstore", "build", "a b.txt"], ["--store", "my store"])
        assert (
            rendered(message)
            == "Run: embstore verify --deep --store 'my store', or embstore build 'a b.txt' --unit"
            " word."
        )
        set_call(["embstore", "build", "--", "-a.txt"], [])
        assert rendered("⦃again unit=word⦄") == "embstore build --unit word -- -a.txt"
        set_call([], ["--store", "my store"])
        with command_line():
            set_call(["embstore", "info"], [])
            assert rendered(message) == "Run: embstore verify --deep, or embstore info --unit word."
        assert "my store" in rendered(message)
    assert "my store" not in rendered(message)


@pytest.mark.parametrize(
    ("message", "on_command_line", "in_python"),
    [
        (
            "Add ⦃embed=True⦄; or embstore build --unit word.",
            "Add --embed; or embstore build --unit word.",
            "Add embed=True; or embstore build --unit word.",
        ),
        ("other spaces with ⦃space⦄.", "other spaces with --space.", "other spaces with spaces=."),
        (
            "Use ⦃long=skip⦄ or ⦃header=False⦄.",
            "Use --long skip or --no-header.",
            'Use long="skip" or header=False.',
        ),
        (
            "Rename one: ⦃model=NAME=FOLDER⦄.",
            "Rename one: --model NAME=FOLDER.",
            'Rename one: models="NAME=FOLDER".',
        ),
        (
            "⦃kind=pairs|lexicon⦄, and its ⦃columns⦄.",
            "--kind pairs|lexicon, and its --columns.",
            'kind="pairs|lexicon", and its columns=.',
        ),
        (
            "⦃-x=FILE⦄, ⦃x=step⦄ and ⦃bins=10⦄",
            "-x FILE, --x step and --bins 10",
            'x="FILE", x="step" and bins=10',
        ),
        (
            "⦃text=a [word]⦄, ⦃store⦄, ⦃as=npy⦄",
            '--text "a [word]", --store, --as npy',
            'marked="a [word]", path=, format="npy"',
        ),
        ("⦃template={bos}{text}⦄", "--template '{bos}{text}'", 'template="{bos}{text}"'),
        ("⦃colours=#0072B2,#D55E00⦄", "--colours '#0072B2,#D55E00'", 'colours="#0072B2,#D55E00"'),
        (
            "⦃--label=a.b=My A⦄, ⦃label=pos⦄",
            '--label "a.b=My A", --label pos',
            'labels="a.b=My A", label="pos"',
        ),
        ("⦃⦄ ⦃A B⦄ ⦃x", "⦃⦄ ⦃A B⦄ ⦃x", "⦃⦄ ⦃A B⦄ ⦃x"),
    ],
)
def test_parameters_are_named_as_the_reader_writes_them(message, on_command_line, in_python):
    assert rendered(message) == in_python
    assert str(pickle.loads(pickle.dumps(UsageError(message)))) == in_python
    assert Table((), (), (message,)).notes == (in_python,)
    error = UsageError(message)
    with command_line():
        assert str(error) == on_command_line
        with ThreadPoolExecutor() as pool:
            assert pool.submit(str, error).result() == on_command_line
        with written_as(lambda name, value: "field"):
            assert "--" not in rendered("⦃embed=True⦄ ⦃where⦄")


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
