"""What the commit relies on: of rival creators of one object one wins, whatever the network loses."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from buckets import Bucket
from fault_proxy import FAULTS, FaultProxy

pytestmark = pytest.mark.server

RIVALS = 12


def _winners(bucket: Bucket, keys: list[str]) -> list[list[bytes]]:
    """Let rivals create each key at once, and return those who believe that they have."""
    rivals = [bucket.objects() for _ in range(RIVALS)]
    with ThreadPoolExecutor(RIVALS) as pool:

        def winners(key: str) -> list[bytes]:
            contents = [f"rival {number} of {key}".encode() for number in range(RIVALS)]
            created = pool.map(lambda objects, content: objects.put_new(key, content), rivals, contents)
            return [content for content, has_won in zip(contents, created, strict=True) if has_won]

        return [winners(key) for key in keys]


@pytest.fixture(params=["moto", "seaweed"])
def server(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    return request.getfixturevalue({"moto": "bucket", "seaweed": "seaweed_bucket"}[request.param])


def test_of_rivals_one_wins_although_replies_are_lost(server: Bucket) -> None:
    keys = [f"manifest-{number}" for number in range(4)]
    with FaultProxy(server.endpoint, dict.fromkeys(("busy", "lost reply", "lost request"), 0.08), seed=1) as proxy:
        found = _winners(replace(server, endpoint=proxy.endpoint), keys)
    assert all(proxy.counts[fault] for fault in ("busy", "lost reply", "lost request")), proxy.counts
    stored = server.objects()
    assert found == [[stored.get(key)] for key in keys]


def test_what_is_read_through_faults_is_what_was_written(server: Bucket) -> None:
    content = bytes(range(256)) * 400
    server.objects().put("key", content)
    with FaultProxy(server.endpoint, dict.fromkeys(FAULTS, 0.06), seed=2) as proxy:
        objects = replace(server, endpoint=proxy.endpoint).objects()
        for _ in range(20):
            assert objects.get("key") == content
            for start, end in ((5, 700), (90_000, 90_100)):
                assert objects.get_range("key", (start, end)) == content[start:end]
    assert sum(proxy.counts[fault] for fault in FAULTS), proxy.counts
