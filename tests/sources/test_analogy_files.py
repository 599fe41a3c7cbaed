"""Sets of analogies as datasets: Google's format, BATS, and what is refused."""

import gzip
from itertools import permutations

import pytest

from embstore import Store
from embstore.base.errors import SourceError
from embstore.base.space import Unit
from embstore.sources.own import find_file

GOOGLE = (
    ": capitals\nAthens Greece Oslo Norway\nOslo Norway Athens Greece\r\n\n: family:"
    " near\nboy\tgirl\tking\tqueen\n"
)
BATS = {
    "I01 [noun - plural_reg].txt": "album\talbums\nband\tbands\nfish\tfishes/fish\n",
    "E05 [animal - young].txt": "ape\tinfant/baby\ncat  kitten\n",
}


def read(path):
    file = find_file(str(path))
    assert file is not None
    return list(file.rows(Unit.WORD, "analogies"))


@pytest.mark.parametrize("packed", [True, False])
def test_googles_format(tmp_path, packed):
    path = tmp_path / ("questions-words.txt.gz" if packed else "questions-words.txt")
    content = b"\xef\xbb\xbf" + GOOGLE.encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    rows = read(path)
    assert [row.texts for row in rows] == [
        ("Athens", "Greece", "Oslo", "Norway"),
        ("Oslo", "Norway", "Athens", "Greece"),
        ("boy", "girl", "king", "queen"),
    ]
    assert [row.values["section"] for row in rows] == ["capitals", "capitals", "family: near"]
    assert [row.values["answers"] for row in rows] == ["Norway", "Greece", "queen"]
    assert rows[2].origin == f"{path}:6"


@pytest.mark.parametrize("as_folder", [True, False])
def test_bats_pairs_every_pair_with_every_other(tmp_path, as_folder):
    folder = tmp_path / "BATS_3.0" / "1_Inflectional_morphology"
    folder.mkdir(parents=True)
    for name, text in BATS.items():
        (folder / name).write_text(text)
    rows = read(tmp_path / "BATS_3.0" if as_folder else folder / next(iter(BATS)))
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
        ("a b c \udcff\n", r"questions.txt:1"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path, text, message):
    path = tmp_path / "questions.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SourceError, match=message):
        read(path)


def test_a_line_of_a_folder_is_named_with_its_file(tmp_path):
    (tmp_path / "a.txt").write_text("a\tb\nc\td\n")
    (tmp_path / "b.txt").write_text("a\tb\ne\n")
    with pytest.raises(SourceError, match=r"b.txt:2: 1 word"):
        read(tmp_path)


def test_what_does_not_fit_is_refused(tmp_path):
    (tmp_path / "questions.csv").write_text("a,b,c,d\n")
    with pytest.raises(SourceError, match=r"analogies are a .txt file"):
        read(tmp_path / "questions.csv")
    (tmp_path / "bad.txt.gz").write_bytes(gzip.compress(GOOGLE.encode())[:-9])
    with pytest.raises(SourceError, match="damaged"):
        read(tmp_path / "bad.txt.gz")


def test_a_build_embeds_every_word_and_a_query_reads_the_questions(tmp_path, checkpoint):
    path = tmp_path / "animals.txt"
    path.write_text(": young\nape\tinfant/baby\ncat\tkitten\ndog\tpuppy/whelp\n")
    store = Store(tmp_path / "store")
    store.build([str(path)], models=f"tiny={checkpoint}")
    assert store.info()["items"] == [8]
    for name in (path, tmp_path):
        if name == tmp_path:
            path = path.rename(tmp_path / "young.txt")
        found = store.query("analogies", dataset=str(name), layers="all", per_section=True)
        assert {*found["section"]} == {"total", "young"}
        assert {*found["n"]} == {*found["total"]} == {6}
        assert {*found["n_items"]} == {8}
    assert len(store.missing(str(path))) == 0
