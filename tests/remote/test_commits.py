"""Commits and reads through a network that fails, and rivals: benchmarks/commit_faults.py tries
more of them.
"""

from dataclasses import replace

import pytest
from commit_attack import commit_through_faults, rivals
from fault_proxy import FAULTS, FaultProxy

pytestmark = pytest.mark.server

RATES = dict.fromkeys(FAULTS, 0.04)


@pytest.fixture(params=["moto", "seaweed"])
def server(request):
    return request.getfixturevalue({"moto": "bucket", "seaweed": "seaweed_bucket"}[request.param])


def test_no_commit_is_lost_and_none_is_there_twice(server):
    assert "none lost, none twice" in commit_through_faults(server, 25, RATES, seed=1)


def test_of_rivals_at_once_none_is_lost(server):
    found = rivals(server, 3, RATES, seed=2)
    assert "none lost" in found
    assert "'told'" in found


def test_what_is_read_through_faults_is_what_was_written(server, tmp_path):
    content = bytes(range(256)) * 4000
    (tmp_path / "file").write_bytes(content)
    server.objects().put({"key": tmp_path / "file"})
    with FaultProxy(server.endpoint, dict.fromkeys(FAULTS, 0.06), seed=2) as proxy:
        objects = replace(server, endpoint=proxy.endpoint).objects()
        for _ in range(40):
            assert objects.get("key") == content
            objects.download("key", tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == content
    assert sum(proxy.counts[fault] for fault in FAULTS), proxy.counts
