"""Maps, drift and exports of the items of a list of words: those of a store that has no others, and
with `where`.
"""

import numpy as np
import pyarrow.parquet as pq
import pytest

from embstore.base.errors import QueryError, UsageError
from embstore.explore.maps import find_map, place, stored_maps
from embstore.storage.catalog import Catalog
from embstore.storage.maps import read_map

N = 40
KEPT = [*range(0, N, 2), 7]
LIST = [f"text{at}" for at in KEPT]
SENTENCES = (
    "the bank of the river",
    "the bank lends money",
    "a river of money",
    "the bank of a river",
)


@pytest.fixture
def made(make_store):
    return make_store(n=N, n_blocks=2, top_form=None, index=False)


@pytest.fixture
def alone(make_store, made):
    """The same vectors of the listed words, in a store of their own."""
    return make_store(
        "alone", texts=LIST, n_blocks=2, top_form=None, vectors=made.vectors[:, KEPT], index=False
    )


def without(table, *names):
    return [{name: value for name, value in row.items() if name not in names} for row in table]


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_of_listed_words_is_that_of_a_store_of_them(made, alone, method):
    if method == "tsne":
        pytest.importorskip("openTSNE")
    found = made.store.map(method=method, words=[*LIST, "absent"], word="text0")
    assert {(row["n"], row["words_missing"]) for row in found} == {(len(LIST), 1)}
    assert found["words"][0] == f"{','.join(['text0', *LIST[1:20]])} and {len(LIST) + 1 - 20} more"
    assert any("lacks 1 of the 22 words of the list: 'absent'" in note for note in found.notes)
    right = alone.store.map(method=method)
    assert found["kept"] == right["kept"]
    for layer in range(3):
        ids, positions = made.store.map_points(
            made.space, layer, method=method, words=["text0", "text0", *LIST[1:], "absent"]
        )
        expected = alone.store.map_points(made.space, layer, method=method)
        np.testing.assert_array_equal(ids, expected[0])
        np.testing.assert_allclose(positions, expected[1], atol=1e-5)


def test_maps_of_lists_are_stored_beside_others(made, tmp_path):
    words = tmp_path / "nouns.txt"
    words.write_text("\n".join(LIST))
    first = made.store.map(words=words)
    assert {*first["words"]} == {str(words)}
    assert {*made.store.map(words=words)["did"]} == {"found"}
    assert {*made.store.map()["did"]} == {"made"}
    words.write_text("\n".join(LIST[:12]))
    assert {*made.store.map(words=words)["did"]} == {"made"}, "the list has changed"
    listed = made.store.maps()
    assert len(listed) == 9
    assert len({*listed["words_sha256"]}) == 3
    assert {*listed["state"]} == {"current"}
    catalog = Catalog(made.root)
    for row in listed:
        read = read_map(catalog.root, made.root / row["file"])
        assert ("words" in read.header()) == (row["words"] is not None)
    names = list(stored_maps(made.store)[made.space])
    assert names[0] == "stored pca", "that of all items comes first"
    assert len(names) == 3
    of_list = next(name for name in names if made.store.maps().rows and name != "stored pca")
    shown = find_map(made.store, made.space, of_list)
    assert len(shown.items.ids) in (12, len(LIST))
    row = next(at for at, text in enumerate(shown.items.texts) if text == "text4")
    placed = place(made.store, space=made.space, name=of_list, text="text4")
    np.testing.assert_allclose(placed["places"], shown.positions[:, row], atol=1e-5)


def test_drift_among_listed_words_is_that_of_a_store_of_them(made, alone):
    for arguments in ({"most": 4}, {"texts": ["text2", "text7"]}):
        found = made.store.drift(words=[*LIST, "absent"], k=3, **arguments)
        assert without(found, "words", "words_sha256", "words_missing") == without(
            alone.store.drift(k=3, **arguments)
        )
        assert {*found["words_missing"]} == {1}
        assert any("'absent'" in note for note in found.notes)
        assert made.store.drift(words=[*LIST, "absent"], k=3, **arguments).rows == found.rows, (
            "from the stored answer"
        )
    assert {*made.store.drift(words=LIST[:10], k=3)["n"]} == {10}, "another list is another answer"
    added = made.store.drift("text3", words=LIST, k=3)
    assert {*added["n"]} == {len(LIST) + 1}
    assert "1 of the named items are not among the selected ones" in added.notes[1]
    with pytest.raises(QueryError, match="no item is selected"):
        made.store.drift(words="absent,missing", k=3)


def test_an_export_of_listed_words_has_their_items(made, tmp_path):
    report = made.store.export(tmp_path / "a.parquet", made.space, words=[*LIST, "absent"])
    assert any("lacks 1 of the 22 words of the list: 'absent'" in note for note in report.notes)
    found = pq.read_table(tmp_path / "a.parquet").to_pandas()
    assert {*found["text"]} == {*LIST}
    card = pq.read_schema(tmp_path / "a.parquet").metadata[b"embstore"].decode()
    assert '"words_missing": 1' in card
    for layer, rows in found.groupby("layer"):
        for text, vector in zip(rows["text"], rows["vector"], strict=True):
            np.testing.assert_array_equal(vector, made.layer(layer)[made.texts.index(text)])
    with pytest.raises(QueryError, match="words"):
        made.store.export(tmp_path / "b.parquet", made.space, words="absent,")
    with pytest.raises(UsageError, match="no word in the list"):
        made.store.export(tmp_path / "b.parquet", made.space, words=[])


def test_all_occurrences_of_listed_words_are_taken(make_store, tmp_path):
    made = make_store(texts=SENTENCES, unit="occurrence", n_blocks=1)
    ids = [item.id for item in made.items if item.text in ("bank", "river", "money")]
    where = f"item_id IN ({','.join(map(str, ids))})"
    words = "bank,river,money,lake"
    assert {*made.store.map(words=words)["n"]} == {len(ids)}
    right = made.store.drift(where=where, k=2)
    assert without(
        made.store.drift(words=words, k=2), "words", "words_sha256", "words_missing"
    ) == without(right, "where")
    assert made.store.export(tmp_path / "a.parquet", made.space, words=words).n == len(ids)
