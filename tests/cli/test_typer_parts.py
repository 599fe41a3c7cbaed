"""The parts of Typer that the command line replaces: if a new Typer moves one, this says which, and what it was for.

``cli/_reading.py`` subclasses Typer's commands, options and arguments to read plain values without pydantic. These are
no public interfaces, hence the upper bound on Typer in pyproject.toml. To raise it: install the new Typer, run these
tests and tests/cli/test_cli_reading.py, and mend what they name.
"""

import inspect
import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer import core
from typer._click.exceptions import ClickException

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]

PARTS: list[tuple[Any, str, tuple[str, ...], str]] = [
    (core.TyperCommand, "parse_args", ("ctx", "args"), "PlainCommand reads arguments, and says which are too many"),
    (core.TyperCommand, "get_help_option", ("ctx",), "PlainCommand reads --help as a plain flag"),
    (core.TyperGroup, "parse_args", ("ctx", "args"), "PlainGroup follows the suffix of --output"),
    (core.TyperGroup, "get_help_option", ("ctx",), "PlainGroup reads --help as a plain flag"),
    (core.TyperOption, "process_value", ("ctx", "value"), "_PlainOption converts plain values itself"),
    (core.TyperOption, "add_to_parser", ("parser", "ctx"), "_PlainOption registers other spellings and shortcuts"),
    (core.TyperOption, "consume_value", ("ctx", "opts"), "_PlainOption refuses two values for an option of one"),
    (core.TyperArgument, "process_value", ("ctx", "value"), "_PlainArgument converts plain values itself"),
    (ClickException, "format_message", (), "cli/_errors.py breaks messages between words"),
]


@pytest.mark.parametrize(
    ("owner", "name", "parameters", "use"), PARTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_what_is_replaced_is_there(owner: Any, name: str, parameters: tuple[str, ...], use: str) -> None:
    moved = f"Typer {typer.__version__} has moved {owner.__name__}.{name}, by which {use} (cli/_reading.py)."
    assert callable(getattr(owner, name, None)), moved
    signature = inspect.signature(getattr(owner, name))
    taken = tuple(signature.parameters)[1 : 1 + len(parameters)]
    assert taken == parameters, f"{moved} Its parameters are now {signature}."


def test_a_command_has_the_state_that_is_read() -> None:
    app = typer.Typer(add_completion=False)

    @app.command()
    def command(
        words: list[str],
        name: Annotated[str, typer.Option("--name")] = "x",
        several: Annotated[list[str] | None, typer.Option("--several")] = None,
    ) -> None: ...

    built = typer.main.get_command(app)
    advice = f"Typer {typer.__version__} builds commands of other parts; cli/_reading.py copies and reads these."
    assert isinstance(built, core.TyperCommand), advice
    assert {type(parameter) for parameter in built.params} == {core.TyperArgument, core.TyperOption}, advice
    for parameter in built.params:
        for attribute in ("name", "opts", "required", "callback", "multiple", "nargs"):
            missing = attribute not in vars(parameter) and not (attribute == "multiple" and parameter.name == "words")
            assert not missing, f"{advice} {type(parameter).__name__} has no {attribute!r} of its own any more."
    context = built.make_context("command", ["a"])
    for attribute in ("allow_extra_args", "resilient_parsing", "params", "get_parameter_source"):
        assert hasattr(context, attribute), f"{advice} The context has no {attribute!r} any more."


def test_the_installed_typer_is_within_the_bound() -> None:
    [requirement] = [each for each in PROJECT["dependencies"] if each.startswith("typer")]
    major, minor = re.fullmatch(r"typer>=[\d.]+,<(\d+)\.(\d+)", requirement).groups()  # type: ignore[union-attr]
    installed = tuple(map(int, metadata.version("typer").split(".")[:2]))
    assert installed < (int(major), int(minor)), f"Typer {installed} is newer than {requirement!r} allows."
