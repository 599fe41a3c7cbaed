"""kill -9 at random moments: nothing that was committed is lost, no answer is wrong, the next build
mends all.

Where builds and indexes are real ones, see test_kills_of_builds: 200 in all, and a third of them in
CI.
"""

import fault_stores
import pytest
from fault_figures import LOST, UNSOUND, WRONG, share
from fault_stores import (
    at_once,
    build,
    build_damaged,
    build_other,
    naming,
    stored_ids,
    wrong_answers,
)
from killing import killed
from sound_stores import problems_of
from tiny_checkpoint import assert_same_content

from embstore import Store

pytestmark = pytest.mark.fault

KILLS = {"writer": share(8), "compact": share(40), "merge": share(40), "repair": share(40)}
BEGINS = {"writer": "nothing", "compact": "built", "merge": "built", "repair": "damaged"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder with a store of each kind that the commands begin with."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "nothing").mkdir()
    for name, make in (("built", build), ("other", build_other), ("damaged", build_damaged)):
        make(folder / name)
    return folder


@pytest.mark.parametrize("name", KILLS)
def test_kills(stores, name, tally):
    command = build if name == "writer" else getattr(fault_stores, name)
    begin, whole = stores / BEGINS[name], stores / f"whole-{name}"
    before = naming(lambda: stored_ids(begin)) or {}
    counts = tally("kill -9", name)
    for root in killed(command, begin, whole, KILLS[name]):
        if not counts["faults"]:
            build(whole)
        counts["faults"] += 1
        _check(name, command, root, whole, before, counts)
    assert not counts.harm


def _check(name, command, root, whole, before, tally):
    store = Store(root)
    if any(root.glob("manifest/*.json")):
        allowed = naming if name == "repair" else at_once
        wrong = wrong_answers(store, allowed, layers=[tally["faults"] % 2])
        tally[WRONG] += len(wrong)
        assert not wrong, wrong
        after = allowed(lambda: stored_ids(root)) or {}
        if name != "repair":  # which takes out what is damaged
            tally[LOST] += sum(len(ids - after.get(space, set())) for space, ids in before.items())
        if name == "merge":
            _check_all_or_nothing(before, after, stored_ids(whole), tally)
    if name == "repair":
        command(root)
    build(root)
    problems = problems_of(store)
    tally[UNSOUND] += bool(problems)
    tally[UNSOUND] += len([path for path in root.rglob("*") if path.name.endswith(".tmp")])
    if name == "merge":
        command(root)
    assert_same_content(root, whole)
    assert stored_ids(root) == stored_ids(whole)
    if name == "merge":
        assert Store(root).verify().ok


def _check_all_or_nothing(before, after, merged, tally):
    for space, ids in after.items():
        tally[WRONG] += ids not in (before.get(space), merged[space])
