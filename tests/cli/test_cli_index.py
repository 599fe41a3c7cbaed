"""``embstore index``, and what it changes for ``neighbours`` and ``info``."""

import json
import re

import pytest
from synthetic import synthetic_store

from embstore.index.building import RecallQueries


@pytest.fixture
def store(tmp_path):
    return synthetic_store(tmp_path / "store", n=80, n_blocks=1, top_form=None).root


def test_it_says_what_was_done_for_each_layer(cli, store):
    result = cli("index", "--kind", "hnsw", "--format", "json")
    assert [
        (row["layer"], row["did"], row["index"], row["n"]) for row in json.loads(result.stdout)
    ] == [(0, "built", "hnsw", 80), (1, "built", "hnsw", 80)]
    again = cli("index", "-q")
    assert again.stderr == ""
    assert again.stdout.splitlines()[0].split() == [
        "space",
        "layer",
        "did",
        "index",
        "n",
        "size",
        "recall",
        "parameters",
    ]
    assert "toy.word.last\t1\tkept\thnsw\t80\t" in again.stdout
    info = json.loads(cli("info", "--json").stdout)[0]
    assert (info["index"], info["index_recall"]) == ("hnsw", 1.0)
    assert re.fullmatch(
        r"m \d+, ef_construction \d+, ef_search \d+(-\d+)?", info["index_parameters"]
    )


def test_layers_spaces_and_models_are_chosen(cli, store):
    synthetic_store(store, n=20, model="other", n_blocks=1, top_form=None)
    done = json.loads(
        cli(
            "index", "--kind", "hnsw", "--model", "other", "--layer", "top", "--format", "json"
        ).stdout
    )
    assert [(row["space"], row["layer"]) for row in done] == [("other.word.last", 1)]
    states = {row["space"]: row["index"] for row in json.loads(cli("info", "--json").stdout)}
    assert states == {"other.word.last": "flat+hnsw", "toy.word.last": "flat"}
    cli("index", "--kind", "none", "--space", "other.word.last")
    assert [row["index"] for row in json.loads(cli("info", "--json").stdout)] == ["none", "flat"]


def test_a_recall_that_is_not_reached_exits_with_1(cli, store, monkeypatch):
    monkeypatch.setattr(RecallQueries, "recall", lambda *_: (0.625, 0.0))
    result = cli("index", "--kind", "hnsw", "--layer", "1", code=1)
    assert (
        "has recall@10 0.6250; 0.99 was wanted. It is kept. For exact answers: embstore neighbours"
        in result.stderr
    )
    assert (
        "recall@10 is 0.625 (wanted: 0.99). For all: --exact" in cli("neighbours", "text5").stderr
    )
    exact = cli("neighbours", "text5", "--exact")
    assert exact.stderr == ""


def test_what_is_asked_wrongly_and_a_store_without_a_space(cli, refusal, store):
    for options, message in (
        (("--recall", "1.5"), "recall must be above 0 and at most 1, not 1.5."),
        (("--store", "nowhere"), "there is no store at"),
    ):
        assert message in refusal("index", *options)
        cli("verify")
    cli("remove", "--space", "toy.word.last", "--yes")
    assert "the store holds no space yet. Fill it with: embstore build" in refusal("index")


@pytest.mark.slow
def test_a_build_says_that_the_recall_of_its_index_was_not_reached(cli, checkpoint, monkeypatch):
    monkeypatch.setattr(RecallQueries, "recall", lambda self, searched, gather: (0.5, 0.0))
    result = cli(
        "build", "words:60", "--model", f"tiny={checkpoint}", "--index", "hnsw", "--store", "new"
    )
    assert (
        "tiny.word.last layer 0: the best hnsw index (ef_search 16) has recall@10 0.5000; 0.99"
        in result.stderr
    )
    assert "recall@10" not in cli("compact", "--store", "new").stderr, "the indexes are kept"
