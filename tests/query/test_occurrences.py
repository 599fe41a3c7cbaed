"""Contextuality through a real store: which occurrences make a word or a sentence, and what is said
of bad input.
"""

import math
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from metric_data import mean_cosine, plain_intra_sentence, plain_mev

from embstore.base.errors import DamagedError, NotStoredError, QueryError, UnknownNameError
from embstore.metrics.numerics import groups as group_module
from embstore.storage import keys, tables
from embstore.storage.item_lookup import group_occurrences
from embstore.storage.manifest import Change

SENTENCES = (
    "The bank of the river", "a bank", "Bank, bank; the BANK", "the null of the naïve", "one",
    "the river, the Bank",
    "A null is a null", "Naïve",
)  # fmt: skip
METRIC_NAMES = ("self-similarity", "intra-sentence", "mev")


def grouped(made, key):
    """The rows of each word or sentence, straight from the items."""
    groups = defaultdict(list)
    for row, item in enumerate(made.items):
        groups[key(item)].append(row)
    return dict(sorted(groups.items()))


def word(item):
    return item.text


def folded(item):
    return item.text.lower()


def sentence(item):
    return item.context


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    ("metric", "key", "value", "plain", "least", "parameters"),
    [
        (
            "self-similarity",
            word,
            "self_similarity",
            mean_cosine,
            2,
            {"per_word": True, "min_contexts": 2},
        ),
        (
            "self-similarity",
            folded,
            "self_similarity",
            mean_cosine,
            3,
            {"per_word": True, "min_contexts": 3, "fold_case": True},
        ),
        (
            "intra-sentence",
            sentence,
            "intra_sentence_similarity",
            plain_intra_sentence,
            2,
            {"per_sentence": True},
        ),
        ("mev", word, "mev", plain_mev, 1, {"per_word": True, "min_contexts": 1}),
        (
            "mev",
            folded,
            "mev",
            plain_mev,
            2,
            {"per_word": True, "min_contexts": 2, "fold_case": True},
        ),
    ],
)
def test_every_group_of_every_layer_is_what_the_items_say(
    make_store, dtype, metric, key, value, plain, least, parameters
):
    made = make_store(unit="occurrence", index=False, texts=SENTENCES, n_shards=3, dtype=dtype)
    groups = {name: rows for name, rows in grouped(made, key).items() if len(rows) >= least}
    assert len(groups) >= 2
    answer = made.store.query(metric, **parameters)
    mean = made.store.query(
        metric, adjusted=True, **{k: v for k, v in parameters.items() if not k.startswith("per_")}
    )
    assert len(mean.rows) == len(made.card.layers)
    name = "sentence" if key is sentence else "word"
    for layer, mean_row in zip(made.card.layers, mean.rows, strict=True):
        rows = [row for row in answer.rows if row["layer"] == layer.id]
        x = made.layer(layer.id)
        wanted = {group: plain(x[members]) for group, members in groups.items()}
        assert {row[name]: row[value] for row in rows} == pytest.approx(wanted, abs=1e-9, rel=0)
        assert {row[name]: row["n"] for row in rows} == {
            group: len(members) for group, members in groups.items()
        }
        assert mean_row[value] == pytest.approx(np.mean(list(wanted.values())), abs=1e-9, rel=0)
        baseline = plain_mev(x) if metric == "mev" else mean_cosine(x)
        assert mean_row["baseline"] == pytest.approx(baseline, abs=1e-9, rel=0)
        assert mean_row["adjusted"] == pytest.approx(mean_row[value] - baseline, abs=1e-9, rel=0)


def with_sentences(make_store, texts=SENTENCES, **options):
    """Occurrences, and sentences with vectors of their own."""
    made = make_store(unit="occurrence", index=False, texts=SENTENCES, n_shards=3, seed=1)
    return made, make_store(
        unit="sentence", pooling="mean", index=False, texts=texts, seed=2, **options
    )


def plain_with_sentences(made, own, layer, *, shift=False):
    """Cosine by cosine, in plain Python."""
    x, y = made.layer(layer).astype(np.float64), own.layer(layer).astype(np.float64)
    if shift:
        x, y = x - x.mean(axis=0), y - x.mean(axis=0)
    found = {}
    for name, rows in grouped(made, sentence).items():
        if len(rows) < 2 or name not in own.texts:
            continue
        s = [float(value) for value in y[own.texts.index(name)]]
        cosines = []
        for row in rows:
            w = [float(value) for value in x[row]]
            dot = math.fsum(a * b for a, b in zip(s, w, strict=True))
            cosines.append(
                dot / math.sqrt(math.fsum(a * a for a in s) * math.fsum(b * b for b in w))
            )
        found[name] = math.fsum(cosines) / len(cosines)
    return found


@pytest.mark.parametrize(
    ("dtype", "shift", "budget"),
    [
        ("float32", False, 1 << 26),
        ("float32", True, 200),
        ("float16", False, 200),
        ("float16", True, 1 << 26),
    ],
)
def test_a_sentence_may_have_the_vector_of_a_space_of_sentences(
    make_store, monkeypatch, dtype, shift, budget
):
    monkeypatch.setattr(group_module, "BATCH_BYTES", budget)
    made, own = with_sentences(make_store, dtype=dtype)
    request = {
        "spaces": made.space,
        "sentence_space": own.space,
        "transforms": "center" if shift else (),
    }
    rows = made.store.query("intra-sentence", per_sentence=True, **request).to_pylist()
    means = made.store.query("intra-sentence", adjusted=True, **request).to_pylist()
    assert len(means) == len(made.card.layers)
    for layer, mean in zip(made.card.layers, means, strict=True):
        wanted = plain_with_sentences(made, own, layer.id, shift=shift)
        found = {
            row["sentence"]: row["intra_sentence_similarity"]
            for row in rows
            if row["layer"] == layer.id
        }
        assert found == pytest.approx(wanted, abs=1e-9, rel=0)
        assert mean["intra_sentence_similarity"] == pytest.approx(
            np.mean([*wanted.values()]), abs=1e-9, rel=0
        )
        assert mean["adjusted"] == pytest.approx(
            mean["intra_sentence_similarity"] - mean["baseline"], abs=1e-12
        )
        assert (mean["sentence_space"], mean["n_sentences"]) == (own.space, len(wanted))


def test_sentences_and_layers_that_the_space_lacks_are_told(make_store):
    made, own = with_sentences(make_store, texts=SENTENCES[:3], layers="0,2")
    found = made.store.query("intra-sentence", spaces=made.space, sentence_space=own.space)
    rows = {row["layer"]: row for row in found}
    wanted = plain_with_sentences(made, own, 2)
    assert rows[2]["intra_sentence_similarity"] == pytest.approx(
        np.mean([*wanted.values()]), abs=1e-9
    )
    assert (rows[2]["n_sentences"], rows[2]["n_sentences_left_out"]) == (3, len(SENTENCES) - 3)
    assert "left out: the sentence has no vector" in rows[2]["reason"]
    assert rows[1]["reason"] == f"{own.space} has no layer 1"
    assert any(
        f"{own.space} lacks 5 of the 8 sentences of {made.space}. Embed them: " in note
        for note in found.notes
    )


def test_another_space_of_sentences_is_another_question(make_store):
    made, own = with_sentences(make_store)
    request = {"spaces": made.space, "layers": 0, "sentence_space": own.space}
    before = made.store.query("intra-sentence", **request).rows[0]["intra_sentence_similarity"]
    made.store.remove(own.space)
    make_store(unit="sentence", pooling="mean", index=False, texts=SENTENCES, seed=7)
    assert (
        made.store.query("intra-sentence", **request).rows[0]["intra_sentence_similarity"] != before
    )


def test_what_cannot_give_the_vectors_of_sentences_is_refused(make_store):
    made, own = with_sentences(make_store)
    make_store(unit="sentence", index=False, texts=SENTENCES, space="strange", weights="9")
    make_store(
        unit="sentence", index=False, texts=["another"], space="apart", template="{text}{eos}"
    )
    make_store(unit="word", index=False, texts=["a"])

    def refused(name):
        with pytest.raises((QueryError, UnknownNameError)) as caught:
            made.store.query("intra-sentence", spaces=made.space, sentence_space=name)
        return str(caught.value)

    assert f"Did you mean '{own.space}'?" in refused("toy.sentence.men")
    assert "toy.word.last is a space of words, not of sentences" in refused("toy.word.last")
    assert "strange is of another checkpoint (" in refused("strange")
    assert refused("apart").endswith(
        "lacks 8 of the 8 sentences of toy.occurrence.last. Embed them: embstore build SOURCE"
        " --model toy=toy/checkpoint --unit sentence --pooling last --template '{text}{eos}' --name"
        " apart"
    )


def test_words_and_transforms_of_occurrences(make_store):
    made = make_store(unit="occurrence", index=False, texts=SENTENCES, n_blocks=0, top_form=None)
    rows = made.store.query(
        "self-similarity", word=["the", "bank", "the"], min_contexts=2
    ).to_pylist()
    assert [row["word"] for row in rows] == ["the", "bank"]
    assert [row["n"] for row in rows] == [6, 3]
    [row] = made.store.query("self-similarity", word="BaNK", fold_case=True).to_pylist()
    members = grouped(made, folded)["bank"]
    assert (row["word"], row["n"]) == ("bank", len(members)) == ("bank", 6)
    assert row["self_similarity"] == pytest.approx(mean_cosine(made.vectors[0][members]), abs=1e-9)
    [row] = made.store.query("mev", word="null", min_contexts=2).to_pylist()
    assert (row["word"], row["n"]) == ("null", 3)

    x = made.vectors[0].astype(np.float64)
    x -= x.mean(axis=0)
    words = [rows for rows in grouped(made, word).values() if len(rows) >= 2]
    [row] = made.store.query(
        "self-similarity", min_contexts=2, transforms="center", adjusted=True
    ).to_pylist()
    assert row["self_similarity"] == pytest.approx(
        np.mean([mean_cosine(x[rows]) for rows in words]), abs=1e-9
    )
    assert row["baseline"] == pytest.approx(mean_cosine(x), abs=1e-9)
    [row] = made.store.query("mev", min_contexts=2, transforms="center", adjusted=True).to_pylist()
    assert row["mev"] == pytest.approx(np.mean([plain_mev(x[rows]) for rows in words]), abs=1e-9)
    assert row["baseline"] == pytest.approx(plain_mev(x), abs=1e-9)


def test_a_word_that_is_not_there_is_named_with_its_like(make_store):
    made = make_store(unit="occurrence", index=False, texts=SENTENCES)
    with pytest.raises(
        NotStoredError, match=r"'bnak' has no occurrence in toy.occurrence.last. Nearest .*'bank'"
    ):
        made.store.query("self-similarity", word=["the", "bnak"])
    with pytest.raises(NotStoredError):
        made.store.query("mev", word="baNk")
    with pytest.raises(NotStoredError) as caught:
        made.store.query("mev", word="bnak", fold_case=True)
    assert "fold_case" not in str(caught.value)


@pytest.mark.parametrize(
    ("unit", "metric"),
    [("sentence", "self-similarity"), ("word", "intra-sentence"), ("sentence", "mev")],
)
def test_a_space_of_another_unit_is_refused_with_the_remedy(make_store, unit, metric):
    made = make_store(unit=unit, index=False, texts=SENTENCES)
    instead = {
        "self-similarity": "query anisotropy",
        "intra-sentence": "--sentence-space",
        "mev": "query spectrum",
    }
    message = (
        f"{metric} is about occurrence or token spaces.*build SOURCE --unit occurrence.*embstore"
        f" .*{instead[metric]}"
    )
    with pytest.raises(QueryError, match=message):
        made.store.query(metric)


def test_spaces_of_other_units_are_left_out_and_named(make_store):
    make_store(unit="sentence", index=False, texts=SENTENCES)
    made = make_store(unit="occurrence", index=False, texts=SENTENCES)
    answer = made.store.query("self-similarity", min_contexts=2)
    assert {row["space"] for row in answer.rows} == {made.space}


def test_only_the_selected_occurrences_count_and_each_space_has_its_own(make_store):
    made = make_store(unit="occurrence", index=False, texts=SENTENCES, n_blocks=0, top_form=None)
    other = make_store(
        unit="occurrence",
        index=False,
        texts=SENTENCES[:2],
        n_blocks=0,
        top_form=None,
        space="other",
        seed=9,
    )
    answer = made.store.query("self-similarity", min_contexts=2, word="the", where="start > 0")
    by_space = {row["space"]: row for row in answer.rows}
    for store in (made, other):
        members = [
            row
            for row, item in enumerate(store.items)
            if item.text == "the" and item.span.start > 0
        ]
        assert by_space[store.space]["n"] == len(members)
        if len(members) > 1:
            wanted = mean_cosine(store.vectors[0][members])
            assert by_space[store.space]["self_similarity"] == pytest.approx(wanted, abs=1e-9)
    assert by_space["other"]["reason"] == "1 context, and at least 2 are needed"
    sampled = made.store.query("intra-sentence", spaces=made.space, sample=9, adjusted=True).rows[0]
    assert sampled["n"] <= 9
    with pytest.raises(QueryError, match="no item is selected"):
        made.store.query("mev", spaces=made.space, where="false")


def write_items(made, keep):
    """Commit a table of the items of all tables, as ``keep`` gives them."""
    stored = pa.concat_tables([tables.read(file) for file in made.catalog.item_files])
    made.files.commit(Change(tables.write(made.files, keys.ITEMS, keep(stored))))


def test_items_that_stand_in_several_tables_count_once(make_store):
    made = make_store(unit="occurrence", index=False, texts=SENTENCES)
    write_items(made, lambda items: items)
    for by, key in {"word": word, "folded word": folded, "sentence": sentence}.items():
        ids, groups, names = group_occurrences(made.store.catalog, made.space, by)
        assert ids.tolist() == sorted(made.ids.tolist())
        found = dict(zip(ids.tolist(), (names[group] for group in groups), strict=True))
        assert found == {item.id: key(item) for item in made.items}
        assert list(names) == sorted(set(names))


def test_an_altered_or_lost_table_of_texts_never_answers(make_store):
    made = make_store(unit="occurrence", index=False, texts=SENTENCES)
    file = made.catalog.item_files[0]
    changes = {
        f"{file.key} is damaged: its SHA-256": lambda: file.path.write_bytes(
            file.path.read_bytes()[::-1]
        ),
        f"{file.key} is damaged: it is missing": file.path.unlink,
        "a table is lost": lambda: made.files.commit(Change(removed=(file.key,))),
    }
    for message, change in changes.items():
        change()
        for metric in METRIC_NAMES:
            with pytest.raises(DamagedError, match=message):
                made.store.query(metric)


def test_lost_sentences_are_missed_by_what_asks_for_them(make_store):
    made = make_store(unit="occurrence", index=False, texts=SENTENCES)
    stored = [file.key for file in made.catalog.item_files]
    write_items(made, lambda items: items.filter(pc.equal(items["unit"], "occurrence")))
    made.files.commit(Change(removed=stored))
    assert (
        made.store.query("self-similarity", min_contexts=2).rows[0]["self_similarity"] is not None
    )
    with pytest.raises(DamagedError, match=r"a sentence of toy\.occurrence\.last has no text"):
        made.store.query("intra-sentence")
