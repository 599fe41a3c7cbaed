"""Progress of what takes long, with rate and time left; nothing where it is brief or unwanted."""

import errno
import io
import re
import subprocess
import sys
from importlib.metadata import version
from threading import Thread

import pytest
from hanging import HUNG_SECONDS
from tiny_checkpoint import named
from tqdm import tqdm

from embstore import Store
from embstore.base import progress
from embstore.base.progress import Progress, observing

pytestmark = pytest.mark.process

CALLS = {
    "computing norms of toy.word.last": ["query", "norms", "--unit", "word", "--no-cache"],
    "computing cka of toy.word.last": ["query", "cka", "--space", "toy.word.last", "--no-cache"],
    "searching toy.word.last": ["neighbours", "dog", "--space", "toy.word.last", "--exact"],
    "verifying ": ["verify"],
}


@pytest.mark.parametrize("message", CALLS)
def test_a_step_that_takes_long_is_shown(cli, made, monkeypatch, message):
    call = [*CALLS[message], "--store", made.root]
    brief = cli(*call).stderr
    monkeypatch.setattr(progress, "_SECONDS_TO_FIRST", 0.0)
    assert message in cli(*call).stderr
    assert message not in cli(*call, "--quiet").stderr + brief


def test_no_blank_is_before_the_unit_of_bytes():
    with progress._bar(Progress("fetch", "a", 1, 2)) as bar:
        assert bar.unit == "B"


def test_a_bar_is_removed_when_its_stage_ends_or_another_begins(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_TO_FIRST", 0.0)
    bars, kept = progress.Bars(), []
    for stage, done, total, shown, is_removed in (
        ("load", 0, 0, "loading a …", False),
        ("encode", 1, 4, "embedding with a:  25%|", True),
        ("encode", 4, 4, "", True),
        ("fetch", 3, 0, "downloading a: 3.00B [", False),
    ):
        bars(Progress(stage, "a", done, total))
        kept.append(bars._bar)  # which as garbage would be closed too
        written = capsys.readouterr().err
        assert shown in written
        assert bool(re.search(r"\r +\r", written)) == is_removed
    bars.close()
    assert re.search(r"\r +\r$", capsys.readouterr().err)


class FullDisk(io.StringIO):
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_bar_that_cannot_be_written_does_not_stop_the_work(monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_TO_FIRST", 0.0)
    monkeypatch.setattr(sys, "stderr", FullDisk())
    with observing(True):
        for done in range(5):
            progress.report_progress(Progress("compute", "a", done, 4))
    # Bars of other threads need its lock.
    other = Thread(target=tqdm(file=io.StringIO()).close, daemon=True)
    other.start()
    other.join(HUNG_SECONDS)
    assert not other.is_alive()


def test_what_takes_long_is_shown_at_once_in_a_notebook(monkeypatch):
    load, map, encode = (Progress(stage, "minilm") for stage in ("load", "map", "encode"))
    monkeypatch.setattr(progress, "_SECONDS_TO_FIRST", 2.0)
    assert [progress._delay(each) for each in (load, map, encode)] == [0, 2, 2], "a pipe"
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert [progress._delay(each) for each in (load, map, encode)] == [0, 2, 0]
    with progress._bar(load) as bar:
        assert str(bar) == "loading minilm …"


def test_a_task_within_another_says_its_place():
    found = []
    with observing(found.append), progress.task("report", "store", 3) as outer:
        outer.finish()
        with progress.task("compute", "cka of a", 2) as inner:
            inner.finish()
    assert [(each.stage, each.within) for each in found] == [
        ("report", ""),
        ("report", ""),
        *[("compute", "2/3")] * 3,
        ("report", ""),
    ]
    with progress._bar(found[2]) as bar:
        assert str(bar).startswith("2/3 computing cka of a:   0%")


def reported(run):
    found = []
    with observing(found.append):
        run()
    return found


def test_a_query_tells_that_it_reads_vectors(make_store):
    made = make_store(n=50)
    found = reported(lambda: made.store.query("norms", where="text <> 'x'"))
    assert [each.stage for each in found] == ["compute"] * len(found)
    assert found[-1] == Progress("compute", f"norms of {made.space}", 5, 5)
    done = [each.done for each in found]
    assert done == sorted(done)
    assert done.count(0) > 1  # within a layer


def test_verify_tells_each_file(make_store):
    made = make_store(n=50)
    last = reported(made.store.verify)[-1]
    assert last.done == last.total == len(named(made.root))


def test_a_merge_tells_its_files(make_store, monkeypatch):
    monkeypatch.setattr("embstore.storage.copy._BATCH", 4)
    ours, theirs = make_store(texts=["dog"]), make_store("other", n=30, model="a", n_shards=3)
    found = []
    ours.store.merge(theirs.root, progress=found.append)
    shares = [(each.done, each.total) for each in found if each.stage == "merge"]
    assert shares == [(n, 22) for n in (0, 4, 8, 12, 16, 20, 22)], (
        "card, sums, 15 shards, 5 indexes"
    )
    assert {each.subject for each in found if each.stage == "merge"} == {str(ours.root)}


def test_a_compaction_tells_the_shards_that_it_has_merged(make_store):
    made = make_store(n=90, n_shards=9, index=False)
    found = []
    size = 30 * 4 * made.card.dim  # the vectors of three shards
    done = made.store.compact(shard_bytes=size, progress=found.append)
    assert "3 shards into one, in each of 5 layers" in done["detail"]
    reported = [(each.stage, each.done, each.total) for each in found]
    assert reported == [("compact", n, 3) for n in (0, 1, 2, 3)]


def test_flat_indexes_tell_how_far_each_is(make_store):
    made = make_store(n=3000, dim=64, index=False)
    found = []
    made.store.index(kind="flat", force=True, progress=found.append)
    done = [each.done for each in found]
    assert done == sorted(done)
    assert found[-1].done == found[-1].total == 5
    assert len(found) > 2 * 5


WHERE = ["--where", "text <> 'x'"]
QUIET = [
    ["query", "norms", *WHERE], ["query", "cka", "--space", "toy.word.last"], ["neighbours", "dog",
    "--exact"],
    ["info"], ["verify"], ["index"], ["compact"], ["repair"], ["datasets", "missing",
    "words.txt"],
    ["merge", "{}"], ["remove", "--space", "toy.word.last", "--dry-run"], ["info", "--skipped"],
]  # fmt: skip


def test_quiet_leaves_standard_error_empty(cli, make_store, tmp_path, capfd):
    root, other = (
        make_store(texts=["dog", "cat", "cow"]).root,
        make_store("other", texts=["sea"], model="other").root,
    )
    (tmp_path / "words.txt").write_text("dog\nfox\n")
    for call in QUIET:
        done = cli(*(word.format(other) for word in call), "--store", root, "--quiet")
        assert (done.stderr, capfd.readouterr().err) == ("", ""), call


def test_a_notebook_without_ipywidgets_can_read_a_store(make_store):
    """DuckDB takes the program for a notebook, and refuses to have its progress bar switched off
    there.
    """
    made = make_store(n=5)
    program = """
import sys
from types import ModuleType, SimpleNamespace
sys.modules["IPython"] = ModuleType("IPython")
sys.modules["IPython"].get_ipython = lambda: SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["ipywidgets"] = None
import duckdb
try:
    duckdb.connect().execute("SET enable_progress_bar = false")
except duckdb.InvalidInputException:
    print("refused")
from embstore import Store
print(Store(sys.argv[1]).sql("SELECT count(*) FROM items").fetchall()[0][0])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(made.root)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["refused", "5"], done.stderr


def test_the_results_of_python_are_readable(make_store):
    made = make_store(n=20)
    found = made.store.query("norms", layers=0, sample=5)
    [note] = found.notes
    assert "n = 5" in note
    assert "seed 0" in note
    assert note in repr(found).splitlines()[-1]
    assert f"<p>{note}" in found._repr_html_()
    checked = made.store.verify()
    assert repr(checked) == f"{checked.store}: {checked.n_files} files, all sound."
    assert checked._repr_html_() == f"<p>{checked.store}: {checked.n_files} files, all sound.</p>"
    made.shard_files[0].write_bytes(b"")
    damaged = Store(made.root).verify()
    assert " problem in " in repr(damaged) or " problems in " in repr(damaged)
    assert made.shard_files[0].name in repr(damaged)
    assert f"<td>{made.shard_files[0]}</td>" in damaged._repr_html_()


def test_the_report_of_a_build_is_readable(checkpoint, tmp_path):
    (tmp_path / "words.txt").write_text("dog\n\ncat\n")
    report = Store(tmp_path / "store").build(
        str(tmp_path / "words.txt"), models=str(checkpoint), index="none"
    )
    lines = repr(report).splitlines()
    assert lines[0] == "tiny.word.last: 2 embedded, 0 already there"
    assert lines[1] == "1 row of the sources skipped: empty line"
    assert "tokens/s" in lines[-1]
    assert report._repr_html_().startswith(
        "<p>tiny.word.last: 2 embedded, 0 already there</p><p>1 row of"
    )


def state(root):
    """The files of a store, with sizes and times of writing; filelock before version 4 writes to a
    lock.
    """
    found = {path: path.stat() for path in sorted(root.rglob("*"))}
    touches = int(version("filelock").partition(".")[0]) < 4
    return [
        (p, at.st_size, 0 if touches and p.name == ".lock" else at.st_mtime_ns)
        for p, at in found.items()
    ]


def test_dry_runs_say_so_alike_and_a_file_is_written_also_where_there_is_nothing(
    cli, make_store, tmp_path
):
    made, other = (
        make_store(texts=["dog", "cat"]),
        make_store("other", texts=["sea"], model="other"),
    )
    before = state(made.root)
    for call in (
        ["compact"],
        ["repair"],
        ["merge", str(other.root)],
        ["remove", "--space", "toy.word.last"],
    ):
        done = cli(*call, "--dry-run", "--store", made.root)
        assert done.stderr.splitlines()[0] == "Dry run: nothing is written."
        assert state(made.root) == before
    for call in (["info"], ["info", "--skipped"], ["verify"], ["compact"], ["repair"]):
        for suffix in ("csv", "json", "txt"):
            file = tmp_path / f"{'-'.join(call)}.{suffix}"
            cli(*call, "--store", made.root, "-o", file)
            assert file.exists()
