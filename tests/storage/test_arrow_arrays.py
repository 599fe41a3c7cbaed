"""Arrow arrays made without pandas are those that pyarrow makes."""

import numpy as np
import pyarrow as pa
import pytest

from embstore.storage.parquet.writer import from_numpy, from_values, to_numpy, to_table


@pytest.mark.parametrize(
    "values",
    [
        np.array([], np.int64),
        np.array([1, -2, 2**63 - 1]),
        np.arange(10, dtype=np.int16)[::2],
        np.array([0.5, np.nan], np.float32),
        np.array([True, False, True, True, False, False, False, True, True]),
    ],
    ids=lambda values: values.dtype.name,
)
def test_numpy(values):
    made = from_numpy(values)
    made.validate(full=True)
    assert made.type == pa.array(values).type
    assert str(made) == str(pa.array(values))
    if values.dtype != np.bool_:
        np.testing.assert_array_equal(to_numpy(pa.chunked_array([made, made])), np.concatenate([values, values]))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], pa.string()),
        (["a", None, "naïve", ""], pa.string()),
        ([None, None], pa.int64()),
        ([3, None, 0, -1], pa.int64()),
        (range(4), pa.int64()),
        ([True, None, False], pa.bool_()),
        ([True] * 9, pa.bool_()),
        ([0.25, None], pa.float64()),
    ],
)
def test_values(values, kind):
    made = from_values(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind))


def test_a_table_with_lists():
    element = pa.field("element", pa.float64(), nullable=False)
    fields = [("name", pa.string()), ("n", pa.int16()), ("sums", pa.list_(element)), ("x", pa.list_(pa.string()))]
    schema = pa.schema(fields)
    rows = [{"name": "a", "n": 1, "sums": [1.0, 2.0], "x": []}, {"name": "b", "n": 2, "sums": [], "x": ["c", "d"]}]
    for some in (rows, []):
        made = to_table(some, schema)
        made.validate(full=True)
        assert made.equals(pa.Table.from_pylist(some, schema=schema))
