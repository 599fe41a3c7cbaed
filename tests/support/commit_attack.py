"""Attack the commits of a store at a URL: a network that fails, rival writers.

Each commit adds a file of its own name. What a writer was told is committed must be there, as a
reader sees it without the faults; of rivals that commit at once each must know whether its file is
there, and no manifest may be replaced.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fault_proxy import FaultProxy

from embstore.base.errors import RemoteError, StoreError
from embstore.storage import manifest
from embstore.storage.manifest import Change

RIVALS = 12


def added_file(name):
    """Return a file that no other commit adds."""
    return {
        f"items/{name:032x}.parquet": {
            "bytes": name + 1,
            "sha256": f"{name:064x}",
            "n": 1,
            "first": 0,
            "last": 0,
        }
    }


def commit_through_faults(bucket, n_commits, rates, seed, latency=0.0):
    """Commit through a failing network, and return what was found; raise AssertionError if a commit
    was lost.
    """
    reports, counts = [], Counter[str]()
    began = time.monotonic()
    direct = bucket.objects()
    with FaultProxy(bucket.endpoint, rates, seed, latency) as proxy:
        objects = replace(bucket, endpoint=proxy.endpoint).objects()
        for name in range(n_commits):
            is_there = False
            while not is_there:
                try:
                    reports.append(
                        manifest.commit(
                            objects, lambda _, name=name: Change(added_file(name))
                        ).number
                    )
                    counts["told"] += 1
                except (
                    StoreError
                ) as error:  # it may be committed or not: look, as a new process does
                    counts[type(error).__name__] += 1
                seen = manifest.read(direct)
                is_there = seen is not None and added_file(name).keys() <= seen.files.keys()
        requests = dict(sorted(proxy.counts.items()))
    seen = manifest.read(direct)
    assert seen is not None
    expected = {path: file for name in range(n_commits) for path, file in added_file(name).items()}
    assert dict(seen.files) == expected, "a commit was lost, or a file came from nowhere"
    assert reports == sorted(reports)
    return (
        f"{n_commits} commits in {time.monotonic() - began:.0f} s: none lost, none twice."
        f" {dict(counts)}; requests by fault: {requests}"
    )


def rivals(bucket, n_rounds, rates, seed):
    """Let rivals commit at once, and return what was found; raise AssertionError if a commit was
    lost.
    """
    counts = Counter[str]()
    with FaultProxy(bucket.endpoint, rates, seed) as proxy, ThreadPoolExecutor(RIVALS) as pool:
        all_objects = [replace(bucket, endpoint=proxy.endpoint).objects() for _ in range(RIVALS)]

        def run(name):
            try:
                manifest.commit(all_objects[name % RIVALS], lambda _: Change(added_file(name)))
            except RemoteError:
                return "error"
            return "told"

        for round_number in range(n_rounds):
            names = [round_number * RIVALS + rival for rival in range(RIVALS)]
            outcomes = dict(zip(names, pool.map(run, names), strict=True))
            newest = manifest.read(bucket.objects())
            assert newest is not None
            lost = [
                name
                for name in names
                if outcomes[name] == "told" and not added_file(name).keys() <= newest.files.keys()
            ]
            assert not lost, f"{lost} were told that they had committed, and are not there"
            counts.update(outcomes.values())
    return f"{n_rounds} rounds of {RIVALS} rivals: none lost. {dict(counts)}"
