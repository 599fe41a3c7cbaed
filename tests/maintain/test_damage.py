"""Damage that a question meets is named; it never answers."""

import pyarrow.parquet as pq
import pytest
from store_damage import flip

from embstore.base.errors import DamagedError, QueryError
from embstore.index import unit_vectors

pytestmark = pytest.mark.fault


def test_a_lost_table_of_texts_filters_nothing(make_store):
    made = make_store(n=30)
    for table in (made.root / "items").glob("*.parquet"):
        table.unlink()
    with pytest.raises(DamagedError, match=r"items.part-\w+\.parquet cannot be read: No such file"):
        made.store.query("anisotropy", where="length(text) > 3")
    assert made.store.query("anisotropy", layers=1)["n"] == [30], "without a filter no text is needed"


def test_an_altered_index_gives_no_impossible_cosine(make_store):
    made = make_store(n=30, dim=8)
    path = made.paths.index(made.space, made.card.layers.members[-1])
    at = path.read_bytes().index(unit_vectors(made.vectors[-1][3:4]).tobytes())
    flip(path, at + 3, 0x40)  # in the exponent
    with pytest.raises(DamagedError, match=r"layer=\d+\.faiss.*(damaged|disagree)"):
        made.store.neighbours("text5", layers=made.card.layers.names[-1], k=29)


@pytest.mark.parametrize("metric", ["anisotropy", "norms", "isoscore", "hubness", "cka"])
def test_what_has_no_value_since_its_shard_is_lost_says_so(make_store, metric):
    made = make_store(n=40, n_shards=2)
    lost, left = made.shard_files
    where = f"item_id IN ({', '.join(map(str, pq.read_table(lost, columns=['item_id'])['item_id'].to_pylist()))})"
    assert made.store.query(metric, layers="0,1", where=where).rows[0]["reason"] is None
    lost.unlink()
    found = made.store.query(metric, layers="0,1", where=where, cache=False)
    reason = f"no item that is left is selected: {lost.stem} is missing"
    assert set(found["reason"]) == {reason}
    assert f"{made.space}: {reason}." in found.notes
    left.unlink()
    found = made.store.query(metric, layers="0,1", transforms="center")
    both = ", ".join(sorted([lost.stem, left.stem]))
    reason = f"no item that is left is selected: {both} are missing"
    assert {(row["n"], row["reason"]) for row in found} == {(0, reason)}


def test_spaces_that_share_no_item_since_a_shard_is_lost_are_told_so(make_store):
    made = make_store(n=8)
    other = make_store(n=8, space="other", n_shards=1)
    [lost] = other.shard_files
    lost.unlink()
    with pytest.raises(QueryError, match=f"no item in common. other: {lost.stem} is missing. Run: embstore verify"):
        made.store.query("rsa", spaces=made.space, against="other")


def test_words_and_words_in_sentences_stand_side_by_side(make_store):
    make_store(texts=["bank", "river", "money"])
    made = make_store(unit="occurrence", texts=["a bank of stone", "the money"])
    found = made.store.neighbours("bank", layers=0, k=2)
    header, lines = found.layout()
    assert header == ["rank", "toy.occurrence.last 0", "toy.word.last 0"]
    assert all("[" in line[1] for line in lines)
    assert {line[2].split()[0] for line in lines} == {"river", "money"}
    found = made.store.neighbours(marked="a [bank] of stone", k=2)
    assert set(found["space"]) == {made.space}
    assert found.notes == ()
