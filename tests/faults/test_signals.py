"""SIGINT and SIGTERM at random moments of each command: it exits with 130 within 5 s of CPU time,
and nothing is lost.

EMBSTORE_TEST_SIGNALS is the number of moments for each command; without it a third of those of each
case.
"""

import os
import shutil
from dataclasses import dataclass

import pytest
from fault_figures import HANGS, LOST, TRACEBACKS, UNSOUND, WRONG, share
from fault_stores import (
    build,
    build_damaged,
    build_other,
    naming,
    stored_ids,
    write_vectors,
    wrong_answers,
)
from killing import INTERRUPTED, moments, run_command
from sound_stores import problems_of
from tiny_checkpoint import assert_same_content

from embstore import Store

pytest.importorskip("transformers")
import real_builds

pytestmark = pytest.mark.fault

N = int(os.environ.get("EMBSTORE_TEST_SIGNALS", "0"))
_SQL = (
    "SELECT count(*) FROM embeddings AS a, embeddings AS b, items AS c "
    "WHERE xor(a.item_id, b.item_id) % 1000 = c.item_id % 1000"
)


@dataclass(frozen=True)
class Case:
    """A command.

    Attributes:
        arguments: Of the command line.
        begin: The store that it begins with.
        writes: Whether it changes the store.
        n: Moments, unless there are more on demand.
        code: Python in place of the command line.
        exports: Name of the file that it writes beside the store.
    """

    arguments: str
    begin: str = "built"
    writes: bool = False
    n: int = 16
    code: str = ""
    exports: str = ""


CASES = {
    "build": Case(
        "build ../words.txt --model tiny=../tiny --pooling last --pooling mean", "nothing", True, 10
    ),
    "query anisotropy": Case("query anisotropy --format csv"),
    "query uniformity": Case(
        "query uniformity --space toy.word.last --layer all --no-cache --format csv"
    ),
    "neighbours": Case("neighbours word3 --space toy.word.last --layer all --format csv"),
    "neighbours --where": Case(
        "neighbours word3 --space toy.word.last --layer all --where length(text)=6 --format csv"
    ),
    "info": Case("info --format csv"),
    "datasets missing": Case("datasets missing ../words.txt --unit word --format csv"),
    "verify": Case("verify --format csv"),
    "sql": Case(
        "", code=f"from embstore import Store; print(Store('store').sql({_SQL!r}).fetchall())"
    ),
    "export": Case(
        "export out.safetensors --space toy.word.last --force", n=8, exports="out.safetensors"
    ),
    "import": Case(
        "import ../vectors.npy --texts ../vectors.txt --name mine --index flat", writes=True, n=8
    ),
    "index": Case("index --kind flat --force", writes=True, n=10),
    "compact": Case("compact", writes=True, n=10),
    "merge": Case("merge ../other", writes=True, n=10),
    "repair": Case("repair", "damaged", writes=True, n=10),
    "remove": Case("remove --space toy.occurrence.last --yes", writes=True, n=10),
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder with a store of each kind that the commands begin with, and what they read."""
    folder = tmp_path_factory.mktemp("signals")
    real_builds.set_up(folder)
    write_vectors(folder)
    for name, make in (("built", build), ("other", build_other), ("damaged", build_damaged)):
        make(folder / name)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_signals(stores, name, tally):
    case, counts = CASES[name], tally("SIGINT or SIGTERM", name)
    whole = _fresh(case, stores, f"whole {name}")
    plain = _run(case, whole)
    assert plain.status == 0, plain.err
    work = _fresh(case, stores, f"work {name}")
    before, files = naming(lambda: stored_ids(work / "store")) or {}, _files(work / "store")
    slowest, statuses, seconds = 0.0, {0: 0, INTERRUPTED: 0}, plain.seconds
    for moment, number in moments(N or share(case.n), name):
        after = moment * seconds
        if case.writes:
            _fresh(case, stores, f"work {name}")
        ended = _run(case, work, after=after, number=number)
        counts["faults"] += 1
        slowest = max(slowest, ended.seconds)
        counts[HANGS] += ended.status is None
        counts[TRACEBACKS] += "Traceback" in ended.err
        assert not counts.harm, f"{number}, {after} s after the start: {ended.err}"
        assert ended.status in statuses, f"{number}, {after} s after the start: {ended.err}"
        statuses[ended.status] += 1
        if ended.status != INTERRUPTED:  # it takes less time than when it was measured
            seconds = after
        _check_end(case, ended, plain)
        if case.exports:
            _check_export(work / case.exports, whole / case.exports)
        if case.writes:
            _check_store(case, work / "store", before, ended, counts)
            again = _run(case, work)
            assert again.status == plain.status or "unknown space" in again.err  # it was removed
            _check_whole(work / "store", whole / "store", counts)
    if not case.writes:
        assert _files(work / "store") == files
        assert _run(case, work).out == plain.out
    assert not counts.harm
    assert statuses[INTERRUPTED] >= counts["faults"] / 4, "the signals came too late"
    print(
        f"{name}: exit statuses {statuses}, the slowest end {slowest:.2f} s of CPU time after the"
        " signal"
    )


def _fresh(case, stores, name):
    """Return a folder in which the command begins."""
    folder = stores / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if case.begin != "nothing":
        shutil.copytree(stores / case.begin, folder / "store")
    return folder


def _run(case, folder, **signalled):
    return run_command(case.arguments.split(), folder, code=case.code, **signalled)


def _check_end(case, ended, plain):
    """Look at how a command ended: by the interrupt, or as it always does since it had done its
    work.
    """
    if ended.status != INTERRUPTED:
        assert ended.status == plain.status, ended.err
        assert case.writes or ended.out == plain.out


def _check_export(file, whole):
    """Look at what an export left: the whole file or nothing."""
    assert not [*file.parent.glob(".*.tmp")]
    if file.exists():
        assert file.read_bytes() == whole.read_bytes()
        file.unlink()


def _check_store(case, root, before, ended, counts):
    """Look at what an interrupt left."""
    if not any(root.glob("manifest/*.json")):
        assert case.begin == "nothing"
        counts[LOST] += ended.n_given
        return
    if case.begin == "damaged":
        return
    after = stored_ids(root)
    counts[LOST] += sum(
        len(ids - after.get(space, set()))
        for space, ids in before.items()
        if case.arguments[:6] != "remove"
    )
    if case.begin == "nothing":
        counts[LOST] += max(0, ended.n_given - len(after.get("tiny.word.last", ())))
    else:
        counts[WRONG] += len(wrong_answers(Store(root)))


def _check_whole(root, whole, counts):
    """Look at a store after the same command was run again: it is as if nothing had happened."""
    problems = problems_of(Store(root))
    left = [path for path in root.rglob("*.tmp") if not (whole / path.relative_to(root)).exists()]
    counts[UNSOUND] += bool(problems or left)
    assert not [*problems, *left]
    assert_same_content(root, whole)
    assert stored_ids(root) == stored_ids(whole)


def _files(root):
    """Return what a store holds, without derived files, which questions may add."""
    found = [
        path for path in sorted(root.rglob("*")) if path.is_file() and "derived" not in path.parts
    ]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}
