"""What SQL over the files of a store says when it fails."""

import duckdb
import pytest

from embstore.base.errors import DamagedError, StoreError
from embstore.storage.sql.reader import Reader


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    file = tmp_path / "part-1.parquet"

    def refused(*_: object) -> None:
        raise duckdb.IOException(f'IO Error: Cannot open file "{file}": Permission denied')

    with pytest.raises(
        StoreError, match=r"part-1\.parquet cannot be read: Permission denied\. Check its perm"
    ) as caught:
        Reader(tmp_path).run(refused, "SELECT 1", [file])
    assert not isinstance(caught.value, DamagedError)


def test_ctrl_c_while_duckdb_calls_python_is_no_error_of_a_file(tmp_path):
    error = duckdb.InvalidInputException("Traceback (most recent call last):\n  File ...\nKeyboardInterrupt: ")
    with pytest.raises(KeyboardInterrupt):
        Reader(tmp_path).query_error(error, [])
