"""Parts that give way to others: a reader sees the old ones or the new ones, whenever it looks."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.errors import DamagedError
from embstore.storage.files.names import Names
from embstore.storage.maintenance.compaction import Sized, plan_groups
from embstore.storage.transaction.manifest import HIDDEN, clear_hidden, hidden_files, list_parts, read_hidden, replacing

A, B, C, D, AB = (f"part-{letters * (16 // len(letters))}" for letters in ("a", "b", "c", "d", "ab"))


def make(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.parquet").touch()


def listed(folder: Path) -> list[str]:
    return [file.stem for file in list_parts(folder).files]


def test_one_set_of_parts_or_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    make(folder, A, B, C)
    with replacing(folder, {AB: [A, B], D: []}):
        make(folder, AB)
        assert listed(folder) == [A, B, C]
        make(folder, D)
        assert listed(folder) == [A, B, C]
    assert listed(folder) == [AB, C, D]
    assert [file.stem for file in hidden_files(folder)] == [A, B]
    for file in hidden_files(folder):
        file.unlink()
    clear_hidden(folder)
    assert listed(folder) == [AB, C, D]
    assert read_hidden(folder).generation == 3
    clear_hidden(folder)
    assert read_hidden(folder).generation == 3


def test_an_error_hides_the_new_parts(tmp_path: Path) -> None:
    make(tmp_path, A, B)
    with pytest.raises(ZeroDivisionError), replacing(tmp_path, {AB: [A, B]}):  # noqa: PT012
        make(tmp_path, AB)
        raise ZeroDivisionError
    assert listed(tmp_path) == [A, B]
    assert [file.stem for file in hidden_files(tmp_path)] == [AB]


def test_a_part_that_is_there_already_is_not_undone(tmp_path: Path) -> None:
    """Parts are called by their content: what takes the place of two may be one of them."""
    make(tmp_path, A, B)
    with replacing(tmp_path, {A: [A, B]}):
        assert listed(tmp_path) == [A, B]
    assert listed(tmp_path) == [A]


def test_a_reader_that_lists_while_parts_give_way_lists_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that it finds first are those of no moment: the new part is not there yet, an old one no more."""
    make(tmp_path, A, B)
    real = Names.listed
    turns = []

    def list_folder(kind: Names, folder: Path) -> dict[str, Path]:
        turns.append(folder)
        if len(turns) > 1:
            return real(kind, folder)
        with replacing(tmp_path, {AB: [A, B]}):
            make(tmp_path, AB)
        (tmp_path / f"{A}.parquet").unlink()
        return {B: tmp_path / f"{B}.parquet"}

    monkeypatch.setattr(Names, "listed", list_folder)
    assert listed(tmp_path) == [AB]
    assert len(turns) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"generation": 1, "hidden": 3}'])
def test_a_document_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / HIDDEN).write_text(text)
    with pytest.raises(DamagedError, match=rf"{HIDDEN} is .*Run: embstore repair"):
        list_parts(tmp_path)


SIZES = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 120)), max_size=30)


@given(SIZES)
def test_the_plan_of_a_compaction(sizes: list[tuple[int, int]]) -> None:
    """Groups fit, hold neighbours, and of what comes out nothing fits together any more."""
    target = 100
    parts = [Sized(f"p{place:02d}", first, n_bytes) for place, (first, n_bytes) in enumerate(sizes)]
    groups = plan_groups(parts, target)
    by_name = {part.name: part for part in parts}
    order = sorted(by_name, key=lambda name: (by_name[name].first, name))
    for group in groups:
        assert len(group) > 1
        assert sum(by_name[name].n_bytes for name in group) <= target
        at = order.index(group[0])
        assert list(group) == order[at : at + len(group)]
    grouped = {name for group in groups for name in group}
    after = [part for part in parts if part.name not in grouped]
    for group in groups:
        members = [by_name[name] for name in group]
        after.append(Sized(group[0], members[0].first, sum(part.n_bytes for part in members)))
    assert plan_groups(after, target) == []
