"""Metrics and neighbours restricted to a list of words, against stores that have only these words,
and brute force.
"""

import json

import numpy as np
import pandas
import polars
import pytest
from datasets_written import write_analogies
from every_metric import INPUTS, SENTENCES, WORDS, stored, write_inputs
from nearest import assert_same, hits, nearest
from sound_stores import problems_of
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import QueryError, SourceError, UnknownNameError, UsageError
from embstore.metrics import METRICS

LISTED = [*WORDS[3:25:2], WORDS[4]]
PARAMETERS = {
    **INPUTS,
    "anisotropy": {"std": True},
    "valnorm": {"missing": "skip", "pleasant": WORDS[3:8], "unpleasant": WORDS[8:14]},
    "axis": {"positive": LISTED[:3], "negative": LISTED[3:6]},
    **{name: {"label": "freq", "label_bins": "0,5,11"} for name in ("knn", "clusters")},
    "probe": {"label": "freq", "folds": 3, "repeats": 1},
    "weat": {
        "missing": "skip",
        "x": WORDS[:8],
        "y": WORDS[8:16],
        "a": WORDS[16:20],
        "b": WORDS[20:26],
    },
}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A store of words with a dataset and a lexicon, and one that has only the listed words of
    it.
    """
    folder = tmp_path_factory.mktemp("words")
    whole = synthetic_store(folder / "whole", texts=WORDS, n_blocks=1, index=False)
    kept = [whole.texts.index(word) for word in LISTED]
    part = synthetic_store(
        folder / "part", texts=LISTED, vectors=whole.vectors[:, kept], n_blocks=1, index=False
    )
    for made in (whole, part):
        write_inputs(made)
        write_analogies(made, "listed", [LISTED[i : i + 4] for i in range(8)], [*"aaaabbbb"])
    return whole.store, part.store


@pytest.mark.slow
@pytest.mark.parametrize(
    "metric",
    [
        name
        for name, metric in METRICS.items()
        if name != "sc-weat" and "word" in (metric.units or ["word"])
    ],
)
@pytest.mark.parametrize("options", [{}, {"transforms": "center"}], ids=["plain", "centred"])
def test_a_metric_of_listed_words_is_that_of_a_store_of_them(words, metric, options):
    whole, part = words
    options = PARAMETERS.get(metric, {}) | options
    found = whole.query(metric, words=[*LISTED, "nowhere", "nobody"], **options)
    right = part.query(metric, **options)
    assert {*found["words_missing"]} == {2}
    assert any(
        "lacks 2 of the 14 words of the list: 'nowhere', 'nobody'." in note for note in found.notes
    )
    for row, expected in zip(found, right, strict=True):
        for name, value in expected.items():
            assert row[name] == (
                pytest.approx(value, abs=1e-9) if isinstance(value, float | list) else value
            ), name


@pytest.mark.parametrize(
    "given",
    [np.array, pandas.Series, polars.Series, iter],
    ids=["numpy", "pandas", "polars", "iter"],
)
def test_words_in_arrays_are_those_of_a_list(words, given):
    store, sets = words[0], {name: PARAMETERS["weat"][name] for name in "xyab"}
    assert (
        store.query("norms", words=given(LISTED)).to_pylist()
        == store.query("norms", words=LISTED).to_pylist()
    )
    found = store.query("weat", **{name: given(texts) for name, texts in sets.items()})
    assert found.to_pylist() == store.query("weat", **sets).to_pylist()
    of_list = store.query("sc-weat", words=WORDS[:3], a=sets["a"], b=sets["b"])
    assert (
        store.query("sc-weat", words=given(WORDS[:3]), a=sets["a"], b=sets["b"]).to_pylist()
        == of_list.to_pylist()
    )


@pytest.mark.parametrize("metric", ["self-similarity", "mev", "anisotropy", "norms"])
def test_listed_words_select_all_their_occurrences(make_store, metric):
    whole = make_store("whole", texts=SENTENCES, unit="occurrence", n_blocks=1, index=False)
    kept = [
        place for place, item in enumerate(whole.items) if item.text in ("the", "bank", "river")
    ]
    found = whole.store.query(metric, words=["the", "bank", "river", "lake"], cache=False)
    where = f"item_id IN ({','.join(str(whole.items[place].id) for place in kept)})"
    right = whole.store.query(metric, where=where, cache=False)
    assert found["n"] == right["n"]
    assert {*found["words_missing"]} == {1}
    value = next(column.name for column in METRICS[metric].columns if column.type == "number")
    assert found[value] == right[value]


def test_a_metric_of_its_own_words_takes_the_list_as_these(words):
    sets = {"a": WORDS[8:12], "b": WORDS[12:16]}
    found = words[0].query("sc-weat", words=WORDS[:2], word=WORDS[2], layers=0, **sets)
    assert sorted(found["word"]) == sorted(WORDS[:3])
    assert "words_missing" not in found.columns


def test_neighbours_among_listed_words_are_those_of_brute_force(make_store):
    made = make_store(n=240, n_blocks=1)
    listed = [f"text{number}" for number in range(3, 240, 7)]
    for query in ("text5", "text10"):  # the second is in the list
        found = made.store.neighbours(query, layers=1, k=6, words=[*listed, "nowhere"])
        assert_same(
            hits(found), nearest(made.texts, made.layer(1), query, 6, {*listed}.__contains__)
        )
        assert {*found["words_missing"]} == {1}
        assert any(
            f"lacks 1 of the {len(listed) + 1} words of the list: 'nowhere'." in note
            for note in found.notes
        )
    both = made.store.neighbours("text5", layers=1, words=listed, where="text LIKE '%3'")
    assert {*both["text"]} == {text for text in listed if text.endswith("3")}


def test_layers_of_two_spaces_count_what_either_lacks(make_store):
    make_store(texts=WORDS, index=False)
    made = make_store(texts=WORDS[5:], model="other", seed=1, index=False)
    found = made.store.query(
        "cka", spaces="toy.word.last", against="other.word.last", words=[*WORDS[:12], "nowhere"]
    )
    assert {*found["words_missing"]} == {6}
    assert {*found["n"]} == {7}


def test_answers_of_a_list_are_stored_and_follow_its_file(root, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("word1\nword2\nword3\nword2\nnowhere\n")
    ask = {"words": file, "spaces": "toy.word.last", "layers": 1}
    first = Store(root).query("isoscore", **ask)
    assert len(stored(root)) == 1
    assert Store(root).cache_state("isoscore", **ask).lookups[0].is_stored
    again = Store(root).query("isoscore", **ask)
    assert (again.to_pylist(), again.notes) == (first.to_pylist(), first.notes)
    assert first["words"] == [str(file)]
    file.write_text("word1\nword2\nword4\n")
    assert Store(root).query("isoscore", **ask)["words_missing"] == [0]
    assert len(stored(root)) == 2
    assert problems_of(Store(root)) == []


def test_a_file_of_pairs_lists_the_words_of_both_columns(make_store, tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("a,b,score\ntext1,text2,1\ntext2,text3,2\n")
    made = make_store(index=False)
    assert made.store.query("norms", layers=0, words=file)["n"] == [3]
    assert {*made.store.vectors(made.space, 0, words=file)[1]} == {"text1", "text2", "text3"}


def test_lists_that_are_missing_or_empty(make_store, tmp_path):
    store = make_store(n=5, index=False).store
    with pytest.raises(QueryError, match="no item is selected"):
        store.query("norms", words=["nowhere"], layers=0)
    with pytest.raises(UsageError, match="words: there is no word in the list"):
        store.query("norms", words=[])
    with pytest.raises(SourceError, match=r"gone\.txt does not exist"):
        store.query("norms", words=tmp_path / "gone.txt")
    with pytest.raises(
        UnknownNameError, match=r"^a single word needs a comma .*: 'text1,'.*unknown dat"
    ):
        store.query("norms", words="text1")


@pytest.fixture
def shown(cli, make_store):
    made = make_store(n=20, index=False)

    def run(*arguments, stdin=None):
        done = cli(*arguments, "--store", made.root, "--format", "json", input=stdin)
        return json.loads(done.stdout), done.stderr

    return run


def test_lists_on_the_command_line(shown, tmp_path):
    (tmp_path / "list.txt").write_text("text1\ntext2\ntext3\n")
    for options, stdin in {
        ("--words", str(tmp_path / "list.txt")): None,
        ("--words", "text1, text2,text3"): None,
        ("--word", "text1", "--word", "text2", "--word", "text3"): None,
        ("--words", "-"): "text1\ntext2\ntext3\n",
        ("--words", "text3,", "--word", "text2", "--word", "text1"): None,
    }.items():
        rows, _ = shown("query", "norms", "--layer", "0", *options, stdin=stdin)
        assert [(row["n"], row["words_missing"]) for row in rows] == [(3, 0)]
        rows, _ = shown("neighbours", "text9", *options, stdin=stdin)
        assert {row["text"] for row in rows} == {"text1", "text2", "text3"}
    _, notes = shown("query", "norms", "--layer", "0", "--word", "text1", "--word", "txt1")
    assert "lacks 1 of the 2 words of the list: 'txt1'." in notes


@pytest.mark.parametrize(
    ("metric", "asked"),
    [
        ("correlate", {"column": "freq"}),
        ("knn", {"label": "freq", "label_bins": 2, "k": 3}),
        ("probe", {"label": "freq", "folds": 3, "repeats": 1}),
    ],
)
def test_spaces_without_values_of_a_column_are_passed_over(tmp_path, metric, asked):
    made = synthetic_store(tmp_path / "store", texts=WORDS, n_blocks=1, index=False)
    write_inputs(made)
    synthetic_store(made.root, texts=["other", "words"], model="bare", n_blocks=1, index=False)
    found = Store(made.root).query(metric, layers=1, **asked)
    assert found["space"] == [made.space]
    with pytest.raises(QueryError, match=r"no item of bare\.word\.last has a value in .* 'freq'"):
        Store(made.root).query(metric, spaces="bare.word.last", **asked)
