"""A build after ``remove``: removed items of its sources are embedded again, with what belongs to
them.
"""

import numpy as np
import pytest
from sound_stores import problems_of

from embstore import Store


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["word", "occurrence", "token"])
def test_removed_items_are_embedded_again(build, tmp_path, unit):
    rows = ["text,pos", "bank,N", "far,A", "river,N", "a river,N"]
    (tmp_path / "texts.csv").write_text("".join(f"{row}\n" for row in rows))
    options = {"unit": unit, "columns": "text", "keep": "pos"}
    build(str(tmp_path / "texts.csv"), **options)
    store = Store(tmp_path / "store")
    [space] = store.info()["space"]
    ids, texts, before = store.vectors(space, "top")
    tables = ("items", "columns", "skipped")
    whole = [store.sql(f"SELECT * FROM {each} ORDER BY ALL").fetchall() for each in tables]
    removed = store.remove(where="text LIKE '%r%'")
    n = removed["items"][0]
    assert 0 < n < len(ids)
    assert problems_of(store) == []
    [run] = build(str(tmp_path / "texts.csv"), **options).spaces
    assert (run.embedded, run.present) == (n, len(ids) - n)
    again = store.vectors(space, "top")
    assert (again[0].tolist(), again[1]) == (ids.tolist(), texts)
    np.testing.assert_allclose(again[2], before, atol=1e-5)
    assert [store.sql(f"SELECT * FROM {each} ORDER BY ALL").fetchall() for each in tables] == whole
    assert problems_of(store) == []
