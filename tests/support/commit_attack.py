"""Attack the commits of a store at a URL: a network that fails, rival writers.

Each commit adds a file of its own name. What a writer was told is committed must be there once, in order, as a reader
sees it without the faults; of rivals that commit at one base at once, at most one may win, and it must know.
"""

import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from buckets import Bucket
from embstore.storage.remote import manifest
from embstore.storage.remote.manifest import RemoteFile, RemoteState, Writer
from embstore.storage.remote.objects import ObjectStore
from fault_proxy import FaultProxy

from embstore.base.errors import LockedError, RemoteError

RIVALS = 12


def added_file(name: int) -> dict[str, RemoteFile]:
    """Return a file that no other commit adds."""
    path = f"items/part-{name:016x}.parquet"
    return {path: RemoteFile(path, name + 1, f"{name:064x}")}


def commit_through_faults(
    bucket: Bucket, n_commits: int, rates: Mapping[str, float], seed: int, latency: float = 0.0
) -> str:
    """Commit through a failing network, and return what was found; raise AssertionError if a commit was lost."""
    reports, counts = [], Counter[str]()
    began = time.monotonic()
    with FaultProxy(bucket.endpoint, rates, seed, latency) as proxy:
        objects, direct = replace(bucket, endpoint=proxy.endpoint).objects(), bucket.objects()
        writer, state = Writer.this_process(), None
        for name in range(n_commits):
            new = added_file(name)
            while state is None or not new.keys() <= state.files.keys():
                try:
                    lease = 0 if name % 10 == 9 else 60  # changes, and manifests that are complete by lists
                    state = manifest.commit(objects, state, {**(state.files if state else {}), **new}, writer, lease)
                    reports.append(state.number)
                    counts["told"] += 1
                except (RemoteError, LockedError) as error:  # it may be committed or not: look, as a new process does
                    counts[type(error).__name__] += 1
                    state = manifest.read_newest(direct)
        requests = dict(sorted(proxy.counts.items()))
    seen = manifest.read_newest(direct)
    assert seen is not None
    expected = {path: file for name in range(n_commits) for path, file in added_file(name).items()}
    assert dict(seen.files) == expected, "a commit was lost, or a file came from nowhere"
    assert reports == sorted({*reports}), "a number was committed twice"
    numbers = manifest.list_numbers(direct)
    torn = sum(not is_whole(direct, number) for number in numbers)
    return (
        f"{n_commits} commits in {time.monotonic() - began:.0f} s: none lost, none twice. {dict(counts)}; {torn} torn "
        f"manifests of {len(numbers)} skipped; requests by fault: {requests}"
    )


def is_whole(objects: ObjectStore, number: int) -> bool:
    """Return whether the manifest of a number was not torn on its way."""
    try:
        manifest.parse(objects.get(manifest.key_of(number)), "", number)
    except Exception:
        return False
    return True


def rivals(bucket: Bucket, n_rounds: int, rates: Mapping[str, float], seed: int) -> str:
    """Let rivals commit at the same base, and return what was found; raise AssertionError if not one won."""
    counts = Counter[str]()
    with FaultProxy(bucket.endpoint, rates, seed) as proxy, ThreadPoolExecutor(RIVALS) as pool:
        all_objects = [replace(bucket, endpoint=proxy.endpoint).objects() for _ in range(RIVALS)]
        direct = bucket.objects()
        state = manifest.commit(direct, manifest.read_newest(direct), {}, Writer.this_process(), 0)

        def run(number: int, base: RemoteState) -> tuple[int, str]:
            new = {**base.files, **added_file(number)}
            try:
                manifest.commit(all_objects[number % RIVALS], base, new, Writer.this_process(), 0)
            except LockedError:
                return number, "displaced"
            except RemoteError:
                return number, "error"
            return number, "won"

        for round_number in range(n_rounds):
            base = state
            names = [round_number * RIVALS + rival for rival in range(RIVALS)]
            outcomes = dict(pool.map(lambda name, base=base: run(name, base), names))
            newest = manifest.read_newest(direct)
            assert newest is not None
            committed = [name for name in names if added_file(name).keys() <= newest.files.keys()]
            won = [name for name, outcome in outcomes.items() if outcome == "won"]
            assert len(committed) <= 1, f"{len(committed)} rivals committed to one base"
            assert won in ([], committed), f"{won} were told that they had won, and {committed} had"
            counts.update(outcomes.values())
            counts["rounds with a winner"] += bool(committed)
            state = newest
    return f"{n_rounds} rounds of {RIVALS} rivals: never two won. {dict(counts)}"
