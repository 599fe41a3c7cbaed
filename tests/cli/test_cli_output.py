"""Results: data on standard output, and nothing else there; their format by an option, a shortcut
or a suffix.
"""

import csv
import html
import io
import json
import re

import pyarrow.parquet as pq
import pytest
from embstore_cli._errors import print_message
from embstore_cli._options import Format
from embstore_cli._output import text_of
from markdown_it import MarkdownIt
from rich.cells import cell_len
from synthetic import synthetic_store

from embstore import Store, Table
from embstore.base.table import Pivot
from embstore.query.notes import joined

CALLS = {
    "norms": ["query", "norms", "--model", "toy", "--unit", "word"],
    "neighbours": ["neighbours", "dog", "--space", "toy.word.last", "--layer", "0,top", "-k", "40"],
    "info": ["info"],
}


def _expected(made, name):
    store = Store(made.root)
    tables = {
        "norms": lambda: store.query("norms", models="toy", unit="word"),
        "neighbours": lambda: store.neighbours("dog", spaces="toy.word.last", layers="0,top", k=40),
        "info": store.info,
    }
    return tables[name]().to_pylist()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "parquet"])
def test_every_format_holds_every_row(cli, made, tmp_path, name, form):
    result = cli(*CALLS[name], "--store", made.root, "--format", form)
    data, file = result.stdout_bytes, tmp_path / "result"
    assert cli(*CALLS[name], "--store", made.root, "--format", form, "-o", file).stdout_bytes == b""
    assert file.read_bytes() == data
    wanted = _expected(made, name)
    if form == "json":
        assert json.loads(data, parse_constant=pytest.fail) == wanted
    elif form == "jsonl":
        assert [
            json.loads(line, parse_constant=pytest.fail) for line in data.decode().splitlines()
        ] == wanted
    elif form == "parquet":
        assert pq.read_table(io.BytesIO(data)).to_pylist() == wanted
    else:
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
        assert len(rows) == len(wanted)
        assert list(rows[0]) == list(wanted[0])
        assert [row["space"] for row in rows] == [row["space"] for row in wanted]


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_a_text_with_line_breaks_and_bars_stays_one_row(cli, made, form):
    call = [
        "neighbours",
        "dog",
        "--space",
        "toy.word.last",
        "-k",
        "40",
        "--format",
        form,
        "--store",
        made.root,
    ]
    shown = cli(*call).stdout
    assert len(shown.splitlines()) == 33 + (2 if form == "markdown" else 1)
    assert "line\\nbreak" in shown
    assert ("a\\|b" in shown) == (form == "markdown")


def test_nothing_is_cut_when_piped(cli, make_store):
    long = "x" * 500
    made = make_store(texts=["dog", long], n_blocks=40, top_form=None)
    shown = cli("neighbours", "dog", "--layer", "all", "--store", made.root).stdout
    assert shown.count(long) == 41
    assert len(shown.splitlines()) == 2


def test_one_long_text_does_not_fill_a_terminal_and_is_whole_elsewhere():
    table = Table(
        ("space", "text"), ({"space": "a", "text": "long " * 2000}, {"space": "b", "text": "short"})
    )
    on_terminal, piped = (text_of(table, Format.TABLE, width) for width in (80, None))
    assert max(map(cell_len, on_terminal.splitlines())) <= 80
    assert len(on_terminal.splitlines()) < 8
    assert "…" in on_terminal
    assert ("long " * 2000).rstrip() in piped


def test_a_row_of_many_columns_is_a_record_on_a_terminal():
    names = [f"column_{number}" for number in range(20)]
    rows = [{name: f"{name}-{at}" for name in names} for at in range(2)]
    shown = text_of(Table(tuple(names), tuple(rows)), Format.TABLE, 80)
    first, second = shown.removesuffix("\n").split("\n\n")
    assert [line.split() for line in first.splitlines()] == [[n, f"{n}-0"] for n in names]
    assert [line.split() for line in second.splitlines()] == [[n, f"{n}-1"] for n in names]


def _lines(table, width):
    return text_of(table, Format.TABLE, width).splitlines()[2:]


def test_a_terminal_has_a_table_for_each_space_where_one_would_be_too_wide():
    values = ("mean", "std", "min", "max")
    spaces = ("one", "two", "three")
    rows = [{"layer": 0, "space": space, **dict.fromkeys(values, 0.5)} for space in spaces]
    table = Table(
        ("layer", "space", *values), tuple(rows), pivot=Pivot(("layer",), ("space",), values)
    )
    whole = text_of(table, Format.TABLE, 200)
    assert whole.splitlines()[0].split()[:4] == ["layer", "one", "mean", "one"]
    for width, n_parts in ((80, 1), (24, 2)):
        shown = text_of(table, Format.TABLE, width)
        blocks = [block.splitlines() for block in shown.split("\n\n")]
        assert [block[0] for block in blocks] == [space for space in spaces for _ in range(n_parts)]
        assert max(map(len, shown.splitlines())) <= width
        assert shown.split().count("0.5000") == len(spaces) * len(values)


def test_notes_go_to_standard_error(cli, made):
    words = ["--sample", "5", "--layer", "0", "--format", "json", "--store", made.root]
    result = cli("query", "anisotropy", *words)
    assert "seed 0" in result.stderr
    assert {row["n"] for row in json.loads(result.stdout)} == {5}


def test_the_store_of_the_environment(cli, refusal, made, monkeypatch):
    monkeypatch.setenv("EMBSTORE_STORE", str(made.root))
    assert "toy.word.last" in cli("info").stdout
    cli("info", "--store", "elsewhere", code=2)
    monkeypatch.delenv("EMBSTORE_STORE")
    assert "store. Make one with: embstore build" in refusal("info")


def test_texts_in_markdown_are_shown_as_they_are(cli, tmp_path):
    texts = [
        "![x](http://a.example/x.png)", "[x](javascript:alert(1))", "<javascript:alert(1)>",
        "[x]: javascript:1", "*a*",
        "_a_ __b__", "`code`", "~~gone~~", "a|b", "a\\|b\\", "\\[x](y)", "&#60;b&#62;", "snake_case", "\\*a*",
        "<b>x</b>", "a & b", "&lt;",
    ]  # fmt: skip
    made = synthetic_store(tmp_path / "store", texts=texts, index=False)
    query = "SELECT text FROM items"
    shown = cli("sql", query, "--store", made.root, "--format", "markdown").stdout
    page = MarkdownIt().enable(["table", "strikethrough"]).render(shown)
    cells = re.findall("<td>(.*)</td>", page)
    assert {html.unescape(cell) for cell in cells} == {*texts}
    assert not re.search(r"<(a|b|img|em|strong|code|s)\b", page)
    assert "| snake_case |" in shown


CALL = ["query", "norms", "--space", "toy.word.last", "--layer", "0"]


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "md", "parquet", "tex", "txt"])
def test_the_suffix_of_the_output_chooses_the_format_unless_that_is_named(
    cli, made, tmp_path, suffix
):
    form = {"md": "markdown", "txt": "table", "tex": "latex"}.get(suffix, suffix)
    file, other = tmp_path / f"result.{suffix.upper()}", tmp_path / "other.csv"
    for call in ([*CALL, "--store", made.root], ["datasets"]):
        cli(*call, "-o", file)
        assert file.read_bytes() == cli(*call, "--format", form).stdout_bytes != b""
        cli(*call, "--format", form, "-o", other)
        assert other.read_bytes() == file.read_bytes()
        if form in ("json", "csv"):  # which have options of their own
            assert cli(*call, f"--{form}").stdout_bytes == file.read_bytes()
    if form != "parquet":
        assert cli(*call, "--format", form, "-o", "-").stdout_bytes == file.read_bytes(), (
            "a dash is standard output"
        )
        assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(("suffix", "message"), [("xlsx", ".csv"), ("dat", "--format")])
def test_an_unknown_suffix_is_refused_before_anything_is_computed(
    refusal, made, tmp_path, monkeypatch, suffix, message
):
    monkeypatch.setattr("embstore.Store.query", lambda *_, **__: pytest.fail("it was computed"))
    said = refusal(*CALL, "--store", made.root, "-o", tmp_path / f"x.{suffix}")
    known = "Known: .txt, .json, .jsonl, .ndjson, .csv, .md, .tex, .parquet"
    assert f"unknown file type '.{suffix}'. {known}" in said
    assert message in said
    assert not (tmp_path / f"x.{suffix}").exists()


@pytest.mark.parametrize("call", [CALL, ("sql", "SELECT space, layer, n FROM summaries")])
def test_several_files_have_the_same_result_each_in_its_format(cli, made, tmp_path, call):
    names = ("a.tex", "b.csv", "c.json", "d.parquet", "e.jsonl", "f.txt")
    files = [part for name in names for part in ("-o", str(tmp_path / name))]
    done = cli(*call, "--store", made.root, *files, "-o", "-")
    assert done.stdout_bytes == (tmp_path / "f.txt").read_bytes(), "a dash is standard output"
    for name in names:
        alone = tmp_path / f"alone-{name}"
        cli(*call, "--store", made.root, "-o", alone)
        if name.endswith(".parquet"):  # whose types are those of SQL where it is streamed
            assert pq.read_table(alone).to_pylist() == pq.read_table(tmp_path / name).to_pylist()
        else:
            assert alone.read_bytes() == (tmp_path / name).read_bytes()


def test_one_file_named_twice_is_refused_before_anything_is_computed(refusal, made, monkeypatch):
    monkeypatch.setattr("embstore.Store.query", lambda *_, **__: pytest.fail("it was computed"))
    for call in (CALL, ("plot", "norms"), ("map",)):
        said = refusal(*call, "--store", made.root, "-o", "x.svg", "-o", "./x.svg")
        assert "--output x.svg is named twice. Name each file once." in said


def test_notes_are_brief_and_whole_where_verbose(monkeypatch, capsys):
    [note] = joined([f"note {number}." for number in range(8)], ["a reason."])
    print_message(note)
    assert capsys.readouterr().err == "note 0. note 1. note 2. a reason. And 5 more.\n"
    monkeypatch.setattr("embstore_cli._errors._began", 0.0)
    print_message(note)
    assert capsys.readouterr().err == f"{note}\n"


def test_layers_may_be_repeated(cli, made):
    call = ("query", "norms", "--store", made.root, "--space", "toy.word.last")
    repeated = cli(*call, "--layer", "0", "--layer", "1-2")
    assert repeated.stdout == cli(*call, "--layer", "0,1,2").stdout


def test_what_is_centred_is_centered_too(cli, made):
    def shown(*options):
        result = cli(
            "query", "anisotropy", "--store", made.root, "--space", "toy.word.last", *options
        )
        return result.output

    wanted = shown("--variant", "centred", "--json")
    for spelling in ("center", "centre", "centered"):
        assert shown("--variant", spelling, "--json") == wanted
    wanted = shown("--transform", "center", "--transform", "standardize", "--json")
    assert shown("--transform", "centred", "--transform", "standardise", "--json") == wanted


def test_words_are_added_and_subtracted_by_lists_with_commas(cli, refusal, made):
    calls = (
        ["--positive", "text1,text2", "--negative", "text3,"],
        ["--positive", "text1", "--positive", "text2", "--negative", "text3"],
        ["--positive", "text1, text2", "--negative", "text3"],
    )
    shared = ["--space", made.space, "--json", "--store", made.root]
    first, *others = (cli("neighbours", *call, *shared).stdout for call in calls)
    assert {first} == {*others}
    assert {row["query"] for row in json.loads(first)} == {"text1 + text2 - text3"}
    occurrences = ["--positive", "a [bank], lends,", "--unit", "occurrence", "--store", made.root]
    assert "'a [bank], lends,' is not in" in refusal("neighbours", *occurrences)
    sentence = ["--positive", "Well, I see,text1", "--space", made.space, "--store", made.root]
    assert "'Well, I see' is not in" in refusal("neighbours", *sentence)


def test_printed_tables_have_the_labels_of_figures_or_given_ones(cli, refusal, made):
    call = ["query", "anisotropy", *CALL[2:], "--store", made.root]
    assert "\nlayer & toy, words, last token " in cli(*call, "--format", "latex").stdout
    for form in ("table", "markdown", "latex"):
        result = cli(*call, "--space-label", "toy.word.last=Ours", "--format", form)
        assert "Ours: toy.word.last" in (result.stdout if form == "latex" else result.stderr)
        assert "toy.word.last" not in re.sub(r"^%.*\n", "", result.stdout, flags=re.MULTILINE)
    for label, form, message in (
        (
            "toy.word.lats=Ours",
            "table",
            "unknown space to label 'toy.word.lats'. Did you mean 'toy.word.last'?",
        ),
        ("Ours", "table", "'Ours' is no label: write SPACE=TEXT"),
        ("toy.word.last=Ours", "csv", "for table, markdown and latex: csv has spaces by name."),
    ):
        assert message in refusal(*call, "--space-label", label, "--format", form)
