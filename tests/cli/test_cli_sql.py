"""``embstore sql``: where the query comes from, parameters, macros, formats, and what is
refused.
"""

import csv
import io
import json
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from embstore_cli.sql import _value
from hypothesis import given
from hypothesis import strategies as st
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import NotStoredError, UnknownNameError
from embstore.base.table import plain

COUNT = "SELECT unit, count(*) AS n FROM items GROUP BY unit ORDER BY unit"


def test_a_query_is_an_argument_a_file_or_standard_input(cli, made, tmp_path):
    expected = cli("sql", COUNT, "--store", made.root, "--json")
    assert json.loads(expected.stdout) == [
        {"unit": unit, "n": n} for unit, n in Store(made.root).sql(COUNT).fetchall()
    ]
    (tmp_path / "q.sql").write_text(COUNT)
    assert (
        cli("sql", "-f", tmp_path / "q.sql", "--store", made.root, "--json").stdout
        == expected.stdout
    )
    assert cli("sql", "--store", made.root, "--json", input=COUNT).stdout == expected.stdout
    assert cli("sql", "-", "--store", made.root, "--json", input=COUNT).stdout == expected.stdout


def test_parameters_are_numbers_or_texts(cli, made):
    done = cli(
        "sql",
        "SELECT $a AS a, $b AS b, $c AS c",
        *("-p", "a=1", "-p", "b=x=y", "-p", "c=1.5"),
        "--store",
        made.root,
        "--json",
    )
    assert json.loads(done.stdout) == [{"a": 1, "b": "x=y", "c": 1.5}]
    hostile = "'; DROP VIEW items; --"
    done = cli("sql", "SELECT $a AS a", "-p", f"a={hostile}", "--store", made.root, "--json")
    assert json.loads(done.stdout) == [{"a": hostile}]


@given(st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_value_in_digits_is_a_number(value):
    read = _value(str(value))
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    ["nan", "infinity", "inf", "1_000", " 1", "1 ", "", "dog", "٣", "1e", ".", "0x10", "--1"],
)
def test_a_value_that_is_not_in_digits_is_text(text):
    assert _value(text) == text


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "markdown", "latex", "parquet"])
def test_every_format_has_all_rows(cli, made, tmp_path, form):
    file = tmp_path / "out"
    select = "SELECT item_id, text, [1.5, 2] AS list FROM items ORDER BY item_id"
    done = cli("sql", select, "--store", made.root, "--format", form, "-o", file)
    assert done.stdout == ""
    rows = Store(made.root).sql(select).fetchall()
    if form == "parquet":
        assert pq.read_table(file).column("item_id").to_pylist() == [row[0] for row in rows]
    elif form == "csv":
        found = list(csv.reader(io.StringIO(file.read_text())))
        assert [row[:2] for row in found[1:]] == [[str(row[0]), row[1]] for row in rows]
    elif form in ("json", "jsonl"):
        text = file.read_text()
        found = json.loads(text) if form == "json" else [*map(json.loads, text.splitlines())]
        assert found == [{"item_id": row[0], "text": row[1], "list": [1.5, 2.0]} for row in rows]
    else:
        lines = file.read_text().splitlines()
        assert len(lines) == len(rows) + {"table": 1, "markdown": 2, "latex": 6}[form]


def test_more_rows_than_are_in_memory_at_a_time_are_written(cli, made):
    done = cli("sql", "SELECT range AS n FROM range(25000)", "--store", made.root, "--csv")
    assert done.stdout.split() == ["n", *map(str, range(25000))]


def test_values_that_json_lacks_are_written_as_text_or_null(cli, made):
    select = (
        "SELECT date '2020-01-02' AS d, 1.5::DECIMAL(3, 1) AS x, 'NaN'::DOUBLE AS nan, 'ab'::BLOB"
        " AS b, {'k': [1, NULL]} AS s, true AS t"
    )
    [row] = json.loads(cli("sql", select, "--store", made.root, "--json").stdout)
    assert row == {
        "d": "2020-01-02",
        "x": 1.5,
        "nan": None,
        "b": "6162",
        "s": {"k": [1, None]},
        "t": True,
    }
    assert json.loads(cli("sql", select, "--store", made.root, "--format", "jsonl").stdout) == row
    assert plain(float("-inf")) is None


def test_raw_is_the_first_value_alone(cli, refusal, made):
    n = Store(made.root).sql("SELECT count(*) FROM items").fetchall()[0][0]
    assert (
        cli("sql", "--raw", "SELECT count(*) FROM items", "--store", made.root).stdout == f"{n}\n"
    )
    assert (
        cli("sql", "--raw", "SELECT '\\xAA\\x00b'::BLOB", "--store", made.root).stdout_bytes
        == b"\xaa\x00b"
    )
    assert "gives no row" in refusal("sql", "--raw", "SELECT 1 WHERE false", "--store", made.root)


def test_the_views_and_macros_are_listed_a_line_each(cli, made):
    lines = cli("sql", "--tables", "--store", made.root).stdout.splitlines()
    by_name = {line.split("\t")[0].split()[0]: line for line in lines}
    assert {
        "items",
        "embeddings",
        "spaces",
        "summaries",
        "skipped",
        "vec(space,",
        "cosine(a,",
    } <= by_name.keys()
    assert "item_id BIGINT, unit VARCHAR, text VARCHAR" in by_name["items"]
    for name in ("items", "embeddings", "spaces", "summaries", "skipped"):
        [described] = [line.partition("\t")[2] for line in lines if line.startswith(f"{name}\t")]
        columns = Store(made.root).sql(f"DESCRIBE {name}").fetchall()
        assert described == ", ".join(f"{row[0]} {row[1]}" for row in columns)


def test_a_plan_is_shown(cli, made):
    for call in (
        ["--explain", COUNT],
        [f"EXPLAIN {COUNT}", "--raw"],
        [f"  explain analyze {COUNT}"],
    ):
        done = cli("sql", *call, "--store", made.root)
        assert "\\n" not in done.stdout
        assert len(done.stdout.splitlines()) > 3


def test_macros_give_what_the_store_gives(made):
    store = Store(made.root)
    space = "toy.word.last"
    ids, texts, vectors = store.vectors(space, 1)
    [(vector,)] = store.sql("SELECT vec($s, 1, $t)", {"s": space, "t": texts[3]}).fetchall()
    assert np.array_equal(np.array(vector, np.float32), vectors[3])
    unit = vectors.astype(np.float64) / np.linalg.norm(
        vectors.astype(np.float64), axis=1, keepdims=True
    )
    cosines = unit @ unit[3]
    select = (
        "SELECT text, cosine(vec('toy.word.last', 1, text), vec('toy.word.last', 1, $t)) FROM items"
        " WHERE unit = 'word'"
    )
    found = {
        text: cosine
        for text, cosine in store.sql(select, {"t": texts[3]}).fetchall()
        if text in set(texts)
    }
    assert found == pytest.approx(dict(zip(texts, cosines, strict=True)), abs=1e-12)
    rows = store.sql(
        "SELECT * FROM neighbours($s, 1, $t, k := 4)", {"s": space, "t": texts[3]}
    ).fetchall()
    order = sorted(
        (row for row in range(len(ids)) if row != 3), key=lambda row: (-cosines[row], ids[row])
    )[:4]
    assert [(row[0], row[2]) for row in rows] == [
        (rank + 1, texts[row]) for rank, row in enumerate(order)
    ]
    assert [row[3] for row in rows] == pytest.approx([cosines[row] for row in order], abs=1e-12)
    named = store.neighbours(texts[3], spaces=space, layers=1, k=4, exact=True)
    assert named["text"] == [row[2] for row in rows]
    assert store.sql("SELECT vec('toy.word.last', 1, 'never stored')").fetchall() == [(None,)]
    [(norm, above)] = store.sql(
        "SELECT norm(v), list_filter(v, lambda x: x > 0) FROM (SELECT vec($s, 1, $t) AS v)",
        {"s": space, "t": texts[3]},
    ).fetchall()
    assert norm == pytest.approx(np.linalg.norm(vectors[3].astype(np.float64)), rel=1e-12)
    assert above == [x for x in vectors[3].tolist() if x > 0]


@pytest.mark.slow
def test_zero_vectors_have_no_cosine_and_are_no_neighbours(tmp_path):
    """As in the commands, with the same numbers, and ties in the order of the ids."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(1, 30, 8))
    vectors[:, :, 0] *= 1000  # a massive dimension, where float32 would give other digits
    vectors[:, [3, 4, 11]] = 0
    vectors[:, 20:25] = vectors[:, 5:6]  # five ties
    made = synthetic_store(
        tmp_path / "s",
        vectors=vectors,
        texts=[f"t{row}" for row in range(30)],
        n_blocks=0,
        top_form=None,
    )
    exact = made.layer(0).astype(np.longdouble)
    store, space = made.store, made.space
    cosine = "SELECT cosine(vec($s, 0, $a), vec($s, 0, $b))"
    for other in range(1, 30):
        [(found,)] = store.sql(cosine, {"s": space, "a": "t0", "b": f"t{other}"}).fetchall()
        named = store.cosine(["t0", f"t{other}"], spaces=space)["cosine"]
        if other in (3, 4, 11):
            assert [found] == named == [None]
        else:
            expected = (
                exact[0]
                @ exact[other]
                / np.sqrt((exact[0] @ exact[0]) * (exact[other] @ exact[other]))
            )
            assert found == pytest.approx(float(expected), abs=1e-15)
            assert [f"{found:.12f}"] == [f"{value:.12f}" for value in named]
    rows = store.sql(
        "SELECT text, cosine FROM neighbours($s, 0, 't5', k := 30)", {"s": space}
    ).fetchall()
    assert len(rows) == 26
    assert not {"t3", "t4", "t11"} & {text for text, _ in rows}
    tied = sorted(range(20, 25), key=lambda row: made.ids[row])
    assert rows[:5] == [(f"t{row}", pytest.approx(1, abs=1e-15)) for row in tied]
    assert store.sql("FROM neighbours($s, 0, 't3')", {"s": space}).fetchall() == []


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.01, 1, 100])
def test_neighbours_of_nearly_constant_vectors_are_in_one_order(tmp_path, spread):
    """Cosines that differ by no more than rounding: SQL, a scan and an index order the numbers that
    they show.
    """
    vectors = 10_000 + spread * np.random.default_rng(0).normal(size=(1, 40, 16))
    vectors[:, 30:] = vectors[:, :10]  # whose cosines are the same number
    made = synthetic_store(tmp_path / "s", dim=16, vectors=vectors, n_blocks=0, top_form=None)
    store, space = made.store, made.space
    for text in made.texts:
        rows = store.sql(
            "SELECT item_id, cosine FROM neighbours($s, 0, $t)", {"s": space, "t": text}
        ).fetchall()
        assert rows == sorted(rows, key=lambda row: (-row[1], row[0]))
        for exact in (True, False):
            named = store.neighbours(text, spaces=space, exact=exact)
            assert [*zip(named["item_id"], named["cosine"], strict=True)] == rows


def test_neighbours_of_each_row_are_those_of_each_text(tmp_path):
    made = synthetic_store(tmp_path / "s", n=12, n_blocks=0, top_form=None)
    select = (
        f"SELECT n.rank, n.text, n.cosine FROM neighbours('{made.space}', 0, $text, k := 3) n ORDER"
        " BY rank"
    )
    of_each = (
        f"SELECT i.text, n.rank, n.text, n.cosine FROM items i, neighbours('{made.space}', 0,"
        " i.text, k := 3) n"
    )
    found = made.store.sql(f"{of_each} ORDER BY ALL").fetchall()
    assert len(found) == 36
    for text in made.texts:
        rows = made.store.sql(select, {"text": text}).fetchall()
        assert [row[1:] for row in found if row[0] == text] == rows


@pytest.mark.parametrize("select", ["*", "count(*)", "max(cosine)"])
def test_neighbours_of_what_is_not_stored_are_an_error_with_the_nearest(made, select):
    store = Store(made.root)

    def ask(*arguments):
        names = {f"a{at}": value for at, value in enumerate(arguments)}
        store.sql(
            f"SELECT {select} FROM neighbours({', '.join(f'${name}' for name in names)})", names
        ).fetchall()

    with pytest.raises(NotStoredError) as caught:
        ask("toy.word.last", 1, "Txet3")
    near = store.catalog.nearest_texts("Txet3", ["toy.word.last"])
    assert near[0] == "text3"
    listed = ", ".join(map(repr, near))
    assert (
        str(caught.value)
        == f"'Txet3' is not in toy.word.last. Nearest stored texts: {listed}. Add it with embstore"
        " build."
    )
    with pytest.raises(
        UnknownNameError, match=r"unknown space 'toy.word.lats'\. Did you mean 'toy.word.last'"
    ):
        ask("toy.word.lats", 1, "text3")
    with pytest.raises(
        UnknownNameError,
        match=r"unknown layer '9'\. .*Known: 0, 1, 2.* In SQL a layer is its number\.",
    ):
        ask("toy.word.last", 9, "text3")
    with pytest.raises(UnknownNameError, match="unknown space 'NULL'"):
        ask(None, 1, "text3")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["COPY items TO 'x'"], "a store is only read: give one SELECT statement"),
        (["EXPLAIN COPY items TO 'x'"], "a store is only read: give one SELECT statement"),
        (["SELECT 1; SELECT 2"], "give one SELECT statement"),
        (["SELECT $a"], "no value is given for the parameter $a: -p a=VALUE"),
        (["SELECT $a", "-p", "a"], "-p takes a name and a value: -p a=VALUE"),
        (["SELECT * FROM item"], "no view 'item', and SQL reads nothing else. Did you mean items?"),
        (
            ["FROM neighbours('toy.word.last', 1, 'text\x1f3\n')"],
            "'text\\x1f3\\n' is not in toy.word.last. Nearest",
        ),
        (
            ["SELECT CAST('neighbours of what is not stored: [1]' AS INT)"],
            "Could not convert string",
        ),
        (["SELECT * FROM embeddings WHERE layer = 'output'"], "In SQL a layer is its number"),
        (
            ["SELECT list_transform([1], x -> x + 1)"],
            "Write lambda x: x + 1 instead of x -> x + 1.",
        ),
        (["SELECT 1", "-f", "x"], "a query was given, and --file too"),
        (["SELECT $a", "-p", "a=1", "-p", "$a=2"], "-p a was given twice"),
        (["SELECT 1", "--tables"], "--tables and a query do not go together"),
        (["SELECT 1", "--explain", "--raw"], "--explain and --raw do not go together"),
        (["-f", "absent.sql"], "absent.sql cannot be read: No such file or directory"),
        (
            ["SELECT count(*) FROM range(100000000) a, range(1000000)", "--timeout", "0.2"],
            "longer than its limit of",
        ),
        (["SELECT list(range) FROM range(1000000000)", "--memory", "20MB"], "memory"),
        (["SELECT 1", "--timeout", "-1"], "timeout must be a number of seconds above 0"),
        (
            ["SELECT 1", "--memory", "1" + 22 * "0"],
            "the memory for SQL must be at most 9,223,372 TB",
        ),
    ],
)
def test_what_cannot_be_answered_is_said(refusal, made, words, message):
    assert message in refusal("sql", *words, "--store", made.root)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_time_limit_covers_what_is_written(refusal, made, form):
    """Rows of which each batch is made at once, and all of them take many times the limit."""
    words = [
        "SELECT range, hash(range) FROM range(300_000_000)",
        "--timeout",
        "1",
        "--format",
        form,
        "-o",
        "out",
    ]
    start = time.process_time()
    assert "longer than its limit of 1 s" in refusal("sql", *words, "--store", made.root)
    assert time.process_time() - start < 30


def test_a_query_that_fails_leaves_the_output_file(cli, made, tmp_path):
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        (tmp_path / name).write_text("kept")
        cli("sql", "SELECT error('no') FROM items", "--store", made.root, "-o", name, code=2)
        assert (tmp_path / name).read_text() == "kept"
