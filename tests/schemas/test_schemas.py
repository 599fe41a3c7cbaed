"""The published schemas are those of what is really written."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets_written import write_analogies
from embstore_cli.main import app
from embstore_schemas.generate import query_schema
from jsonschema import Draft202012Validator
from kept_columns import write_columns
from store_damage import the
from store_writing import SkippedText, write_skipped
from synthetic import Synthetic, synthetic_store
from typer.testing import CliRunner

from embstore import Store
from embstore.base.messages import command_line
from embstore.base.space import Pooling, Unit
from embstore.metrics import METRICS, Column, Parameter
from embstore.metrics.explain import UNGROUPED
from embstore.metrics.plugins import COLUMN_TYPES
from embstore.storage import keys
from embstore.storage.writer import write_dataset

FOLDER = Path(__file__).parents[2] / "schemas"
ROW = {
    "space": "a.word.last", "model": "a", "unit": "word", "pooling": "last", "template": "{text}",
    "layer": 0,
    "layer_name": "0", "n": 2, "reason": None,
}  # fmt: skip
SCHEMAS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.schema.json"))


def read(path: Path):
    return json.loads(path.read_text("utf-8"))


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(read(FOLDER / f"{name}.schema.json"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one_and_if_it_lists_poolings_lists_all(name):
    document = read(FOLDER / name)
    Draft202012Validator.check_schema(document)
    assert document["$id"] == f"embstore:{name.removesuffix('.schema.json').replace('/', '-')}"

    def lists(part: object) -> Iterator[list[str]]:
        if isinstance(part, dict):
            yield from [part["enum"]] if "projection" in part.get("enum", ()) else []
        for value in (
            part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        ):
            yield from lists(value)

    for listed in lists(document):
        assert set(listed) == set(Pooling)


def test_the_schemas_of_metrics_are_those_that_their_declarations_give():
    assert {name for name in SCHEMAS if name.startswith("query/")} == {
        f"query/{name}.schema.json" for name in METRICS
    }
    for name, metric in METRICS.items():
        stored = read(FOLDER / "query" / f"{name}.schema.json")
        assert stored == query_schema(metric), "run: python -m embstore_schemas.generate"


def test_a_row_that_breaks_the_schema_is_refused():
    validator = schema("query/anisotropy")
    row = ROW | {"anisotropy": 0.5, "std": None, "n_zero": 0, "variant": "raw"}
    assert validator.is_valid([row])
    assert validator.is_valid([row | {"anisotropy": None, "reason": "why", "sample": 3, "seed": 0}])
    assert not validator.is_valid([row | {"anisotropy": "0.5"}])
    assert not validator.is_valid([row | {"mystery": 1}])
    assert not validator.is_valid([row | {"variant": "centered"}])
    assert not validator.is_valid([{key: value for key, value in row.items() if key != "n"}])


@pytest.mark.parametrize("kind", COLUMN_TYPES)
def test_every_kind_of_column_has_a_schema(kind):
    """Of a metric of a user's own, which has no file in schemas/."""
    given = {
        "number": 0.5,
        "integer": 1,
        "string": "a",
        "boolean": True,
        "array of numbers": [0.5, None],
    }
    given["array of integers"] = [1]
    column = Column("value", kind, "a value", minimum=0, maximum=1)
    key = Column("word", "string", "a word", is_key=True)
    metric = replace(METRICS["anisotropy"], name="own", columns=(column, key), parameters=())
    validator = Draft202012Validator(query_schema(metric))
    row = ROW | {"value": given[kind], "word": "b"}
    assert validator.is_valid([row])
    assert validator.is_valid([row | {"value": None}])
    assert validator.is_valid([row | {"word": None}])
    assert not validator.is_valid([row | {"value": {}}])
    assert not validator.is_valid([{name: value for name, value in row.items() if name != "word"}])
    if kind.endswith("s"):
        assert not validator.is_valid([row | {"value": [2]}])
    elif kind in ("number", "integer"):
        assert not validator.is_valid([row | {"value": 2}])


def test_every_kind_of_parameter_has_a_schema():
    parameters = (
        Parameter("count", 1, "How many.", minimum=1),
        Parameter("share", 0.5, "How much."),
        Parameter("limit", None, "At most.", value_type=float, maximum=1),
        Parameter("names", (), "Which."),
        Parameter("way", None, "How.", choices=("a", "b"), value_type=str),
        Parameter("whether", False, "Whether."),
        Parameter("source", (), "Of what.", is_input=True),
    )
    metric = replace(
        METRICS["partition"],
        name="own",
        columns=(Column("value", "number", "x"),),
        parameters=parameters,
    )
    validator = Draft202012Validator(query_schema(metric))
    row = ROW | {
        "value": 1,
        "count": 1,
        "share": 0.5,
        "limit": None,
        "names": [],
        "way": None,
        "whether": True,
    }
    for right in ({}, {"limit": 0.5}, {"names": ["a"]}, {"way": "b"}):
        assert validator.is_valid([row | right])
    for wrong in (
        {"count": 0},
        {"count": None},
        {"limit": 2},
        {"names": None},
        {"way": "c"},
        {"source": []},
    ):
        assert not validator.is_valid([row | wrong])
    for name in ("count", "share", "limit", "names", "way", "whether"):
        assert not validator.is_valid([{key: value for key, value in row.items() if key != name}])


@pytest.mark.parametrize("metric", METRICS)
def test_what_explain_writes_keeps_its_schema(metric):
    written = printed("query", metric, "--explain")
    schema("explain").validate(written)
    with command_line():
        assert written == Store.explain(metric).to_dict()


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
            schema(name).validate(read(path))


def printed(*arguments: str):
    result = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# Options that fill columns which are null without them.
LISTED = ("--where", "text <> 'text2'", "--words", "text1,text2,text3,the,bank,nowhere")
OPTIONS = {
    "anisotropy": [("--std",), ("--variant", "centred")],
    "self-similarity": [("--adjusted",), ("--per-word",)],
    "intra-sentence": [("--adjusted",), ("--per-sentence",)],
    "mev": [("--adjusted",), ("--per-word", "--variant", "centred")],
    "knn": [("--versus", "best")],
    "cka": [("--permutations", "9", "--over", "max")],
    "imbalance": [("--permutations", "9")],
    "intrinsic-dimension": [("--estimator", "gride"), ("--estimator", "mle")],
    "probe": [("--no-control", "--label", "number"), ("--label", "number", "--label-bins", "2")],
}


@pytest.fixture(scope="module")
def store_of(tmp_path_factory):
    """Return the store of a unit, of few layers: words with all that a metric may need, or
    occurrences.
    """

    @cache
    def make(unit: str) -> Synthetic:
        root = tmp_path_factory.mktemp(unit) / "store"
        if unit == "occurrence":
            sentences = [
                "the bank of the river",
                "a bank by the sea",
                "the sea and the bank",
                "a river by a bank",
            ]
            return synthetic_store(root, unit=unit, texts=sentences, n_blocks=1)
        made = synthetic_store(root, unit=unit, n_blocks=1)
        first = {
            "item_id": made.ids[:15].tolist(),
            "text": made.texts[:15],
            "score": [*map(float, range(15))],
        }
        second = {"item_id_2": made.ids[15:30].tolist(), "text_2": made.texts[15:30]}
        write_dataset(made.files, "few", f"{unit} pairs", Unit(unit), first | second)
        write_dataset(made.files, "lexicon", "lexicon", Unit(unit), first)
        write_analogies(made, "questions", [made.texts[i : i + 4] for i in range(4)], [*"aabb"])
        write_columns(
            made, {"kind": ["AB"[n % 2] for n in range(40)], "number": [n / 7 for n in range(40)]}
        )
        for number, name in enumerate("abxy"):
            (root.parent / f"{name}.txt").write_text(
                "\n".join(made.texts[5 * number : 5 * number + 5]), "utf-8"
            )
        return made

    return make


@pytest.fixture
def queried(store_of):
    """Return the options that give a metric what it needs."""

    def options(metric: str) -> tuple[str, ...]:
        root = store_of(next(iter(METRICS[metric].units), "word")).root
        a, b, x, y = (str(root.parent / f"{name}.txt") for name in "abxy")
        return (
            "--store",
            str(root),
            *{
                "change": ("--by", "zipf_frequency", "--bins", "-1,5,9", "--min-contexts", "2"),
                "ceat": ("-x", "bank,river", "-y", "sea,the", "-a", "by,", "-b", "a,"),
                "valnorm": ("--lexicon", "lexicon", "--pleasant", a, "--unpleasant", b),
                "correlate": ("--column", "zipf_frequency"),
                "weat": ("-a", a, "-b", b, "-x", x, "-y", y),
                "sc-weat": ("-a", a, "-b", b, "--words", x, "--word", "text20"),
                "axis": ("--positive", a, "--negative", b, "--top", "2"),
                "knn": ("-k", "2", "--label", "kind"),
                "clusters": ("--runs", "2", "--label", "kind"),
                "probe": ("--folds", "2", "--repeats", "1", "--label", "kind"),
            }.get(metric, ()),
        )

    return options


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_what_query_prints_keeps_its_schema(queried, metric):
    options = [*OPTIONS.get(metric, ()), *([] if metric == "sc-weat" else [LISTED])]
    if metric != "change" and METRICS[metric].needs not in UNGROUPED:
        options.append(("--by", "zipf_frequency", "--bins", "-1,0,9"))
    given = queried(metric)
    for more in (
        (),
        ("--sample", "3", "--where", "item_id >= 0"),
        ("--transform", "center"),
        *options,
    ):
        rows = printed("query", metric, *(given[:-2] if "--label" in more else given), *more)
        assert rows
        schema(f"query/{metric}").validate(rows)


def test_what_commands_print_keeps_its_schema(make_store):
    made = make_store(unit="occurrence", texts=["the bank of the river", "a bank"])
    write_skipped(made.files, [SkippedText("x", "skipped", "no tokens", made.space, 5, "a.txt:1")])
    at = ("--store", str(made.root))
    for name, arguments in {
        "neighbours": (
            "neighbours",
            "--text",
            "the [bank] of the river",
            "--where",
            "true",
            "--words",
            "a,the",
        ),
        "neighbours of words": (
            "neighbours",
            "--positive",
            "the [bank] of the river",
            "--negative",
            "a [bank]",
        ),
        "products": ("neighbours", "--positive", "river", "--method", "3cosmul"),
        "cosine": ("cosine", "river", "--text", "the [bank] of the river", "--text", "a [bank]"),
        "index": ("index", "--kind", "hnsw", "--layer", "1,2"),
        "info": ("info",),
        "skipped": ("info", "--skipped"),
        "columns": ("info", "--columns"),
    }.items():
        rows = printed(*arguments, *at)
        assert rows
        schema(arguments[0] if arguments[0] == "neighbours" else name).validate(rows)
    schema("index").validate(printed("index", "--kind", "none", *at))
    assert printed("verify", *at) == []
    schema("verify").validate([{"file": "a", "problem": "b"}])


@pytest.mark.slow
def test_what_the_commands_of_maintenance_print_keeps_its_schema(make_store):
    made, other = make_store("made", n=20, n_shards=4), make_store("other", n=30, space="more")
    damaged = made.shard_files[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    at = ("--store", str(made.root))
    for command in (
        ("repair", "--dry-run"),
        ("repair",),
        ("compact", "--dry-run"),
        ("compact",),
        ("merge", str(other.root)),
        ("remove", "--space", "more", "--dry-run"),
        ("remove", "--space", "more", "--yes"),
    ):
        rows = printed(*command, *at)
        assert rows, command
        schema("actions").validate(rows)
    schema("manifest").validate(read(the(made.root, "manifest")))


def columns_of(path: Path) -> dict[str, str]:
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
