"""Columns of items: stored values beside those that pandas holds, built-in ones beside their
definition.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from synthetic import synthetic_store
from wordfreq import zipf_frequency

from embstore.base.errors import DamagedError, UnknownNameError
from embstore.storage import keys
from embstore.storage.catalog import Catalog
from embstore.storage.item_lookup import column_types, column_values
from embstore.storage.manifest import Change
from embstore.storage.tables import column_schema, write

TYPES = {"freq": "int64", "length": "float64", "pos": "string", "rare": "bool"}


def in_pandas(column):
    """A column's values, None where they are null."""
    return pd.Series(
        [
            None if null else value
            for value, null in zip(column.values, column.is_null, strict=True)
        ],
        dtype=object,
    )


def add_columns(files, table):
    files.commit(Change(write(files, keys.COLUMNS, table)))


@pytest.fixture
def made(make_store):
    """A store of 40 items with four columns in two tables, and the same columns in pandas."""
    made = make_store(n=40, index=False)
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "item_id": made.ids,
            "freq": rng.integers(-9, 9, 40),
            "length": rng.normal(size=40),
            "pos": rng.choice(["NOUN", "VERB", 'naïve "x"'], 40),
            "rare": rng.random(40) < 0.5,
        }
    ).astype({"freq": object, "length": object, "pos": object, "rare": object})
    frame.loc[::7, "pos"] = None
    frame.loc[3:5, ["freq", "rare", "length"]] = None
    schema = pa.schema(
        [
            pa.field("item_id", pa.int64(), nullable=False),
            ("freq", pa.int64()),
            ("pos", pa.string()),
        ]
    )
    other = pa.schema([schema.field(0), ("rare", pa.bool_()), ("length", pa.float64())])
    for part in (schema, other):
        table = pa.Table.from_pylist(frame[part.names].to_dict("records"), part)
        # Some values are there twice.
        for rows in (table.slice(0, 11), table.slice(11), table.slice(30)):
            add_columns(made.files, rows)
    return made, frame


def test_stored_columns_are_those_of_pandas(made):
    store, frame = made
    catalog = Catalog(store.root)
    assert column_types(catalog, store.space) == TYPES | {"zipf_frequency": "float64"}
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.append(store.ids, 17))  # one that is no item's
    found = column_values(catalog, store.space, TYPES, ids)
    expected = frame.set_index("item_id").reindex(ids)
    for name, kind in TYPES.items():
        assert found[name].kind == kind
        series = expected[name].where(expected[name].notna(), None).reset_index(drop=True)
        pd.testing.assert_series_equal(in_pandas(found[name]), series, check_names=False)


def test_position_counts_the_words_before(tmp_path):
    sentences = ["the bank of the river", "a bank"]
    made = synthetic_store(tmp_path / "store", texts=sentences, unit="occurrence")
    catalog = Catalog(made.root)
    [column] = column_values(catalog, made.space, ["position"], made.ids).values()
    expected = [
        len(item.context[: item.span.start].split())
        for item in made.items
        if item.context and item.span
    ]
    assert column.values.tolist() == expected == [0, 1, 2, 3, 4, 0, 1]
    assert len(catalog.select("text = 'bank' AND position = 1")) == 2
    assert made.store.sql("SELECT max(position) FROM built_in").fetchall() == [(4,)]
    assert column_types(catalog, made.space) == {"position": "int64", "zipf_frequency": "float64"}


def test_zipf_frequencies_are_those_of_wordfreq(tmp_path):
    made = synthetic_store(tmp_path / "store", texts=["the", "bank", "xqzzy"])
    [column] = column_values(Catalog(made.root), made.space, ["zipf_frequency"], made.ids).values()
    expected = {item.id: zipf_frequency(item.text, "en") for item in made.items}
    assert column.values.tolist() == [expected[item] for item in made.ids.tolist()]
    assert sorted(expected.values())[0] == 0 < sorted(expected.values())[1]


def test_a_column_that_does_not_exist_names_the_nearest(made):
    store, _ = made
    with pytest.raises(
        UnknownNameError, match=r"unknown column 'frek'\. Did you mean 'freq'.*--keep"
    ):
        column_values(Catalog(store.root), store.space, ["frek"], store.ids)


def test_tables_that_contradict_each_other_are_damaged(made):
    store, _ = made
    table = pa.table({"item_id": store.ids, "freq": ["many"] * 40})
    add_columns(store.files, table.cast(column_schema({"freq": "string"})))
    with pytest.raises(DamagedError, match=r"column 'freq' is of type"):
        column_types(Catalog(store.root), store.space)


def test_a_condition_reads_the_tables_whose_columns_it_names(made):
    store, _ = made
    expected = Catalog(store.root).select("unit = 'word'").tolist()
    file = Catalog(store.root).column_files[0]
    data = bytearray(file.path.read_bytes())
    data[len(data) // 3] ^= 1  # the footer is at the end
    file.path.write_bytes(data)
    catalog = Catalog(store.root)
    assert catalog.select("unit = 'word'").tolist() == expected
    for condition in ("freq > 1", "no_such_column > 1"):
        with pytest.raises(DamagedError, match="SHA-256"):
            catalog.select(condition)
