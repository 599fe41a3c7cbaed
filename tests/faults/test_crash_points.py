"""The process dies, or the power fails, before an operation on a file: what is left answers, and
nothing is lost.
"""

import sys
import time
import traceback

import pytest
from fault_figures import FAULTS, HANGS, LOST, TRACEBACKS, UNSOUND, WRONG
from fault_stores import stored_ids
from file_operations import watched

from embstore.base.errors import EmbstoreError

pytest.importorskip("transformers")
from fault_points import COMMANDS, Case, some
from power_loss import KILLED, VARIANTS, Recorder

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(
        sys.platform != "linux", reason="the paths of descriptors are read from /proc"
    ),
]

MOST = 14
LONG_SECONDS = 120  # of CPU time
WRITING = [name for name, command in COMMANDS.items() if command.writes or name == "query"]


@pytest.mark.parametrize("name", WRITING)
def test_a_crash_before_each_operation(point_stores, name, tmp_path, tally):
    case = Case(name, point_stores, tmp_path)
    recorder = Recorder(case.start())
    with watched(recorder, case.root.parent):
        case.command.run(case.root)
    recorder.end()
    found = []
    tallies = {
        variant: tally("recorded kill" if variant == KILLED else "power loss", name)
        for variant in VARIANTS
    }
    for number, n in enumerate(some(len(recorder.moments), MOST)):
        for variant in _variants(number, is_last=n == len(recorder.moments)):
            moment = recorder.moments[n - 1]
            moment.make(case.root, variant, n)
            counts = tallies[variant]
            counts["faults"] += 1
            if problems := _check(case, moment, counts):
                found.append(f"{n} {moment.operation}, {variant}: {problems}")
    assert not [counts.harm for counts in tallies.values() if counts.harm], "\n".join(found)


def _variants(number, *, is_last):
    """Return what is tried at a moment: of those in the middle, one after the other."""
    if is_last:
        return VARIANTS
    return (
        [KILLED, VARIANTS[1 + number % (len(VARIANTS) - 1)]]
        if FAULTS
        else [VARIANTS[number % len(VARIANTS)]]
    )


def _check(case, moment, counts):
    """Look at what is left, and at what the next run of the command makes of it; return what is not
    as it should be.
    """
    began = time.process_time()
    problems = []
    try:
        lost, wrong = case.look()
        counts[LOST] += lost
        counts[WRONG] += len(wrong)
        problems += [f"{lost} lost"] * bool(lost) + wrong
        if (
            moment.operation[0] == "end"
            and not case.is_repair
            and stored_ids(case.root) != stored_ids(case.whole.root)
        ):
            counts[LOST] += 1
            problems.append("what was reported as done is not there")
        if changed := case.finish():
            counts[UNSOUND] += 1
            problems += changed
    except EmbstoreError:
        counts[WRONG] += 1
        problems.append(traceback.format_exc())
    except Exception:
        counts[TRACEBACKS] += 1
        problems.append(traceback.format_exc())
    counts[HANGS] += time.process_time() - began > LONG_SECONDS
    return "; ".join(problems)
