"""What embstore writes can be read again, or is not stored: at a low limit, which small tables reach."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest
from synthetic import Synthetic

from embstore.base.errors import StoreError
from embstore.base.space import Unit
from embstore.storage.files.tables import column_schema
from embstore.storage.files.unpacked import VARIABLE, unpacked_problem
from embstore.storage.item_lookup import column_values
from embstore.storage.transaction.commit import write_dataset, write_rows

pytestmark = pytest.mark.fault

N = 6_000


@pytest.fixture
def made(make_store, monkeypatch):
    """A store of words in which tables may unpack to 1 MiB."""
    made = make_store(n=N, dim=2, n_blocks=1, index=False)
    monkeypatch.setenv(VARIABLE, "1")
    return made


def _values(name: str, n: int) -> tuple[dict[str, str], dict[str, Sequence[Any]]]:
    """Types and values of the columns of a case, for n items."""
    if name == "constant text":
        return {"text_0": "string"}, {"text_0": ["a" * 250] * n}
    kind, value, n_columns = {"bool": ("bool", True, 25), "null": ("string", None, 25)}[name]
    names = [f"{name}_{number}" for number in range(n_columns)]
    columns: dict[str, Sequence[Any]] = {column: [value] * n for column in names}
    if value is None:  # a column without any value is not stored
        columns[names[0]] = ["a", *[None] * (n - 1)]
    return dict.fromkeys(names, kind), columns


def _table(ids: Sequence[int], kinds: Mapping[str, str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    return pa.table({"item_id": ids, **columns}, column_schema(kinds))


def _check(made: Synthetic, kinds: Mapping[str, str], columns: Mapping[str, Sequence[Any]]) -> None:
    """Every table can be read, and holds what was written."""
    catalog = made.store.catalog
    assert [unpacked_problem(file) for file in catalog.column_files] == [None] * len(catalog.column_files)
    for name in list(kinds)[:3]:
        found = column_values(catalog, made.space, [name], made.ids)[name]
        read = [None if null else value for value, null in zip(found.values, found.is_null, strict=True)]
        assert read == list(columns[name])
    assert made.store.verify().ok


CASES = ["bool", "constant text", "null"]


@pytest.mark.parametrize("name", CASES)
def test_columns_that_repeat_are_cut_into_tables_that_can_be_read(name, made):
    kinds, columns = _values(name, N)
    write_rows(made.paths, made.paths.columns, [_table(made.ids.tolist(), kinds, columns)])
    _check(made, kinds, columns)
    first = next(iter(kinds))
    rows = made.store.query("norms", where=f"{first} IS NOT NULL", cache=False)
    assert {row["n"] for row in rows} == {sum(value is not None for value in columns[first])}


@pytest.mark.parametrize("name", CASES)
def test_compaction_joins_no_more_than_can_be_read(name, made):
    kinds, columns = _values(name, N)
    for begin in range(0, N, 300):
        part = {key: values[begin : begin + 300] for key, values in columns.items()}
        write_rows(made.paths, made.paths.columns, [_table(made.ids[begin : begin + 300].tolist(), kinds, part)])
    n_before = len(made.store.catalog.column_files)
    made.store.compact()
    assert len(made.store.catalog.column_files) < n_before
    _check(made, kinds, columns)
    assert not [row for row in made.store.compact() if "columns" in row["file"]]


def _pairs(texts: Sequence[str], ids: Sequence[int]) -> dict[str, Sequence[Any]]:
    places = list(combinations(range(len(texts)), 2))
    columns: dict[str, Sequence[Any]] = {}
    for suffix, end in (("", 0), ("_2", 1)):
        columns["item_id" + suffix] = [ids[pair[end]] for pair in places]
        columns["text" + suffix] = [texts[pair[end]] for pair in places]
    return columns | {"score": [0.5] * len(places)}


def test_a_dataset_of_all_pairs_can_be_read(made):
    texts = [item.text for item in made.items[:115]]
    columns = _pairs(texts, made.ids.tolist())
    write_dataset(made.paths, "mine", "word pairs", Unit.WORD, columns)
    found = made.store.catalog.dataset("mine", Unit.WORD)
    assert found["text_2"].tolist() == columns["text_2"]
    assert found["item_id"].tolist() == columns["item_id"]
    assert made.store.verify().ok


def test_a_table_that_could_not_be_read_again_is_not_stored(made):
    before = {path: path.read_bytes() for path in made.root.rglob("*") if path.is_file()}
    n = 1 << 12
    repeated: dict[str, Sequence[Any]] = {"item_id": [1] * n, "text": ["a" * 10_000] * n, "rank": [1] * n}
    with pytest.raises(
        StoreError, match=rf"mine\.parquet was not stored.*would unpack to .*set {VARIABLE}=\d+ or more"
    ):
        write_dataset(made.paths, "mine", "word list", Unit.WORD, repeated)
    assert {path: path.read_bytes() for path in made.root.rglob("*") if path.is_file()} == before
