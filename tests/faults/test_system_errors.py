"""An error of the system at an operation on a file: it is said as what it is, and nothing is moved,
lost or wrong.
"""

import errno
import os
import subprocess
import sys
import time
import traceback
from itertools import cycle

import pytest
from fault_figures import HANGS, LOST, TRACEBACKS, UNSOUND, WRONG
from fault_stores import copy
from file_operations import Failing, watched

from embstore.base.errors import EmbstoreError

pytest.importorskip("transformers")
from fault_points import ALL, COMMANDS, Case, Refused, some

pytestmark = pytest.mark.fault

CODES = (errno.EMFILE, errno.EIO, errno.EACCES, errno.ENOSPC, errno.ESTALE, errno.ENOMEM)
MOST = 8
LONG_SECONDS = 120  # of CPU time


@pytest.mark.parametrize("name", COMMANDS)
def test_an_error_at_each_operation(point_stores, name, tmp_path, tally):
    case, counts, found = Case(name, point_stores, tmp_path), tally("system error", name), []
    for n, code, lasts in _errors(len(case.operations)):
        case.start()
        began = time.process_time()
        counts["faults"] += 1
        message = _run(case, n, code, counts, found, lasts=lasts)
        counts[HANGS] += time.process_time() - began > LONG_SECONDS
        lost, wrong = case.look()
        counts[LOST] += lost
        counts[WRONG] += len(wrong)
        changed = case.finish()
        counts[UNSOUND] += bool(changed)
        if lost or wrong or changed:
            found.append(
                f"{n} {case.operations[n - 1]} {os.strerror(code)}: {lost} lost, {wrong},"
                f" {changed}, {message}"
            )
    assert not counts.harm, "\n".join(found)


def _errors(n_operations):
    """Yield the number of an operation, its error, and whether all later operations on the file
    fail too.

    Each operation gets one error after the other, or every error where all are to be tried.
    """
    tried = some(n_operations, MOST)
    pairs = (
        [(n, code) for n in tried for code in CODES]
        if ALL
        else zip(tried, cycle(CODES), strict=False)
    )
    for number, (n, code) in enumerate(pairs):
        yield n, code, (number + number // len(CODES)) % 2 == 1  # of each error half


def _run(case, n, code, counts, found, *, lasts):
    """Run a command of which an operation fails, and return the message of its error."""
    try:
        with watched(Failing(n, code, lasts=lasts), case.root):
            case.command.run(case.root)
    except (EmbstoreError, OSError, Refused) as error:
        message = str(error)
        if os.strerror(code) not in message and "file system" not in message:
            counts[WRONG] += 1
            found.append(f"{n} {case.operations[n - 1]} {os.strerror(code)}: said {message}")
        return message
    except Exception:
        counts[TRACEBACKS] += 1
        found.append(f"{n} {case.operations[n - 1]} {os.strerror(code)}: {traceback.format_exc()}")
    return ""


_FEW_FILES = """
import os, resource, sys
from pathlib import Path
from embstore import Store
from embstore.base.errors import DamagedError, StoreError

root, n_errors = Path(sys.argv[1]), []


def limit(n):
    # A new file gets the lowest number that is free.
    numbers = [os.dup(0) for _ in range(n + 1)]
    for number in numbers:
        os.close(number)
    return numbers[n]


for command in (Store.repair, Store.compact, lambda store: store.query("partition", cache=False), Store.verify,
                lambda store: store.neighbours("word1", spaces="toy.word.last", k=1)):
    command(Store(root))  # loads what it needs
    n_errors.append(0)
    for n in range(11):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit(n), 4096))
        try:
            found = command(Store(root))
            problems = [finding.problem for finding in getattr(found, "problems", ())]
        except (StoreError, OSError) as error:
            assert not isinstance(error, DamagedError), error
            problems = [str(error)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        assert all("Too many open files" in text for text in problems), problems
        n_errors[-1] += len(problems)
assert not (root / "damaged").exists()
assert Store(root).verify().ok
assert min(n_errors) >= 1, n_errors
"""


def test_too_few_open_files(point_stores, tmp_path):
    """The system's own EMFILE, also in DuckDB, pyarrow and FAISS: every command meets it, none
    takes it for damage.
    """
    root = copy(point_stores / "small", tmp_path / "store")
    done = subprocess.run(
        [sys.executable, "-c", _FEW_FILES, root], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
