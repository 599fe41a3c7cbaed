"""Commits through a network that fails, and of rivals: benchmarks/commit_faults.py tries more of them."""

from collections.abc import Iterator

import pytest
from buckets import Bucket
from commit_attack import commit_through_faults, rivals
from fault_proxy import FAULTS

pytestmark = pytest.mark.server

RATES = dict.fromkeys(FAULTS, 0.04)


@pytest.fixture(params=["moto", "seaweed"])
def server(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    return request.getfixturevalue({"moto": "bucket", "seaweed": "seaweed_bucket"}[request.param])


def test_no_commit_is_lost_and_none_is_there_twice(server: Bucket) -> None:
    assert "none lost, none twice" in commit_through_faults(server, 25, RATES, seed=1)


def test_of_rivals_at_one_base_one_wins(server: Bucket) -> None:
    assert "never two won" in rivals(server, 3, RATES, seed=2)
