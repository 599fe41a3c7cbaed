"""What only a real process shows: exit codes, streams, pipes that close, Ctrl-C, --verbose and
EMBSTORE_DEBUG.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sound_stores import problems_of
from synthetic import synthetic_store

import embstore
from embstore import Store

pytestmark = pytest.mark.process

CALLS = [
    ["query", "anisotropy", "--explain"],
    ["query", "norms", "--format", "parquet"],
    ["neighbours", "dog", "--layer", "all", "--space", "toy.word.last", "--format", "csv"],
]


def _with_store(call, made):
    return call if {"--help", "--version"} & {*call} else [*call, "--store", str(made.root)]


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_pipe_that_closes_is_no_error(made, tmp_path, call):
    reading, writing = os.pipe()
    os.close(reading)  # the reader has gone before anything is written
    command = [sys.executable, "-m", "embstore", *_with_store(call, made)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(writing)
    assert done.returncode == 0
    for sign in ("Traceback", "Error", "Exception"):
        assert sign not in done.stderr


def test_a_command_goes_on_where_nobody_reads_what_it_says(tmp_path):
    (tmp_path / "words.vec").write_text("3 2\nfox 1 2\ndog 3 4\nsea 5 6\n", "utf-8")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "embstore", "import", "words.vec", "--name", "mine"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, text=True, cwd=tmp_path)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, "")
    assert Store(tmp_path / "store").info()["items"] == [3]


def test_a_stream_that_is_closed_leads_nowhere(made, tmp_path):
    root = tmp_path / "store"
    shutil.copytree(made.root, root)
    for call, closed in {
        "info": ">&-",
        "compact -q": "2>&-",
        "info --skipped": "<&-",
        "--help": "<&- >&- 2>&-",
        "remove --space toy.word.last --yes": "<&- >&- 2>&-",
    }.items():
        store = "" if call == "--help" else f"--store {root}"
        command = f"{sys.executable} -m embstore {call} {store} {closed}"
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, cwd=tmp_path, stdin=subprocess.PIPE
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert problems_of(Store(root)) == []
    assert "toy.word.last" not in Store(root).info()["space"]


def test_what_an_encoding_lacks_is_replaced_in_tables_and_stays_in_data(process, tmp_path):
    synthetic_store(tmp_path / "store", texts=["caf\u00e9", "\u732b\U0001f600"])
    query = ["sql", "SELECT text FROM items ORDER BY text", "--format"]
    table, *data = (
        process(*query, form, env={"PYTHONIOENCODING": "latin-1"}, text=False)
        for form in ("table", "json", "markdown")
    )
    assert (table.returncode, table.stdout.decode("latin-1").split()) == (
        0,
        ["text", "caf\u00e9", "??"],
    )
    for done in data:
        assert (done.returncode, "caf\u00e9" in done.stdout.decode()) == (0, True)
        assert "\u732b\U0001f600" in done.stdout.decode()


def test_a_name_that_is_not_utf_8_is_refused(cli, made, tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    try:
        shutil.copytree(made.root, f"{folder}/store")
    except OSError:
        pytest.skip("the file system has no such names")
    Path(f"{folder}/words.txt").write_text("dog\n", "utf-8")
    vectors = ["--space", "toy.word.last", "--layer", "1"]
    for call in (
        ["info", "--store", f"{folder}/store"],
        ["build", f"{folder}/words.txt"],
        ["export", f"{folder}/x.npz", *vectors, "--store", made.root],
        ["plot", "norms", "-o", f"{folder}/x.svg", "--store", made.root],
    ):
        done = cli(*call, code=2)
        assert "udce9" in done.stderr
        assert "is not UTF-8. Rename that file or folder" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    command = [sys.executable, "-m", "embstore", "info"]  # ./store
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 2
    assert "is not UTF-8, as the paths of a store are. Rename that folder." in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "call", [["query", "norms"], ["query", "norms", "--format", "parquet"], ["--help"]]
)
def test_an_output_that_is_full_is_named(process, made, call):
    with open("/dev/full", "w") as full:
        done = process(
            *_with_store(call, made), stdout=full, stderr=subprocess.PIPE, capture_output=False
        )
    if call == ["--help"]:  # Python itself reports what it cannot write
        assert (done.returncode != 0, "No space left" in done.stderr) == (True, True)
    else:
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert "standard output: No space left on device." in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("call", "code"), [(["map", "--method", "pca"], 0), (["query", "nothing"], 2)]
)
def test_without_room_for_messages_the_work_goes_on(process, made, call, code):
    with open("/dev/full", "w") as full:
        done = process(
            *_with_store(call, made), stdout=subprocess.PIPE, stderr=full, capture_output=False
        )
    assert (done.returncode, "made" in done.stdout or "found" in done.stdout) == (code, code == 0)


@pytest.mark.parametrize("missing", ["torch", "huggingface_hub"])
def test_build_without_the_extra_names_it(process, tmp_path, missing):
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / f"{missing}.py").write_text(
        f"raise ImportError('No module named {missing}')"
    )
    (tmp_path / "tiny").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / "tiny" / name).write_text("{}")
    model = "gpt2" if missing == "huggingface_hub" else "./tiny"
    done = process(
        "build", "words:5", "--model", model, env={"PYTHONPATH": str(tmp_path / "blocked")}
    )
    assert done.returncode == 2
    assert re.search(r"pip install (-e )?'\S*\[build\]'$", done.stderr, re.MULTILINE)
    assert missing in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])
def test_an_interrupt_while_loading_exits_with_130(tmp_path, sent):
    """SIGTERM, which batch schedulers send, ends a build as Ctrl-C does."""
    # The interrupt comes from inside, at the moment when the texts are read, so that the test
    # depends on no clock.
    code = (
        "import os, signal, sys\n"
        "import embstore.build.texts as texts\n"
        f"texts.read_texts = lambda *a, **k: os.kill(os.getpid(), signal.{sent})\n"
        "from embstore_cli.entry import run\n"
        "sys.argv = ['embstore', *sys.argv[1:]]\n"
        "run()\n"
    )
    for arguments, message in ([], "run the same command again"), (["--dry-run"], "Interrupted."):
        command = [sys.executable, "-c", code, "build", "words:5", "--model", "minilm", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 128 + signal.SIGINT, done.stderr
        assert message in done.stderr
        assert ("goes on" in done.stderr) == (arguments == [])
        assert "Traceback" not in done.stderr


def test_an_interrupt_while_the_program_starts_exits_with_130(made, tmp_path):
    """The interrupt comes from inside, at the n-th function that is entered, so that the test
    depends on no clock.
    """
    code = (
        "import os, signal, sys\n"
        "left = int(sys.argv.pop(1))\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def count(frame, event, argument):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left == 0:\n"
        "        sys.setprofile(None)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "from embstore_cli.entry import run\n"
        "sys.setprofile(count)\n"
        "run()\n"
    )
    for number, moment in enumerate((20, 1000, 4001, 12000, 30000, 60001)):
        call = (
            ["neighbours", "dog", "--space", "toy.word.last"]
            if number % 2
            else ["query", "anisotropy"]
        )
        command = [sys.executable, "-c", code, str(moment), *_with_store(call, made)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 128 + signal.SIGINT, moment
        assert done.stderr in ("", "\nInterrupted.\n"), moment  # Typer says nothing


@pytest.mark.slow
def test_the_package_is_a_program(made, tmp_path):
    call = [sys.executable, "-m", "embstore"]
    done = subprocess.run([*call, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"embstore {embstore.__version__}\n")
    assert (
        subprocess.run([*call, "verify", "--store", str(made.root)], capture_output=True).returncode
        == 0
    )


def test_verbose_shows_versions_causes_and_time(process):
    done = process("--verbose", "info", "--store", "none")
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert lines[0].startswith(f"embstore {embstore.__version__}, Python 3.")
    assert any(line.startswith("embstore: there is no store at") for line in lines)
    assert re.fullmatch(r"\d+\.\d s", lines[-1])
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(process):
    done = process("info", "--store", "none", env={"EMBSTORE_DEBUG": "1"})
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("embstore: there is no store at")
    assert "Traceback" not in process("info", "--store", "none", env={"EMBSTORE_DEBUG": "0"}).stderr
