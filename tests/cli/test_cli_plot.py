"""``embstore plot``: files, options, stored results, and what is refused."""

from html import escape

import pytest

from embstore.base.messages import printable
from embstore.metrics import METRICS

SPACE = ("--space", "toy.word.last")


@pytest.mark.slow
def test_a_picture_goes_where_it_is_said_or_beside(cli, made, tmp_path):
    done = cli("plot", "anisotropy", *SPACE, "--store", made.root)
    assert done.stdout == ""
    assert "Written: anisotropy.svg" in done.stderr
    options = ["--title", "Mean <cosine>", "--quiet", "-o", "a.svg", "-o", "b.png", "-o", "c.pdf"]
    done = cli("plot", "anisotropy", *SPACE, "--store", made.root, *options)
    assert (done.stdout, done.stderr) == ("", "")
    assert "Mean &lt;cosine&gt;</text>" in (tmp_path / "a.svg").read_text()
    files = {"anisotropy.svg", "a.svg", "b.png", "c.pdf"}
    assert {path.name for path in tmp_path.iterdir()} == files


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_", [("query", "norms"), ("query", "cka"), ("drift", "text3", "text7", "-k", "3")]
)
def test_a_stored_result_is_drawn_as_the_computed_one(cli, made, tmp_path, request_):
    name = request_[-1] if request_[0] == "query" else "drift"
    options = (*SPACE, "--store", made.root)
    words = request_[1:] if request_[0] == "query" else request_
    cli(*request_, *options, "-o", "r.json")
    for arguments in (
        (*words, *options, "-o", "a.svg"),
        ("--from", "r.json", "-o", "b.svg"),
        (name, "--from", "r.json", "-o", "c.svg"),
    ):
        done = cli("plot", *arguments)
        assert done.stdout == "", done.stderr
    assert len({(tmp_path / f"{letter}.svg").read_bytes() for letter in "abc"}) == 1


def test_drift_has_curves_of_the_items_that_change_most_and_least(cli, made, tmp_path):
    done = cli("plot", "drift", *SPACE, "-k", "3", "--store", made.root, "-o", "a.svg")
    assert done.stdout == "", done.stderr
    ranked = made.store.drift(k=3, spaces="toy.word.last")
    assert {row["rank"] for row in ranked} == {1, 2, 3, 4, 5}
    texts = made.store.drift(most=20, k=3, spaces="toy.word.last")["text"]
    assert written(tmp_path / "a.svg", dict.fromkeys(texts)) == [*dict.fromkeys(ranked["text"])]
    done = cli("plot", "drift", "text3", *SPACE, "-k", "3", "--store", made.root, "-o", "a.svg")
    assert done.stdout == "", done.stderr


def test_metrics_stand_side_by_side(cli, made, tmp_path):
    options = (*SPACE, "--store", made.root, "-k", "3", "-o", "a.svg")
    cli("plot", "hubness", "norms", *options)
    svg = (tmp_path / "a.svg").read_text()
    for text in (">Hubness</text>", ">Norm</text>", "k:\u00a03"):
        assert text in svg


def test_a_map_is_drawn_at_the_stored_places(cli, made, tmp_path):
    words = ("--layer", "0,1", "--sample", "5", *SPACE, "--store", made.root)
    cli("plot", "map", *words, "-o", "a.svg")
    found = made.store.map_items(layers="0,1", sample=5, spaces="toy.word.last")
    for layer in (0, 1):
        ids, places = made.store.map_points("toy.word.last", layer, sample=5)
        rows = [row for row in found if row["layer"] == layer]
        assert [row["item_id"] for row in rows] == ids.tolist()
        assert [[row["x"], row["y"]] for row in rows] == places.tolist()
    svg = (tmp_path / "a.svg").read_text()
    assert all(f">{escape(printable(text))}</text>" in svg for text in found["text"])


@pytest.mark.slow
def test_a_map_names_words_that_it_lacks_and_has_texts_where_they_have_room(cli, made, tmp_path):
    one = ("--words", "dog,absent", *SPACE, "--store", made.root)
    assert "'absent'" in cli("plot", "map", *one, "-o", "a.svg").stderr
    options = (*SPACE, "--layer", "0,1", "--store", made.root, "-o", "b.svg")
    done = cli("plot", "map", "--sample", 40, *options)
    texts = made.store.map_items(layers="0,1", sample=40, spaces="toy.word.last")["text"]
    shown = written(tmp_path / "b.svg", texts)
    assert shown
    assert ("would cover others" in done.stderr) == (len(shown) < len(texts))


def test_words_of_a_map_are_labelled_on_request(cli, made, tmp_path):
    options = (*SPACE, "--layer", "0", "--store", made.root, "-o", "b.svg")
    words = ("--label-words", "text3,absent", "--label-words", "text7")
    done = cli("plot", "map", *words, *options)
    assert done.stderr == "not on the map: 'absent'.\n"
    texts = made.store.map_items(layers="0", spaces="toy.word.last")["text"]
    assert sorted(written(tmp_path / "b.svg", texts)) == ["text3", "text7"]


def written(file, texts):
    svg = file.read_text()
    return [text for text in texts if f">{escape(printable(text))}</text>" in svg]


@pytest.mark.parametrize(
    "words",
    [
        ["anisotropy", "normss"],
        ["anisotropy", "-o", "absent/x.svg"],
        ["anisotropy", "-o", "x.gif"],
        ["anisotropy", "-o", "x.html"],
        ["anisotropy", "--style", "drak"],
        ["anisotropy", "--width", "3 ells"],
        ["anisotropy", "--width", "80"],
        ["anisotropy", "--height", "0mm"],
        ["anisotropy", "--width", "-80mm"],
        ["anisotropy", "--colours", "bleu"],
        ["anisotropy", "--label", "MiniLM"],
        ["anisotropy", "--space-label", "other.word.last=Other"],
        ["anisotropy", "--column", "stdd"],
        ["anisotropyy"],
        ["--style", "dark", "anisotropy"],
        ["norms", "--from", "absent.json", "--layer", "0"],
        ["drift", "dog", "--from", "absent.json", "-k", "3"],
        ["--from", "absent.json"],
        ["-o", "a.svg"],
    ],
)
def test_what_cannot_be_drawn_is_refused(refusal, made, tmp_path, words):
    store = [*SPACE, "--store", str(made.root)] if words[0] in METRICS else []
    assert "Traceback" not in refusal("plot", *words, *store)
    assert not list(tmp_path.iterdir())


def test_options_are_refused_before_anything_is_computed(refusal, made, monkeypatch):
    monkeypatch.setattr("embstore.Store.query", lambda *_, **__: pytest.fail("it was computed"))
    for options in (["-o", "x.gif"], ["--width", "80"], ["--label", "MiniLM"]):
        refusal("plot", "anisotropy", "--store", made.root, *options)


def test_the_look_of_a_picture_is_as_requested(cli, made, tmp_path):
    options = {
        "--space-label": "toy.word.last=Ours", "--x-label": "block", "--y-label": "cosine",
        "--range": "0,0.5", "--caption": "none", "--colours": "#123456", "--style": "screen",
        "--width": "90mm", "--height": "50mm",
    }  # fmt: skip
    words = [word for pair in options.items() for word in pair]
    cli("plot", "anisotropy", *SPACE, "--store", made.root, "-o", "a.svg", *words)
    svg = (tmp_path / "a.svg").read_text()
    for text in (">block</text>", ">cosine</text>", "#123456", 'width="255.118'):
        assert text in svg
    assert "n = " not in svg.partition("</metadata>")[2]


def test_without_matplotlib_the_extra_is_named(refusal, made, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "embstore.plot.figure", None)
    said = refusal("plot", "anisotropy", *SPACE, "--store", made.root, "-o", tmp_path / "a.svg")
    assert "pip install 'embstore[plot]'" in said
