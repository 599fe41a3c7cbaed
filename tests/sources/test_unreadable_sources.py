"""A source that changes while it is read, or that the system refuses: said of the source, never
taken for damage.
"""

import errno
import hashlib
import io
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from source_files import write_table

from embstore.base.errors import SourceError
from embstore.sources import datasets, files
from embstore.sources.datasets import add_dataset, list_datasets
from embstore.sources.opening import open_source
from embstore.sources.rows import Row
from embstore.sources.source import DataFile

TEXTS = [f"text {number} {'long ' * 10}" for number in range(2000)]
NAMES = ["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.parquet"]
CODES = (errno.EIO, errno.EACCES, errno.EMFILE, errno.ESTALE)


def read(name):
    return [row.text for row in open_source(name).rows() if isinstance(row, Row)]


@contextmanager
def before_reading(hook):
    """Call a function before each operation on a source, with its name; its OSErrors are the
    operation's.
    """
    real = files._reading

    @contextmanager
    def reading(name):
        with real(name):
            hook(name)
            yield

    with mock.patch.object(files, "_reading", reading):
        yield


def operations(run):
    """The names of the sources, an item for each operation."""
    found = []
    with before_reading(found.append):
        run()
    return found


def refusal(run, n, code):
    """The error of what the command makes of a failing n-th operation."""
    left = n

    def fail(*_):
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(code, os.strerror(code))

    with before_reading(fail), pytest.raises(SourceError) as caught:
        run()
    assert isinstance(caught.value.__cause__, OSError)
    return caught.value


@pytest.mark.parametrize("name", NAMES)
def test_each_operation_on_a_file(name, folder):
    write_table(folder / name, [(text,) for text in TEXTS])
    assert read(name) == TEXTS
    n = len(operations(lambda: read(name)))
    assert n > 6, "it is read in several pieces"
    for number in range(1, n + 1):
        code = CODES[number % len(CODES)]
        message = str(refusal(lambda: read(name), number, code))
        assert message.startswith(f"{name} cannot be read: {os.strerror(code)}. ")
        assert "damaged" not in message


@pytest.fixture
def pairs(folder, monkeypatch):
    """A small file that stands for a published dataset."""
    monkeypatch.setenv("EMBSTORE_DATA", str(folder / "data"))
    path = folder / "rg65.csv"
    path.write_text("gem;jewel;3.94\ncord;smile;0.02\n" * 5000)
    spec = datasets.DATASETS["rg65"]
    assert isinstance(spec.content, DataFile)
    content = replace(spec.content, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(datasets.DATASETS, "rg65", replace(spec, content=content))
    return path


def test_each_operation_on_a_dataset(pairs):
    def add():
        return add_dataset("rg65", pairs)

    add()
    for run in (lambda: read("rg65"), add):
        seen = operations(run)
        assert len(seen) > 3
        for n in range(1, len(seen) + 1):
            assert "Delete it" not in str(refusal(run, n, CODES[n % len(CODES)]))
    assert len(read("rg65")) == 10_000


def test_a_list_calls_no_dataset_damaged_that_cannot_be_read(pairs):
    add_dataset("rg65", pairs)

    def fail(name):
        if name.endswith("rg65.csv"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with before_reading(fail):
        listed = list_datasets()
    [row] = [row for row in listed.rows if row["name"] == "rg65"]
    assert (row["at_hand"], row["damaged"]) == (False, False)
    assert [note for note in listed.notes if "rg65.csv cannot be read: Input/output error" in note]


class Failing(io.RawIOBase):
    """Standard input that fails after some lines."""

    def __init__(self, code):
        self._code, self._n = code, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self._n += 1
        if self._n > 2:
            raise OSError(self._code, os.strerror(self._code))
        buffer[:5] = b"word\n"
        return 5


@pytest.mark.parametrize("code", CODES)
def test_standard_input(code):
    rows = open_source("-", stdin=io.BufferedReader(Failing(code))).rows()
    with pytest.raises(SourceError, match=f"^standard input cannot be read: {os.strerror(code)}"):
        list(rows)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file of Linux that gives EIO")
def test_an_error_that_the_system_gives():
    with (
        Path("/proc/self/mem").open("rb") as memory,
        pytest.raises(SourceError, match=r"^standard input cannot be read: Input/output error"),
    ):
        list(open_source("-", stdin=memory).rows())


CHANGED = (
    r"changed while it was read, so that nothing was built from it\. Wait until it is complete, or"
    r" give a copy"
)


def append(path):
    with path.open("ab") as file:
        file.write(b"more\n")


def rewrite(path):
    """Of the same size and time."""
    before = path.stat()
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def touch(path):
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


def cut(path):
    os.truncate(path, 70_000)


@pytest.mark.parametrize("change", [append, rewrite, touch, cut])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_changes_is_refused(tmp_path, name, change):
    path = tmp_path / name
    write_table(path, [(text,) for text in TEXTS])
    rows = open_source(str(path)).rows()
    next(rows)
    change(path)
    with pytest.raises(SourceError, match=f"{name} {CHANGED}"):
        list(rows)


def test_a_file_that_was_written_between_opening_and_reading_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    write_table(path, [(text,) for text in TEXTS])
    source = open_source(str(path))
    append(path)
    with pytest.raises(SourceError, match=CHANGED):
        list(source.rows())
