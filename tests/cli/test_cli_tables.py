"""Printed tables: sizes, numbers, long texts, stars, intervals, ids."""

import json
import re
import subprocess
import sys

import pytest
from rich.cells import cell_len
from terminal import on_terminal

from embstore import Store
from embstore.base.errors import UsageError
from embstore.base.table import Pivot, number_format, table

pytestmark = pytest.mark.process

EMBSTORE = [sys.executable, "-m", "embstore"]


def test_info_fits_80_columns_and_has_human_sizes(cli, made, tmp_path):
    code, shown, _ = on_terminal(
        [*EMBSTORE, "info", "--store", str(made.root)], 80, stderr=subprocess.PIPE, cwd=tmp_path
    )
    lines = shown.splitlines()
    assert code == 0
    assert max(map(cell_len, lines)) <= 80
    assert lines[0].split() == ["space", "layers", "dim", "items", "size", "index"]
    assert len(lines) == 5
    assert all(re.search(r" \d+(\.\d)? (B|kB|MB) ", line) for line in lines[2:])
    exact = cli("info", "--bytes", "--store", made.root).stdout.splitlines()
    rows = Store(made.root).info()
    assert exact[0].split() == ["space", "layers", "dim", "items", "bytes", "index"]
    assert [int(line.split()[4]) for line in exact[1:]] == rows["bytes"]
    assert [
        row["bytes"] for row in json.loads(cli("info", "--json", "--store", made.root).stdout)
    ] == rows["bytes"]


def test_a_narrow_terminal_shows_no_empty_lines(make_store, tmp_path):
    make_store(texts=["dog", "a long text that is cut on a terminal"], space="few")
    made = make_store(
        texts=["dog", *(f"another long text, of number {number}" for number in range(5))],
        space="many",
    )
    call = [*EMBSTORE, "neighbours", "dog", "-k", "5", "--layer", "0", "--store", str(made.root)]
    _, shown, _ = on_terminal(call, 50, stderr=subprocess.PIPE, cwd=tmp_path)
    few, many = shown.split("\n\n")
    assert [line.split()[0] for line in few.splitlines() if line[:4].strip()] == [
        "rank",
        "─" * len(few.splitlines()[1]),
        "1",
    ]
    assert [line[:4].strip() for line in many.splitlines() if line[:4].strip()][2:] == [*"12345"]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.5, 2.0], ["0.5000", "2.0000"]),
        ([0.5, 0.00005, 0], ["0.5000", "5.0e-05", "0.0000"]),
        ([0.8066, 1e-7, None, 0], ["0.8066", "1.0e-07", "-", "0.0000"]),
        ([0.8066, -1e-7, 0.00021], ["0.8066", "-1.0e-07", "0.0002"]),
        ([-0.000093, 0.0004, 0], ["-0.000093", "0.000400", "0.000000"]),
        ([1e6, 2.5, 3], ["1.000e+06", "2.5000", "3.0000"]),
        ([2.5, 1234567], ["2.5000", "1234567.0000"]),
        ([1, 20000, None], ["1", "20000", "-"]),
        ([[0.5, 0.25], [1e-9]], ["0.5000 0.2500", "1.0e-09"]),
        ([True, None], ["yes", "-"]),
        ([0.0, None], ["0.0000", "-"]),
    ],
)
def test_the_numbers_of_a_column_are_alike_but_for_very_small_and_large_ones(values, shown):
    assert list(map(number_format(values), values)) == shown
    assert [
        line[0] for line in table([{"a": value} for value in values], columns=["a"]).layout()[1]
    ] == shown


def test_the_columns_of_all_spaces_have_one_format():
    rows = [{"layer": 0, "space": space, "p": p} for space, p in (("x", 0.5), ("y", 1e-6))]
    shown = table(
        rows, columns=["layer", "space", "p"], pivot=Pivot(("layer",), ("space",), ("p",))
    )
    assert shown.layout()[1] == [["0", "0.5000", "1.0e-06"]]


@pytest.fixture
def rated(make_store):
    from datasets_written import write_pairs

    made = make_store(n=40)
    write_pairs(made)
    return made


def test_a_star_only_where_several_layers_compete(cli, rated):
    call = ["query", "similarity", "--store", rated.root, "--format", "markdown"]
    assert cli(*call).stdout.count("*") == 1
    alone = cli(*call, "--layer", "0").stdout
    assert "*" not in alone
    assert re.search(r"-?0\.\d{4}", alone)


@pytest.mark.parametrize("option", ["lowest", "highest"])
def test_the_lowest_or_highest_rows_of_all_spaces_and_layers(cli, rated, option):
    call = ["query", "anisotropy", "--store", rated.root]
    whole = json.loads(cli(*call, "--json").stdout)
    ordered = sorted(whole, key=lambda row: row["anisotropy"], reverse=option == "highest")
    few = [{"place": place, **row} for place, row in enumerate(ordered[:3], 1)]
    result = cli(*call, f"--{option}", "3", "--json")
    assert json.loads(result.stdout) == few
    assert f"The {option} anisotropy of {len(whole)} rows, in order." in result.stderr
    several = len({row["space"] for row in few}) > 1
    header, first, *_ = cli(*call, f"--{option}", "3").stdout.splitlines()
    heads = ["place", *["space"] * several, "layer", "anisotropy"]
    assert header.split("\t") == heads
    assert first.split("\t")[-2:] == [few[0]["layer_name"], f"{few[0]['anisotropy']:.4f}"]
    limits = cli(*call, f"--{option}", "1", "--ci").stdout.splitlines()[0].split("\t")
    assert limits[-3:] == ["anisotropy", "low", "high"]


def test_the_lowest_items_of_an_axis_have_their_texts(cli, made):
    call = ["query", "axis", "--positive", "dog,", "--negative", "cat,", "--store", made.root]
    result = cli(*call, "--model", "toy", "--unit", "word", "--layer", "0", "--lowest", "1")
    header, first = result.stdout.splitlines()
    assert header.split("\t") == ["place", "layer", "rank", "text", "score"]
    assert first.split("\t")[3] == "cat"


def test_rows_without_a_value_have_no_rank(cli, rated):
    call = ["query", "anisotropy", "--store", rated.root, "--transform", "drop:999"]
    result = cli(*call, "--lowest", "3")
    assert result.stdout.split() == ["place", "layer"]
    assert "of 0 rows" in result.stderr
    with pytest.raises(UsageError, match="no values"):
        Store(rated.root).info().lowest(1)


def test_intervals_beside_their_value(cli, refusal, rated):
    call = ["query", "similarity", "--store", rated.root, "--layer", "0,1"]
    rows = json.loads(cli(*call, "--json").stdout)
    inline = cli(*call, "--intervals", "inline").stdout
    for row in rows:
        assert f"{row['spearman']:.4f} [{row['low']:.4f}, {row['high']:.4f}]" in inline
    assert not {"low", "high"} & set(inline.split())
    assert cli(*call, "--intervals", "inline", "--format", "markdown").stdout.count("[") == 2
    assert cli(*call, "--intervals", "columns").stdout == cli(*call).stdout != inline
    assert "is for table, markdown and latex" in refusal(*call, "--intervals", "inline", "--csv")


def test_ids_as_text_only_where_they_are_wanted(cli, made):
    call = ["neighbours", "dog", "--space", "toy.word.last", "--store", made.root]
    numbers = json.loads(cli(*call, "--json").stdout)
    for form in ("json", "jsonl"):
        out = cli(*call, "--format", form, "--ids-as-text").stdout
        texts = (
            json.loads(out) if form == "json" else [json.loads(line) for line in out.splitlines()]
        )
        assert [row["item_id"] for row in texts] == [str(row["item_id"]) for row in numbers]
        assert all(isinstance(row["item_id"], int) for row in numbers)
    assert max(row["item_id"] for row in numbers) > 2**53


def test_layers_sort_by_number_in_pandas(make_store):
    made = make_store(n_blocks=11)
    frame = made.store.query("norms").to_pandas()
    assert list(frame["layer_name"].cat.categories) == [*map(str, range(12)), "raw"]
    pivot = frame.pivot_table("mean", "layer_name", "space", observed=False)
    assert list(pivot.index) == [*map(str, range(12)), "raw"]
    pairs = made.store.query("cka", layers="2,10").to_pandas()
    assert list(pairs["layer_name_2"].cat.categories) == ["2", "10"]


def test_a_piped_table_has_a_header_and_a_line_a_row_separated_by_tabs(cli, made):
    for call in (["info"], ["query", "norms"], ["query", "cka"], ["neighbours", "dog"]):
        header, *lines = cli(*call, "--store", made.root).stdout.splitlines()
        columns = header.split("\t")
        assert len(columns) == len({*columns}) > 1
        assert lines
        assert all(line.count("\t") == len(columns) - 1 for line in lines)


def test_a_terminal_shows_every_column_within_its_width(made, tmp_path):
    call = [*EMBSTORE, "query", "norms", "--store", str(made.root)]
    _, shown, _ = on_terminal(call, 80, stderr=subprocess.PIPE, cwd=tmp_path)
    assert max(map(cell_len, shown.splitlines())) <= 80
    table = made.store.query("norms")
    for space in {*table["space"]}:
        assert space in shown
    for row in table:
        assert f"{row['mean']:.4f}" in shown


def test_rows_of_a_query_stay_together(cli, make_store):
    make_store(texts=["dog", "cat"], model="small")
    made = make_store(texts=["dog", "cat", "cow", "fox"])
    shown = cli("neighbours", "dog", "cat", "--store", made.root, "--layer", "0").stdout
    lines = [line.split()[:2] for line in shown.splitlines()[1:]]
    assert lines == [
        ["dog", "1"],
        ["dog", "2"],
        ["dog", "3"],
        ["cat", "1"],
        ["cat", "2"],
        ["cat", "3"],
    ]
