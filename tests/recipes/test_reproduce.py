"""A recipe carried out: a real, tiny checkpoint, datasets of a few rows, and the numbers checked by
hand.
"""

import base64
import csv
import html
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from tiny_checkpoint import make_checkpoint

from embstore import Store
from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.base.text import words_in
from embstore.sources.opening import open_source
from embstore.sources.rows import Row

pytestmark = pytest.mark.slow

PAIRS = [
    ("fox", "dog", 3.0),
    ("sea", "shore", 2.5),
    ("bank", "river", 1.5),
    ("fox", "bank", 0.5),
    ("dog", "sea", 1.0),
]
SENTENCES = [
    "the quick fox",
    "a lazy dog sleeps",
    "the river bank",
    "sea shells",
    "banks raised rates",
]

RECIPE = """
name = "tiny"
title = "A tiny paper"
citation = "Someone (2026)"
figures = "figures.json"
models = ["tiny", "other"]
notes = ["a note"]

[[sources]]
name = "words"
datasets = ["{words}"]

[[sources]]
name = "sentences"
datasets = ["{sentences}"]
quick_texts = 2
per_text = 1
replaceable = true

[[spaces]]
name = "word.last"
label = "last token"
source = "words"
unit = "word"
pooling = "last"

[[spaces]]
name = "word.eos"
label = "EOS"
source = "words"
unit = "word"
pooling = "eos"
template = "{{bos}}{{text}}{{eos}}"

[[spaces]]
name = "occurrence.last"
source = "sentences"
unit = "occurrence"
pooling = "last"

[[measures]]
figure = "cosine"
help = "mean pairwise cosine"
metric = "anisotropy"
column = "anisotropy"
spaces = ["word.last", "word.eos"]
band = 2

[[measures]]
figure = "norm"
help = "mean norm"
metric = "norms"
column = "mean"
parameters = {{ top = 0 }}
spaces = ["occurrence.last"]
sample = 100
"""
FIGURES = """{{"sources": {{"a": "here"}}, "figures": [
{{"model": "tiny", "figure": "cosine", "first_layer": 0, "relation": "=", "values": [0.1, 0.2], "source": "a",
  "spaces": ["word.last"]}},
{{"model": "tiny", "figure": "norm", "layers": "all", "relation": "<", "value": 1e-9, "source": "a"}}
]}}"""


def write_paper(folder: Path) -> Path:
    """A recipe over two files of texts; the published numbers are of the model ``tiny``."""
    words, sentences = folder / "words.txt", folder / "sentences.txt"
    words.write_text("\n".join(dict.fromkeys(word for pair in PAIRS for word in pair[:2])), "utf-8")
    sentences.write_text("\n".join(SENTENCES), "utf-8")
    path = folder / "tiny.toml"
    path.write_text(RECIPE.format(words=words, sentences=sentences), "utf-8")
    (folder / "figures.json").write_text(FIGURES.format(), "utf-8")
    return path


@pytest.fixture
def paper(tmp_path):
    return write_paper(tmp_path)


@pytest.fixture
def empty(tmp_path):
    return Store(tmp_path / "empty")


@pytest.fixture(scope="module")
def built(tmp_path_factory, checkpoint):
    """A store in which the recipe has been carried out."""
    folder = tmp_path_factory.mktemp("built")
    Store(folder / "store").reproduce(str(write_paper(folder)), models=str(checkpoint))
    return folder / "store"


@pytest.fixture
def store(built, tmp_path):
    return Store(shutil.copytree(built, tmp_path / "store"))


def test_measured_stands_beside_published_and_again_nothing_is_embedded(store, paper, checkpoint):
    result = store.reproduce(str(paper), models=str(checkpoint))
    assert sorted(store.info()["space"]) == [
        "tiny.tiny.occurrence.last",
        "tiny.tiny.word.eos",
        "tiny.tiny.word.last",
    ]
    rows = {(row["figure"], row["variant"], row["layers"]): row for row in result}
    compared = rows["cosine", "last token", "1"]
    [wanted] = store.query("anisotropy", spaces="tiny.tiny.word.last", layers=1).rows
    assert (compared["measured"], compared["n"]) == (wanted["anisotropy"], wanted["n"])
    assert (compared["published"], compared["verdict"], compared["low"], compared["high"]) == (
        0.2,
        "hit",
        -1.8,
        2.2,
    )
    assert rows["cosine", "EOS", "1"]["verdict"] == "not published"
    assert rows["norm", "occurrence.last", "all"]["verdict"] == "miss"
    assert {row["layers"] for row in result if row["figure"] == "cosine"} == {
        "0",
        "1",
        "2",
    }  # no "raw": layer L as HF
    assert rows["norm", "occurrence.last", "0"]["n"] == len(SENTENCES)
    assert "a note" in result.notes
    assert (
        "tiny.tiny.occurrence.last: all 5 items are used, fewer than the 100 of the paper."
        in result.notes
    )
    assert result.notes[-1].startswith(
        "Someone (2026): beside published numbers: 2 hit, 1 missed, 0 not measured; "
    )

    files = {path: path.stat().st_mtime_ns for path in store.path.rglob("*.parquet")}
    observed = []
    again = store.reproduce(str(paper), models=str(checkpoint), progress=observed.append)
    assert again.rows == result.rows
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*.parquet")} == files
    assert {progress.stage for progress in observed} == {"measure", "compute"}, (
        "and nothing is embedded"
    )
    measured = [progress for progress in observed if progress.stage == "measure"]
    assert [progress.done for progress in measured] == [*range(measured[0].total + 1)]  # each query
    assert [step.share for step in measured] == [
        done / measured[0].total for done in range(measured[0].total + 1)
    ]


def test_a_report_begins_with_a_reproduction(store, paper, checkpoint, monkeypatch):
    monkeypatch.setattr(
        "embstore.explore.report._pictures", lambda result: []
    )  # of metrics: most of a report's time
    page = store.report(recipe=str(paper), models=str(checkpoint))
    measured = store.reproduce(str(paper), models=str(checkpoint))
    sections = re.findall(r'<section id="([^"]+)">', page)
    assert sections[:3] == ["reproduction", "store", "map"]
    [data] = re.findall(r'download="reproduction.csv" href="data:text/csv;base64,([^"]+)"', page)
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(data).decode())))
    assert [row["verdict"] for row in rows] == sorted(
        measured["verdict"], key=["miss", "hit", "not published"].index
    )
    assert {(row["figure"], row["variant"], row["layers"], row["measured"]) for row in rows} == {
        (row["figure"], row["variant"], row["layers"], str(row["measured"])) for row in measured
    }
    assert html.escape(measured.notes[-1]) in page
    assert f"embstore reproduce --store store --model {checkpoint} {paper}" in page
    with pytest.raises(UsageError, match="for the reproduction of a recipe"):
        store.report(quick=True)


def test_another_name_has_nothing_published(store, paper, checkpoint):
    result = store.reproduce(str(paper), models=f"mine={checkpoint}")
    assert set(result["verdict"]) == {"not published"}
    schema = result.to_arrow().schema
    assert {str(schema.field(name).type) for name in ("published", "low", "high", "measured")} == {
        "double"
    }
    assert {str(schema.field(name).type) for name in ("relation", "reason", "source")} == {"string"}
    assert set(result["model"]) == {"mine"}
    assert any(note.startswith("nothing is published for mine.") for note in result.notes)


def test_first_texts_and_own_sentences_have_spaces_of_their_own(store, paper, checkpoint, tmp_path):
    quick = store.reproduce(str(paper), models=str(checkpoint), quick=True)
    assert {row["n"] for row in quick if row["figure"] == "norm"} == {2}
    full = store.reproduce(str(paper), models=str(checkpoint))
    assert {row["n"] for row in full if row["figure"] == "norm"} == {5}
    again = store.reproduce(str(paper), models=str(checkpoint), quick=True)
    assert again.rows == quick.rows

    file = tmp_path / "my own.txt"
    file.write_text("one fish\ntwo fish\nred fish", "utf-8")
    result = store.reproduce(str(paper), models=str(checkpoint), sentences=file)
    assert {row["n"] for row in result if row["figure"] == "norm"} == {3}
    file.write_text("blue fish", "utf-8")
    result = store.reproduce(str(paper), models=str(checkpoint), sentences=file)
    assert {row["n"] for row in result if row["figure"] == "norm"} == {1}
    assert len([space for space in store.info()["space"] if ".my-own-" in space]) == 2


def test_a_dry_run_does_nothing(empty, paper, checkpoint):
    plan = empty.reproduce(str(paper), models=str(checkpoint), dry_run=True)
    assert plan["step"].count("build") == 3
    assert plan["step"].count("query") == 3
    assert not empty.path.exists()


def edited(paper: Path, old: str, new: str) -> str:
    text = paper.read_text("utf-8")
    assert old in text
    paper.write_text(text.replace(old, new), "utf-8")
    return str(paper)


def test_what_a_recipe_asks_is_checked_before_anything_is_built(empty, paper, checkpoint):
    for old, new, message in (
        ('metric = "norms"', 'metric = "nroms"', "unknown metric 'nroms'. Did you mean 'norms'"),
        ("nroms", "norms", None),
        (
            'column = "mean"',
            'column = "maen"',
            "unknown column of norms 'maen'. Did you mean 'mean'",
        ),
        ("maen", "mean", None),
        ("top = 0", "tpo = 0", "unknown parameter of norms 'tpo'. Did you mean 'top'"),
        ("tpo", "top", None),
        (
            'metric = "norms"\ncolumn = "mean"\nparameters = { top = 0 }',
            'metric = "valnorm"\ncolumn = "valnorm"',
            "the space 'occurrence.last', whose unit is occurrence",
        ),
    ):
        name = edited(paper, old, new)
        if message is not None:
            with pytest.raises((UnknownNameError, UsageError)) as error:
                empty.reproduce(name, models=str(checkpoint))
            assert message in str(error.value)
    assert not empty.path.exists()


def test_a_measure_of_listed_words(store, paper, checkpoint):
    old = 'spaces = ["word.last", "word.eos"]'
    name = edited(paper, old, f'{old}\nwords = ["fox", "dog", "sea", "unicorn"]')
    result = store.reproduce(name, models=str(checkpoint))
    rows = {
        row["layers"]: row
        for row in result
        if (row["figure"], row["variant"]) == ("cosine", "last token")
    }
    wanted = store.query(
        "anisotropy", spaces="tiny.tiny.word.last", words=["fox", "dog", "sea"], layers="0-2"
    )
    assert [rows[layer]["measured"] for layer in "012"] == wanted["anisotropy"]
    assert {row["n"] for row in rows.values()} == {3}
    assert "tiny.tiny.word.last: 1 of the 4 words of a measure have no item." in result.notes
    old = 'metric = "anisotropy"\ncolumn = "anisotropy"'
    with pytest.raises(UsageError, match="sc-weat takes words as a parameter"):
        store.reproduce(
            edited(Path(name), old, 'metric = "sc-weat"\ncolumn = "effect_size"'),
            models=str(checkpoint),
        )


def test_a_measure_by_groups(empty, paper, checkpoint):
    words = {
        "fox": ("NOUN", 1),
        "dog": ("NOUN", 5),
        "sea": ("NOUN", 9),
        "sells": ("VERB", 2),
        "raised": ("VERB", 7),
    }
    table = paper.with_name("words.csv")
    table.write_text(
        "text,pos,freq\n"
        + "".join(f"{word},{pos},{n}\n" for word, (pos, n) in words.items())
        + "the,,3"
    )
    old = 'spaces = ["word.last", "word.eos"]'
    recipe = edited(
        paper,
        f'datasets = ["{paper.with_name("words.txt")}"]',
        f'datasets = ["{table}"]\nkeep = ["pos"]',
    )
    recipe = edited(Path(recipe), 'keep = ["pos"]', 'keep = ["pos", "freq"]')
    recipe = edited(Path(recipe), old, f'{old}\nby = "pos"\nsample = 6')
    number = {
        "model": "tiny",
        "figure": "cosine",
        "layers": 1,
        "relation": "<",
        "value": 2,
        "source": "a",
    }
    numbers = [
        number | {"group": "NOUN"},
        number | {"group": "ADJ"},
        number,
        number | {"group": "VERB", "layers": "best"},
    ]
    paper.with_name("figures.json").write_text(
        json.dumps({"sources": {"a": "here"}, "figures": numbers})
    )
    result = empty.reproduce(recipe, models=str(checkpoint))
    space = "tiny.tiny.word.last"
    wanted = empty.query("anisotropy", spaces=space, by="pos", layers="0-2")
    rows = [row for row in result if row["space"] == space]
    for group, variant in (("NOUN", "pos NOUN"), ("VERB", "pos VERB"), (None, "no pos")):
        of_group = [
            row
            for row in rows
            if row["variant"] == f"last token, {variant}" and row["layers"] in {*"012"}
        ]
        expected = [row for row in wanted if row["group"] == group]
        assert [row["measured"] for row in of_group] == [row["anisotropy"] for row in expected]
        assert [row["n"] for row in of_group] == [row["n"] for row in expected]
    verdicts = {
        (row["variant"], row["layers"]): (row["verdict"], row["reason"])
        for row in rows
        if row["relation"]
    }
    assert verdicts == {
        ("last token, pos NOUN", "1"): ("hit", None),
        ("last token, pos VERB", "best"): ("hit", None),
        ("last token, pos ADJ", "1"): (
            "not measured",
            "there is no such group: there are NOUN, VERB and one without a name",
        ),
    }
    assert [row["reason"] for row in result if row["space"] is None] == [
        "the recipe has no measure of it"
    ]
    assert not [note for note in result.notes if "fewer than the 6" in note]
    result = empty.reproduce(
        edited(Path(recipe), 'by = "pos"', 'by = "freq"\nbins = [0, 4, 10]'), models=str(checkpoint)
    )
    wanted = empty.query("anisotropy", spaces=space, by="freq", bins="0,4,10", layers="1")
    found = {
        row["variant"]: row["measured"]
        for row in result
        if row["space"] == space and row["layers"] == "1"
    }
    assert {
        f"last token, freq {row['group']}": row["anisotropy"] for row in wanted
    }.items() <= found.items()
    old = 'metric = "anisotropy"\ncolumn = "anisotropy"'
    recipe = edited(Path(recipe), old, 'metric = "similarity"\ncolumn = "spearman"')
    with pytest.raises(
        UsageError,
        match=r"similarity is of the pairs of a dataset .*, not of groups .*: leave out by",
    ):
        empty.reproduce(recipe, models=str(checkpoint))


def test_a_run_that_cannot_be_is_refused_before_anything_is_built(empty, paper, checkpoint):
    with pytest.raises(UsageError, match="two of the models are called 'tiny'"):
        empty.reproduce(str(paper), models=[str(checkpoint), f"tiny={checkpoint}"])
    with pytest.raises(UsageError, match="seed must be at least 0, not -1"):
        empty.reproduce(str(paper), models=str(checkpoint), seed=-1, dry_run=True)
    with pytest.raises(SourceError, match=r"gone\.txt cannot be read: No such file"):
        empty.reproduce(str(paper), models=str(checkpoint), sentences="gone.txt")
    with pytest.raises(UsageError, match="no source that a file of sentences may replace"):
        empty.reproduce(
            edited(paper, "replaceable = true", ""), models=str(checkpoint), sentences=paper
        )


def test_a_query_that_cannot_be_answered_says_why_in_its_rows(store, paper, checkpoint):
    old = 'metric = "anisotropy"\ncolumn = "anisotropy"'
    name = edited(
        paper,
        old,
        'metric = "similarity"\ncolumn = "spearman"\nparameters = { dataset = ["rg65"] }',
    )
    result = store.reproduce(name, models=str(checkpoint))
    rows = [row for row in result if row["figure"] == "cosine"]
    assert {row["verdict"] for row in rows} == {"not measured"}
    assert all("'rg65' is not in the store" in row["reason"] for row in rows)
    assert [row["published"] for row in rows] == [
        0.1,
        0.2,
        None,
    ]  # both numbers of word.last, and word.eos


# The paper itself
# -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_paper_on_a_tiny_checkpoint(empty, tmp_path, shared, monkeypatch):
    """All of wolfe2022 on real datasets; correlations and self-similarities against scipy and a
    plain loop.
    """
    monkeypatch.setenv("EMBSTORE_DATA", str(shared / "data"))
    checkpoint = make_checkpoint(tmp_path / "tiny", positions=512)
    result = empty.reproduce("wolfe2022", models=f"gpt2={checkpoint}")
    measured = {
        (row["figure"], row["variant"], row["layer"]): row
        for row in result
        if row["layers"] == str(row["layer"])
    }
    assert not [
        row for row in result if row["variant"] and row["measured"] is None and row["n"] == 0
    ]

    for figure, variant, metric, column, space, options in (
        ("rg65_spearman", "last token", "similarity", "spearman", "word.last", {"dataset": "rg65"}),
        (
            "word_self_similarity",
            "every occurrence",
            "self-similarity",
            "self_similarity",
            "occurrence-every.last",
            {},
        ),
        (
            "word_variance_explained",
            "every occurrence, centred",
            "mev",
            "mev",
            "occurrence-every.last",
            {"variant": "centred"},
        ),
        (
            "intra_sentence_similarity",
            "every occurrence",
            "intra-sentence",
            "intra_sentence_similarity",
            "occurrence-every.last",
            {},
        ),
    ):
        [wanted] = empty.query(metric, spaces=f"wolfe2022.gpt2.{space}", layers=1, **options).rows
        row = measured[figure, variant, 1]
        assert (row["measured"], row["n"]) == (wanted[column], wanted["n"]), figure

    lines = [
        line.split("\t")
        for line in (shared / "data" / "sts-test.csv").read_text("utf-8").split("\n")
        if line
    ]
    sentences = sorted({sentence for line in lines for sentence in line[5:7]})
    vectors = by_text(empty, "wolfe2022.gpt2.sentence.last", 2)
    assert len(vectors) > len(sentences)  # the space holds the authors' altered sentences too
    units = np.array([vectors[each] / np.linalg.norm(vectors[each]) for each in sentences]).astype(
        np.float64
    )
    authors = [row for row in open_source("stsb-wolfe2022").rows() if isinstance(row, Row)]
    cosines = [cosine(vectors[row.text], vectors[row.text_2]) for row in authors]
    row = measured["stsb_test_spearman", "last token, authors' reader", 2]
    scores = [row.values["score"] for row in authors]
    assert row["measured"] == pytest.approx(spearmanr(cosines, scores).statistic, abs=1e-6)
    assert row["n"] == 1273

    row = measured["sentence_self_similarity", "last token", 2]
    assert row["n"] == len(units)
    assert row["measured"] == pytest.approx(mean_cosine_of_pairs(units), abs=1e-9)

    row = measured["sentence_self_similarity", "last token, authors' left column", 2]
    listed = np.array([vectors[row.text] for row in authors])
    assert (row["n"], len({row.text for row in authors})) == (1273, 1150)
    assert row["measured"] == pytest.approx(1 - pdist(listed, "cosine").mean(), abs=1e-9)

    for variant in ("centred", "uncentred"):
        row = measured["random_word_variance_explained", f"occurrence, {variant}", 2]
        assert (row["n"], row["published"]) == (1000, 0.969)

    row = measured["cwe_self_similarity", "occurrence, authors' PAD draws", 2]
    with_padding = draws_with_padding(empty, 2)
    assert row["n"] == len(with_padding) == 10_000
    with_padding /= np.linalg.norm(with_padding, axis=1, keepdims=True)
    assert row["measured"] == pytest.approx(mean_cosine_of_pairs(with_padding), abs=1e-9)
    row = measured["cwe_self_similarity", "occurrence, no first token", 0]
    assert row["n"] == 10_000
    assert {row["n"] for row in result if row["figure"] == "cwe_magnitude" and row["n"]} == {10_000}
    assert not [note for note in result.notes if "fewer than" in note]
    top = [
        row for row in result if row["figure"] == "cwe_self_similarity" and row["layers"] == "12"
    ]
    assert {row["reason"] for row in top} == {"gpt2 has no other layers than 0 to 2"}
    best = next(
        row for row in result if row["figure"] == "stsb_test_spearman" and row["layers"] == "best"
    )
    layers = [measured["stsb_test_spearman", "last token", layer]["measured"] for layer in range(3)]
    assert best["measured"] == max(layers)


def mean_cosine_of_pairs(units: np.ndarray) -> float:
    """All products, in blocks of rows; that of a row with itself is 1."""
    n = len(units)
    return (sum((block @ units.T).sum() for block in np.array_split(units, 1 + n // 1000)) - n) / (
        n * (n - 1)
    )


def draws_with_padding(store: Store, layer: int) -> np.ndarray:
    """One by one, by ascending id: the drawn word, or the end token after its sentence, or nothing
    for a first word.
    """
    ids, _, words = store.vectors("wolfe2022.gpt2.occurrence.last", layer)
    paddings = by_text(store, "wolfe2022.gpt2.padding.eos", layer)
    items = store.catalog.items(ids.tolist())
    contexts = [items[item].context for item in ids.tolist()]
    words_of = [words_in(context) for context in contexts]
    n_words = [len(spans) for spans in words_of]
    draws = np.random.default_rng(0).integers(1, n_words, endpoint=True)
    found: list[np.ndarray] = []
    n_paddings = 0
    for item, context, spans, draw, vector in zip(
        ids.tolist(), contexts, words_of, draws, words, strict=True
    ):
        if draw == len(spans):
            found.append(paddings[context])
            n_paddings += 1
        elif items[item].span != spans[0]:
            found.append(vector.astype(np.float64))
    assert 0.05 < n_paddings / len(found) < 0.2
    kept = np.random.default_rng(0)
    kept.integers(1, n_words, endpoint=True)  # the draws above: those of the sample come after them
    return np.array(found)[np.sort(kept.choice(len(found), 10_000, replace=False))]


def by_text(store: Store, space: str, layer: int) -> dict[str, np.ndarray]:
    _, texts, vectors = store.vectors(space, layer)
    return dict(zip(texts, vectors.astype(np.float64), strict=True))


def cosine(each: np.ndarray, other: np.ndarray) -> float:
    return float(each @ other / np.linalg.norm(each) / np.linalg.norm(other))
