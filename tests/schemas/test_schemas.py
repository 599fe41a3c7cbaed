"""The published schemas are those of what is really written."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from embstore_cli.main import app
from embstore_schemas.generate import query_schema
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from embstore.metrics import METRICS, Column
from embstore.storage.tables import SkippedText, write_skipped

FOLDER = Path(__file__).parents[2] / "schemas"
SCHEMAS = sorted(path.name for path in FOLDER.glob("*.schema.json"))


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((FOLDER / f"{name}.schema.json").read_text("utf-8")))


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_a_schema(name: str):
    document = json.loads((FOLDER / name).read_text("utf-8"))
    Draft202012Validator.check_schema(document)
    assert document["$id"] == f"embstore:{name.removesuffix('.schema.json')}"


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_the_schema_of_a_metric_is_the_one_that_its_declaration_gives(metric):
    stored = json.loads((FOLDER / f"query-{metric.name}.schema.json").read_text("utf-8"))
    assert stored == query_schema(metric), "run: python -m embstore_schemas.generate"


def test_no_schema_is_left_of_a_metric_that_is_gone():
    assert {name for name in SCHEMAS if name.startswith("query-")} == {f"query-{name}.schema.json" for name in METRICS}


def test_a_row_that_breaks_the_schema_is_refused():
    validator = schema("query-anisotropy")
    row = {
        "space": "a.word.last", "model": "a", "unit": "word", "pooling": "last", "template": "{text}", "layer": 0,
        "layer_name": "0", "n": 2, "anisotropy": 0.5, "n_zero": 0, "reason": None,
    }  # fmt: skip
    assert validator.is_valid([row])
    assert validator.is_valid([row | {"anisotropy": None, "reason": "why", "sample": 3, "seed": 0}])
    assert not validator.is_valid([row | {"anisotropy": "0.5"}])
    assert not validator.is_valid([row | {"mystery": 1}])
    assert not validator.is_valid([{key: value for key, value in row.items() if key != "n"}])


def test_every_kind_of_column_has_a_schema():
    kinds = {column.type for metric in METRICS.values() for column in metric.columns}
    assert {type(column) for metric in METRICS.values() for column in metric.columns} == {Column}
    assert kinds == {"number", "integer", "array of numbers", "array of integers"}


def read(path: Path):
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_documents_of_a_store_keep_their_schemas(make_store, dtype: str):
    made = make_store(dtype=dtype)
    schema("store").validate(read(made.paths.marker))
    schema("card").validate(read(made.paths.card(made.space)))
    cards = sorted(made.paths.indexes(made.space).glob("*.json"))
    assert len(cards) == len(made.card.layers)
    for card in cards:
        schema("index-card").validate(read(card))


def printed(*arguments: str):
    result = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_what_commands_print_keeps_its_schema(make_store):
    made = make_store(unit="occurrence", texts=["the bank of the river", "a bank"])
    write_skipped(made.paths, [SkippedText("x", "skipped", "no tokens", made.space, 5, "a.txt:1")])
    at = ("--store", str(made.root))
    for metric in METRICS:
        for more in ((), ("--sample", "3", "--where", "start >= 0")):
            rows = printed("query", metric, *at, *more)
            assert len(rows) == len(made.card.layers)
            schema(f"query-{metric}").validate(rows)
    for name, arguments in {
        "neighbours": ("neighbours", "--text", "the [bank] of the river"),
        "info": ("info",),
        "skipped": ("info", "--skipped"),
    }.items():
        rows = printed(*arguments, *at)
        assert rows
        schema(name).validate(rows)
    assert printed("verify", *at) == []
    schema("verify").validate([{"file": "a", "problem": "b"}])


def columns_of(path: Path) -> dict[str, str]:
    return {field.name: f"{field.type}" + ("" if field.nullable else " not null") for field in pq.read_schema(path)}


def test_the_parquet_tables_have_the_columns_that_are_published(make_store):
    made = make_store(dim=8)
    write_skipped(made.paths, [SkippedText("x", "skipped", "no tokens", made.space, 5, "a.txt:1")])
    tables = read(FOLDER / "tables.json")["tables"]
    for pattern, table in tables.items():
        folder = pattern.split("/<")[0].split("/part")[0].replace("<space>", made.space)
        published = {
            name: column["type"].replace("float32 or float16", "float").replace("[dim]", "[8]")
            for name, column in table["columns"].items()
        }
        files = list((made.root / folder).glob("*.parquet"))
        assert files or folder == "datasets", folder
        for path in files:
            written = {name: kind.replace("element: ", "") for name, kind in columns_of(path).items()}
            assert written == published, path
