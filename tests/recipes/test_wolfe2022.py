"""The reproduction of Wolfe & Caliskan (2022): its published numbers, the verdicts, and runs on
real datasets with a tiny checkpoint, checked against scipy and plain loops.
"""

import base64
import csv
import html
import io
import json
import re

import numpy as np
import pytest
from dataset_files import authors_reading, put_wolfe2022
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from tiny_checkpoint import make_checkpoint

from embstore import Store
from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.base.text import words_in
from embstore.metrics.geometry import TOO_FEW
from embstore.recipes.wolfe2022 import COLUMNS, Step, Value, compare, read_paper, self_similarity
from embstore.sources.opening import open_source
from embstore.sources.rows import Row

STEP = Step("gpt2", {"name": "word.last", "label": "last token"}, {"name": "w.gpt2"}, None)
MEASURE = {"figure": "f", "metric": "anisotropy", "column": "anisotropy", "band": 0.125}


def test_it_holds_every_number_of_the_table_of_figures_in_its_place(shared):
    table = json.loads((shared / "reference" / "paper_figures.json").read_text("utf-8"))
    numbers = read_paper()[1]
    wanted = [entry["value"] for entry in table["figures"]]
    for entry in table["headline"]:
        wanted += entry["value"] if isinstance(entry["value"], list) else [entry["value"]]
    for model in table["ethayarajh_2019"].values():
        for value in model.values():
            wanted += value if isinstance(value, list) else [value]
    wanted.append(0.45)  # the previous best that a headline's name mentions
    assert sorted(n["value"] for n in numbers if n["value"] is not None) == sorted(wanted)

    short = {"gpt2": "gpt2", "clip-vit-base-patch32": "clip"}
    keys = ("model", "figure", "layers", "relation", "value")
    ours = {tuple(n[key] for key in keys) for n in numbers}
    for entry in table["figures"]:
        renamed = entry | {"model": short[entry["model"]], "layers": entry["layer"]}
        assert tuple(renamed[key] for key in keys) in ours
    of_layer = {
        (n["model"], n["figure"], n["layers"]): n["value"]
        for n in numbers
        if n["source"] == "kawine"
    }
    for model, figures in table["ethayarajh_2019"].items():
        for figure, name, first in (
            ("random_word_cosine", "mean_cos_random_words (Baseline_1)", 0),
            ("word_variance_explained", "variance_explained_raw_mean_over_words (layers 1..)", 1),
        ):
            for layer, value in enumerate(figures[name], first):
                assert of_layer[model, figure, layer] == value


def test_each_number_of_the_paper_is_measured_or_says_why_not():
    paper, numbers = read_paper()
    measured = {measure["figure"] for measure in paper["measures"]}
    for number in numbers:
        is_measured = number["figure"] in measured and number["model"] != "elmo"
        assert is_measured != bool(number.get("reason")), number


def compared(values, *numbers, measure=MEASURE):
    found = [Value(layer, value, 7, None if value else "why") for layer, value in enumerate(values)]
    names = {"model": "gpt2", "figure": "f", "source": "a"}
    published = [names | number for number in numbers]
    rows = list(compare(measure, STEP, found, published))
    assert all(tuple(row) == COLUMNS for row in rows)
    return rows


@pytest.mark.parametrize(
    ("relation", "measured", "verdict"),
    [
        ("=", 0.625, "hit"),
        ("=", 0.626, "miss"),
        ("=", 0.375, "hit"),
        ("=", 0.374, "miss"),
        ("~=", 0.6, "hit"),
        ("<", 0.499, "hit"),
        ("<", 0.5, "miss"),
        ("<=", 0.5, "hit"),
        ("<=", 0.501, "miss"),
        (">", 0.501, "hit"),
        (">", 0.5, "miss"),
        (">=", 0.5, "hit"),
        (">=", 0.499, "miss"),
        ("=", None, "not measured"),
    ],
)
def test_a_number_hits_within_its_band_and_a_bound_as_it_stands(relation, measured, verdict):
    [row] = compared([measured], {"layers": 0, "relation": relation, "value": 0.5})
    assert (row["verdict"], row["published"], row["layers"]) == (verdict, 0.5, "0")


def test_a_band_may_be_a_share():
    share = MEASURE | {"band": 0.0, "relative_band": 0.25}
    [row] = compared([-200.0], {"layers": 0, "relation": "=", "value": -200.0}, measure=share)
    assert (row["low"], row["high"]) == (-250.0, -150.0)


@pytest.mark.parametrize(
    ("layers", "relation", "value", "layer", "measured", "verdict"),
    [
        ("all", "<", 0.6, 1, 0.7, "miss"),  # the highest of all layers
        ("all", ">=", 0.2, 2, 0.2, "hit"),  # the lowest
        ("best", "=", 0.7, 1, 0.7, "hit"),
        ("all", "falling", None, 3, 2.0, "miss"),  # steps that rise
        ("all", "rising", None, 3, 1.0, "miss"),
    ],
)
def test_a_number_on_several_layers(layers, relation, value, layer, measured, verdict):
    number = {"layers": layers, "relation": relation, "value": value}
    *_, row = compared([0.3, 0.7, 0.2, 0.4], number)
    assert (row["layer"], row["measured"], row["verdict"]) == (layer, measured, verdict)


def test_what_has_no_number_and_what_has_no_value():
    number = {"relation": "=", "value": 0.5}
    rows = compared([0.5, None], number | {"layers": "best"}, number | {"layers": 9})
    assert [(row["layers"], row["verdict"], row["reason"]) for row in rows] == [
        ("0", "not published", None),
        ("1", "not measured", "why"),
        ("best", "not measured", "layer 1: why"),
        ("9", "not measured", "gpt2 has no other layers than 0 to 1"),
    ]
    [row] = compare(MEASURE, STEP, [Value(reason="no such dataset")], [])
    assert (row["verdict"], row["reason"]) == ("not measured", "no such dataset")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_item_that_is_drawn_twice_counts_twice(make_store, dtype):
    made = make_store(n=20, n_shards=3, dtype=dtype, top_form=None)
    rows = np.random.default_rng(3).integers(0, 12, 40)
    ids = np.append(made.ids[rows], max(made.ids) + 1)  # one that is not there
    for value in self_similarity(made.store.catalog, [(made.space, ids)]):
        x = made.layer(value.layer)[rows].astype(np.float64)
        assert value.n == 40
        assert value.value == pytest.approx(1 - pdist(x, "cosine").mean(), abs=1e-9)
    [value, *_] = self_similarity(made.store.catalog, [(made.space, made.ids[:1])])
    assert (value.value, value.n, value.reason) == (None, 1, TOO_FEW)


@pytest.fixture
def store(tmp_path, data, monkeypatch):
    put_wolfe2022(data, monkeypatch)
    return Store(tmp_path / "store")


def test_what_cannot_be_done_is_refused_before_anything_is_built(store, checkpoint):
    for options, error, message in (
        (
            {"models": [str(checkpoint), f"tiny={checkpoint}"]},
            UsageError,
            "of the models are called 'tiny",
        ),
        ({"seed": -1}, UsageError, "seed must be at least 0, not -1"),
        ({"sentences": "gone.txt"}, SourceError, r"gone\.txt cannot be read: No such file"),
        ({"paper": "wolfe2023"}, UnknownNameError, "Did you mean 'wolfe2022'"),
    ):
        with pytest.raises(error, match=message):
            store.reproduce(**{"models": str(checkpoint), **options})
    plan = store.reproduce(models=f"gpt2={checkpoint}", dry_run=True)
    assert (plan["step"].count("build"), plan["step"].count("query")) == (8, 37)
    assert not store.path.exists()


@pytest.mark.slow
def test_first_texts_and_own_sentences_have_spaces_of_their_own(
    store, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr("embstore.explore.report.svg", lambda *_, style: "")  # they take long

    def n_of(figure, **options):
        found = store.reproduce(models=f"mine={checkpoint}", quick=True, **options)
        assert {*found["verdict"]} == {"not published", "not measured"}
        assert "nothing is published for mine." in found.notes
        return {row["n"] for row in found if row["figure"] == figure and row["n"]}

    quick = n_of("cwe_magnitude")
    file = tmp_path / "my own.txt"
    for n, sentences in enumerate(("one fish\ntwo fish\nred fish", "blue fish"), 1):
        file.write_text(sentences, "utf-8")
        assert n_of("cwe_magnitude", sentences=file) == {len(sentences.splitlines())}
        assert len({space for space in store.info()["space"] if ".my-own-" in space}) == 2 * n
    files = {path: path.stat().st_mtime_ns for path in store.path.rglob("vectors/**/*.parquet")}
    assert n_of("cwe_magnitude") == quick
    page = store.report(recipe="wolfe2022", models=f"mine={checkpoint}", quick=True)
    assert all(path.stat().st_mtime_ns == time for path, time in files.items()), "embedded again"
    assert re.findall(r'<section id="([^"]+)">', page)[:2] == ["reproduction", "store"]
    [data] = re.findall(r'download="reproduction.csv" href="data:text/csv;base64,([^"]+)"', page)
    rows = csv.DictReader(io.StringIO(base64.b64decode(data).decode()))
    verdicts = [row["verdict"] for row in rows]
    assert verdicts == sorted(verdicts, key=["not published", "not measured"].index)
    assert html.escape("nothing is published for mine.") in page


@pytest.mark.slow
def test_the_paper_on_a_tiny_checkpoint(store, tmp_path, data):
    """All of wolfe2022 on made datasets; correlations and self-similarities against scipy and a
    plain loop.
    """
    checkpoint = make_checkpoint(tmp_path / "tiny", positions=512)
    result = store.reproduce("wolfe2022", models=f"gpt2={checkpoint}")
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
        [wanted] = store.query(metric, spaces=f"wolfe2022.gpt2.{space}", layers=1, **options).rows
        row = measured[figure, variant, 1]
        assert (row["measured"], row["n"]) == (wanted[column], wanted["n"]), figure

    lines = [line.split("\t") for line in (data / "sts-test.csv").read_text("utf-8").splitlines()]
    sentences = sorted({sentence for line in lines for sentence in line[5:7]})
    vectors = by_text(store, "wolfe2022.gpt2.sentence.last", 2)
    assert len(vectors) > len(sentences)  # the space holds the authors' altered sentences too
    units = np.array([vectors[each] / np.linalg.norm(vectors[each]) for each in sentences]).astype(
        np.float64
    )
    authors = [row for row in open_source("stsb-wolfe2022").rows() if isinstance(row, Row)]
    left = [text for text, _ in authors_reading((data / "sts-test.csv").read_bytes())]
    assert len({*left}) < len(left) < len(lines)
    cosines = [cosine(vectors[row.text], vectors[row.text_2]) for row in authors]
    row = measured["stsb_test_spearman", "last token, authors' reader", 2]
    scores = [row.values["score"] for row in authors]
    assert row["measured"] == pytest.approx(spearmanr(cosines, scores).statistic, abs=1e-6)
    assert row["n"] == len(left)

    row = measured["sentence_self_similarity", "last token", 2]
    assert row["n"] == len(units)
    assert row["measured"] == pytest.approx(mean_cosine_of_pairs(units), abs=1e-9)

    row = measured["sentence_self_similarity", "last token, authors' left column", 2]
    listed = np.array([vectors[text] for text in left])
    assert row["n"] == len(left)
    assert row["measured"] == pytest.approx(1 - pdist(listed, "cosine").mean(), abs=1e-9)

    for variant in ("centred", "uncentred"):
        row = measured["random_word_variance_explained", f"occurrence, {variant}", 2]
        assert (row["n"], row["published"]) == (1000, 0.969)

    row = measured["cwe_self_similarity", "occurrence, authors' PAD draws", 2]
    with_padding = draws_with_padding(store, 2)
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


def mean_cosine_of_pairs(units):
    """All products, in blocks of rows; that of a row with itself is 1."""
    n = len(units)
    return (sum((block @ units.T).sum() for block in np.array_split(units, 1 + n // 1000)) - n) / (
        n * (n - 1)
    )


def draws_with_padding(store, layer):
    """One by one, by ascending id: the drawn word, or the end token after its sentence, or nothing
    for a first word.
    """
    ids, _, words = store.vectors("wolfe2022.gpt2.occurrence.last", layer)
    paddings = by_text(store, "wolfe2022.gpt2.padding.eos", layer)
    items = store.catalog.items(ids.tolist())
    contexts = [items[item].context for item in ids.tolist()]
    words_of = [list(words_in(context)) for context in contexts]
    n_words = [len(spans) for spans in words_of]
    draws = np.random.default_rng(0).integers(1, n_words, endpoint=True)
    found = []
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


def by_text(store, space, layer):
    _, texts, vectors = store.vectors(space, layer)
    return dict(zip(texts, vectors.astype(np.float64), strict=True))


def cosine(each, other):
    return float(each @ other / np.linalg.norm(each) / np.linalg.norm(other))
