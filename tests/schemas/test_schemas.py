"""The published schemas are those of what is really written."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator
from kept_columns import write_columns
from store_writing import SkippedText, write_skipped

from embstore.base.space import Pooling
from embstore.storage import keys

FOLDER = Path(__file__).parents[2] / "schemas"
SCHEMAS = sorted(path.name for path in FOLDER.glob("*.schema.json"))


def read(path):
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one_and_if_it_lists_poolings_lists_all(name):
    document = read(FOLDER / name)
    Draft202012Validator.check_schema(document)
    assert document["$id"] == f"embstore:{name.removesuffix('.schema.json')}"

    def lists(part):
        if isinstance(part, dict):
            yield from [part["enum"]] if "projection" in part.get("enum", ()) else []
        for value in (
            part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        ):
            yield from lists(value)

    for listed in lists(document):
        assert set(listed) == set(Pooling)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_documents_of_a_store_keep_their_schemas(make_store, dtype):
    made = make_store(dtype=dtype)
    made.store.index(kind="hnsw", layers=1)
    made.store.query("partition", layers=0)
    made.store.compact()
    written = {
        "manifest": sorted(made.root.glob("manifest/*.json")),
        "card": [made.root / key for key in made.files.manifest().keys_of(keys.CARDS, made.space)],
        "answer": [*made.root.glob("derived/answers/*.json")],
    }
    for name, paths in written.items():
        assert paths
        for path in paths:
            Draft202012Validator(read(FOLDER / f"{name}.schema.json")).validate(read(path))


def columns_of(path):
    return {
        field.name: f"{field.type}" + ("" if field.nullable else " not null")
        for field in pq.read_schema(path)
    }


def test_the_parquet_tables_have_the_columns_that_are_published(make_store):
    made = make_store(dim=8)
    made.store.map(layers=0)
    write_columns(made, {"<column>": [0.5]})
    write_skipped(made.files, [SkippedText("x", "skipped", "no tokens", made.space, 5, "a.txt:1")])
    tables = read(FOLDER / "tables.json")["tables"]
    for pattern, table in tables.items():
        folder = pattern.split("/<")[0].split("/space=")[0]
        published = {
            name: (
                column["type"]
                .replace("int64, double, bool or string", "double")
                .replace("float32 or float16", "float")
                .replace("[dim]", "[8]")
            )
            for name, column in table["columns"].items()
        }
        files = list((made.root / folder).rglob("*.parquet"))
        assert files or folder == "datasets", folder
        for path in files:
            written = {
                name: kind.replace("element: ", "") for name, kind in columns_of(path).items()
            }
            assert written == published, path
