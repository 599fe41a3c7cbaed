"""Sets of analogies as datasets: Google's format, BATS, and what is refused."""

import gzip
from itertools import permutations
from pathlib import Path

import pytest

from embstore import Store
from embstore.base.errors import SourceError, UsageError
from embstore.base.space import Unit
from embstore.sources.datasets import add_dataset
from embstore.sources.opening import open_source
from embstore.sources.rows import Row

pytestmark = pytest.mark.usefixtures("data")

GOOGLE = (
    ": capitals\nAthens Greece Oslo Norway\nOslo Norway Athens Greece\r\n\n: family:"
    " near\nboy\tgirl\tking\tqueen\n"
)
BATS = {
    "I01 [noun - plural_reg].txt": "album\talbums\nband\tbands\nfish\tfishes/fish\n",
    "E05 [animal - young].txt": "ape\tinfant/baby\ncat  kitten\n",
}


def read(name: str) -> list[Row]:
    return [row for row in open_source(name).rows() if isinstance(row, Row)]


def add(path: Path, **options: object) -> object:
    return add_dataset("mine", path, kind="analogies", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("packed", [True, False])
def test_googles_format(tmp_path, packed):
    path = tmp_path / ("questions-words.txt.gz" if packed else "questions-words.txt")
    content = b"\xef\xbb\xbf" + GOOGLE.encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    spec = add_dataset("mine", path, kind="analogies")
    assert (spec.kind, spec.unit, spec.rows, spec.scores) == ("analogies", Unit.WORD, 3, None)
    path.unlink()  # it is a copy that is kept
    rows = read("mine")
    assert [row.texts for row in rows] == [
        ("Athens", "Greece", "Oslo", "Norway"),
        ("Oslo", "Norway", "Athens", "Greece"),
        ("boy", "girl", "king", "queen"),
    ]
    assert [row.values["section"] for row in rows] == ["capitals", "capitals", "family: near"]
    assert [row.values["answers"] for row in rows] == ["Norway", "Greece", "queen"]
    assert rows[2].origin == f"{path.name}:6"
    [listed] = [row for row in Store.datasets() if row["name"] == "mine"]
    assert (listed["kind"], listed["rows"], listed["columns"]) == (
        "analogies",
        3,
        ["section", "answers"],
    )


@pytest.mark.parametrize("as_folder", [True, False])
def test_bats_pairs_every_pair_with_every_other(tmp_path, as_folder):
    folder = tmp_path / "BATS_3.0" / "1_Inflectional_morphology"
    folder.mkdir(parents=True)
    for name, text in BATS.items():
        (folder / name).write_text(text)
    add(tmp_path / "BATS_3.0" if as_folder else folder / next(iter(BATS)))
    rows = read("mine")
    nouns = [row for row in rows if row.values["section"] == "I01 [noun - plural_reg]"]
    assert len(rows) == (8 if as_folder else 6)
    pairs = [("album", ["albums"]), ("band", ["bands"]), ("fish", ["fishes", "fish"])]
    assert [(row.texts, row.values["answers"]) for row in nouns] == [
        ((a, answers[0], c, *right), "\t".join(right))
        for (a, answers), (c, right) in permutations(pairs, 2)
    ]
    if as_folder:
        assert rows[0].texts == ("ape", "infant", "cat", "kitten")
        assert rows[1].texts == ("cat", "kitten", "ape", "infant", "baby")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (": a\none two three\n", r"questions.txt:2: 3 words\. A line is a section"),
        ("word\n", r"questions.txt:1: 1 word\."),
        (":\na b c d\n", r"questions.txt:1: the section has no name"),
        (": a\nword\t/ /\nb\tc", r"questions.txt:2: a pair is a word"),
        (": a\none\ttwo\n", r"questions.txt has no question"),
        ("", r"has no question"),
        ("a b c \udcff\n", r"questions.txt:1"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path, data, text, message):
    path = tmp_path / "questions.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SourceError, match=message):
        add(path)
    assert not data.exists()


def test_a_line_of_a_folder_is_named_with_its_file(tmp_path):
    (tmp_path / "a.txt").write_text("a\tb\nc\td\n")
    (tmp_path / "b.txt").write_text("a\tb\ne\n")
    with pytest.raises(SourceError, match=r"b.txt:2: 1 word"):
        add(tmp_path)


def test_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text(GOOGLE)
    with pytest.raises(
        UsageError, match="columns, header=False, `delimiter` and `comment` are for tables"
    ):
        add(path, columns=["a", "b"])
    with pytest.raises(UsageError, match="analogies are of words"):
        add(path, unit="sentence")
    (tmp_path / "questions.csv").write_text("a,b,c,d\n")
    with pytest.raises(SourceError, match=r"analogies are a .txt file"):
        add(tmp_path / "questions.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="has no question"):
        add(tmp_path / "empty")
    (tmp_path / "bad.txt.gz").write_bytes(gzip.compress(GOOGLE.encode())[:-9])
    with pytest.raises(SourceError, match="damaged"):
        add(tmp_path / "bad.txt.gz")


def test_a_build_embeds_every_word_and_stores_the_questions(tmp_path, checkpoint):
    (tmp_path / "bats").mkdir()
    (tmp_path / "bats" / "animals.txt").write_text(
        "ape\tinfant/baby\ncat\tkitten\ndog\tpuppy/whelp\n"
    )
    add(tmp_path / "bats")
    store = Store(tmp_path / "store")
    store.build(["mine"], models=f"tiny={checkpoint}")
    assert store.info()["items"] == [8]
    found = store.query("analogies", layers="all", per_section=True)
    assert {*found["section"]} == {"total", "animals"}
    assert {*found["n"]} == {*found["total"]} == {6}
    assert {*found["n_items"]} == {8}
    columns = store.sql(
        "SELECT text, text_2, text_3, text_4, answers FROM datasets.mine"
    ).fetchall()
    assert columns[1] == ("ape", "infant", "dog", "puppy", "puppy\twhelp")
    assert len(store.missing("mine")) == 0
    assert store.verify(deep=True).problems == ()
