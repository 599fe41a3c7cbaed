"""Conversions of a table, and how it is printed."""

import sys

import pytest

from embstore.base.errors import UsageError
from embstore.base.table import Pivot, show, table

ROWS = [
    {"space": space, "layer": layer, "layer_name": name, "n": 3, "value": value}
    for space, layer, name, value in [
        ("a", 2, "2", 0.5),
        ("a", 10, "10", None),
        ("a", 11, "raw", 0.25),
        ("b", 2, "2", 1e-7),
        ("b", 3, "3", 0.125),
    ]
]
COLUMNS = ("space", "layer", "layer_name", "n", "value")
PIVOT = Pivot(
    down=("layer_name",), across=("space",), values=("value",), heads=("layer",), order="layer"
)


def made(**arguments):
    return table(ROWS, columns=COLUMNS, **arguments)


def test_conversions_agree():
    t = made()
    assert t.to_pylist() == ROWS
    assert t.to_arrow().to_pylist() == ROWS
    assert t.to_polars().to_dicts() == ROWS
    frame = t.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["value"].isna().tolist() == [False, True, False, False, False]
    assert frame.drop(columns="value").to_dict("records") == [
        {key: value for key, value in row.items() if key != "value"} for row in ROWS
    ]
    assert t["layer"] == [2, 10, 11, 2, 3]
    assert len(t) == 5
    assert list(t) == ROWS


def test_conversions_keep_types_where_a_column_has_lists_large_ids_or_nothing():
    rows = [{"id": 2**63 - 1, "dims": [1, 2], "none": None, "late": None}] * 200
    rows += [{"id": 0, "dims": None, "none": None, "late": 0.5}]
    t = table(rows, columns=("id", "dims", "none", "late"))
    for back in (t.to_arrow().to_pylist(), t.to_polars().to_dicts()):
        assert back == rows
    assert t.to_pandas()["id"][0] == 2**63 - 1


def test_a_column_without_any_value_has_the_type_that_was_declared():
    types = {
        "a": "number", "b": "integer", "c": "string", "d": "boolean", "e": "array of numbers",
        "f": "array of integers",
    }  # fmt: skip
    found = table([dict.fromkeys(types)], columns=tuple(types), types=types)
    full = table(
        [{"a": 0.5, "b": 1, "c": "x", "d": True, "e": [0.5], "f": [1]}],
        columns=tuple(types),
        types=types,
    )
    assert found.to_arrow().schema == full.to_arrow().schema
    assert found.to_polars().schema == full.to_polars().schema
    assert found.to_pylist() == [dict.fromkeys(types)]
    assert table([], columns=("a",), types=types).to_arrow().schema.field("a").type == "double"


def test_an_empty_table_has_its_columns_everywhere():
    t = table([], columns=COLUMNS)
    assert t.to_pylist() == []
    assert (
        tuple(t.to_arrow().column_names)
        == tuple(t.to_pandas().columns)
        == tuple(t.to_polars().columns)
        == COLUMNS
    )
    assert repr(t) == "space  layer  layer_name  n  value"
    assert t["value"] == []
    for unknown in ("valeu", 0):
        with pytest.raises(
            KeyError, match=f"unknown column '{unknown}'.*Known: space, .*list.table. has its rows"
        ):
            t[unknown]


def test_a_row_must_have_every_column_and_loses_what_is_no_column():
    with pytest.raises(KeyError):
        table([{"a": 1}], columns=("a", "b"))
    assert table([{"a": 1, "b": 2}], columns=("a",)).to_pylist() == [{"a": 1}]


def test_layers_go_down_in_numeric_order_and_spaces_across():
    header, lines = made(pivot=PIVOT).layout()
    assert header == ["layer", "a", "b"]
    assert lines == [
        ["2", "0.5000", "1.0e-07"],
        ["3", "", "0.1250"],
        ["10", "-", ""],
        ["raw", "0.2500", ""],
    ]


def test_several_values_have_a_column_each_or_share_one():
    pivot = Pivot(down=("layer_name",), across=("space",), values=("n", "value"), order="layer")
    assert made(pivot=pivot).layout()[0] == ["layer_name", "a n", "a value", "b n", "b value"]
    alone = table(ROWS[:3], columns=COLUMNS, pivot=pivot)
    assert alone.layout()[0] == ["layer_name", "n", "value"]
    named = Pivot(down=("layer_name",), across=("space", "n"), values=("value",))
    assert table(ROWS[:3], columns=COLUMNS, pivot=named).layout()[0] == ["layer_name", "a"]
    joined = Pivot(down=("layer_name",), across=("space",), values=("n", "value"), joined=True)
    header, lines = made(pivot=joined).layout()
    assert header == ["layer_name", "a", "b"]
    assert lines[0] == ["2", "3  0.5000", "3  1.0e-07"]


@pytest.mark.parametrize(
    ("across", "is_joined", "header"),
    [
        (("space", "layer"), False, ["n", "a 2", "a 10", "a 11", "b 2", "b 3"]),
        (("n", "space"), False, ["layer_name", "a", "b"]),
        (("n", "space"), True, ["layer_name", "3 a", "3 b"]),
    ],
)
def test_columns_are_named_by_what_differs_or_by_all_where_values_share_them(
    across, is_joined, header
):
    down = ("n",) if "layer" in across else ("layer_name",)
    pivot = Pivot(down=down, across=across, values=("value",), joined=is_joined)
    assert made(pivot=pivot).layout()[0] == header


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([0.0005, -5e-7, 0.0], ["0.000500", "-5.0e-07", "0.000000"]),
        ([0.001, 0.0005], ["0.0010", "0.0005"]),
        ([0.0005, 2e5, 3], ["0.000500", "2.000e+05", "3.000000"]),
        ([99999.5, 1e5], ["99999.5000", "1.000e+05"]),
        ([0.0, None], ["0.0000", "-"]),
    ],
)
def test_the_numbers_of_a_column_have_the_decimals_that_its_largest_needs(values, cells):
    shown = table([{"value": value} for value in values], columns=("value",))
    assert shown.layout()[1] == [[cell] for cell in cells]


def test_html_is_escaped():
    shown = table([{"text": "<script>&"}], columns=("text",))._repr_html_()
    assert "<td>&lt;script&gt;&amp;</td>" in shown
    assert "<script>" not in shown


def test_a_package_that_is_not_installed_is_named_with_its_command(monkeypatch):
    for package in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            UsageError, match=rf"^{package} is not installed\. Run: pip install {package}$"
        ):
            getattr(table([{"a": 1}], columns=("a",)), f"to_{package}")()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.0000"),
        (-0.5, "-0.5000"),
        (12345.678, "12345.6780"),
        (1e9, "1.000e+09"),
        (0.00012, "1.200e-04"),
        (2**62, str(2**62)),
        ([1, None, 0.5], "1 - 0.5000"),
        ("a b", "a b"),
    ],
)
def test_values_for_the_eye(value, text):
    assert show(value) == text
