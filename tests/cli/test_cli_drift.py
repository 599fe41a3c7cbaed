"""``embstore drift``."""

import json

import pyarrow.parquet as pq
import pytest
from synthetic import synthetic_store


@pytest.fixture
def store(tmp_path):
    return synthetic_store(tmp_path / "store", n=30, n_blocks=2, top_form=None, index=False).root


def test_words_are_shown_pair_by_pair(cli, store):
    result = cli("drift", "text3", "text7", "-k", "3")
    header, *lines = [line.split() for line in result.stdout.splitlines()]
    assert header == ["item", "layer", "layer_2", "overlap", "turnover", "lost", "gained"]
    assert [line[:3] for line in lines] == [
        ["text3", "0", "1"],
        ["text3", "1", "2"],
        ["text7", "0", "1"],
        ["text7", "1", "2"],
    ]
    assert "n = 30; k = 3." in result.stderr


def test_items_that_change_most_and_least_are_shown_with_their_means(cli, store):
    result = cli("drift", "--most", "2", "-k", "3")
    header, *lines = [line.split() for line in result.stdout.splitlines()]
    assert header == ["change", "rank", "item", "mean_overlap", "mean_turnover"]
    assert [line[:2] for line in lines] == [
        ["most", "1"],
        ["most", "2"],
        ["least", "1"],
        ["least", "2"],
    ]
    rows = json.loads(cli("drift", "--most", "2", "-k", "3", "--json").stdout)
    assert [f"{row['mean_overlap']:.4f}" for row in rows[::2]] == [line[3] for line in lines]


def test_a_text_with_a_comma_is_one_text(refusal, store):
    assert "'text3, text7'" in refusal("query", "drift", "--text", "text3, text7")


@pytest.mark.slow
def test_rows_in_json_are_those_in_parquet(cli, store):
    synthetic_store(store, n=30, model="other", n_blocks=2, top_form=None, index=False, seed=1)
    arguments = ("drift", "text3", "-k", "2", "--pairs", "all", "--space", "toy.word.last")
    for more in (
        (),
        ("--against", "other.word.last"),
        ("--where", "item_id >= 0", "--sample", "20", "--seed", "1"),
    ):
        rows = json.loads(cli(*arguments, *more, "--json").stdout)
        assert len(rows) == (9 if "--against" in more else 3)
        cli(*arguments, *more, "-o", "drift.parquet")
        assert pq.read_table("drift.parquet").to_pylist() == rows
    as_text = json.loads(cli(*arguments, "--json", "--ids-as-text").stdout)
    assert as_text[0]["item_id"] == str(rows[0]["item_id"])


def test_mistakes_end_with_2_and_the_remedy(refusal, store):
    for arguments, text in (
        (("text",), "Nearest stored texts: 'text0'"),
        (("text3", "--layer", "top"), "choose at least two"),
        (("--pairs", "adjacnt"), "adjacent"),
        (("--against", "toy.word.first"), "toy.word.last"),
        (("--text", "a bank"), "bracket"),
    ):
        assert text in refusal("drift", *arguments)
