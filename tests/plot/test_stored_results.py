"""Stored results: recognised by their columns, drawn as they are computed, and refused."""

import json

import pytest
from figures import figure_of, texts

from embstore.base.errors import UsageError
from embstore.plot import read_result

ROW = {
    "space": "a.word.last", "layer": 0, "layer_name": "0", "n": 5, "anisotropy": 0.25, "std": None,
    "n_zero": 0, "reason": None, "variant": "raw",
}  # fmt: skip


def test_a_stored_result_is_recognised_by_its_columns(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps([ROW]))
    assert read_result(path).chart == read_result(path, "anisotropy").chart
    path.write_text(f"{json.dumps(ROW)}\n{json.dumps(ROW)}\n")
    assert len(read_result(path)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "list of rows with the same columns"),
        ("[]", "list of rows"),
        (json.dumps([ROW | {"layer": "x"}]), "row 1: layer must be a whole number, not 'x'"),
        (json.dumps([ROW | {"layer_name": None}]), "row 1: layer_name must be text"),
        (json.dumps([ROW | {"step": "1"}]), "row 1: step must be a whole number"),
        ('[{"a": 1}]', "has no column space"),
        (json.dumps([ROW | {"anisotropy": "x"}]), "anisotropy .* number"),
        (json.dumps([{k: v for k, v in ROW.items() if k != "std"}]), "no metric has its columns"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, text, message):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_result(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_result(tmp_path / "absent.json")


def test_stored_cosines_are_drawn_as_they_are_computed(make_store, tmp_path):
    store = make_store(n=4, index=False).store
    path = tmp_path / "cosines.json"
    for pairs in (["text1", "text2"], ["text0", "text1", "text2"]):
        table = store.cosine(pairs)
        path.write_text(json.dumps(table.to_pylist()))
        assert texts(figure_of(read_result(path))) == texts(figure_of(table))
    for name, value in (("cosine", "x"), ("text", 1)):
        path.write_text(json.dumps([table.to_pylist()[0] | {name: value}]))
        with pytest.raises(UsageError, match=f"row 1: {name} must be"):
            read_result(path)
