"""Check what the README and other pages say of commands, metrics and files."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from docs_pages import DOCS, ROOT
from embstore_cli.main import COMMANDS, app
from typer.testing import CliRunner

from embstore.metrics import METRICS

pytestmark = pytest.mark.docs

README = (ROOT / "README.md").read_text("utf-8")


CHOOSE = (DOCS / "reference/metrics.md").read_text("utf-8").partition("## Columns")[0]
OF_ALL_METRICS = {"transform", "by", "bins"}


@pytest.mark.parametrize("row", re.findall(r"^\| [^|]+ \| .*`.+$", CHOOSE, re.MULTILINE))
def test_each_question_names_options_and_columns_of_its_metrics(row):
    named = [name for code in re.findall(r"`([^`]+)`", row) for name in re.split(r" (?=--)", code)]
    metrics = [METRICS[name] for name in dict.fromkeys(named) if name in METRICS]
    assert metrics
    columns = {column.name for metric in metrics for column in (*metric.columns, *metric.optional)}
    options = {option.name: option for metric in metrics for option in metric.parameters}
    for name in named:
        if not name.startswith("--"):
            assert name in {*METRICS, *columns, "drift", "n", "d/n"}
            continue
        option, _, value = name.removeprefix("--").partition(" ")
        assert option in {*options, *OF_ALL_METRICS}
        assert (
            option not in options or not options[option].choices or value in options[option].choices
        )
    if "--versus best" in named:
        refusing = [metric.name for metric in metrics if metric.best is None]
        assert re.findall(r"`--versus best`[^;]* but `([a-z-]+)`", row) == refusing


def test_the_start_page_has_pictures_and_the_glossary_each_metric():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (DOCS / "index.md").read_text("utf-8"))
    assert {Path(name).suffix for name in pictures} == {".png", ".svg"}
    assert all((DOCS / name).is_file() for name in pictures)
    assert re.search(
        r"pre > code \{[^}]*white-space: pre-wrap", (DOCS / "site.css").read_text("utf-8")
    )
    glossary = (DOCS / "glossary.md").read_text("utf-8")
    assert [
        name for name in METRICS if f"[`{name}`](reference/metrics.md#{name})" not in glossary
    ] == []


def test_the_image_of_a_node_has_what_it_copies():
    image = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    copied = {name for line in image if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert copied == {"pyproject.toml", "README.md", "LICENSE", "cli", "embstore", "schemas"}
    assert all((ROOT / name).exists() for name in copied)


def test_the_commands_of_the_readme_answer_ten_questions():
    """With ``--help`` at its end a command is read, options and all, and nothing is done."""
    rows = re.findall(r"^\| .+ \| (`embstore .+`) \|$", README, re.MULTILINE)
    assert len(rows) == 10
    for line in (line for row in rows for line in re.findall(r"`(embstore [^`]+)`", row)):
        done = CliRunner().invoke(app, [*shlex.split(line)[1:], "--help"])
        assert done.exit_code == 0, f"{line}\n{done.output}"


def test_the_readme_links_to_every_how_to_page_in_the_groups_of_the_site_and_of_help():
    nav = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    [how_to] = [part["How-to"] for part in nav if "How-to" in part]
    groups = {name: pages for group in how_to for name, pages in group.items()}
    site = {
        name: [path for page in pages for path in page.values()] for name, pages in groups.items()
    }
    readme = {
        name: re.findall(
            r"\(docs/(how-to/[^)]+)\)", README.partition(f"\n| {name} |")[2].partition("\n")[0]
        )
        for name in site
    }
    assert readme == site
    assert [*COMMANDS] == [*site]
