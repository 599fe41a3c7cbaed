"""Plain values are read as Typer reads them, without its converters."""

import os
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from embstore_cli._options import Format, OutputFormat
from embstore_cli._reading import PlainCommand
from typer.core import TyperCommand
from typer.testing import CliRunner


def read_by(kind: type[TyperCommand], arguments: list[str], is_optional: bool) -> Any:
    """Return what a command of that class is called with, its exit code and what it says."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    called: list[Any] = []

    def command(
        words: Annotated[list[str], typer.Argument(metavar="WORDS")] = [] if is_optional else ...,
        marked: Annotated[list[str] | None, typer.Option("--marked")] = None,
        name: Annotated[str | None, typer.Option("--name")] = None,
        k: Annotated[int, typer.Option("-k")] = 10,
        sample: Annotated[int | None, typer.Option("--sample")] = None,
        share: Annotated[float, typer.Option("--share")] = 1,
        embed: Annotated[bool, typer.Option("--embed")] = False,
        folder: Annotated[Path | None, typer.Option("--store")] = None,
        form: OutputFormat = Format.TABLE,
    ) -> None:
        values = (words, marked, name, k, sample, share, embed, folder, form)
        called.append([(type(value), value) for value in values])

    app.command(cls=kind)(command)
    result = CliRunner().invoke(app, arguments)
    return called, result.exit_code, result.output


@pytest.mark.parametrize("is_optional", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--help",
        "dog",
        "dog cat",
        "dog --name x --marked a --marked b --embed",
        "dog --name=",
        "dog --marked=",
        "dog -k 3",
        "dog -k 007",
        "dog -k -3",
        "dog -k +3",
        "dog -k 3.0",
        "dog -k 1_000",
        "dog -k ten",
        "dog -k=",
        "dog -k ٣",
        "dog -k 123456789012345678901234567890",
        "dog --sample 12",
        "dog --sample 1.5",
        "dog --share 0.5",
        "dog --share 2",
        "dog --share x",
        "dog --store .",
        "dog --store nowhere/at/all",
        "dog --store hidden",
        "dog --store -",
        "dog --store=",
        "dog --format json",
        "dog --format JSON",
        "dog --format jsn",
        "dog --embed=1",
        "dog --no-such",
        "dog --name",
    ],
)
def test_a_command_is_called_as_by_typer(arguments, is_optional, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hidden").mkdir(mode=0)
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path).is_dir() and Path(path).name != "hidden"
    )
    given = arguments.split(" ") if arguments else []
    (called, code, output), expected = (
        read_by(kind, given, is_optional) for kind in (PlainCommand, TyperCommand)
    )
    if (
        arguments == "--help"
    ):  # without the type of arguments; an example and the address of a page follow
        assert output.startswith(expected[2].replace("WORDS <list[str]>", "WORDS"))
        output = expected[2]
    if "is not a" in output:  # Typer does not show the value
        output, expected = (
            output.partition("': ")[0],
            (*expected[:2], expected[2].partition("': ")[0]),
        )
    assert (called, code, output) == expected


def test_a_short_question_loads_no_converters(made, process):
    call = ["neighbours", "dog", "-k", "3", "--format", "json", "--store", made.root]
    ran = process(*call, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ran.returncode == 0, ran.stderr
    assert "typer" in ran.stderr
    assert "pydantic" not in ran.stderr
