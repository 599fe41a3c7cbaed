"""The parts of Typer that the command line replaces: if a new Typer moves one, this says which, and what it was for.

``cli/_reading.py`` subclasses Typer's commands, options and arguments to read plain values without pydantic, whose
import takes longer than all else of a short command. No module of Typer with an underscore is imported.
"""

import inspect
from pathlib import Path
from typing import Annotated, Any

import embstore_cli
import pytest
import typer
from typer import completion, core

PARTS: list[tuple[Any, str, tuple[str, ...], str]] = [
    (core.TyperCommand, "parse_args", ("ctx", "args"), "PlainCommand reads arguments, and says which are too many"),
    (core.TyperCommand, "get_help_option", ("ctx",), "PlainCommand reads --help as a plain flag"),
    (core.TyperGroup, "parse_args", ("ctx", "args"), "PlainGroup follows the suffix of --output"),
    (core.TyperGroup, "get_help_option", ("ctx",), "PlainGroup reads --help as a plain flag"),
    (core.TyperOption, "process_value", ("ctx", "value"), "_PlainOption converts plain values itself"),
    (core.TyperOption, "add_to_parser", ("parser", "ctx"), "_PlainOption registers other spellings and shortcuts"),
    (core.TyperOption, "consume_value", ("ctx", "opts"), "_PlainOption refuses two values for an option of one"),
    (core.TyperArgument, "process_value", ("ctx", "value"), "_PlainArgument converts plain values itself"),
    (completion, "shell_complete", ("ctx_args", "prog_name", "complete_var", "instruction"), "a shell is answered"),
    (completion, "get_completion_inspect_parameters", (), "Typer's shells are registered"),
    (typer.BadParameter, "format_message", (), "cli/_errors.py breaks messages between words"),
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


def test_no_private_module_of_typer_is_imported() -> None:
    for path in Path(embstore_cli.__file__).parent.glob("*.py"):
        assert "typer._" not in path.read_text("utf-8"), path
