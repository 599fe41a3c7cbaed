"""Columns of items in exports, read by pandas, pyarrow and datasets."""

import pandas as pd
import pyarrow as pa
import pytest
from kept_columns import stored_columns, write_columns
from synthetic import synthetic_store
from wordfreq import zipf_frequency

from embstore.base.errors import UnknownNameError, UsageError

KINDS = {"freq": "int64", "pos": "string", "rare": "bool", "share": "float64"}


@pytest.fixture
def made(tmp_path):
    """A store of 12 words, of which 9 have four columns."""
    made = synthetic_store(
        tmp_path / "store", texts=[f"text{n}" for n in range(10)] + ["dog", "the"], index=False
    )
    rows = [(n, f"p{n % 2}", n > 4 or None, n / 3) for n in range(9)]
    write_columns(made, dict(zip(KINDS, zip(*rows, strict=True), strict=True)))
    return made


def read(dest, name):
    """An export as another program reads it, a row for each item."""
    if name == "csv":
        found = pd.read_csv(dest, engine="pyarrow", dtype_backend="pyarrow")
    elif name == "arrow":
        with pa.ipc.open_file(dest) as file:
            found = file.read_all().to_pandas(types_mapper=pd.ArrowDtype)
    else:
        path = next(dest.rglob("*.parquet")) if dest.is_dir() else dest
        found = pd.read_parquet(path, dtype_backend="pyarrow")
    return (
        found.astype({"item_id": "int64"})
        .drop_duplicates("item_id")
        .set_index("item_id")
        .sort_index()
    )


@pytest.mark.parametrize("name", ["parquet", "csv", "arrow", "datasets"])
def test_exports_carry_columns(made, tmp_path, name):
    dest = tmp_path / "out"
    made.store.export(dest, made.space, format=name, layers="0,1", keep=[*KINDS, "zipf_frequency"])
    found = read(dest, name)
    expected = stored_columns(made.root).reindex(sorted(made.ids.tolist()))
    for column in KINDS:
        wanted = [None if pd.isna(value) else value for value in expected[column]]
        assert [None if pd.isna(value) else value for value in found[column]] == wanted, column
    frequencies = [zipf_frequency(text, "en") for text in found["text"]]
    assert found["zipf_frequency"].tolist() == pytest.approx(frequencies)


def test_all_columns_and_a_selection(made, tmp_path):
    made.store.export(tmp_path / "out.parquet", made.space, layers=0, keep="all", where="freq < 4")
    found = read(tmp_path / "out.parquet", "parquet")
    assert [name for name in found.columns if name in KINDS] == [*KINDS]
    assert sorted(found["freq"]) == [0, 1, 2, 3]
    made.store.export(tmp_path / "plain.parquet", made.space, layers=0)
    assert not {*KINDS} & {*read(tmp_path / "plain.parquet", "parquet").columns}


def test_vectors_come_back_beside_columns(made, tmp_path):
    dest = tmp_path / "out.parquet"
    made.store.export(dest, made.space, keep="all")
    made.store.import_vectors(dest, "again", index="none")
    assert made.store.catalog.count("again") == 12


def test_columns_that_cannot_be_exported(made, tmp_path):
    store = made.store
    with pytest.raises(UsageError, match=r"npy has no room for columns of items.*parquet"):
        store.export(tmp_path / "out", made.space, format="npy", keep="freq")
    with pytest.raises(UnknownNameError, match=r"unknown column 'frek'\. Did you mean 'freq'"):
        store.export(tmp_path / "out.csv", made.space, keep="frek")
    write_columns(made, {"vector": [1]})
    with pytest.raises(UsageError, match="'vector' has the name of a column of this format"):
        made.store.export(tmp_path / "out.csv", made.space, keep="vector")
    assert not [*tmp_path.glob("out*")]
