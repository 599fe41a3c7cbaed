"""Change of words and CEAT through a store of occurrences, by brute force from the vectors that it
gives.
"""

import numpy as np
import pytest
from kept_columns import write_columns
from metric_data import Arrays
from scipy.spatial.distance import cdist, cosine, pdist

from embstore.base.errors import UnknownNameError, UsageError
from embstore.metrics.ceat import ceat
from embstore.metrics.data import Contexts, Words

PLACES = ["river", "sea", "money", "town", "road"]
SENTENCES = [
    f"{first} bank and {first} dog by {last}" for first in ("old", "new", "my") for last in PLACES
]


@pytest.fixture
def made(make_store):
    """Occurrences of sentences of 1900, 1950 and 2000, some without a year."""
    made = make_store(
        unit="occurrence", texts=SENTENCES, dim=5, n_blocks=1, top_form=None, index=False
    )
    years = {"old": 1900, "new": 1950, "my": 2000}
    write_columns(
        made,
        {
            "year": [
                None if item.context.endswith("road") else years[item.context.split()[0]]
                for item in made.items
            ]
        },
    )
    return made


def test_change_is_that_of_the_vectors(made):
    rows = made.store.query("change", by="year", min_contexts=3, permutations=0).rows
    assert {(row["word"], row["group_1"], row["group_2"]) for row in rows} == {
        (word, *years)
        for word in ("bank", "dog", "and", "by")
        for years in (("1900", "1950"), ("1950", "2000"))
    }
    for layer in (0, 1):
        _, texts, vectors, years = made.store.vectors(made.space, layer, columns=["year"])
        for row in (row for row in rows if row["layer"] == layer):
            is_word = np.array([text == row["word"] for text in texts])
            first, second = (
                vectors[is_word & np.array([value == int(row[name]) for value in years])].astype(
                    float
                )
                for name in ("group_1", "group_2")
            )
            assert (len(first), len(second)) == (row["n_1"], row["n_2"])
            within = (pdist(first, "cosine").mean() + pdist(second, "cosine").mean()) / 2
            apd = cdist(first, second, "cosine").mean()
            assert [row["apd"], row["within"], row["apd_change"], row["prt"]] == pytest.approx(
                [apd, within, apd - within, cosine(first.mean(axis=0), second.mean(axis=0))]
            )


def test_senses_are_compared_in_all_pairs_and_what_is_left_out_is_named(made):
    """The years as names have no order: 2000 is compared with 1900 too; words with few contexts are
    counted in a note.
    """
    names = {"old": "early", "new": "middle", "my": "late"}
    senses = [names[item.context.split()[0]] for item in made.items]
    write_columns(made, {"sense": senses})
    table = made.store.query("change", by="sense", min_contexts=3, permutations=0, layers="0,1")
    compared = {(row["word"], row["group_1"], row["group_2"]) for row in table.rows}
    assert compared == {
        (word, *pair)
        for word in ("bank", "dog", "and", "by")
        for pair in (("early", "late"), ("early", "middle"), ("late", "middle"))
    }
    assert {row["rare"] for row in table.rows} == {", ".join(sorted([*PLACES, "old", "new", "my"]))}
    assert "n_rare = 8 (" in table.notes[1]
    chosen = made.store.query(
        "change", by="sense", min_contexts=3, permutations=0, layers=0, against="late"
    ).rows
    assert {(row["group_1"], row["group_2"]) for row in chosen} == {
        ("early", "late"),
        ("middle", "late"),
    }
    with pytest.raises(UnknownNameError, match=r"unknown group 'lat'.*'late'"):
        made.store.query("change", by="sense", against="lat")


def test_requested_words_keep_their_p_and_rare_ones_say_why(made):
    query = made.store.query
    every = {
        (row["word"], row["layer"], row["group_1"]): row["p"]
        for row in query("change", by="year", min_contexts=3)
    }
    some = query("change", by="year", min_contexts=3, word=["dog", "river"]).rows
    assert all(
        row["p"] == every[row["word"], row["layer"], row["group_1"]]
        for row in some
        if row["word"] == "dog"
    )
    assert {row["reason"] for row in some if row["word"] == "river"} == {
        "fewer than 3 contexts in a group"
    }
    for layer in (0, 1):  # one word, between three years
        tested = [row for row in some if row["word"] == "dog" and row["layer"] == layer]
        p, p_2 = sorted(row["p"] for row in tested)
        assert sorted(row["p_holm"] for row in tested) == pytest.approx(
            [min(1, 2 * p), min(1, max(2 * p, p_2))]
        )


def test_a_note_says_that_the_shuffles_are_too_few_for_the_number_of_tests(made):
    table = made.store.query("change", by="year", min_contexts=3, permutations=10)
    assert min(table["p"]) <= 2 / 11
    raised = "10 draws allow no p_holm below .05 for so many tests: raise `permutations`"
    assert raised in table.notes[0]


def test_ceat_is_that_of_the_selected_vectors(made):
    sets = {"x": ["river", "sea"], "y": ["money", "town"], "a": ["road"], "b": ["old"]}
    where = "text <> 'old' OR position > 3"
    [_, row] = made.store.query("ceat", **sets, draws=200, where=where).rows
    ids, texts, vectors = made.store.vectors(made.space, 1, where)
    names = tuple(word for words in sets.values() for word in words)
    used = np.isin(texts, names)
    contexts = Contexts(
        ids[used], np.array([names.index(text) for text in texts if text in names]), names
    )
    words = {
        name: Words(np.array([names.index(word) for word in given]), tuple(given))
        for name, given in sets.items()
    }
    expected = ceat(Arrays(vectors[used], ids=ids[used]), contexts=contexts, draws=200, **words)
    assert {name: row[name] for name in expected if name != "sizes"} == pytest.approx(
        {name: value for name, value in expected.items() if name != "sizes"}
    )


def test_vectors_of_occurrences_come_with_texts_and_columns(made):
    """One column by its name, of part of the items, in the order of the ids; the built-in ones
    too.
    """
    ids, texts, vectors, years, zipf = made.store.vectors(
        made.space, "top", "text IN ('bank', 'dog')", columns=["year", "zipf_frequency"]
    )
    assert ids.tolist() == sorted(item.id for item in made.items if item.text in ("bank", "dog"))
    by_id = {item.id: item for item in made.items}
    assert texts == [by_id[item].text for item in ids.tolist()]
    assert vectors.shape == (len(ids), 5)
    assert [value is None for value in years] == [
        by_id[item].context.endswith("road") for item in ids.tolist()
    ]
    assert zipf.dtype == np.float64
    assert len(made.store.vectors(made.space, 0, columns="year")) == 4


def test_folds_of_predictivity_keep_sentences_whole(made):
    """Or the items of a column; the rows differ from those of folds of single items."""
    query = made.store.query
    whole = query("predictivity", folds=3).rows
    single = query("predictivity", folds=3, group="position").rows
    assert [row["r2"] for row in whole] != [row["r2"] for row in single]
    assert query("predictivity", folds=3, group="position").rows == single
    assert {row["reason"] for row in query("predictivity", folds=16)} == {"fewer than 16 groups"}
    with pytest.raises(UsageError, match="block="):
        query("predictivity", folds=3, block="position")


def test_shuffles_of_occurrences_move_whole_sentences(made):
    """Of one sentence there is nothing to shuffle; of all of them p is that of the default
    blocks.
    """
    query = made.store.query
    plain = query("cka", permutations=39, cache=False)
    write_columns(made, {"each": [sorted(SENTENCES).index(item.context) for item in made.items]})
    assert query("cka", permutations=39, block="each")["p"] == plain["p"]
