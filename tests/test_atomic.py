"""Files that are written whole or not at all, and documents that know whether they were altered."""

import errno
import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.base import atomic, checksum, documents
from embstore.base.errors import DamagedError, StoreError, system_reason


def test_an_exception_leaves_the_old_file_and_no_temporary_one(tmp_path):
    target = tmp_path / "folder" / "file"
    atomic.write_bytes(target, b"old")
    with pytest.raises(ZeroDivisionError), atomic.temporary(target.parent) as temp:  # noqa: PT012
        temp.write_bytes(b"half")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "Free some space and run the same command again"),
        (errno.EDQUOT, "Free some space"),
        (errno.EACCES, "Check the permissions"),
        (errno.EROFS, "read-only store"),
        (errno.EIO, "check the device"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENAMETOOLONG, "The name is too long: shorten it."),
    ],
)
def test_errors_of_the_system_say_what_to_do(tmp_path, number, words):
    with pytest.raises(OSError, match="because") as caught, atomic.temporary(tmp_path):
        raise OSError(number, "because")
    assert caught.value.filename == str(tmp_path)
    assert words in system_reason(caught.value)
    assert list(tmp_path.iterdir()) == []


def answer_with(note):
    """Return the document of an answer with a note."""
    question = {
        "metric": {"name": "norms", "version": [1, 1], "package": None}, "parameters": {},
        "rows": {}, "seed": None, "inputs": {},
        "numpy": "2.3", "of": [["toy", "0"], ["0 0"]],
    }  # fmt: skip
    return {"format": 1, "question": question, "rows": [], "notes": [note], "across": []}


def test_documents(tmp_path):
    path = tmp_path / "x.json"
    document = answer_with("naïve")
    path.write_bytes(atomic.checked_bytes(path, document, "answer"))
    found = documents.read(path, "answer")
    assert found.pop("file_sha256")
    assert found == document
    assert "naïve" in path.read_text("utf-8"), "a document is for people too"
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.checked_bytes(path, answer_with(float("nan")), "answer")


@pytest.mark.parametrize(
    ("note", "words"),
    [
        (7, "its value is not of type"),
        ("x" * documents.MAX_BYTES["answer"], "larger than 16,384 KiB"),
        ("\udcff", "surrogates not allowed"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(note, words):
    with pytest.raises(
        StoreError,
        match=rf"x.json is not written, since it could not be read again: .*{words}.*give fewer",
    ):
        atomic.checked_bytes("x.json", answer_with(note), "answer")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"a": 1}', "SHA-256"),
    ],
)
def test_what_is_no_document_is_named(tmp_path, data, words):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=rf"x\.json is damaged: .*{words}.*Do this\."):
        documents.read(path, "card", "Do this.")


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(FileExistsError, match=r"/folder'"):
        atomic.write_bytes(tmp_path / "folder" / "file", b"new")


def test_a_rival_file_that_is_deleted_at_once_is_a_rival(tmp_path, monkeypatch):
    """Old manifests are deleted; one may be gone between the system's refusal and the look at its
    content.
    """

    def refuse(source, target):
        raise FileExistsError(errno.EEXIST, "exists", str(source), None, str(target))

    monkeypatch.setattr(os, "link", refuse)
    assert not atomic.create(tmp_path / "1.json", b"{}")
    assert [*tmp_path.iterdir()] == []


def test_what_dead_processes_of_this_machine_left_is_removed(tmp_path):
    code = """if True:
        import os, sys
        from pathlib import Path
        from embstore.base import atomic
        with atomic.temporary(Path(sys.argv[1])) as file, atomic.temporary(Path(sys.argv[1])) as folder:
            file.write_bytes(b"half")
            (folder / "inside").mkdir(parents=True)
            os._exit(9)
    """
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 9
    left = sorted(tmp_path.iterdir())
    assert len(left) == 2
    process, machine = left[0].name.removeprefix(".").split("-")
    elsewhere = tmp_path / f".{process}-{'0' * 8}{machine[8:]}"
    elsewhere.write_bytes(b"of another machine, where that process may live")
    (tmp_path / ".mine").write_bytes(b"of a user")
    with atomic.temporary(tmp_path) as live:
        live.write_bytes(b"half")
        atomic.discard_leftovers(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([elsewhere, tmp_path / ".mine", live])
        for path in (elsewhere, tmp_path / ".mine", live):
            os.utime(path, (time.time() - 25 * 3600,) * 2)
        atomic.discard_leftovers(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / ".mine", live])


DOCUMENT = checksum.with_checksum(
    json.dumps(
        {"space": "gpt2.word.last", "dim": 768, checksum.KEY: checksum.BLANK}, indent=2
    ).encode()
)


@given(st.integers(0, 8 * len(DOCUMENT) - 1))
def test_any_flipped_bit_is_found(bit):
    data = bytearray(DOCUMENT)
    data[bit // 8] ^= 1 << (bit % 8)
    assert checksum.has_valid_checksum(DOCUMENT)
    assert not checksum.has_valid_checksum(bytes(data))
