"""kill -9 at 200 random moments: nothing that was committed is lost, no answer is wrong, the next build mends all."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fault_worker
import pytest
from fault_stores import at_once, build, build_behind, build_damaged, build_other, copy, held, naming, wrong_answers
from fault_worker import Work
from tiny_checkpoint import assert_same_content

from embstore import Store

pytestmark = pytest.mark.slow

KILLS = {"build": 40, "index": 40, "compact": 40, "merge": 40, "repair": 40}
TALLY: dict[str, Counter] = {}

Command = Callable[[Path], None]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of each kind that the commands begin with."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "nothing").mkdir()
    for name, make in (("built", build), ("other", build_other), ("behind", build_behind), ("damaged", build_damaged)):
        make(folder / name)
    return folder


BEGINS = {"build": "nothing", "index": "behind", "compact": "built", "merge": "built", "repair": "damaged"}


@pytest.mark.parametrize("name", KILLS)
def test_kills(stores: Path, name: str) -> None:
    command: Command = build if name == "build" else getattr(fault_worker, name)
    begin = stores / BEGINS[name]
    whole = copy(begin, stores / f"whole-{name}")
    n_steps, seconds = Work(command, whole).measure()
    assert n_steps > 10
    build(whole)
    before = naming(lambda: held(begin)) or {}
    tally = TALLY[name] = Counter()
    rng = random.Random(name)

    def start(turn: int) -> tuple[Work, Path]:
        root = copy(begin, stores / f"killed-{name}-{turn % 2}")
        when = {"at_step": rng.randint(1, n_steps)} if turn % 2 else {"after": rng.uniform(0, seconds)}
        return Work(command, root, **when), root

    turn, (work, root) = 0, start(0)
    while tally["faults"] < KILLS[name]:
        killed, turn, done = work.was_killed(), turn + 1, root
        work, root = start(turn)  # it runs while the last one is looked at
        if killed:  # else it had done its work before
            tally["faults"] += 1
            _check(name, command, done, whole, before, tally)
    work.was_killed()
    assert (tally["lost"], tally["wrong"], tally["not sound"]) == (0, 0, 0), tally


def _check(name: str, command: Command, root: Path, whole: Path, before: dict[str, set[int]], tally: Counter) -> None:
    store = Store(root)
    if (root / "store.json").exists():
        allowed = naming if name == "repair" else at_once
        wrong = wrong_answers(store, allowed, layers=[tally["faults"] % 2])
        assert not wrong, wrong
        tally["wrong"] += len(wrong)
        after = allowed(lambda: held(root)) or {}
        if name != "repair":  # which takes out what is damaged
            tally["lost"] += sum(len(ids - after.get(space, set())) for space, ids in before.items())
        if name == "merge":
            _check_all_or_nothing(before, after, held(whole), tally)
    if name == "repair":
        command(root)
    build(root)
    result = store.verify(deep=tally["faults"] % 5 == 0)
    tally["not sound"] += not result.ok
    tally["not sound"] += len([path for path in root.rglob("*") if path.name.endswith(".tmp")])
    if name in ("merge", "index"):
        command(root)
    assert_same_content(root, whole)
    assert held(root) == held(whole)
    if name in ("merge", "index"):
        assert Store(root).verify().ok


def _check_all_or_nothing(
    before: dict[str, set[int]], after: dict[str, set[int]], merged: dict[str, set[int]], tally: Counter
) -> None:
    for space, ids in after.items():
        tally["wrong"] += ids not in (before.get(space), merged[space])


def test_the_tally(capsys: pytest.CaptureFixture[str]) -> None:
    """The figures: how many faults, items lost, wrong answers, and stores that did not verify after the next build."""
    total = sum(TALLY.values(), Counter())
    with capsys.disabled():
        kinds = ", ".join(f"{name} {tally['faults']}" for name, tally in TALLY.items())
        print(
            f"\nkill -9: {total['faults']} faults ({kinds}); items lost {total['lost']}, wrong answers "
            f"{total['wrong']}, stores that did not verify after the next build {total['not sound']}"
        )
    assert (total["lost"], total["wrong"], total["not sound"]) == (0, 0, 0)
    if TALLY.keys() == KILLS.keys():
        assert total["faults"] >= 200
