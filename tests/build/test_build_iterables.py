"""``Store.build`` of texts that are given in Python."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_checkpoint import assert_same_content

from embstore import Store
from embstore.base.errors import EmbstoreError, SourceError, UnknownNameError, UsageError


@pytest.fixture
def options(checkpoint):
    return {"models": f"tiny={checkpoint}", "index": "none"}


@pytest.mark.slow
def test_texts_make_the_same_store_as_a_file_of_them(tmp_path, options):
    words = ["the sea", "river bank", "the sea", "banks"]
    (tmp_path / "words.txt").write_text("\n".join(words), "utf-8")
    options |= {"unit": "word"}
    Store(tmp_path / "file").build(tmp_path / "words.txt", **options)
    for number, given in enumerate(
        (words, tuple(words), iter(words), np.array(words), dict.fromkeys(words).keys())
    ):
        report = Store(tmp_path / f"given{number}").build(texts=given, **options)
        assert (report.n_texts, report.n_items, report.notes) == (
            len([*words]) - (number == 4),
            3,
            (),
        )
        assert_same_content(tmp_path / "file", tmp_path / f"given{number}")


@pytest.mark.slow
def test_sources_are_names_and_texts_are_texts(tmp_path, options):
    (tmp_path / "a.txt").write_text("sea\n", "utf-8")
    store = Store(tmp_path / "store")
    assert store.build([tmp_path / "a.txt", "words:3"], **options).n_items == 4
    assert store.build("words:3", texts=["shell", "words"], **options).n_items == 5
    assert store.build([], texts=["a cat"], dry_run=True, **options).n_items == 1
    with pytest.raises(UnknownNameError, match=r"unknown dataset 'wrods'. Did you mean 'words'"):
        store.build(["wrods"], **options)
    with pytest.raises(UnknownNameError, match=r"unknown dataset 'a cat'.*texts=\[…\]"):
        store.build(["a cat"], **options)
    with pytest.raises(EmbstoreError, match=r"nowhere\.txt does not exist"):
        store.build(["nowhere.txt"], **options)
    with pytest.raises(UsageError, match=r"names of files and datasets.*texts=\[…\]"):
        store.build([("a cat", {"pos": "NOUN"})], **options)


@pytest.mark.slow
def test_pairs_have_columns_and_spans(tmp_path, options):
    uses = [
        ("the bank of the river", {"start": np.int64(4), "end": 8, "sense": "land"}),
        ("a bank lends", {"start": 2, "end": 6, "sense": "money"}),
        (None, {"start": 0, "end": 0, "sense": None}),
    ]
    store = Store(tmp_path / "store")
    report = store.build(texts=(use for use in uses), **options)
    assert [space.space for space in report.spaces] == ["tiny.occurrence.last"]
    assert (report.spaces[0].embedded, dict(report.blanks)) == (2, {"missing value": 1})
    assert [(column.name, column.n_values) for column in report.columns] == [("sense", 2)]
    spans = store.sql(
        "SELECT text, start, \"end\" FROM items WHERE unit = 'occurrence' ORDER BY start"
    ).fetchall()
    assert spans == [("bank", 2, 6), ("bank", 4, 8)]
    words = [
        ("bank", {"pos": "NOUN", "freq": np.float32(4.5)}),
        ("lend", {"pos": "VERB", "freq": None}),
    ]
    kept = store.build(texts=words, keep="pos", **options)
    assert [(space.space, space.embedded) for space in kept.spaces] == [("tiny.word.last", 2)]
    assert [column.name for column in kept.columns] == ["pos"]
    marked = store.build(texts=["the [sea]", "a [shell] and more"], targets="brackets", **options)
    assert marked.spaces[0].embedded == 2
    assert (
        store.build(texts=[("the sea", {"w": "sea"})], targets="w", keep="w", **options)
        .spaces[0]
        .present
        == 1
    )


@pytest.mark.parametrize(
    ("error", "given", "more", "reason"),
    [
        (SourceError, ["a", 3], {}, r"texts\[1\] is of type int, not a string"),
        (SourceError, np.array([1, 2]), {}, r"texts\[0\] is of type int64, not a string"),
        (SourceError, [()], {}, r"texts\[0\] is of type tuple, not a string"),
        (UsageError, (text for text in "ab"), {"columns": "text"}, "columns= is about files"),
        (UsageError, (text for text in "ab"), {"header": False}, "header= is about files"),
        (SourceError, [("a", "b")], {}, r"texts\[0\] is a string with a str"),
        (
            SourceError,
            [("a", {"p": 1}), ("b", {})],
            {"keep": "p"},
            r"texts\[1\] has no column 'p' to keep",
        ),
        (
            SourceError,
            [("a b", {"start": 0, "end": 9})],
            {},
            r"texts\[0\]: the span 0:9 is outside the text",
        ),
        (
            SourceError,
            [("a b", {"start": 0, "end": 1}), "b"],
            {},
            r"texts\[1\] has no column 'start'",
        ),
        (SourceError, [], {}, "texts has no texts: it is empty"),
        (UsageError, {"a": 1}, {}, "texts cannot be a dict"),
        (UsageError, 3, {}, "must be an iterable of strings, not of type int"),
        (
            UsageError,
            [("a b", {"start": 0, "end": 1})],
            {"span": ["start", "end"], "unit": "word"},
            "are occurrences",
        ),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(tmp_path, options, error, given, more, reason):
    with pytest.raises(error, match=reason):
        Store(tmp_path / "store").build(texts=given, **options, **more)


def test_a_table_of_pandas_is_refused_with_the_way_to_give_it(tmp_path, options):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["sea", "shell", None], "pos": ["NOUN", "NOUN", "X"]})
    store = Store(tmp_path / "store")
    with pytest.raises(UsageError, match=r"cannot be a DataFrame.*zip\(frame"):
        store.build(texts=frame, **options)
    report = store.build(
        texts=zip(frame["text"], frame[["pos"]].to_dict("records"), strict=True), **options
    )
    assert (report.n_items, report.columns[0].name, dict(report.blanks)) == (
        2,
        "pos",
        {"missing value": 1},
    )
    assert store.build(texts=frame["text"], **options).spaces[0].present == 2
