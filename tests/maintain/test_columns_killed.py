"""Commands that change columns of items die at any of their steps: the old values count, or the new ones."""

import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from column_writing import stored_columns, write_columns
from killing import count_steps, kill_at
from synthetic import Synthetic, synthetic_store

from embstore import Store

pytestmark = pytest.mark.fault


def _compact(root: Path, _: Path) -> None:
    Store(root).compact()


def _remove(root: Path, _: Path) -> None:
    Store(root).remove(columns="freq")


def _merge(root: Path, other: Path) -> None:
    Store(root).merge(other)


COMMANDS = {"compact": _compact, "remove": _remove, "merge": _merge}


def _store(root: Path, first: int) -> Synthetic:
    made = synthetic_store(root, n=8, n_blocks=0, dim=4, n_shards=1, index=False)
    for ids in (made.ids[first : first + 2], made.ids[first + 2 : first + 4]):
        write_columns(made, {"freq": "int64", "pos": "string"}, {item: (item % 5, "N") for item in ids.tolist()})
    return made


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_may_die_at_any_step(tmp_path: Path, name: str) -> None:
    command = COMMANDS[name]
    made, other = _store(tmp_path / "made", 0), _store(tmp_path / "other", 4)
    before, done = stored_columns(made.root), tmp_path / "done"
    shutil.copytree(made.root, done)
    n_steps = count_steps(partial(command, done, other.root))
    after = stored_columns(done)
    assert n_steps >= 3
    for step in range(1, n_steps + 1):
        root = tmp_path / f"dies-{step}"
        shutil.copytree(made.root, root)
        kill_at(partial(command, root, other.root), step)
        left = stored_columns(root)
        assert left.equals(before) or left.equals(after), step
        assert Store(root).verify().ok
        if name != "remove" or not left.equals(after):
            command(root, other.root)
        pd.testing.assert_frame_equal(stored_columns(root), after)
        Store(root).compact()
        assert len([*(root / "columns").iterdir()]) == len(Store(root).catalog.column_files)
