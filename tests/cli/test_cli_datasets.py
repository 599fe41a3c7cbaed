"""``embstore datasets`` and datasets as sources of ``embstore build``."""

import csv
import io
import json

import pytest
from dataset_files import FILES, RG65, look_alike, put, serving

from embstore.sources.datasets import DATASETS

pytestmark = pytest.mark.usefixtures("data")


def test_the_list_for_the_eye(cli, data, monkeypatch):
    put(data, monkeypatch, "stsb")
    look_alike(monkeypatch, "stsb-wolfe2022")
    result = cli("datasets")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["name", "kind", "unit", "rows", "at_hand", "licence"]
    assert [line[0] for line in lines[1:]] == list(DATASETS)
    at_hand = {line[0]: "yes" in line for line in lines[1:]}
    assert {name for name, here in at_hand.items() if here} == {"words", "stsb", "stsb-wolfe2022"}
    assert result.stderr == ""


def test_the_list_for_programs(cli, tmp_path):
    rows = json.loads(cli("datasets", "--format", "json").stdout)
    assert [row["name"] for row in rows] == [*DATASETS]
    assert (rows[0]["at_hand"], rows[1]["at_hand"]) == (True, False)
    assert [
        json.loads(line) for line in cli("datasets", "--format", "jsonl").stdout.splitlines()
    ] == rows
    table = list(csv.DictReader(io.StringIO(cli("datasets", "--format", "csv").stdout)))
    assert [row["sha256"] for row in table] == [row["sha256"] or "" for row in rows]
    assert cli("datasets", "--format", "markdown").stdout.startswith(
        "| name | kind | unit | rows | at_hand | licence"
    )
    assert cli("datasets", "--format", "json", "-o", "list.json").stdout == ""
    assert json.loads((tmp_path / "list.json").read_text()) == rows


def test_fetch(cli, data, monkeypatch):
    with serving(monkeypatch) as server:
        for name in ("rg65", "stsb"):
            spec = look_alike(monkeypatch, name, address=server.url)
            server.files[spec.content.name] = FILES[name]
        result = cli("datasets", "fetch", "rg65", "stsb", "words")
        assert result.stdout == ""
        assert result.stderr.splitlines() == [
            f"rg65: {data}/rg65.csv",
            f"stsb: {data}/sts-test.csv",
            "words: made here, nothing to download",
        ]
        assert (data / "rg65.csv").read_bytes() == RG65
        assert cli("datasets", "fetch", "rg65", "-q").stderr == ""
        assert server.requested == ["rg65.csv", "sts-test.csv"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["fetch"], ["Missing argument"]),
        (["fetch", "rg66"], ["unknown dataset 'rg66'", "Did you mean 'rg65'"]),
        (
            ["add", "rg65", "own.csv"],
            ["own.csv is not the file of the dataset 'rg65'", "should be 42dc8a52d3d58252f4"],
        ),
        (["add", "mine", "own.csv"], ["own.csv has the columns w, v", "Name them"]),
        (["--format", "xml"], ["xml"]),
    ],
)
def test_mistakes(refusal, tmp_path, arguments, parts):
    (tmp_path / "own.csv").write_text("w,v\na,1\nb,much\n")
    said = refusal("datasets", *arguments)
    for part in parts:
        assert part in said
    assert "Traceback" not in said


def test_without_a_network(refusal, data, monkeypatch):
    with serving(monkeypatch) as server:
        look_alike(monkeypatch, "rg65", address=server.url)
    for command in (["datasets", "fetch", "rg65"], ["build", "rg65", "--store", "store"]):
        said = refusal(*command)
        for part in (
            "'rg65' cannot be downloaded",
            f"{server.url}/rg65.csv by hand",
            f"{data}/rg65.csv",
        ):
            assert part in said


def test_add_says_where_the_copy_is(cli, data, tmp_path, monkeypatch):
    look_alike(monkeypatch, "rg65")
    (tmp_path / "copy").write_bytes(RG65)
    result = cli("datasets", "add", "rg65", "copy")
    assert result.stderr == f"rg65: 65 rows (word pairs), in {data}/rg65.csv.\n"
    assert (data / "rg65.csv").read_bytes() == RG65


def test_missing_lists_what_a_space_lacks(cli, made, tmp_path):
    (tmp_path / "animals.txt").write_text("dog\nowl\n", "utf-8")
    at = ("--store", made.root, "--space", "toy.word.last")
    result = cli("datasets", "missing", "animals.txt", *at, "--format", "csv")
    assert result.stdout.splitlines()[1].split(",")[0::3] == ["animals.txt", "owl"]
    assert result.stderr == "toy.word.last lacks 1 of the 2 texts of animals.txt.\n"
    rows = json.loads(cli("datasets", "missing", "animals.txt", *at, "--format", "json").stdout)
    assert [row["text"] for row in rows] == ["owl"]
    cli("datasets", "missing", *at, code=2)
