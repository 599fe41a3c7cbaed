"""Files that are not all there: a file may say that it has terabytes, and take no room."""

import pytest

from embstore.base import disk
from embstore.base.errors import DamagedError


def test_a_file_of_holes_is_damaged_and_not_read(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"PAR1")
    with path.open("ab") as file:
        file.truncate(4 << 40)
    with pytest.raises(DamagedError, match="never written"):
        disk.sha256(path)
    with pytest.raises(DamagedError, match="never written"), disk.opening(path):
        pass


@pytest.mark.parametrize(("n_holes", "is_damaged"), [(0, False), (1, False), (3, True)])
def test_few_holes_are_none(n_holes, is_damaged, tmp_path, monkeypatch):
    """As a file system may leave them where zeros were written."""
    monkeypatch.setattr(disk, "_MAX_HOLES", 2 << 20)
    path = tmp_path / "some"
    with path.open("wb") as file:
        for place in range(4):
            file.write(b"x" * (1 << 20))
            if place < n_holes:
                file.seek(1 << 20, 1)
    if is_damaged:
        with pytest.raises(DamagedError, match="never written"):
            disk.sha256(path)
    else:
        assert len(disk.sha256(path)) == 64
