"""kill -9 at random moments of real builds, of a checkpoint and texts some of which are skipped,
and of indexing.
"""

import pytest
from fault_figures import FAULTS, LOST, UNSOUND, WRONG, share
from fault_stores import stored_ids
from killing import killed
from sound_stores import problems_of

from embstore import Store

pytest.importorskip("transformers")
import real_builds
from real_builds import Whole

pytestmark = pytest.mark.fault

KILLS = {"build": share(32), "index flat": share(20), "index hnsw": share(20)}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder with a store of each kind that the commands begin with, and what they are built
    from.
    """
    folder = tmp_path_factory.mktemp("builds")
    real_builds.set_up(folder)
    (folder / "before build").mkdir()
    real_builds.build_behind(folder)
    return folder


@pytest.mark.parametrize("name", KILLS)
def test_kills(stores, name, tally):
    begin = stores / f"before {name}"
    command = getattr(real_builds, name.replace(" ", "_"))
    is_build = name == "build"
    build = real_builds.build if is_build else real_builds.build_one_space
    before = {} if is_build else stored_ids(begin)
    counts = tally("kill -9", name)
    n_stored = set()
    least = (4 if FAULTS else 3) if is_build else 1
    # More kills where a busy machine puts many at the same stage.
    for root in killed(command, begin, stores / f"whole {name}", 4 * KILLS[name]):
        if not counts["faults"]:
            whole = Whole.of(stores / f"whole {name}", is_exact=is_build)
        counts["faults"] += 1
        if any(root.glob("manifest/*.json")):
            _check(whole, root, before, counts)
            n_stored.add(sum(map(len, stored_ids(root).values())))
        build(root)
        _check_whole(whole, root, counts)
        if counts["faults"] >= KILLS[name] and len(n_stored) >= least:
            break
    assert not counts.harm
    assert len(n_stored) >= least, f"many were killed at the same stage: {n_stored}"


def _check(whole, root, before, tally):
    """Look at what a kill left."""
    after = stored_ids(root)
    tally[LOST] += sum(len(ids - after.get(space, set())) for space, ids in before.items())
    wrong = whole.wrong_answers(root, tally["faults"] % 4)
    tally[WRONG] += len(wrong)
    assert not wrong


def _check_whole(whole, root, tally):
    """Look at a store after the next build: it is as if nothing had happened."""
    problems = problems_of(Store(root))
    left = [path for path in root.rglob("*") if path.name.endswith(".tmp")]
    changed = whole.is_again(root)
    tally[UNSOUND] += bool(problems or left or changed)
    wrong = whole.wrong_answers(root, (tally["faults"] + 1) % 4)
    tally[WRONG] += len(wrong)
    assert not [*problems, *left, *changed, *wrong]
