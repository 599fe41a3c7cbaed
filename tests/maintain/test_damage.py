"""Damage that a question meets is named; it never answers."""

import pytest

from embstore.base.errors import DamagedError

pytestmark = pytest.mark.fault


def test_a_lost_table_of_texts_filters_nothing(make_store):
    made = make_store(n=30)
    for table in (made.root / "items").glob("*.parquet"):
        table.unlink()
    with pytest.raises(
        DamagedError,
        match=r"items.\w+\.parquet is damaged: it is missing, and the manifest names it",
    ):
        made.store.query("anisotropy", where="length(text) > 3")
    assert made.store.query("anisotropy", layers=1)["n"] == [30], (
        "without a filter no text is needed"
    )


@pytest.mark.parametrize("metric", ["anisotropy", "norms", "isoscore", "hubness", "cka"])
def test_a_lost_shard_is_named_where_its_vectors_are_needed(make_store, metric):
    made = make_store(n=40, n_shards=2)
    lost = made.shard_files[0]
    lost.unlink()
    with pytest.raises(
        DamagedError, match=rf"{lost.name} is damaged: it is missing.*build the same sources again"
    ):
        made.store.query(metric, layers="0,1", where="text < 'text2'", cache=False)
    made.store.repair()
    assert set(made.store.query(metric, layers="0,1", cache=False)["n"]) == {20}


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
