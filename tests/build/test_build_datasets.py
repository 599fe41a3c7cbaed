"""What a build makes of datasets: their texts once each, their rows, and what queries read of
them.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from dataset_files import FILES, STSB_LINES, look_alike, put, serving
from tiny_checkpoint import content, stored_files

from embstore import Store
from embstore.base.errors import DamagedError, QueryError, UnknownNameError, UsageError
from embstore.base.progress import Progress
from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.sources.datasets import PLEASANT, UNPLEASANT
from embstore.storage.writer import write_dataset

WORDS = "tiny.word.last"
SENTENCES = "tiny.sentence.mean"
RG65 = ["cord", "smile", "null", "nan", "NA", "None"]
SIMLEX = ["old", "new", "sly", "strange", "cord"]
pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture
def at_hand(data, monkeypatch):
    for name in FILES:
        put(data, monkeypatch, name)


def rows_of(tmp_path, name, unit):
    """What queries read, row by row."""
    columns = Store(tmp_path / "store").catalog.dataset(name, unit)
    lists = [column.tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def ids(unit, words):
    return {Item.whole(unit, word).id for word in words}


def embedded(tmp_path, space):
    return set(next(iter(content(tmp_path / "store")[space].values())))


@pytest.mark.usefixtures("at_hand")
def test_datasets_bring_their_units_and_each_text_is_embedded_once(build, tmp_path):
    report = build(["rg65", "simlex999", "stsb"])
    sentences = [text for line in STSB_LINES for text in line.split("\t")[5:7]]
    assert [(each.space, each.embedded) for each in report.spaces] == [(WORDS, 10), (SENTENCES, 10)]
    assert (report.n_texts, report.n_items) == (6 + 8 + 10, 10 + 10)
    assert embedded(tmp_path, WORDS) == ids(Unit.WORD, [*RG65, *SIMLEX])
    assert embedded(tmp_path, SENTENCES) == ids(Unit.SENTENCE, sentences)
    assert Store(tmp_path / "store").catalog.datasets() == {
        "rg65": "word pairs",
        "simlex999": "word pairs",
        "stsb": "sentence pairs",
    }
    assert Store(tmp_path / "store").verify().ok
    again = build(["rg65", "simlex999", "stsb"])
    assert [(each.embedded, each.present) for each in again.spaces] == [(0, 10), (0, 10)]


@pytest.mark.usefixtures("at_hand")
def test_rows_are_joined_by_id_in_the_datasets_order(build, tmp_path):
    build("simlex999")
    rows = rows_of(tmp_path, "simlex999", Unit.WORD)
    expected = [
        ("old", "new", 1.58),
        ("sly", "strange", 1.97),
        ("sly", "strange", 2.07),
        ("cord", "old", 0.5),
    ]
    assert rows == [
        {
            "item_id": Item.whole(Unit.WORD, left).id,
            "text": left,
            "item_id_2": Item.whole(Unit.WORD, right).id,
            "text_2": right,
            "score": score,
        }
        for left, right, score in expected
    ]


@pytest.mark.usefixtures("at_hand")
def test_a_unit_that_is_given_wins_and_rows_of_other_units_stay(build, tmp_path):
    build(["rg65", "stsb"], unit="sentence", poolings="mean")
    assert embedded(tmp_path, SENTENCES) >= ids(Unit.SENTENCE, RG65)
    assert WORDS not in Store(tmp_path / "store").catalog.cards
    build("rg65")
    build("rg65")
    for unit in (Unit.WORD, Unit.SENTENCE):
        assert [row["item_id"] for row in rows_of(tmp_path, "rg65", unit)] == [
            Item.whole(unit, text).id for text in RG65[::2]
        ]


@pytest.mark.usefixtures("at_hand")
def test_files_are_words_beside_datasets_of_sentences(build, tmp_path):
    (tmp_path / "notes.txt").write_text("dog\ncord\n")
    report = build(["stsb", str(tmp_path / "notes.txt"), "words:3"])
    assert {each.space: each.embedded for each in report.spaces} == {SENTENCES: 10, WORDS: 5}


@pytest.mark.usefixtures("at_hand")
def test_occurrences_of_a_dataset_have_no_scores(build, tmp_path):
    build("stsb", unit="occurrence")
    assert Store(tmp_path / "store").catalog.datasets() == {}
    assert Store(tmp_path / "store").info()["items"][0] > 10


@pytest.mark.usefixtures("at_hand")
def test_the_words_that_a_lexicon_brings_are_embedded_and_are_no_rows(build, tmp_path):
    report = build("bellezza")
    assert embedded(tmp_path, WORDS) == ids(Unit.WORD, ["abuse", "world", *PLEASANT, *UNPLEASANT])
    assert report.n_items == 51  # "abuse" is one of the unpleasant words
    rows = rows_of(tmp_path, "bellezza", Unit.WORD)
    assert [(row["text"], row["valence"]) for row in rows] == [("abuse", 1.53), ("world", 4.03)]
    assert list(rows[0])[:3] == ["item_id", "text", "valence"]
    assert "item_id_2" not in rows[0]


@pytest.mark.usefixtures("at_hand")
@pytest.mark.parametrize(("limit", "kept"), [(1, False), (5, False), (6, False), (7, True)])
def test_half_a_dataset_is_not_stored_as_a_dataset(build, tmp_path, limit, kept):
    report = build("rg65", limit=limit)
    assert (report.n_texts, report.n_items) == (min(limit, 6), min(limit, 6))
    assert embedded(tmp_path, WORDS) == ids(Unit.WORD, RG65[:limit])
    assert Store(tmp_path / "store").catalog.datasets() == ({"rg65": "word pairs"} if kept else {})


@pytest.mark.usefixtures("at_hand")
def test_one_name_for_two_units_is_refused_and_leaves_no_store(build, tmp_path):
    with pytest.raises(UsageError, match=r"`name` names one space.*word and sentence.*`unit`"):
        build(["rg65", "stsb"], name="both")
    assert not (tmp_path / "store").exists()
    build(["rg65", "simlex999"], name="both")
    assert list(Store(tmp_path / "store").catalog.cards) == ["both"]


def test_a_dataset_that_is_not_at_hand_is_downloaded(build, data, monkeypatch):
    observed = []
    with serving(monkeypatch) as server:
        look_alike(monkeypatch, "rg65", address=server.url)
        server.files["rg65.csv"] = FILES["rg65"]
        report = build("rg65", progress=observed.append)
        build("rg65")
    assert server.requested == ["rg65.csv"]
    assert report.spaces[0].embedded == 6
    assert observed[0] == Progress("fetch", "rg65", len(FILES["rg65"]), len(FILES["rg65"]))
    assert (data / "rg65.csv").is_file()


def pairs_of(made, n=3):
    items = made.items
    return {
        "item_id": [item.id for item in items[:n]],
        "text": [item.text for item in items[:n]],
        "item_id_2": [item.id for item in items[n : 2 * n]],
        "text_2": [item.text for item in items[n : 2 * n]],
        "score": [float(i) for i in range(n)],
    }


def dataset_file(made):
    [path] = stored_files(made.root, "datasets/mine-")
    return path


def test_a_dataset_that_the_store_lacks_names_those_that_it_holds(make_store):
    made = make_store()
    with pytest.raises(
        QueryError, match=r"'rg65' is not in the store, which holds none.*embstore build rg65"
    ):
        made.store.catalog.dataset("rg65", Unit.WORD)
    write_dataset(made.files, "mine", "word pairs", Unit.WORD, pairs_of(made))
    write_dataset(
        made.files, "words_20", "word list", Unit.WORD, {"item_id": [1], "text": ["a"], "rank": [1]}
    )
    catalog = made.store.catalog
    with pytest.raises(QueryError, match="'rg65' is not in the store, which holds mine, words:20"):
        catalog.dataset("rg65", Unit.WORD)
    with pytest.raises(
        QueryError,
        match=r"'mine' for the unit word, not for sentence.*--model MODEL --unit sentence",
    ):
        catalog.dataset("mine", Unit.SENTENCE)
    assert catalog.datasets() == {"mine": "word pairs", "words:20": "word list"}
    assert catalog.datasets(["word pairs", "lexicon"]) == {"mine": "word pairs"}
    assert catalog.dataset("words:20", Unit.WORD)["rank"].tolist() == [1]
    assert catalog.dataset("words_20", Unit.WORD)["rank"].tolist() == [1]
    with pytest.raises(
        UnknownNameError, match=r"unknown dataset 'word:20'\. Did you mean 'words:20'"
    ):
        made.store.query("similarity", dataset="word:20")


def test_another_tables_rows_do_not_stay_under_its_name(make_store):
    made = make_store()
    write_dataset(made.files, "mine", "word pairs", Unit.WORD, pairs_of(made))
    write_dataset(
        made.files,
        "mine",
        "lexicon",
        Unit.SENTENCE,
        {"item_id": [1], "text": ["a"], "value": [1.0]},
    )
    assert made.store.catalog.datasets() == {"mine": "lexicon"}
    with pytest.raises(QueryError, match="for the unit sentence, not for word"):
        made.store.catalog.dataset("mine", Unit.WORD)


def test_a_damaged_dataset_is_named_and_a_build_replaces_it_after_a_repair(make_store):
    made = make_store()
    write_dataset(made.files, "mine", "word pairs", Unit.WORD, pairs_of(made))
    path = dataset_file(made)
    whole = path.read_bytes()
    for damage in (
        whole[:-1],
        b"",
        b"no Parquet",
        whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
    ):
        path.write_bytes(damage)
        with pytest.raises(
            DamagedError,
            match=rf"{path} is damaged: .*embstore repair. To get the dataset back, build it",
        ):
            made.store.catalog.dataset("mine", Unit.WORD)
    assert made.store.catalog.datasets() == {"mine": "word pairs"}, "the manifest knows the kind"
    made.store.repair()
    write_dataset(made.files, "mine", "word pairs", Unit.WORD, pairs_of(made))
    assert path.read_bytes() == whole


def test_what_is_missing_in_a_foreign_file_is_nan_none_or_damage(make_store):
    """DuckDB masks it, and what lies under the mask is 0."""
    made = make_store()
    whole = pairs_of(made)
    more = {
        "score": [None, 0.5, None],
        "rank": [1, None, 3],
        "pos": ["n", None, "v"],
        "year": [1, 2, 3],
    }
    write_dataset(made.files, "mine", "word pairs", Unit.WORD, whole | more)
    columns = made.store.catalog.dataset("mine", Unit.WORD)
    assert not any(isinstance(column, np.ma.MaskedArray) for column in columns.values())
    np.testing.assert_array_equal(columns["score"], [np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(columns["rank"], [1, np.nan, 3])
    assert columns["pos"].tolist() == ["n", None, "v"]
    assert (columns["year"].dtype, columns["item_id"].dtype) == (np.int64, np.int64)
    for key in ("item_id", "text", "item_id_2", "text_2"):
        write_dataset(
            made.files, "mine", "word pairs", Unit.WORD, whole | {key: [*whole[key][:2], None]}
        )
        with pytest.raises(
            DamagedError, match=rf"mine-.*parquet is damaged: {key} is missing in row 3\. To"
        ):
            made.store.catalog.dataset("mine", Unit.WORD)


def test_columns_have_the_types_that_are_published(make_store):
    made = make_store()
    write_dataset(made.files, "mine", "word pairs", Unit.WORD, pairs_of(made))
    document = json.loads((Path(__file__).parents[2] / "schemas/tables.json").read_text("utf-8"))
    columns = document["tables"]["datasets/<name>-<hash>.parquet"]["columns"]
    # Of analogies.
    published = {
        name: column for name, column in columns.items() if not name.endswith(("_3", "_4"))
    }
    schema = pq.read_schema(dataset_file(made))
    assert {name: str(schema.field(name).type) for name in published} == {
        name: column["type"] for name, column in published.items()
    }
    assert schema.names == [*published, "score"]
    assert schema.metadata[b"kind"] == b"word pairs"
    columns = made.store.catalog.dataset("mine", Unit.WORD)
    assert list(columns) == schema.names[1:]
    assert [columns[name].dtype for name in ("item_id", "item_id_2", "score")] == [
        np.int64,
        np.int64,
        np.float64,
    ]
