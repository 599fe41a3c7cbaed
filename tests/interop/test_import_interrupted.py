"""An import that is killed goes on, and has the shards of one that was not."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from exchanged import write_word2vec
from killing import count_steps, kill_at

from embstore import Store
from embstore.base import disk
from embstore.interop.formats import open_vectors
from embstore.interop.importing import ImportOptions, import_vectors
from embstore.interop.records import ImportReport
from embstore.interop.vector_file import ReadOptions
from embstore.storage.transaction.manifest import committed_shards

pytestmark = pytest.mark.fault

N, DIM, N_SHARDS = 96, 8, 6
OPTIONS = ImportOptions("mine", index="flat", shard_bytes=N * DIM * 4 // N_SHARDS)


def run_import(file: Path, root: Path) -> ImportReport:
    return import_vectors(root, [open_vectors(file, None, ReadOptions())], OPTIONS)


def shards(root: Path) -> list[str]:
    store = Store(root)
    return sorted(shard.name for shard in committed_shards(store.catalog.paths, "mine"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vectors = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
    return write_word2vec(tmp_path_factory.mktemp("file") / "a.vec", [f"w{n}" for n in range(N)], vectors)


@pytest.fixture(scope="module")
def whole(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "store"
    run_import(file, root)
    assert len(shards(root)) >= N_SHARDS
    return root


def test_an_import_killed_at_any_step_goes_on(file: Path, whole: Path, tmp_path: Path) -> None:
    n_steps = count_steps(partial(run_import, file, tmp_path / "counted"))
    assert n_steps > 3 * N_SHARDS
    present = []
    for step in range(2, n_steps + 1, n_steps // 6):
        root = tmp_path / f"store{step}"
        kill_at(partial(run_import, file, root), step)
        report = run_import(file, root)
        assert report.imported + report.present == N
        present.append(report.present)
        assert shards(root) == shards(whole)
        assert not list(root.rglob(".*.tmp"))
        assert Store(root).info()["index"] == ["flat"]
        assert Store(root).verify().ok
    assert present == sorted(present)
    assert len(set(present)) >= 3, "what was committed before the kill is kept"


def test_an_error_of_the_system_leaves_what_was_committed(file: Path, whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "store"
    n_renamed = 0

    def fail(operation: str, path: Path, _: Path | None) -> None:
        nonlocal n_renamed
        n_renamed += operation == "replace" and "space=mine" in str(path) and "embeddings" in str(path)
        if n_renamed > 2 and operation == "write":
            raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match=r"No space left|disk is full"), disk.watched(fail):
        run_import(file, root)
    assert 0 < len(shards(root)) < len(shards(whole))
    report = run_import(file, root)
    assert report.present > 0
    assert shards(root) == shards(whole)
    assert Store(root).verify().ok


def test_the_shards_are_those_of_a_build_of_the_same_texts(whole: Path) -> None:
    """Parts are ranges of item ids, so that no shard overlaps another."""
    catalog = Store(whole).catalog
    ranges = []
    for shard in catalog.shards["mine"]:
        ids = pq.read_table(shard.path, columns=["item_id"])["item_id"].to_numpy()
        ranges.append((int(ids.min()), int(ids.max())))
    ranges.sort()
    assert all(a[1] < b[0] for a, b in pairwise(ranges))
