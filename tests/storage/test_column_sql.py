"""Columns of items in --where and SQL, beside pandas."""

import numpy as np
import pandas as pd
import pytest
from kept_columns import stored_columns, write_columns
from wordfreq import zipf_frequency

from embstore.base.errors import QueryError, UnknownNameError
from embstore.storage.catalog import Catalog


@pytest.fixture
def made(make_store):
    """A store of 20 items with a column for half of them, and two for all."""
    made = make_store(texts=[f"text{n}" for n in range(18)] + ["dog", "the"], index=False)
    write_columns(made, {"freq": [*range(20)], "a b": [f"v{n % 3}" for n in range(20)]})
    write_columns(made, {"rare": [n % 4 == 0 for n in range(10)]})
    return made


def test_a_column_with_a_quote_in_its_name(made):
    write_columns(made, {'odd "name"': [*range(20)]})
    catalog = Catalog(made.root)
    assert catalog.select('"odd ""name""" > 15').tolist() == sorted(made.ids.tolist()[16:])
    with pytest.raises(
        UnknownNameError, match=r"""unknown column 'odd "nam"'.*Did you mean 'odd "name"'"""
    ):
        catalog.select('"odd ""nam""" > 15 AND "odd ""name""" > 1')


def test_where_over_stored_columns(made):
    catalog, frame = Catalog(made.root), stored_columns(made.root)
    selected = {
        "freq > 12": frame.query("freq > 12"),
        "FREQ BETWEEN 3 AND 5 AND rare": frame[
            frame["freq"].between(3, 5) & frame["rare"].fillna(False)
        ],
        "rare IS NULL": frame[frame["rare"].isna()],
        "\"a b\" = 'v1' AND length(text) = 5": frame[(frame["a b"] == "v1") & (frame["freq"] < 10)],
    }
    for where, expected in selected.items():
        assert catalog.select(where).tolist() == sorted(expected.index), where
    assert len(catalog.select("text = 'dog'")) == 1


def test_where_over_built_in_columns(made):
    expected = sorted(
        i
        for i, text in zip(made.ids.tolist(), made.texts, strict=True)
        if zipf_frequency(text, "en") > 3
    )
    catalog = Catalog(made.root)
    assert catalog.select("zipf_frequency > 3").tolist() == expected
    assert catalog.select("zipf_frequency > 3 AND freq = 18").tolist() == [made.ids.tolist()[18]]
    assert catalog.select("position IS NOT NULL").tolist() == []


def test_where_names_the_nearest_column(made):
    with pytest.raises(UnknownNameError, match=r"unknown column 'frq'\. Did you mean 'freq'"):
        Catalog(made.root).select("frq > 1")
    with pytest.raises(QueryError, match=r"Cannot compare values of type VARCHAR.*TRY_CAST"):
        Catalog(made.root).select('"a b" > 3')


def test_metrics_and_their_cache_follow_the_columns(made):
    store = made.store
    assert store.query("norms", where="freq < 5", layers=0)["n"] == [5]
    assert store.query("norms", where="freq < 5", layers=0)["n"] == [5]
    store.remove(columns="freq")
    write_columns(made, {"freq": [1] * 20})
    assert made.store.query("norms", where="freq < 5", layers=0)["n"] == [20]
    values = made.layer(0)[[n for n in range(10) if n % 4 == 0]]
    [row] = made.store.query("norms", where="rare", layers=0)
    assert row["mean"] == pytest.approx(float(np.linalg.norm(values, axis=1).mean()))


def test_sql_views(made):
    frame = stored_columns(made.root)
    found = made.store.sql("SELECT * FROM columns ORDER BY item_id").df().set_index("item_id")
    expected = frame.astype({"freq": "int64"})
    assert found["freq"].tolist() == expected["freq"].tolist()
    assert found["a b"].tolist() == expected["a b"].tolist()
    assert [None if pd.isna(v) else v for v in found["rare"]] == [
        None if pd.isna(v) else v for v in frame["rare"]
    ]
    groups = made.store.sql(
        'SELECT "a b" AS g, count(*), avg(freq) FROM items GROUP BY g ORDER BY g'
    )
    expected = frame.groupby("a b")["freq"].agg(["size", "mean"])
    assert groups.fetchall() == [(name, *map(float, row)) for name, row in expected.iterrows()]
    words = made.store.sql(
        "SELECT text, zipf_frequency FROM built_in JOIN items USING (item_id)"
    ).fetchall()
    assert sorted(words) == sorted((text, zipf_frequency(text, "en")) for text in made.texts)
    tables = {row["name"]: row["content"] for row in made.store.sql_views()}
    assert tables["columns"] == "item_id BIGINT, a b VARCHAR, freq BIGINT, rare BOOLEAN"
    assert tables["built_in"] == "item_id BIGINT, position BIGINT, zipf_frequency DOUBLE"


def test_a_store_without_columns_has_empty_views(make_store):
    store = make_store(index=False).store
    assert store.sql("SELECT * FROM columns").fetchall() == []
    with pytest.raises(UnknownNameError, match="unknown column 'freq'"):
        store.query("norms", where="freq > 3")


def test_an_unknown_column_is_answered_with_those_there_are(made):
    with pytest.raises(QueryError, match=r"items has .*freq.*; built_in has .*zipf_frequency"):
        Catalog(made.root).sql("SELECT i.fre FROM items AS i")
