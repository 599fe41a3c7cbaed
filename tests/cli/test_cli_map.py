"""``embstore map``."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from synthetic import synthetic_store

from embstore import Store


@pytest.fixture
def store(tmp_path):
    return synthetic_store(tmp_path / "store", n=30, n_blocks=1, top_form=None, index=False).root


def test_it_writes_tables_of_positions_and_says_where(cli, store):
    result = cli("map", "--method", "tsne")
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["space", "layer", "method", "did", "n", "kept"]
    assert "kept: share of the ten nearest neighbours by cosine" in result.stderr
    rows = json.loads(cli("map", "--method", "tsne", "--json").stdout)
    for line, row, layer in zip((first, second), rows, "01", strict=True):
        assert line.split()[:5] == ["toy.word.last", layer, "tsne", "made", "30"]
        table = pq.ParquetFile(store / row["file"]).read()
        assert (table.column_names, len(table)) == (["item_id", "x", "y"], 30)


def test_rows_are_json(cli, store):
    rows = json.loads(
        cli("map", "--method", "pca", "--sample", "20", "--where", "item_id >= 0", "--json").stdout
    )
    assert [(row["layer"], row["n"], row["did"]) for row in rows] == [
        (0, 20, "made"),
        (1, 20, "made"),
    ]
    again = cli(
        "map", "--method", "pca", "--sample", "20", "--where", "item_id >= 0", "-o", "maps.parquet"
    )
    assert again.stdout == ""
    assert pq.read_table("maps.parquet").to_pylist() == [row | {"did": "found"} for row in rows]


@pytest.mark.slow
def test_a_file_of_a_figure_has_the_drawn_map(cli, refusal, store):
    cli("map", "--sample", "20", "-o", "map.svg", "--store", store)
    drawn = Path("map.svg").read_text("utf-8")
    assert "layer: 1" in drawn
    more = synthetic_store(Path("more"), n=70, n_blocks=1, top_form=None, index=False).root
    said = cli("map", "-o", "more.svg", "--store", more).stderr
    assert "kept: share of the ten nearest" in said
    assert "more than 60 items: no text is drawn" in said
    assert [row["fitted_on"] for row in Store(store).maps()] == [["0", "1"]] * 2
    cli("map", "--sample", "20", "--layer", "0", "-o", "one.svg", "--store", store)
    together = sorted(row["fitted_on"] for row in Store(store).maps())
    assert together == [["0"], ["0", "1"], ["0", "1"]]
    drawn = Path("map.svg").stat().st_mtime_ns
    cli("map", "--list", "-o", "map.svg", "--store", store, code=2)
    assert Path("map.svg").stat().st_mtime_ns == drawn
    assert "no/map.png" in refusal("map", "-o", "no/map.png", "--store", store)


def test_stored_maps_are_listed(cli, store):
    assert "No such map is stored. Make one with: embstore map" in cli("map", "--list").stderr
    cli("map", "--where", "text LIKE '%1%'", "--seed", "2")
    cli("map")
    rows = json.loads(cli("map", "--list", "--json").stdout)
    assert {(row["layer"], row["where"], row["seed"], row["state"]) for row in rows} == {
        (layer, where, seed, "current")
        for layer in (0, 1)
        for where, seed in ((None, 0), ("text LIKE '%1%'", 2))
    }
    assert all(row["bytes"] == (store / row["file"]).stat().st_size for row in rows)
    assert cli("map", "--list").stdout.splitlines()[0].split() == [
        *("space", "layer", "method", "with", "where", "n", "kept", "state")
    ]


def test_a_list_is_of_the_spaces_layers_and_methods_that_are_named(cli, refusal, store):
    cli("map", "--layer", "0")
    cli("map", "--method", "tsne", "--sample", "20")

    def listed(*options):
        return [
            (row["layer"], row["method"])
            for row in json.loads(cli("map", "--list", "--json", *options).stdout)
        ]

    by_name = listed("--space", "toy.word.last")
    assert (
        listed()
        == listed("toy.word.last")
        == listed("toy")
        == by_name
        == [(0, "pca"), (0, "tsne"), (1, "tsne")]
    )
    assert listed("--method", "tsne") == [(0, "tsne"), (1, "tsne")]
    assert listed("--layer", "1", "--unit", "word") == [(1, "tsne")]
    assert listed("--layer", "1", "--method", "pca") == []
    for options, text in (
        (("--sample", "20"), "--sample is about new ones"),
        (("--where", "1=1"), "--where is about new ones"),
        (("--force",), "--force is about new ones"),
        (("--method", "umap"), "pca"),
    ):
        assert text in refusal("map", "--list", *options)


def test_mistakes_end_with_2_and_the_remedy(refusal, store):
    for arguments, text in (
        (("--method", "umap"), "pca"),
        (("--sample", "0"), "sample must be at least 1"),
        (("--seed", "-1"), "seed must be at least 0"),
        (("--where", "random() > 0.5"), "To map items drawn at random, use --sample."),
        (("--where", "txt = 'a'"), "text"),
        (("--where", "1=0"), "no item of toy.word.last is selected"),
        (("--layer", "9"), "9"),
        (("--space", "toy.word.first"), "toy.word.last"),
    ):
        assert text in refusal("map", *arguments)
    assert not list(store.rglob("maps/*/*.parquet"))
    refusal("map", "--store", "nowhere")
