"""Stored maps: damage, maps in another's place, and maps of shards that have changed."""

import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import synthetic_store

from embstore import Store
from embstore.storage.maps import MAP_SCHEMA, read_map, write_map


@pytest.fixture
def made(make_store):
    """A store with PCA maps of its three layers."""
    made = make_store(n=40, n_blocks=2, top_form=None, index=False)
    made.store.map()
    return made


def files_of(root):
    return sorted((root / "derived" / "maps").rglob("*.parquet"))


def states(store):
    return store.maps()["state"]


def check_damaged(made, path):
    """It is named in the list, is never used, and is made again where it is asked for."""
    expected = made.store.map_points(made.space, "top")[1]
    assert made.store.verify().ok  # which says nothing of what may be deleted
    assert len(made.store.maps()) == 2
    [note] = [note for note in made.store.maps().notes if str(path) in note]
    assert made.store.map()["did"].count("made") == 1
    np.testing.assert_array_equal(made.store.map_points(made.space, "top")[1], expected)
    assert len(made.store.maps()) == 3
    return note


def test_a_damaged_map_is_made_again(made):
    path = files_of(made.root)[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    made.store.map_points(made.space, 1)
    assert path.read_bytes() == whole


def test_a_map_in_the_place_of_another_is_found(made):
    first, second, _ = files_of(made.root)
    shutil.copy(first, second)
    check_damaged(made, second)


@pytest.mark.parametrize(
    "fault", ["nan", "order", "rows", "columns", "no header", "format", "no json", "extra"]
)
def test_a_forged_map_is_found(made, fault):
    path = files_of(made.root)[1]
    table = pq.ParquetFile(path).read()  # without the space of its folder
    table = table.replace_schema_metadata(
        {b"embstore_map": pq.read_metadata(path).metadata[b"embstore_map"]}
    )
    header = table.schema.metadata[b"embstore_map"]
    if fault == "nan":
        x = table["x"].to_numpy().copy()
        x[3] = np.nan
        columns = [table["item_id"].combine_chunks(), pa.array(x), table["y"].combine_chunks()]
        table = pa.table(columns, schema=MAP_SCHEMA.with_metadata(table.schema.metadata))
    elif fault == "order":
        table = table.take(np.arange(39, -1, -1))
    elif fault == "rows":
        table = table.slice(1)
    elif fault == "columns":
        table = table.append_column("z", table["y"])
    else:
        metadata = {
            "no header": {},
            "format": {b"embstore_map": header.replace(b'"format": 2', b'"format": 3')},
            "no json": {b"embstore_map": header[:-1]},
            "extra": {b"embstore_map": header[:-1] + b', "more": 1}'},
        }[fault]
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path)
    assert ("Upgrade" in check_damaged(made, path)) == (fault == "format")


def test_new_items_leave_a_map_behind(made):
    synthetic_store(
        made.root,
        texts=["one", "more"],
        n_blocks=2,
        top_form=None,
        index=False,
        new_only=True,
        seed=1,
    )
    store = Store(made.root)
    assert states(store) == ["behind"] * 3
    assert store.verify().ok, "what is behind is not damaged"
    table = store.map()
    assert (table["did"], table["n"]) == (["made"] * 3, [42] * 3)
    assert states(store) == ["current"] * 3, "in the place of those that were behind"


def test_a_map_of_another_version_is_behind(made):
    from dataclasses import replace

    path = files_of(made.root)[1]
    found = read_map(made.root, path)
    write_map(made.root, replace(found, key=replace(found.key, version=99)))
    assert states(made.store) == ["current", "behind", "current"]
    assert made.store.map()["did"] == ["found", "made", "found"]


def test_maps_stay_when_shards_are_compacted(made):
    before = made.store.map_points(made.space, 1)
    assert len(made.shard_files) == 2
    made.store.compact()
    assert len(made.shard_files) == 1
    assert states(made.store) == ["current"] * 3
    assert made.store.map()["did"] == ["found"] * 3
    for expected, other in zip(before, made.store.map_points(made.space, 1), strict=True):
        np.testing.assert_array_equal(expected, other)
    assert made.store.verify().ok


def test_a_merge_takes_no_maps_and_leaves_those_of_grown_spaces_behind(made, make_store):
    other = make_store(
        "other", texts=["one", "more"], n_blocks=2, top_form=None, index=False, seed=1
    )
    other.store.map()
    made.store.merge(other.root)
    assert states(made.store) == ["behind"] * 3
    empty = make_store("empty", n=3, model="other", n_blocks=2, top_form=None, index=False)
    empty.store.merge(made.root)
    assert len(empty.store.maps()) == 0
    assert empty.store.verify().ok


def test_a_removed_space_leaves_no_map(made):
    other = synthetic_store(made.root, n=5, model="other", n_blocks=2, top_form=None, index=False)
    Store(made.root).map(spaces=other.space)
    assert len(files_of(made.root)) == 6
    made.store.remove(made.space)
    assert [path.parent.name for path in files_of(made.root)] == [f"space={other.space}"] * 3
    assert Store(made.root).verify().ok


def test_a_link_in_the_place_of_a_map_is_damage(made, tmp_path):
    path = files_of(made.root)[1]
    target = path.rename(tmp_path / "elsewhere.parquet")
    path.symlink_to(target)
    assert [problem.file for problem in made.store.verify().problems] == [path]
    assert "symbolic link" in made.store.verify().problems[0].problem
    path.unlink()
    (path.parent / "own.parquet").write_text("")
    assert "it is not of the store" in made.store.verify().problems[0].problem


def test_a_map_that_a_kill_left_half_written_goes_with_the_next_map(made):
    [path, *_] = files_of(made.root)
    code = "import os, sys; from pathlib import Path; from embstore.base import atomic\n"
    code += (
        "with atomic.temporary(Path(sys.argv[1])) as file: file.write_bytes(b'half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, path.parent], check=False).returncode == 9
    path.unlink()
    assert len([*path.parent.glob(".*.tmp")]) == 1
    made.store.map(method="pca")
    assert path.exists()
    assert not [*path.parent.glob(".*.tmp")]
