"""A file that changes while it is read is refused: half of it would be of one state, half of another."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embstore.base.errors import SourceError
from embstore.sources.opening import open_source

CHANGED = r"changed while it was read, so that nothing was built from it\. Wait until it is complete, or give a copy"


def write(path: Path) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": [f"line {number}" for number in range(9000)]}), path)
    else:
        line = '{{"text": "line {}"}}\n' if path.suffix == ".jsonl" else "line {}\n"
        path.write_text("".join(map(line.format, range(5000))))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more\n")


def replace(path: Path) -> None:
    """Of the same size and time."""
    before = path.stat()
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


def cut(path: Path) -> None:
    os.truncate(path, 70_000)


@pytest.mark.parametrize("change", [append, replace, touch, cut])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.parquet"])
def test_a_file_that_changes_is_refused(tmp_path, name, change):
    path = tmp_path / name
    write(path)
    rows = open_source(str(path)).rows()
    next(rows)
    change(path)
    with pytest.raises(SourceError, match=f"{name} {CHANGED}"):
        list(rows)


def test_a_file_that_was_written_between_opening_and_reading_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    write(path)
    source = open_source(str(path))
    append(path)
    with pytest.raises(SourceError, match=CHANGED):
        list(source.rows())
