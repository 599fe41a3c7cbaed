"""Help: every command has it, it fits a terminal, and it names things as users do."""

import re

import pytest
from embstore_cli.main import app
from rich.cells import cell_len
from typer.main import get_command

from embstore.base.messages import as_option, rendered
from embstore.metrics import METRICS
from embstore.metrics.explain import UNGROUPED, flag_of

ORDER = [
    "build", "query", "neighbours", "push", "pull", "merge", "info", "index", "verify", "repair", "compact", "remove",
]  # fmt: skip
NOTE = "Show the whole text of each option."
OTHERS = ["import", "export", "neighbors", "cite", "reproduce"]
COMMANDS = [(), *((name,) for name in ORDER + OTHERS), *(("query", metric) for metric in METRICS)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_80_columns_and_shows_no_python_types(cli, command: tuple[str, ...]) -> None:
    long, short = cli(*command, "--help", env={"COLUMNS": "80"}), cli(*command, "-h", env={"COLUMNS": "80"})
    assert (long.exit_code, short.exit_code) == (0, 0)
    assert long.stdout == short.stdout
    assert max(map(cell_len, long.stdout.splitlines())) <= 80
    assert not re.search(r"<\w+>|list\[|\]\.\.\.\]|None", long.stdout)


def test_commands_come_in_the_order_of_use(cli) -> None:
    shown = cli("--help").stdout.partition("\nBuild:")[2]
    listed = re.findall(r"^  (\w+)  ", shown, re.MULTILINE)
    assert [name for name in listed if name in ORDER] == ORDER
    assert re.findall(r"^(\w+):$", shown, re.MULTILINE) == ["Ask", "See", "Share", "Keep", "Examples"]


def test_help_is_shorter_than_80_lines_and_all_of_it_is_one_option_away(cli) -> None:
    """Of every command: what does not fit is cut to first sentences, and no option is left out."""
    group = get_command(app)
    paths = [(name,) for name in group.list_commands(None)]
    for name, *_ in tuple(paths):
        paths += [(name, sub) for sub in getattr(group.get_command(None, name), "commands", ())]
    paths += [(name, metric) for name in ("query", "plot") for metric in METRICS]
    for path in [(), *paths]:
        short, full = (cli(*path, option, env={"COLUMNS": "80"}).stdout for option in ("--help", "--help-all"))
        assert len(short.splitlines()) < 80, path
        options = {*re.findall(r"^  (--[a-z][\w-]+)", full, re.MULTILINE)} - {"--help-all"}
        assert options <= {*re.findall(r"--[a-z][\w-]+", short)}, path
        if "--help-all" in short:
            assert len(full.splitlines()) >= 80, path
        elif path:
            assert short.split() == [word for word in full.replace(NOTE, "").split() if word != "--help-all"], path


def test_each_option_of_build_is_in_one_of_six_sections(cli) -> None:
    shown = cli("build", "--help").stdout
    titles = ["Arguments", "Models", "Texts", "Vectors", "Computation", "Several machines", "Store and output"]
    assert re.findall(r"^([A-Z][\w ]+):$", shown, re.MULTILINE) == [*titles, "Examples"]


def test_query_help_lists_every_metric(cli) -> None:
    shown = cli("query", "--help").stdout
    for name, metric in METRICS.items():
        assert re.search(rf"^  {name} +{re.escape(metric.help[:30])}", shown, re.MULTILINE)


@pytest.mark.parametrize("metric", METRICS)
def test_the_help_of_a_metric_is_made_from_its_declaration(cli, metric: str) -> None:
    declared, shown = METRICS[metric], cli("query", metric, "--help-all").stdout
    message = " ".join(shown.split())
    for text in (
        declared.help,
        declared.formula,
        declared.citation,
        *(rendered(p.help, as_option) for p in declared.parameters),
    ):
        assert " ".join(text.split()).rstrip(".") in message
    options = re.findall(r"^  (?:-\w, )?(--?[\w-]+)", shown, re.MULTILINE)
    own = [flag_of(parameter).partition("/")[0] for parameter in declared.parameters]
    assert options[: len(own)] == own
    assert {"--model", "--layer", "--where", "--sample", "--transform", "--format", "--explain"} <= set(options)
    assert ({"--by", "--bins"} <= {*options}) is (declared.needs not in UNGROUPED)
    assert message.count("repeat") >= 3 + sum(parameter.kind is tuple for parameter in declared.parameters)
    for parameter in declared.parameters:
        assert len(re.split("[.;]", parameter.help)[0].split()) > 2  # the short help has this sentence alone
        if parameter.kind is not bool and parameter.default not in (None, ()):
            assert re.search(rf"\[default: {re.escape(str(parameter.default))}\]", message)


def test_build_help_shows_the_choices(cli) -> None:
    shown = cli("build", "--help").stdout
    for choices in ("word|sentence|occurrence", "last|first|mean|bos|eos|projection", "float32|float16",
                    "auto|flat|hnsw|ivf|none", "skip|truncate|error"):  # fmt: skip
        assert choices in shown


def test_without_a_command_help_is_shown(cli) -> None:
    assert "Build:" in cli().output
    assert "anisotropy" in cli("query").output


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["bild"], "Did you mean 'build'?"),
        (["build", "--modle", "x"], "--model"),
        (["build", "--limit", "many"], "'--limit'"),
        (["query", "anisotrpy"], "unknown metric 'anisotrpy'. Did you mean 'anisotropy'? Known: anisotropy, "),
    ],
)
def test_a_mistyped_call_names_the_nearest(cli, call: list[str], message: str) -> None:
    result = cli(*call)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_the_version(cli) -> None:
    import embstore

    assert cli("--version").stdout == f"embstore {embstore.__version__}\n"
