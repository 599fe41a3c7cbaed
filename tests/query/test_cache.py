"""Stored answers: what they depend on, and that nobody can tell them from new ones."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import duckdb
import numpy as np
import pytest
from datasets_written import write_pairs
from every_metric import QUERIES, SETS, WORDS, ask, stored
from published import validate
from store_writing import write_items
from synthetic import Synthetic, synthetic_store
from tiny_checkpoint import stored_files

from embstore import Store
from embstore.base import atomic, disk, documents
from embstore.base.errors import DamagedError, QueryError
from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.metrics import METRICS
from embstore.query import cache, layer_pairs
from embstore.query import metric as metric_query
from embstore.storage import answers as files
from embstore.storage.sql import connections
from embstore.storage.views import fence


@pytest.fixture
def computed(monkeypatch):
    """The spaces and layers that were computed."""
    seen = []
    real = metric_query.compute_layers

    def spy(catalog, request, card, layers, *others):
        seen.extend((card.space, layer.id) for layer in layers)
        return real(catalog, request, card, layers, *others)

    monkeypatch.setattr(metric_query, "compute_layers", spy)
    return seen


@pytest.fixture
def compared(monkeypatch):
    """The spaces that were compared."""
    seen = []
    real = layer_pairs.LayerPairs.compute

    def spy(pair, groups):
        seen.append((pair.card.space, pair.other.space))
        return real(pair, groups)

    monkeypatch.setattr(layer_pairs.LayerPairs, "compute", spy)
    return seen


def content(table):
    return table.to_pylist(), table.notes, table.columns, str(table)


@pytest.mark.slow
def test_stored_answers_are_the_computed_ones_and_need_no_vector(root):
    # Groups are found in the tables of items.
    questions = [each for each in QUERIES if "by" not in each[1]]
    answers = [content(ask(root, metric, **question)) for metric, question in questions]
    for (metric, question), answer in zip(questions, answers, strict=True):
        assert answer[0]
        assert content(ask(root, metric, **question, cache=False)) == answer, (metric, question)
    for path in stored(root):
        validate("answer", json.loads(path.read_bytes()))
    assert Store(root).verify().ok
    for folder in ("vectors/", "items/"):
        for path in stored_files(root, folder):
            path.write_bytes(b"")
    for (metric, question), answer in zip(questions, answers, strict=True):
        assert content(ask(root, metric, **question)) == answer, (metric, question)


def test_one_layer_more_is_one_layer_to_compute(root, computed):
    alone = ask(root, "isoscore", spaces="toy.word.last", layers="1,2")
    more = ask(root, "isoscore", spaces=["toy.word.last", "other.word.last"], layers="0-2")
    assert computed == [
        ("toy.word.last", 1),
        ("toy.word.last", 2),
        ("other.word.last", 0),
        ("other.word.last", 1),
        ("toy.word.last", 0),
    ]
    assert [row for row in more.to_pylist() if row["space"] == "toy.word.last"][
        1:
    ] == alone.to_pylist()
    assert content(
        ask(root, "isoscore", spaces=["toy.word.last", "other.word.last"], layers="0-2")
    ) == content(more)


def test_what_was_computed_before_an_interruption_is_kept(root, monkeypatch):
    real = METRICS["isoscore"].function
    done = []

    def interrupted(data, **settings):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(data.summary.n)
        return real(data, **settings)

    monkeypatch.setitem(METRICS, "isoscore", replace(METRICS["isoscore"], function=interrupted))
    with pytest.raises(KeyboardInterrupt):
        ask(root, "isoscore", spaces="toy.word.last", transforms="center")
    state = Store(root).cache_state("isoscore", spaces="toy.word.last", transforms="center")
    assert (
        str(state) == "2 of 4 answers are stored; 2 would be computed: toy.word.last layers 2, raw"
    )


def test_new_shards_are_asked_for_anew_and_those_of_other_spaces_are_not(root, computed):
    before = ask(root, "norms", unit="word", layers=0)
    synthetic_store(
        root, texts=["new"], dim=5, n_blocks=1, model="other", top_form=None, index=False
    )
    computed.clear()
    after = ask(root, "norms", unit="word", layers=0)
    assert computed == [("other.word.last", 0)]
    assert [row["n"] for row in after] == [26, 30]
    assert after.to_pylist()[1] == before.to_pylist()[1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"zeta": 0.5}),
        ({}, {"transforms": "center"}),
        ({"transforms": ["center", "whiten"]}, {"transforms": ["whiten", "center"]}),
        ({}, {"where": "true"}),
        ({"where": "true"}, {"where": "text > 'word2'"}),
        ({}, {"sample": 20}),
        ({"sample": 20}, {"sample": 21}),
        ({"sample": 20}, {"sample": 20, "seed": 1}),
    ],
)
def test_another_question_is_another_answer(root, computed, first, second):
    for question in (first, second):
        answer = ask(root, "isoscore", **question, spaces="toy.word.last", layers=1)
        anew = ask(root, "isoscore", **question, spaces="toy.word.last", layers=1, cache=False)
        assert content(answer) == content(anew)
    assert len(computed) == 4
    assert len(stored(root)) == 2
    ask(root, "isoscore", **first, spaces="toy.word.last", layers=1)
    assert len(computed) == 4


def test_a_seed_matters_only_where_something_is_drawn(root, computed):
    for seed in (0, 1):
        ask(root, "isoscore", seed=seed, spaces="toy.word.last", layers=1)
    assert len(computed) == 1
    for seed in (0, 1):
        ask(root, "norms", ci=True, seed=seed, spaces="toy.word.last", layers=1)
    assert len(computed) == 3, "parts of the items are drawn"


def test_versions_count(root, computed, monkeypatch):
    def again():
        computed.clear()
        ask(root, "isoscore", where="true", spaces="toy.word.last", layers=1)
        return len(computed)

    assert (again(), again()) == (1, 0)
    monkeypatch.setitem(
        METRICS, "isoscore", replace(METRICS["isoscore"], version=METRICS["isoscore"].version + 1)
    )
    assert (again(), again()) == (1, 0)
    monkeypatch.setattr(cache, "SHARED_VERSION", cache.SHARED_VERSION + 1)
    assert (again(), again()) == (1, 0)
    monkeypatch.setattr(np, "__version__", "99.0.1")
    assert (again(), again()) == (1, 0)
    monkeypatch.setattr(np, "__version__", "99.0.2")
    assert again() == 0
    monkeypatch.setattr(connections, "version", lambda: "99.0.1")
    assert (again(), again()) == (1, 0)


def test_a_metric_of_another_package_counts_with_its_version_and_its_function(
    root, computed, monkeypatch
):
    def constant(data, *, zeta):
        return METRICS["isoscore"].empty(data.summary.n, "one")

    def two(data, *, zeta):
        return METRICS["isoscore"].empty(data.summary.n, "two")

    def call_of(function, package):
        computed.clear()
        own = replace(METRICS["isoscore"], name="own", function=function, package=package)
        monkeypatch.setitem(METRICS, "own", own)
        return ask(root, "own", spaces="toy.word.last", layers=1)["reason"][0], len(computed)

    assert call_of(constant, "own 1.0") == ("one", 1)
    assert call_of(constant, "own 1.0") == ("one", 0)
    assert call_of(two, "own 1.0") == ("two", 1)
    assert call_of(two, "own 1.1") == ("two", 1)
    assert call_of(constant, "own 1.0") == ("one", 0)


def test_a_selection_by_sql_depends_on_the_tables_of_items(root, computed):
    question = {
        "where": "item_id IN (SELECT max(item_id) FROM items)",
        "spaces": "toy.word.last",
        "layers": 0,
    }
    ask(root, "isoscore", **question)
    ask(root, "isoscore", **question)
    assert len(computed) == 1
    write_items(root, [Item.whole(Unit.WORD, "another")])
    ask(root, "isoscore", **question)
    assert len(computed) == 2


def test_a_dataset_that_is_stored_anew_is_asked_for_anew(root, computed):
    made = Synthetic(root, Store(root).catalog.cards["toy.word.last"], (), np.empty(0))
    question = {"spaces": "toy.word.last", "layers": 1}
    old = ask(root, "similarity", dataset="pairs", **question)
    every = ask(root, "similarity", **question)
    assert len(computed) == 2
    write_pairs(made, "more", texts=WORDS, seed=7)
    assert content(ask(root, "similarity", dataset="pairs", **question)) == content(old)
    assert len(computed) == 2, "another dataset does not matter to one that is named"
    assert len(ask(root, "similarity", **question)) == 2 * len(every)
    write_pairs(made, "pairs", texts=WORDS, seed=8)
    new = ask(root, "similarity", dataset="pairs", **question)
    assert len(computed) == 4
    assert new["spearman"] != old["spearman"]
    assert content(new) == content(
        ask(root, "similarity", dataset="pairs", **question, cache=False)
    )


def test_a_dataset_that_is_lost_is_named(root):
    store = Store(root)
    assert store.catalog.datasets()
    [file] = stored_files(root, "datasets/pairs-")
    file.unlink()
    with pytest.raises(
        DamagedError,
        match=rf"{file.name} is damaged: it is missing.*embstore repair.*build it again",
    ):
        store.query("similarity", dataset="pairs", spaces="toy.word.last")


def test_words_count_by_what_their_file_holds(root, computed, tmp_path):
    def again(**more):
        given = {key: str(tmp_path / f"{key}.txt") for key in "xyab"} | more
        return ask(root, "weat", **given, spaces="toy.word.last", layers=1)["effect_size"]

    for key in "xyab":
        (tmp_path / f"{key}.txt").write_text(
            "\n".join(word for word in SETS[key] if word != "nowhere")
        )
    first = again()
    assert again() == first
    assert len(computed) == 1
    (tmp_path / "x.txt").write_text("\n".join(WORDS[16:20]))
    assert again() != first
    assert len(computed) == 2
    assert again(x=WORDS[:4]) == first
    assert len(computed) == 3, "messages name the file: a list is another question"
    assert again(x=WORDS[:4]) == first
    assert len(computed) == 3


def test_words_are_read_once_wherever_they_come_from(root, monkeypatch):
    from io import StringIO

    sets = {key: value for key, value in SETS.items() if key != "x"} | {"spaces": "toy.word.last"}
    monkeypatch.setattr(sys, "stdin", StringIO("\n".join(WORDS[:4])))
    given = ask(root, "weat", x=WORDS[:4], **sets)["effect_size"]
    assert ask(root, "weat", x="-", **sets)["effect_size"] == given
    assert ask(root, "weat", x=iter(WORDS[:4]), **sets)["effect_size"] == given


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        "random() < 0.5",
        "year(current_date) > 2000",
        "NOW() IS NOT NULL",
        "item_id IN (SELECT item_id FROM items USING SAMPLE 20)",
        "text != E'\\'' AND random() < 0.5 AND text != ''",
        "/*'*/ random()>0.5 /*'*/",
        "text <> $$'$$ AND random() < 0.5 AND text <> $$'$$",
        '"random"() < 0.5',
        '"current_date" IS NOT NULL',
        "list_sum([random(), 0.1]) > 0.5",
        "item_id IN (SELECT item_id FROM (SELECT item_id, row_number() OVER () AS n FROM items))",
        "item_id IN (SELECT max(item_id) OVER (ROWS 1 PRECEDING) FROM items)",
    ],
)
def test_a_selection_that_changes_is_computed_each_time(root, computed, where):
    question = {"where": where, "spaces": "toy.word.last", "layers": 1}
    for _ in range(2):
        ask(root, "isoscore", **question)
    assert len(computed) == 2
    assert not stored(root)
    assert "may change from one time to the next" in str(
        Store(root).cache_state("isoscore", **question)
    )


def test_words_in_strings_do_not_change(root, computed):
    where = "text NOT IN ('random', 'it''s now', 'today') AND length(text) > 3"
    for _ in range(2):
        ask(root, "isoscore", where=where, spaces="toy.word.last", layers=1)
    assert len(computed) == 1


@pytest.mark.parametrize(
    "where", ["text <> 'a' -- b", "/* a */ text <> 'b'", "\"text\" <> 'a'", "text <> '\"'"]
)
def test_answers_of_conditions_with_comments_or_quoted_names_are_not_stored(root, computed, where):
    question = {"where": where, "spaces": "toy.word.last", "layers": 1}
    for _ in range(2):
        ask(root, "isoscore", **question)
    assert len(computed) == 2
    assert not stored(root)
    assert "`where` has a comment or a quoted name" in str(
        Store(root).cache_state("isoscore", **question)
    )


@pytest.mark.parametrize(
    "where",
    [
        "length(text) > 3 AND text NOT LIKE 'a%' AND text ~ 'b' AND text || 'a' <> text",
        "CASE WHEN text[1] IN ('a', 'b') THEN true ELSE item_id % 2 = 0 END",
        "item_id IN (SELECT item_id FROM items WHERE unit = 'word' ORDER BY text)",
        "trim(lower(text)) IS NOT NULL AND coalesce(text, '') BETWEEN 'a' AND 'z'",
        "TRY_CAST(text AS DOUBLE) > 0 OR -length(text) < 0",
    ],
)
def test_what_always_selects_the_same_has_no_changing_part(where):
    assert fence.changing_part(where) is None


def test_every_constant_function_is_so_in_duckdb():
    """nullif is a macro of CASE."""
    found = duckdb.sql(
        "SELECT function_name FROM duckdb_functions() GROUP BY ALL"
        " HAVING bool_and(stability = 'CONSISTENT') OR any_value(function_name) = 'nullif'"
    ).fetchall()
    assert len(found) > 300
    assert {name for (name,) in found} >= fence._CONSTANT_FUNCTIONS


def test_every_name_of_a_time_is_known():
    """Names that DuckDB evaluates without a table; the others are names of its own."""
    found = set()
    with duckdb.connect() as connection:
        names = connection.execute(
            "SELECT function_name FROM duckdb_functions() UNION SELECT keyword_name"
            " FROM duckdb_keywords() ORDER BY ALL"
        ).fetchall()
        others = ("current_time", "current_timestamp", "localtime", "localtimestamp")
        for name in (*(name for (name,) in names), *others):
            with contextlib.suppress(duckdb.Error):
                connection.execute(f"SELECT {connections.quote_name(name)}")
                found.add(name)
    constant = {"user", "session_user", "current_user", "current_role", "current_schema"}
    assert found - {*constant, "current_catalog"} == fence._TIMES


def test_without_the_cache_all_is_computed_and_nothing_kept(root, computed):
    for _ in range(2):
        ask(root, "isoscore", layers=1, cache=False)
        ask(root, "cka", cache=False)
    assert len(computed) == 2 * 4
    assert not (root / "derived" / "answers").exists()
    ask(root, "isoscore", layers=1)
    [altered, *_] = stored(root)
    altered.write_bytes(altered.read_bytes().replace(b'"n": ', b'"n": 1'))
    before = [path.read_bytes() for path in stored(root)]
    ask(root, "isoscore", layers=1, cache=False)
    assert [path.read_bytes() for path in stored(root)] == before


@pytest.mark.parametrize(
    "failure", ["a file in the way", "full", "read-only", "of a user without rights"]
)
def test_a_store_that_cannot_be_written_answers(root, monkeypatch, failure):
    import errno

    expected = ask(root, "isoscore", cache=False)
    if failure == "a file in the way":
        (root / "derived").write_text("")
    elif failure == "of a user without rights":
        root.chmod(0o555)  # root may write all the same
    else:
        number = errno.ENOSPC if failure == "full" else errno.EROFS

        def fail(*_, **__):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(disk, "write", fail)
    try:
        for _ in range(2):
            assert content(ask(root, "isoscore")) == content(expected)
        if failure in ("full", "read-only"):
            assert not stored(root), "and no temporary file is left"
    finally:
        root.chmod(0o755)


def test_answers_that_are_there_are_given_where_others_cannot_be_written(
    root, compared, monkeypatch
):
    ask(root, "cka", spaces="toy.word.last")
    compared.clear()

    def fail(*_, **__):
        raise PermissionError(13, "no")

    monkeypatch.setattr(disk, "write", fail)
    assert len(ask(root, "cka", unit="word")) == 2 * 2 + 4 * 4
    assert compared == [("other.word.last", "other.word.last")], (
        "which comes first and could not be kept"
    )


@pytest.mark.slow
def test_a_damaged_answer_is_computed_and_stored_anew(root, computed):
    question = {"spaces": "toy.word.last", "layers": 1}
    expected = content(ask(root, "isoscore", **question))
    [path] = stored(root)
    right = path.read_bytes()
    damages = [
        b"",
        right[:-9],
        right.replace(b'"isoscore": 0', b'"isoscore": 1'),
        b"[]",
        b"\xff" + right,
    ]
    damages += [
        right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :] for at in range(0, len(right), 97)
    ]
    for number, damage in enumerate(damages, 2):
        assert damage != right
        path.write_bytes(damage)
        assert content(ask(root, "isoscore", **question)) == expected
        assert len(computed) == number
        assert path.read_bytes() == right
        assert Store(root).verify().ok


def test_the_answer_to_another_question_under_the_same_name_is_none(root, computed):
    ask(root, "isoscore", spaces="toy.word.last", layers=1)
    [first] = stored(root)
    wrong = ask(root, "isoscore", spaces="toy.word.last", layers=2)
    [second] = [path for path in stored(root) if path != first]
    shutil.copy(second, first)
    right = ask(root, "isoscore", spaces="toy.word.last", layers=1)
    assert len(computed) == 3
    assert right["isoscore"] != wrong["isoscore"]
    document = json.loads(first.read_bytes())
    first.write_bytes(atomic.document_bytes({**document, "format": 2}))
    ask(root, "isoscore", spaces="toy.word.last", layers=1)
    assert len(computed) == 4, "of a newer format"


def test_comparisons_are_kept_for_the_layers_that_were_asked(root, compared):
    toy, other = "toy.word.last", "other.word.last"
    for _ in range(2):
        ask(root, "cka", unit="word")
        ask(root, "cka", spaces=toy, layers="0,1")
        ask(root, "cka", spaces=toy, against=other, layers="0,1")
    assert compared == [(other, other), (toy, toy), (toy, toy), (toy, other)]
    synthetic_store(
        root, texts=["new"], dim=5, n_blocks=1, model="other", top_form=None, index=False
    )
    compared.clear()
    ask(root, "cka", unit="word")
    ask(root, "cka", spaces=toy, against=other, layers="0,1")
    assert compared == [(other, other), (toy, other)]


def test_spaces_that_share_no_item_are_told_each_time(root):
    for _ in range(2):
        with pytest.raises(QueryError, match="have no item in common"):
            ask(root, "cka", spaces="toy.sentence.mean", against="toy.word.last")
        table = ask(
            root, "cka", spaces=["toy.sentence.mean", "other.word.last"], against="toy.word.last"
        )
        assert any("have no item in common" in note for note in table.notes)


def test_the_oldest_answers_go(root, monkeypatch):
    ask(root, "isoscore", spaces="toy.word.last")
    old = stored(root)
    for age, path in enumerate(old):
        os.utime(path, (1000 - age, 1000 - age))
    size = 4 * 4096  # small files take a block each
    files.trim_answers(root, size)
    assert stored(root) == old
    files.trim_answers(root, size - 1)
    assert stored(root) == old[:3]
    monkeypatch.setattr(files.trim_answers, "__defaults__", (2 * 4096,))
    ask(root, "isoscore", spaces="toy.word.last", zeta=0.5, layers="0,1")
    assert len(set(stored(root)) - set(old)) == 2, "the new ones stay"
    assert len(stored(root)) == 3, "there is a look at the first one of a question"


def test_a_very_large_answer_is_not_kept(root, monkeypatch):
    monkeypatch.setattr(files, "MAX_ANSWER_BYTES", 10)
    ask(root, "norms")
    assert not (root / "derived" / "answers").exists()
    monkeypatch.setattr(files, "MAX_ANSWER_BYTES", 2000)
    question = {"unit": "occurrence", "layers": 0}
    ask(root, "self-similarity", **question)
    assert len(stored(root)) == 1
    ask(root, "self-similarity", **question, per_word=True, min_contexts=2)
    small = stored(root)
    ask(root, "intra-sentence", **question, per_sentence=True)
    assert max(path.stat().st_size for path in stored(root)) <= 2000
    assert len(stored(root)) <= len(small) + 1


@pytest.mark.slow
def test_processes_may_ask_at_once(root):
    code = (
        "import sys, json; from embstore import Store\nask = Store(sys.argv[1]).query\ntables ="
        " [ask(metric, seed=seed) for seed in range(2) for metric in ('similarity',"
        " 'norms')]\nprint(json.dumps([table.to_pylist() for table in tables]))"
    )
    running = [
        subprocess.Popen((sys.executable, "-c", code, str(root)), stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(set(printed)) == 1
    expected = [
        ask(root, metric, seed=seed, cache=False).to_pylist()
        for seed in range(2)
        for metric in ("similarity", "norms")
    ]
    assert json.loads(printed[0]) == expected
    assert not list((root / "derived" / "answers").glob(".*"))
    assert all(documents.read(path, "answer") for path in stored(root))


def test_which_answers_are_stored_is_told_before_they_are_asked_for(root, computed):
    store = Store(root)
    question = {"unit": "word", "layers": "0-2"}
    state = store.cache_state("isoscore", **question)
    assert (
        str(state) == "0 of 5 answers are stored; 5 would be computed: other.word.last layers 0, 1;"
        " toy.word.last layers 0, 1, 2"
    )
    assert not computed
    store.query("isoscore", unit="word", layers=1)
    state = store.cache_state("isoscore", **question)
    assert str(state).endswith(
        "3 would be computed: other.word.last layer 0; toy.word.last layers 0, 2"
    )
    assert state.to_dict() == {
        "n_answers": 5,
        "n_stored": 2,
        "refused": None,
        "to_compute": [
            {"space": "other.word.last", "space_2": None, "layers": ["0"]},
            {"space": "toy.word.last", "space_2": None, "layers": ["0", "2"]},
        ],
    }
    assert str(store.cache_state("isoscore", unit="word", layers=1)) == "all 2 answers are stored"
    assert (
        str(store.cache_state("isoscore", spaces="toy.word.last", layers=1))
        == "the answer is stored"
    )
    pair = {"spaces": "toy.word.last", "against": "other.word.last"}
    assert (
        str(store.cache_state("cka", **pair))
        == "the answer is not stored; it would be computed: toy.word.last with other.word.last"
        " layers 0, 1, 2, raw"
    )
    store.query("cka", **pair)
    assert str(store.cache_state("cka", **pair)) == "the answer is stored"
