"""A user's own tables as datasets."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_files import write_table

from embstore import Store
from embstore.base.errors import EmbstoreError, SourceError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.sources.datasets import add_dataset, fetch_dataset
from embstore.sources.opening import open_source
from embstore.sources.rows import Row, number_value

ROWS = [("null", "nan", 1.5), ('say "hi", now', "café", -2.0), ("a", "a", 3.0)]
COLUMNS = ["left", "right", "gold"]
pytestmark = pytest.mark.usefixtures("data")


def write(folder: Path, suffix: str, rows: list[tuple], columns: list[str] = COLUMNS) -> Path:
    """A table with a column more than is asked for."""
    return write_table(folder / f"table{suffix}", [(*row, 0) for row in rows], [*columns, "more"])


def read(name: str) -> list[Row]:
    return [row for row in open_source(name).rows() if isinstance(row, Row)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_pairs_from_every_kind_of_table(tmp_path, suffix):
    path = write(tmp_path, suffix, ROWS)
    spec = add_dataset("mine", path, kind="pairs", columns=COLUMNS)
    assert (spec.kind, spec.unit, spec.rows, spec.scores) == (
        "word pairs",
        Unit.WORD,
        3,
        (-2.0, 3.0),
    )
    path.unlink()  # it is a copy that is kept
    found = read("mine")
    assert [(row.text, row.text_2, row.values["score"]) for row in found] == ROWS
    assert open_source("mine").dataset.unit is Unit.WORD
    assert found[1].origin == f"{path.name}:{3 if suffix in ('.csv', '.tsv') else 2}"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_text_where_a_number_should_be_is_named_with_its_line(tmp_path, data, suffix):
    path = write(tmp_path, suffix, [("a", "1.5"), ("b", "high")], ["word", "valence"])
    line = 3 if suffix in (".csv", ".tsv") else 2
    with pytest.raises(SourceError, match=rf"^{path}:{line} \(valence\): 'high' is not a number"):
        add_dataset("mine", path, kind="lexicon", columns=["word", "valence"])
    assert not data.exists()


def test_lexicons_and_sentences(tmp_path):
    lexicon = write(tmp_path, ".csv", [("a", 1), ("b", 2)], ["word", "item_id"])
    assert (
        add_dataset("mine", lexicon, kind="lexicon", columns=["word", "item_id"]).kind == "lexicon"
    )
    assert [(row.text, row.text_2, row.values) for row in read("mine")] == [
        ("a", None, {"value": 1.0}),
        ("b", None, {"value": 2.0}),
    ]
    sentences = write(tmp_path, ".tsv", ROWS)
    assert (
        add_dataset("more", sentences, kind="pairs", columns=COLUMNS, unit="sentence").kind
        == "sentence pairs"
    )
    assert open_source("more").dataset.unit is Unit.SENTENCE
    listed = {row["name"]: row for row in Store.datasets()}
    assert (listed["mine"]["rows"], listed["more"]["rows"]) == (2, 3)
    assert listed["mine"]["at_hand"]
    assert listed["mine"]["columns"] == ["value"]
    assert listed["mine"]["address"] is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "nan",
        "-Infinity",
        "1e999",
        "1_000",
        "1,5",
        "½",
        "0x10",
        "true",
        None,
        True,
        float("nan"),
        [1],
        {"a": 1},
    ],
)
def test_no_number(value):
    with pytest.raises(SourceError, match=r"^here: .* is not a (finite )?number"):
        number_value(value, "here")


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["", " ", "\t ", "  "]))
def test_a_number_is_read_exactly(value, blanks):
    assert number_value(f"{blanks}{value!r}{blanks}", "here") == value
    assert number_value(value, "here") == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("left,right,gold\na,,1\n", r"table\.csv:2 \(right\): the text is empty"),
        ("left,right,gold\na,b,1\na\n", r"table\.csv:3 \(right\): the text is missing"),
        ("left,right,gold\n", r"table\.csv has no rows"),
        ("left,right,score\na,b,1\n", "unknown column 'gold'.*with columns"),
        ('left,right,gold\n"a,b,1\n', "not valid CSV"),
    ],
)
def test_a_table_that_cannot_be_read(tmp_path, data, content, message):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(EmbstoreError, match=message):
        add_dataset("mine", tmp_path / "table.csv", kind="pairs", columns=COLUMNS)
    assert not data.exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"left": "a", "right": 7, "gold": 1}',
            r":2 \(right\): the text is 7, which is not a string",
        ),
        ('{"left": "a", "right": null, "gold": 1}', r":2 \(right\): the text is missing"),
        ('{"left": "a", "gold": 1}', "unknown column 'right'"),
        (
            '{"left": "a", "right": "\\ud800", "gold": 1}',
            r":2 \(right\): .* half of a surrogate pair",
        ),
        ('{"left": "a", "right": "b", "gold": NaN}', r":2 \(gold\): nan is not a finite number"),
    ],
)
def test_a_line_of_json_that_cannot_be_read(tmp_path, line, message):
    (tmp_path / "table.jsonl").write_text('{"left": "a", "right": "b", "gold": 1}\n' + line + "\n")
    with pytest.raises(EmbstoreError, match=message):
        add_dataset("mine", tmp_path / "table.jsonl", kind="pairs", columns=COLUMNS)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("mine", {"kind": "pair"}, UnknownNameError, "unknown kind of dataset 'pair'.*'pairs'"),
        (
            "mine",
            {"columns": COLUMNS[:2]},
            UsageError,
            "'pairs' has three columns: the two texts and the score",
        ),
        (
            "mine",
            {"kind": "lexicon"},
            UsageError,
            "'lexicon' has two columns: the text and its value",
        ),
        (
            "mine",
            {"columns": ["left", "left", "gold"]},
            UsageError,
            "columns=.left. was given twice",
        ),
        (
            "mine",
            {"unit": "occurrence", "kind": "lexicon"},
            UsageError,
            "unit=.word. or unit=.sentence",
        ),
        ("mine", {"unit": "wrd"}, UnknownNameError, "unknown unit 'wrd'"),
        ("no/way", {}, UsageError, "'no/way' cannot be the name"),
        ("-", {}, UsageError, "cannot be the name"),
        ("a.csv", {}, UsageError, "cannot be the name"),
        ("words:5", {}, UsageError, "cannot be the name"),
        ("RG65", {}, UsageError, "is the name of another dataset"),
        ("words_50", {}, UsageError, "is the name of another dataset"),
        ("mine", {"comment": "a"}, UsageError, "comments cannot begin with 'a'"),
        (
            "mine",
            {"header": False, "unit": "occurrence", "columns": ()},
            UsageError,
            "seven columns",
        ),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, name, arguments, error, message):
    path = write(tmp_path, ".csv", ROWS)
    with pytest.raises(error, match=message):
        add_dataset(name, path, **{"kind": "pairs", "columns": COLUMNS, **arguments})


LEXICON = {"kind": "lexicon", "columns": ["left", "gold"]}


@pytest.mark.parametrize(
    ("name", "suffix", "options", "message"),
    [
        ("mine", ".jsonl", {"delimiter": ";", **LEXICON}, "`delimiter` does not fit .*table.jsonl"),
        (
            "mine",
            ".jsonl",
            {"header": False, "kind": "lexicon"},
            r"header=False does not fit .*jsonl",
        ),
        ("mine", ".txt", {"comment": "#", "kind": "analogies"}, "are for tables, and analogies"),
        ("rg65", ".csv", {"delimiter": ";"}, "`delimiter` goes with `kind`"),
        ("rg65", ".csv", {"comment": "#"}, "`comment` goes with `kind`"),
        ("rg65", ".csv", {"columns": ["a"]}, "columns goes with `kind`"),
        ("words", ".csv", {}, "is made by embstore"),
    ],
)
def test_options_of_tables_that_do_not_fit(tmp_path, name, suffix, options, message):
    with pytest.raises(UsageError, match=message):
        add_dataset(name, write(tmp_path, suffix, ROWS), **options)


def test_added_again_it_is_replaced_and_its_name_is_known(tmp_path):
    add_dataset("mine", write(tmp_path, ".csv", ROWS), kind="pairs", columns=COLUMNS)
    add_dataset("mine", write(tmp_path, ".tsv", ROWS[:1]), kind="pairs", columns=COLUMNS)
    assert len(read("mine")) == 1
    assert fetch_dataset("mine") == tmp_path / "data/own/mine.tsv"
    add_dataset("my-pairs", write(tmp_path, ".csv", ROWS), kind="pairs", columns=COLUMNS)
    with pytest.raises(UnknownNameError, match="Did you mean 'my-pairs'"):
        open_source("my-pair")


def test_what_was_altered_or_damaged_is_named(tmp_path, data):
    add_dataset("mine", write(tmp_path, ".csv", ROWS), kind="pairs", columns=COLUMNS)
    table, document = data / "own/mine.csv", data / "own/mine.json"
    table.write_text(table.read_text().replace("1.5", "2.5"))
    with pytest.raises(
        SourceError,
        match=r"mine\.csv is not the file of the dataset 'mine'.*datasets add mine FILE",
    ):
        open_source("mine")
    with pytest.raises(SourceError, match="datasets add mine FILE"):
        fetch_dataset("mine")
    table.unlink()
    with pytest.raises(SourceError, match=r"'mine' is not at hand.*datasets add mine FILE"):
        open_source("mine")
    for content in (
        "{",
        "[]",
        '{"name": "mine"}',
        document.read_text().replace('"word"', '"verse"'),
    ):
        document.write_text(content)
        with pytest.raises(SourceError, match=r"mine\.json cannot be read .*Delete it"):
            open_source("mine")
    assert open_source("words:3").name == "words:3"  # the others are as before


@pytest.mark.parametrize(
    ("suffix", "delimiter", "content", "columns", "text"),
    [
        (
            "csv",
            "|",
            "left,1|right;2|gold\na,b;c|d,e;f|1.5\n",
            ["left,1", "right;2", "gold"],
            "a,b;c",
        ),
        ("csv", "tab", 'left\tright\tgold\n"a\tb"\tc\t1.5\n', COLUMNS, "a\tb"),
        ("tsv", ";", 'left;right;gold\n"a;b";c;1.5\n', COLUMNS, "a;b"),
    ],
)
def test_a_delimiter_that_is_named_is_kept_with_the_dataset_and_a_doubtful_one_asked_for(
    tmp_path, suffix, delimiter, content, columns, text
):
    path = tmp_path / f"table.{suffix}"
    path.write_text(content)
    add_dataset("mine", path, kind="pairs", columns=columns, delimiter=delimiter)
    path.unlink()
    assert [(row.text, row.values["score"]) for row in read("mine")] == [(text, 1.5)]
    path = tmp_path / "table.csv"
    path.write_text("left,1;right,2\na,1;b,2\n")
    with pytest.raises(SourceError, match=r"Say which with delimiter=.;. or delimiter=.,."):
        add_dataset("other", path, kind="lexicon", columns=["left,1", "right,2"])


def test_a_table_without_a_header_and_with_comments(tmp_path, data):
    path = tmp_path / "table.csv"
    path.write_text('# ratings, with a "quote\n\ndog,cat,3\n# more\n"#a\n# b",sea,2\n')
    spec = add_dataset("mine", path, kind="pairs", header=False, comment="#")
    rows = list(open_source("mine").rows())
    assert [(row.texts, row.values["score"]) for row in rows] == [
        (("dog", "cat"), 3.0),
        (("#a\n# b", "sea"), 2.0),
    ]
    assert [row.origin.rpartition(":")[2] for row in rows] == ["3", "5"]
    assert (spec.rows, spec.scores) == (2, (2.0, 3.0))
    path.write_text("# valence\nword;v\ndog;3\n#b;1\n")
    add_dataset("lexicon", path, kind="lexicon", columns=["word", "v"], comment="#")
    assert [row.text for row in open_source("lexicon").rows()] == ["dog"]
    with pytest.raises(
        UnknownNameError, match=r"lines that begin with # are comments, add comment='#'"
    ):
        add_dataset("lexicon", path, kind="lexicon", columns=["word", "v"])
