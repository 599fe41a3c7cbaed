"""One query of several stores: the rows of each, and which store they are of."""

from io import StringIO

import pytest

from embstore import Store, Stores
from embstore.base.errors import NotStoredError, UnknownNameError, UsageError


@pytest.fixture
def both(make_store, tmp_path, monkeypatch):
    make_store("a", texts=["dog", "cat", "fox", "hen"], index=False)
    make_store("b", texts=["dog", "cat", "owl", "cow", "hen"], index=False)
    make_store("b", n=9, model="other", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("metric", ["anisotropy", "norms", "cka", "hubness"])
def test_the_rows_of_each_store_are_those_of_its_own_query(both, metric):
    table = Stores(["a", "b"]).query(metric)
    assert table.columns[:2] == ("store", "space")
    for name in ("a", "b"):
        own = Store(name).query(metric)
        found = [
            {key: value for key, value in row.items() if key != "store"}
            for row in table
            if row["store"] == name
        ]
        assert found == own.to_pylist()
    assert len(table) == sum(len(Store(name).query(metric)) for name in ("a", "b"))


def test_neighbours_say_their_store(both):
    table = Stores([Store("a"), both / "b"]).neighbours("dog", k=2, models="toy")
    assert [row["store"] for row in table] == ["a", "a", str(both / "b"), str(both / "b")]
    assert table["text"] == [
        *Store("a").neighbours("dog", k=2)["text"],
        *Store("b").neighbours("dog", k=2)["text"][:2],
    ]


def test_notes_name_the_store_unless_they_hold_for_all(both):
    notes = Stores(["a", "b"]).query("anisotropy", layers=0).notes
    assert {
        "a: toy.word.last: n = 4",
        "b: toy.word.last: n = 5",
        "b: other.word.last: n = 9",
        (
            "b: The 2 spaces of words are not measured over the same: n is 5 to 9. To take what all"
            " of them have: common=True"
        ),
    } == {*notes}
    html = Stores(["a", "b"]).query("anisotropy", layers=0)._repr_html_()
    assert "<p>b: other.word.last: n = 9</p>" in html
    assert "<th>b other.word.last</th>" in html


def test_a_store_that_lacks_something_is_left_out_and_named(both):
    table = Stores(["a", "b"]).query("anisotropy", models="other")
    assert {*table["store"]} == {"b"}
    assert table.notes[0].startswith("a is left out: unknown model 'other'")
    owls = Stores(["a", "b"]).neighbours("owl", models="toy", k=1)
    assert owls["store"] == ["b"]
    assert owls.notes[0].startswith("a is left out: 'owl' is not in toy.word.last")
    with pytest.raises(UnknownNameError, match="unknown metric 'anisotrpy'"):
        Stores(["a", "b"]).query("anisotrpy")
    with pytest.raises(NotStoredError, match="'gnu' is not in"):
        Stores(["a", "b"]).neighbours("gnu")


def test_stores_are_two_or_more_and_different(both):
    for given in (["a"], "a", []):
        with pytest.raises(UsageError, match="two or more"):
            Stores(given)
    with pytest.raises(UsageError, match="given twice"):
        Stores(["a", both / "a"])


def test_curves_have_a_panel_for_each_store_and_other_tables_no_picture(both):
    pytest.importorskip("altair")
    stores = Stores(["a", "b"])
    stores.query("anisotropy").plot().save(both / "a.vl.json")
    assert '"a"' in (both / "a.vl.json").read_text("utf-8")
    with pytest.raises(UsageError, match="picture"):
        stores.query("cka").plot()


def test_words_of_standard_input_are_read_once_for_all_spaces_and_stores(both, monkeypatch):
    def read(text: str) -> None:
        monkeypatch.setattr("sys.stdin", StringIO(text))

    read("dog\ncat\n")
    assert Stores(["a", "b"]).query("norms", words="-", layers=0, models="toy")["n"] == [2, 2]
    read("dog\ncat\n")
    options = {
        "y": "hen,owl",
        "a": "cow,hen",
        "b": "owl,hen",
        "missing": "skip",
        "models": "toy",
        "layers": 0,
    }
    found = Stores(["a", "b"]).query("weat", x="-", **options)
    assert (
        found["effect_size"]
        == Stores(["a", "b"]).query("weat", x="dog,cat", **options)["effect_size"]
    )
    read("dog\n")
    with pytest.raises(UsageError, match=r"standard input \(-\) is one set of words"):
        Stores(["a", "b"]).query("weat", x="-", **options | {"y": "-"})
