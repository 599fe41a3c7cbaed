"""Help: each command has it, with its options in panels, an example and the page about it."""

import re
import shlex
from functools import cache

import pytest
from embstore_cli.main import COMMANDS, app, load
from embstore_cli.query import MetricGroup
from rich.cells import cell_len
from typer.core import TyperGroup
from typer.testing import CliRunner

from embstore.metrics import METRICS


def _paths():
    """Return the words of every command, and of those inside groups."""
    paths = [()]
    for name in (name for commands in COMMANDS.values() for name in commands):
        command = load(name)
        inner = [*command.commands] if isinstance(command, TyperGroup) else []
        inner += [*METRICS] if isinstance(command, MetricGroup) else []
        paths += [(name,), *((name, other) for other in inner)]
    return paths


@cache
def shown(*words):
    result = CliRunner().invoke(app, words, env={"COLUMNS": "80"}, prog_name="embstore")
    assert result.exit_code == 0, result.output
    return result.stdout


def panels(*words):
    return re.findall(r"^╭─ ([A-Z][\w ]+) ─", shown(*words, "--help"), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("path", _paths(), ids=" ".join)
def test_every_command_has_help_and_an_example_that_is_read(path):
    text = shown(*path, "--help")
    assert text == shown(*path, "-h")
    assert max(map(cell_len, text.splitlines())) <= 80
    if path[:1] == ("plot",) and path[1:] != ():
        return
    lines = text.rstrip().splitlines()
    assert "More in https://" in " ".join(" ".join(lines[-2:]).split())
    examples = re.findall(r"^   (embstore .+)$", text.partition("Examples:")[2], re.MULTILINE)
    assert examples
    for line in examples:
        if line.rstrip().endswith("\\"):
            continue
        # With --help at its end it is read, options and all, and nothing is done.
        program, *words = shlex.split(line.partition(" > ")[0])
        assert program == "embstore"
        shown(*words, "--help")


def test_commands_and_options_are_in_panels():
    assert panels() == ["Options", "Build", "Ask", "See", "Share", "Keep"]
    assert panels("build") == [
        "Arguments", "Options", "Models", "Texts", "Vectors", "Computation", "Several machines",
        "Output",
    ]  # fmt: skip
    assert panels("query", "norms") == ["Options", "Spaces", "Layers and items", "Output"]


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_the_help_of_a_metric_is_made_from_its_declaration(name):
    metric = METRICS[name]
    own, _, rest = shown("query", name, "--help").partition("╭─ Spaces ")
    flags = [parameter.flag.partition("/")[0] for parameter in metric.parameters]
    flags = [f"-{flag}" if len(flag) == 2 else flag for flag in flags]  # -k is --k as well
    listed = re.findall(r"^│ +(?:\* )? *(--?[\w-]+)", own, re.MULTILINE)
    assert listed == [*flags, "--help"]
    for option in ("--model", "--layer", "--where", "--transform", "--format", "--explain"):
        assert option in rest


def test_without_a_command_help_is_shown_and_the_version_on_request(cli):
    import embstore

    assert "Build" in cli(code=2).output
    assert "anisotropy" in cli("query", code=2).output
    assert cli("--version").stdout == f"embstore {embstore.__version__}\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("embstore ver", "verify"),
        ("embstore query anis", "anisotropy"),
        ("embstore query norms --space toy", "toy.word.last"),
        ("embstore query norms --unit w", "word"),
        ("embstore build --mod", "--model"),
        ("embstore datasets fetch rg", "rg65"),
    ],
)
def test_a_shell_completes(made, typed, offered):
    variables = {
        "_EMBSTORE_COMPLETE": "complete_zsh",
        "_TYPER_COMPLETE_ARGS": typed,
        "EMBSTORE_STORE": str(made.root),
    }
    result = CliRunner().invoke(app, [], env=variables, prog_name="embstore")
    assert offered in result.stdout
