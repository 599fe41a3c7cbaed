"""What a build on a cluster refuses, without a cluster: addresses, options, and workers that
differ.
"""

import errno
import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from embstore import Store
from embstore.base.errors import EmbstoreError, UnknownNameError, UsageError
from embstore.build.job import Model, Options
from embstore.build.ranges import RangeWorker, Requirement
from embstore.encode.records import TooLongError
from embstore.storage.cache import StoreFiles

pytestmark = pytest.mark.server


@pytest.fixture
def requirement(checkpoint, tmp_path):
    """What this process has itself."""
    sign = tmp_path / "sign"
    sign.write_bytes(b"of this build")
    files = StoreFiles.of_folder(tmp_path)
    return Requirement.of(Model(str(checkpoint), Options()), files, (sign, b"of this build"))


def test_a_worker_that_lacks_something_is_refused(requirement, tmp_path):
    assert RangeWorker().problem(requirement) is None
    not_seen = f"does not see the store {tmp_path}: put it in a folder that all nodes share"
    other_files = replace(requirement.fingerprint, weights_sha256="f" * 64)
    changes = [
        (
            {"versions": {**requirement.versions, "torch": "1.0"}},
            f"has torch {requirement.versions['torch']} and not 1.0: install the same versions",
        ),
        ({"sign": (tmp_path / "elsewhere", b"of this build")}, not_seen),
        ({"sign": (tmp_path / "sign", b"of another one")}, not_seen),
        (
            {"checkpoint": f"tiny={tmp_path / 'gone'}"},
            "does not have the checkpoint: no checkpoint",
        ),
        ({"fingerprint": other_files}, "has other files of the checkpoint 'tiny'"),
        ({"fingerprint": other_files}, "not ffffffffffff). Copy the same ones to every node"),
    ]
    for change, message in changes:
        problem = RangeWorker().problem(replace(requirement, **change))
        assert problem is not None
        assert message in problem


@pytest.mark.parametrize(
    "error",
    [
        EmbstoreError("plain"),
        UnknownNameError("metric", "cosin", ["cosine"]),
        TooLongError("too long", 7),
        FileNotFoundError(errno.ENOENT, "missing", "/data/part"),
    ],
)
def test_errors_of_a_worker_arrive_as_they_are(error):
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert getattr(arrived, "item_id", None) == getattr(error, "item_id", None)


def _build(tmp_path, **options):
    (tmp_path / "words.txt").write_text("dog\n")
    Store(tmp_path / "store").build(str(tmp_path / "words.txt"), models="minilm", **options)


def test_an_address_without_a_cluster_is_tried_once_and_refused_before_anything_is_read(tmp_path):
    """In a process of its own, as Ray reads its limits when it is imported."""
    pytest.importorskip("ray", reason="Ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    (tmp_path / "words.txt").write_text("dog\n")
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "embstore",
            "build",
            "words.txt",
            "--model",
            "minilm",
            "--on",
            "ray",
        ],
        cwd=tmp_path,
        env={**os.environ, "RAY_ADDRESS": address, "RAY_py_gcs_connect_timeout_s": "1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 2
    message = " ".join(found.stderr.split())
    assert f"the Ray cluster at {address} cannot be used: it does not answer. See" in message
    assert "leave out --ray-address and RAY_ADDRESS to use this machine." in message
    assert (message.count("Failed to get cluster ID"), "Traceback" in message) == (1, False)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "address", ["ray://127.0.0.1:10001", "127.0.0.1", ":6379", "127.0.0.1:port"]
)
def test_what_is_not_an_address_is_refused(address, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(UsageError, match="write host:port"):
        _build(tmp_path, on="ray", ray_address=address)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        UsageError,
        match=r"on=\'ray\' needs Ray, which cannot be imported .*: pip install .*\[ray\]",
    ):
        _build(tmp_path, on="ray")


def test_options_of_a_cluster_need_one_and_have_a_range(tmp_path):
    with pytest.raises(
        UsageError, match="`workers` is an option of builds on a cluster: add on='ray'"
    ):
        _build(tmp_path, workers=2)
    with pytest.raises(UnknownNameError, match="unknown cluster 'rya'"):
        _build(tmp_path, on="rya")
    for options in ({"workers": 0}, {"worker_gpus": -1}, {"worker_cpus": 0}):
        with pytest.raises(UsageError, match="must be at least"):
            _build(tmp_path, on="ray", **options)
