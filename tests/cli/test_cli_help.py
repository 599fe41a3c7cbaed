"""Help: every command has it with an example, it fits a terminal, and it names things as users
do.
"""

import re
import shlex
from functools import cache

import pytest
from embstore_cli.main import COMMANDS, EXAMPLES, app, example_of
from rich.cells import cell_len
from typer.main import get_command
from typer.testing import CliRunner

from embstore.metrics import METRICS
from embstore.metrics.explain import UNGROUPED, flag_of

ORDER = ["build", "query", "neighbours", "push", "pull", "merge"]
ORDER += ["info", "index", "verify", "repair", "compact", "remove"]
NOTE = "Show the whole text of each option."


def _paths() -> list[tuple[str, ...]]:
    """Return the words of every command, of those inside it, and of each metric."""
    group = get_command(app)
    paths: list[tuple[str, ...]] = [()]
    for name in group.list_commands(None):
        paths += [
            (name,),
            *((name, inner) for inner in getattr(group.get_command(None, name), "commands", ())),
        ]
    return (
        paths
        + [(name, metric) for name in ("query", "plot") for metric in METRICS]
        + [("plot", "drift")]
    )


PATHS = list(dict.fromkeys(_paths()))


@cache
def shown(*words: str) -> str:
    result = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_fits_a_terminal_and_all_of_it_is_one_option_away(path):
    """What does not fit is cut to first sentences, and no option is left out."""
    short, full = shown(*path, "--help"), shown(*path, "--help-all")
    assert short == shown(*path, "-h")
    assert len(short.splitlines()) < 80
    assert max(map(cell_len, short.splitlines())) <= 80
    assert not re.search(r"<\w+>|list\[|\]\.\.\.\]|None", short), "types of Python"
    options = {*re.findall(r"^  (--[a-z][\w-]+)", full, re.MULTILINE)} - {"--help-all"}
    assert options <= {*re.findall(r"--[a-z][\w-]+", short)}
    if "--help-all" in short:
        assert len(full.splitlines()) >= 80
    elif path:
        assert short.split() == [
            word for word in full.replace(NOTE, "").split() if word != "--help-all"
        ]


def test_every_command_has_an_example_that_is_read_and_the_page_of_the_docs():
    assert {*COMMANDS} <= {*EXAMPLES} <= {" ".join(path) for path in PATHS}
    for path in [*EXAMPLES, *(f"query {metric}" for metric in METRICS)]:
        metric = path.partition(" ")[2]
        example = example_of(path, METRICS[metric].needs if metric in METRICS else "")
        assert example is not None
        for line in example.lines:
            assert f"  {line}\n" in shown(*path.split(), "--help")
            assert len(line) <= 78
            # With --help at its end it is read, options and all, and nothing is done.
            program, *words = shlex.split(line.partition(" > ")[0])
            assert program == "embstore"
            shown(*words, "--help")
        assert shown(*path.split(), "--help").endswith(f"More in {example.url}\n")


def test_commands_come_in_the_order_of_use():
    listing = shown("--help").partition("\nBuild:")[2]
    listed = re.findall(r"^  (\w+)  ", listing, re.MULTILINE)
    assert [name for name in listed if name in ORDER] == ORDER
    assert re.findall(r"^(\w+):$", listing, re.MULTILINE) == [
        "Ask",
        "See",
        "Share",
        "Keep",
        "Examples",
    ]


def test_the_help_of_build_has_six_sections_and_the_choices():
    titles = [
        "Arguments",
        "Models",
        "Texts",
        "Vectors",
        "Computation",
        "Several machines",
        "Store and output",
    ]
    assert re.findall(r"^([A-Z][\w ]+):$", shown("build", "--help"), re.MULTILINE) == [
        *titles,
        "Examples",
    ]
    for choices in (
        "word|sentence|occurrence",
        "last|first|mean|bos|eos|projection",
        "float32|float16",
        "auto|flat|hnsw|none",
        "skip|truncate|error",
    ):
        assert choices in shown("build", "--help")


@pytest.mark.parametrize("metric", METRICS)
def test_the_help_of_a_metric_is_made_from_its_declaration(metric):
    declared, full = METRICS[metric], shown("query", metric, "--help-all")
    assert re.search(
        rf"^  {metric} +{re.escape(declared.help[:30])}", shown("query", "--help"), re.MULTILINE
    )
    message = " ".join(full.split())
    helps = [parameter.help for parameter in declared.parameters]
    for text in (declared.help, declared.formula, declared.citation, *helps):
        assert " ".join(text.split()).rstrip(".") in message
    options = re.findall(r"^  (?:-\w, )?(--?[\w-]+)", full, re.MULTILINE)
    own = [flag_of(parameter).partition("/")[0] for parameter in declared.parameters]
    assert options[: len(own)] == own
    assert {
        "--model",
        "--layer",
        "--where",
        "--sample",
        "--transform",
        "--format",
        "--explain",
    } <= set(options)
    assert ({"--by", "--bins"} <= {*options}) is (declared.needs not in UNGROUPED)
    assert message.count("repeat") >= 3 + sum(
        parameter.kind is tuple for parameter in declared.parameters
    )
    for parameter in declared.parameters:
        assert (
            len(re.split("[.;]", parameter.help)[0].split()) > 2
        )  # the short help has this sentence alone
        if parameter.kind is not bool and parameter.default not in (None, ()):
            assert re.search(rf"\[default: {re.escape(str(parameter.default))}\]", message)
    for option in (
        "--x layer|step",
        "--width LENGTH",
        "--layer LAYERS",
    ):  # beside those of the metric
        assert option in shown("plot", metric, "--help")


def test_without_a_command_help_is_shown_and_the_version_on_request(cli):
    import embstore

    assert "Build:" in cli().output
    assert "anisotropy" in cli("query").output
    assert "wolfe2022" in shown("reproduce", "--help")
    assert cli("--version").stdout == f"embstore {embstore.__version__}\n"
