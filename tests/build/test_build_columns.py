"""Columns that a build keeps with its items, beside what pandas reads from the same files."""

import gzip
import json
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept_columns import write_column_table
from tiny_checkpoint import stored_files

from embstore import Store
from embstore.base.errors import DamagedError, SourceError, UnknownNameError, UsageError
from embstore.storage.catalog import Catalog
from embstore.storage.item_lookup import column_types, column_values
from embstore.storage.tables import column_schema

CSV = """text,pos,freq,share,known,code,empty
dog,NOUN,12,0.5,true,007,
runs,VERB,-3,1e-3,FALSE,12,
,NOUN,1,1,true,1,
the,"DET, or so",,NA,,x,
NA,NA,9007199254740993,.25,true,8,
dog,,12,,,,
"""
KINDS = {"pos": "string", "freq": "int64", "share": "float64", "known": "bool", "code": "string"}


@pytest.fixture
def build(build, tmp_path):
    """Build the column ``text`` of a file."""
    return lambda file, **options: build(
        str(tmp_path / file), **{"columns": "text", "index": "none", **options}
    )


def _stored(root, space="tiny.word.last"):
    """The columns of a space's items by text, None where they are null."""
    catalog = Catalog(root)
    ids = catalog.ids(space)
    names = [name for name in column_types(catalog, space) if name in catalog.columns.types]
    found = column_values(catalog, space, names, ids)
    texts = catalog.items(ids.tolist())
    frame = pd.DataFrame(
        {
            n: pd.Series(
                [None if null else v for v, null in zip(c.values, c.is_null, strict=True)],
                dtype=object,
            )
            for n, c in found.items()
        }
    )
    return frame.set_axis([texts[item].text for item in ids.tolist()]).sort_index()


def _kinds(root):
    """The types of the columns of the sources; that of the numbers of tokens is there too."""
    found = Catalog(root).columns.types
    assert found.pop("n_tokens.tiny.word.last") == "int64"
    return found


def test_columns_of_a_csv_are_typed_and_stored_once(build, tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    report = build("a.csv", keep="all")
    assert _kinds(tmp_path / "store") == KINDS
    stored = _stored(tmp_path / "store")
    expected = pd.read_csv(tmp_path / "a.csv", dtype=object, keep_default_na=False).query(
        "text != ''"
    )
    expected = expected.drop_duplicates("text").set_index("text").sort_index()
    assert stored["pos"].tolist() == expected["pos"].tolist()
    assert stored["code"].tolist() == expected["code"].tolist()
    shares = pd.to_numeric(expected["share"].replace("NA", ""))
    assert stored["share"].tolist() == [None if pd.isna(value) else value for value in shares]
    assert stored["freq"].tolist() == [int(value) if value else None for value in expected["freq"]]
    assert stored["known"].tolist() == [True, True, False, None]
    n_new = {"pos": 4, "freq": 3, "share": 3, "known": 3, "code": 4, "empty": 0}
    assert {column.name: column.n_new for column in report.columns} == n_new
    assert "column empty: no value in these sources, so nothing is stored" in str(report)
    assert "column freq (int64): 3 values stored" in report.lines()
    before = stored_files(tmp_path / "store", "columns/")
    again = build("a.csv", keep="all")
    assert stored_files(tmp_path / "store", "columns/") == before
    assert "column freq (int64): 0 values stored, 3 already there" in again.lines()


def test_columns_are_added_to_items_that_have_vectors(build, tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    build("a.csv")
    assert _kinds(tmp_path / "store") == {}
    report = build("a.csv", keep=["pos", "freq"])
    assert [(space.embedded, space.present) for space in report.spaces] == [(0, 4)]
    assert _stored(tmp_path / "store")["pos"].tolist() == ["NA", "NOUN", "VERB", "DET, or so"]
    assert _kinds(tmp_path / "store") == {"freq": "int64", "pos": "string"}


@pytest.mark.slow
def test_the_same_columns_from_every_kind_of_file(build, tmp_path):
    frame = pd.DataFrame(
        {
            "text": ["a", "b", "c"],
            "n": pd.array([1, None, 3], "Int64"),
            "x": [0.5, float("nan"), 2.0],
            "yes": pd.array([True, False, None], "boolean"),
            "pos": pd.Categorical(["N", None, "V"]),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    found = []
    for name in ("t.csv", "t.tsv", "t.jsonl", "t.parquet"):
        build(name, keep="all")
        found.append(_stored(tmp_path / "store"))
        report = build("t.csv", keep="all")  # the same values in files with and without types
        assert [column.n_new for column in report.columns] == [0, 0, 0, 0]
        # The other one is of the numbers of tokens.
        assert len(stored_files(tmp_path / "store", "columns/")) == 2
    for other in found[1:]:
        pd.testing.assert_frame_equal(found[0][sorted(found[0])], other[sorted(other)])
    assert found[0]["n"].tolist() == [1, None, 3]


def test_occurrences_have_the_columns_of_their_sentence(build, tmp_path):
    (tmp_path / "s.jsonl").write_text(
        '{"text": "a bank here", "label": 1}\n{"text": "the bank", "label": 0}\n'
    )
    build("s.jsonl", keep="label", unit="occurrence")
    catalog = Catalog(tmp_path / "store")
    [space] = catalog.cards
    ids = catalog.ids(space)
    values = column_values(catalog, space, ["label", "position"], ids)
    items = catalog.items(ids.tolist())
    assert values["label"].values.tolist() == [
        int("here" in (items[i].context or "")) for i in ids.tolist()
    ]
    assert sorted(values["position"].values.tolist()) == [0, 0, 1, 1, 2]


def test_an_item_with_two_values_is_refused_with_both(build, tmp_path):
    (tmp_path / "a.csv").write_text("text,pos\ndog,NOUN\ncat,NOUN\ndog,VERB\n")
    message = r"1 item of .* several values of the column 'pos': 'dog' has 'NOUN' \(.*a.csv:2\) and 'VERB' \(.*:4\)"
    with pytest.raises(SourceError, match=message):
        build("a.csv", keep="pos")
    assert not (tmp_path / "store").exists()
    with pytest.raises(SourceError, match="several values"):
        build("a.csv", keep="pos", dry_run=True)
    (tmp_path / "a.csv").write_text("text,pos,x\ndog,NOUN,1\ncat,NOUN,1\ndog,,1.0\n")
    assert [column.kind for column in build("a.csv", keep=["pos", "x"]).columns] == [
        "string",
        "float64",
    ]
    (tmp_path / "b.csv").write_text("text,pos\ndog,VERB\nnew,\n")
    with pytest.raises(
        SourceError,
        match=r"'dog' has 'VERB' \(.*b.csv:2\) and 'NOUN' \(stored\).*remove --column 'pos'",
    ):
        build("b.csv", keep="pos")
    assert len(_stored(tmp_path / "store")) == 2


@pytest.mark.parametrize(
    ("content", "keep", "error", "message"),
    [
        (
            "text,pos\na,N\n",
            "poss",
            UnknownNameError,
            r"unknown column 'poss'\. Did you mean 'pos'.*with `keep`",
        ),
        (
            "text,pos\na,N\n",
            "text",
            UsageError,
            "keep='text' cannot be kept: the name is one of embstore's own",
        ),
        ("text,Space\na,N\n", "Space", UsageError, "Space. cannot be kept.*Rename the column"),
        ("text,a,A\na,N,N\n", ["a", "A"], UsageError, "given twice"),
        ("text,pos,pos\na,N,V\n", "pos", SourceError, "2 columns named 'pos'"),
        ("text,pos\na,N\n", ["all", "pos"], UsageError, "leave the other names out"),
    ],
)
def test_columns_that_cannot_be_kept(build, tmp_path, content, keep, error, message):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(error, match=message):
        build("a.csv", keep=keep)


def test_all_leaves_out_what_cannot_be_kept_and_says_so(build, tmp_path):
    rows = [{"text": "a", "step": 3, "tags": ["x"], "n": 1}, {"text": "b", "n": 2.5, "late": "x"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = build("a.jsonl", keep="all")
    assert [(column.name, column.kind) for column in report.columns] == [
        ("n", "float64"),
        ("late", "string"),
    ]
    assert [note for note in report.notes if "is not kept" in note] != []
    assert any(
        "'step' is not kept: the name is one of embstore's own" in note for note in report.notes
    )
    assert any("'tags' is not kept: it has an array" in note for note in report.notes)


def test_types_that_do_not_agree_and_sources_without_columns_are_refused(build, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "x": 1}\n{"text": "b", "x": "two"}\n')
    with pytest.raises(
        SourceError,
        match=r"'x' has values of several types: an integer '1' .*a string 'two' \(.*:2\)",
    ):
        build("a.jsonl", keep="x")
    (tmp_path / "a.csv").write_text("text,x\na,1\n")
    build("a.csv", keep="x")
    (tmp_path / "b.csv").write_text("text,x\nb,2\nc,2.5\n")
    with pytest.raises(
        SourceError,
        match=r"b.csv:3: '2.5' does not fit the column 'x', which is of type int64 in this",
    ):
        build("b.csv", keep="x")
    (tmp_path / "c.csv").write_text("text,X\nb,2\n")
    with pytest.raises(SourceError, match="only in letter case"):
        build("c.csv", keep="X")
    (tmp_path / "a.txt").write_text("a\n")
    with pytest.raises(
        UsageError, match=r"keep=\'pos\' does not fit .*a.txt, which has no columns but file and"
    ):
        build("a.txt", keep="pos", columns=())


def test_file_and_line_are_columns_of_every_source(build, tmp_path):
    (tmp_path / "eng.txt").write_text("one\n\ntwo\n")
    with gzip.open(tmp_path / "deu.txt.gz", "wt") as file:
        file.write("eins\nzwei\n")
    (tmp_path / "fra.csv").write_text("text,line\nun,7\n")
    (tmp_path / "spa.jsonl").write_text('{"text": "uno"}\n\n{"text": "dos"}\n')
    pq.write_table(pa.table({"text": ["um", "dois"]}), tmp_path / "por.parquet")
    build("eng.txt", keep=("line", "file"), columns=())
    build("deu.txt.gz", keep=("file", "line"), columns=())
    for name in ("fra.csv", "spa.jsonl", "por.parquet"):
        build(name, keep=("file", "line"))
    stored = _stored(tmp_path / "store")
    assert stored["file"].to_dict() == {
        **dict.fromkeys(("one", "two"), "eng"),
        **dict.fromkeys(("eins", "zwei"), "deu"),
        **dict.fromkeys(("uno", "dos"), "spa"),
        **dict.fromkeys(("um", "dois"), "por"),
        "un": "fra",
    }
    assert stored["line"].to_dict() == {
        "one": 1, "two": 3, "eins": 1, "zwei": 2, "un": 7, "uno": 1, "dos": 3, "um": 1, "dois": 2,
    }  # fmt: skip
    assert _kinds(tmp_path / "store") == {"file": "string", "line": "int64"}


def test_all_columns_are_those_of_the_table(build, tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    build("a.csv", keep="all")
    assert not {"file", "line"} & _kinds(tmp_path / "store").keys()


def test_a_lost_table_of_columns_is_named(build, tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    build("a.csv", keep="all")
    [file] = [
        path
        for path in stored_files(tmp_path / "store", "columns/")
        if "pos" in pd.read_parquet(path)
    ]
    file.unlink()
    build("a.csv")
    for ask in (lambda: build("a.csv", keep="all"), lambda: _stored(tmp_path / "store")):
        with pytest.raises(DamagedError, match=f"{file.name} is damaged: it is missing"):
            ask()


def test_a_cell_that_turns_a_column_to_strings_is_named(build, tmp_path):
    (tmp_path / "a.csv").write_text(
        "text,freq,yes,code,none\na,1,true,1,NA\nb,2.5,false,x,\nc,NA,no,y,N/A\nd,n.a.,true,3,\ne,3,true,4,NA\n"
    )
    report = build("a.csv", keep="all")
    assert "  of type string, since 1 of 4 values is no number: 'n.a.' (" in str(report)
    assert [
        (column.name, (column.oddity or "").rpartition("/")[2]) for column in report.columns
    ] == [
        ("freq", "a.csv:5)"),
        ("yes", "a.csv:4)"),
        ("code", "a.csv:3) is the first"),
        ("none", ""),
    ]
    assert "column none: no value in these sources, so nothing is stored" in report.lines()
    assert _kinds(tmp_path / "store") == {"code": "string", "freq": "string", "yes": "string"}


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word", "occurrence"])
def test_numbers_of_tokens_are_those_of_the_tokenizer(build, tmp_path, checkpoint, unit):
    import transformers

    lines = ["the quick banks", "seashells", "a naïve é"]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    space = f"tiny.{unit}.last"
    before = build("a.txt", columns=(), unit=unit, template=" {text}")
    assert not before.columns
    files = stored_files(tmp_path / "store", "columns/")
    Store(tmp_path / "store").remove(columns=f"n_tokens.{space}")
    report = build("a.txt", columns=(), unit=unit, template=" {text}")
    assert [(space.embedded, space.present) for space in report.spaces] == [(0, before.n_items)]
    # The same numbers, without the model.
    assert stored_files(tmp_path / "store", "columns/") == files
    catalog = Catalog(tmp_path / "store")
    assert column_types(catalog, space)["n_tokens"] == "int64"
    items = catalog.items(catalog.ids(space).tolist())
    found = column_values(catalog, space, ["n_tokens"], catalog.ids(space))["n_tokens"]
    assert not found.is_null.any()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    for item, n_tokens in zip(catalog.ids(space).tolist(), found.values.tolist(), strict=True):
        text, span = (
            items[item].context or items[item].text,
            items[item].span or (0, len(items[item].text)),
        )
        encoded = tokenizer(f" {text}", return_offsets_mapping=True)
        special = set(tokenizer.all_special_ids)
        inside = [
            start
            for token, (start, end) in zip(
                encoded["input_ids"], encoded["offset_mapping"], strict=True
            )
            if token not in special and start < span[1] + 1 and end > span[0] + 1
        ]
        assert n_tokens == len(inside), items[item]
    build("a.txt", columns=(), unit=unit, template=" {text}")
    assert stored_files(tmp_path / "store", "columns/") == files
    assert len(catalog.select(f'"n_tokens.{space}" > 1')) == int((found.values > 1).sum())
    assert len(catalog.select("N_TOKENS > 1", space=space)) == int((found.values > 1).sum())
    with pytest.raises(UnknownNameError, match="n_tokens"):
        catalog.select("n_tokens > 1")
    store = Store(catalog.root)
    assert set(store.query("norms", where="n_tokens > 1", spaces=space)["n"]) == {
        int((found.values > 1).sum())
    }
    assert not store.info().notes, "only columns of sources are pointed out"
    [row] = [dict(row) for row in store.columns() if row["origin"] == "stored"]
    assert (row["column"], row["items"]) == (f"n_tokens.{space}", before.n_items)
    assert row["meaning"] == "number of tokens, without special tokens, template and prompt"
    store.remove(space)
    assert Catalog(tmp_path / "store").columns.types == {}
    stale = pa.table(
        [sorted(items), [99] * len(items)], schema=column_schema({f"n_tokens.{space}": "int64"})
    )
    # As a space of that name may have left it in an older version.
    write_column_table(catalog.files, stale)
    build("a.txt", columns=(), unit=unit, template=" {text}")
    assert stored_files(tmp_path / "store", "columns/") == files


def test_a_column_of_the_name_of_the_numbers_of_tokens_cannot_be_kept(build, tmp_path):
    (tmp_path / "a.csv").write_text("text,n_tokens\ndog,7\n")
    with pytest.raises(UsageError, match=r"'n_tokens' cannot be kept: the name is one of emb"):
        build("a.csv", keep="n_tokens")


def test_targets_have_the_columns_of_their_rows(build, tmp_path):
    rows = [
        "text,start,end,sense",
        "a bank by a bank,2,6,river",
        "a bank by a bank,12,16,money",
        "the bank,4,8,",
    ]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    build("a.csv", unit="occurrence", span="start,end", keep="sense")
    catalog = Catalog(tmp_path / "store")
    [space] = catalog.cards
    ids = catalog.ids(space)
    items, found = (
        catalog.items(ids.tolist()),
        column_values(catalog, space, ["sense"], ids)["sense"],
    )
    senses = {
        (items[item].context, items[item].span): None if null else value
        for item, value, null in zip(ids.tolist(), found.values, found.is_null, strict=True)
    }
    assert senses == {
        ("a bank by a bank", (2, 6)): "river",
        ("a bank by a bank", (12, 16)): "money",
        ("the bank", (4, 8)): None,
    }
    with pytest.raises(UsageError, match="Name the columns to keep"):
        build("a.csv", unit="occurrence", span="start,end", keep="all")


MISSING = [
    "NA",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "-NaN",
    "-nan",
    "NULL",
    "null",
    "None",
    "<NA>",
    "#N/A",
    "#NA",
    "1.#IND",
    "-1.#IND",
    "1.#QNAN",
    "-1.#QNAN",
    "#N/A N/A",
]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_what_pandas_takes_for_missing_is_text_in_a_column_of_strings_and_said(
    build, tmp_path, name
):
    words = [*MISSING, "NOUN", ""]
    numbers = [*MISSING, "1.5", ""]
    frame = pd.DataFrame(
        {"text": [f"w{i:02}" for i in range(len(words))], "pos": words, "freq": numbers}
    )
    separator = "\t" if name == "t.tsv" else ","
    frame.to_csv(tmp_path / name, index=False, sep=separator)
    of_pandas = pd.read_csv(tmp_path / name, sep=separator)
    assert (of_pandas["pos"].dropna().tolist(), of_pandas["freq"].dropna().tolist()) == (
        ["NOUN"],
        [1.5],
    )
    report = build(name, keep="all")
    stored = _stored(tmp_path / "store")
    assert stored["pos"].tolist() == [*MISSING, "NOUN", None]
    assert stored["freq"].tolist() == [*[None] * len(MISSING), 1.5, None]
    note = (
        f"  {len(MISSING)} cells are the text 'NA' ({tmp_path / name}:2) or another that pandas takes for missing. "
        "Leave a cell empty where there is no value."
    )
    assert report.lines().count(note) == 1
    assert note in build(name, keep="pos", dry_run=True).lines()


def test_one_text_that_stands_for_missing_is_said_too(build, tmp_path):
    (tmp_path / "a.csv").write_text("text,pos,freq\na,NOUN,1\nb,None,NA\n")
    [note] = [line for line in build("a.csv", keep="all").lines() if "for missing" in line]
    assert re.match(
        r"  1 cell is the text 'None' \(.*a\.csv:3\), which pandas takes for missing\. Leave a cell",
        note,
    )
    # In a column of numbers it is missing.
    assert _stored(tmp_path / "store")["freq"].tolist() == [1, None]


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_null_is_missing_in_files_with_types_and_every_string_is_a_value(build, tmp_path, name):
    frame = pd.DataFrame({"text": ["a", "b", "c", "d"], "pos": ["NA", "", None, "NOUN"]})
    if name == "t.jsonl":
        frame.to_json(tmp_path / name, orient="records", lines=True)
    else:
        frame.to_parquet(tmp_path / name, index=False)
    report = build(name, keep="pos")
    assert _stored(tmp_path / "store")["pos"].tolist() == ["NA", "", None, "NOUN"]
    assert "for missing" not in str(report)
