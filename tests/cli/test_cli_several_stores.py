"""``--store`` given several times."""

import json

from published import validate

from embstore import Stores


def test_query_and_neighbours_take_several_stores(cli, make_store, tmp_path):
    make_store("a", texts=["dog", "cat", "fox"])
    make_store("b", texts=["dog", "cat", "owl", "cow"])
    both = ["--store", "a", "--store", "b"]
    for command, schema in (
        (["query", "norms"], "query/norms"),
        (["neighbours", "dog"], "neighbours"),
    ):
        result = cli(*command, *both, "--json")
        assert result.exit_code == 0, result.stderr
        rows = json.loads(result.stdout)
        validate(schema, rows)
        assert [*dict.fromkeys(row["store"] for row in rows)] == ["a", "b"]
    assert rows == Stores(["a", "b"]).neighbours("dog").to_pylist()
    same_twice = json.loads(cli("query", "norms", "--store", "a", "--store", "a", "--json").stdout)
    assert "store" not in same_twice[0]


def test_what_is_about_one_store_refuses_several(refusal, make_store):
    make_store("a", texts=["dog", "cat", "fox"])
    make_store("b", texts=["dog", "cat", "owl"])
    for command in (["query", "norms", "--explain"], ["info"], ["plot", "norms", "-o", "x.svg"]):
        assert "Keep one of them" in refusal(*command, "--store", "a", "--store", "b")
    assert "nowhere" in refusal("query", "norms", "--store", "a", "--store", "nowhere")
