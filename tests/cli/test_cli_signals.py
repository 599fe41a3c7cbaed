"""Signals at the moments at which Python itself does not end a command by them."""

import os
import select
import signal
import subprocess
import sys
import textwrap

import pytest
from hanging import HUNG_SECONDS

pytestmark = pytest.mark.process

if os.name != "posix":
    pytest.skip("signals are POSIX's", allow_module_level=True)

# What the command does instead of its work. It says when the moment has come.
_PROGRAM = """
import sys, time
from embstore import Store
def work(*_, **__):
    {work}
Store.info = work
sys.argv = ["embstore", "info"]
from embstore_cli.entry import run
run()
"""
_READY = "print('ready', flush=True)"
_HUNG = "time.sleep(1e6)"
_HASH = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2**31 - 1, 3200)"  # takes a day


@pytest.fixture
def start(tmp_path):
    """Start a command that does some other work; Ctrl-C is ignored or not."""

    def start(work="", ctrl_c=signal.SIG_DFL, program=_PROGRAM):
        return subprocess.Popen(
            [sys.executable, "-c", program.replace("{work}", work)],
            cwd=tmp_path,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c),
        )

    return start


def _wait_for_line(process):
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], HUNG_SECONDS)[0]
    assert process.stdout.readline() == "ready\n"


def _ended(process, *signals):
    """Send each signal once the process is ready for it; return the exit status and the errors."""
    with process:
        for number in signals:
            _wait_for_line(process)
            process.send_signal(number)
        _, err = process.communicate("go on\n", timeout=HUNG_SECONDS)
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("last", [_HUNG, _HASH])
def test_a_second_ctrl_c_ends_at_once_what_will_not_end(start, number, last):
    """Python looks for no signal while the hash is computed."""
    work = f"""
    try: {_READY}; {_HUNG}
    except KeyboardInterrupt: {_READY}; {last}"""
    assert _ended(start(work), number, signal.SIGINT) == (-signal.SIGINT, "")


def test_a_second_sigterm_lets_a_command_finish(start):
    """As ``timeout`` sends it to the process and to its group."""
    work = f"""
    try: {_READY}; {_HUNG}
    finally: {_READY}; sys.stdin.readline(); print("finished", file=sys.stderr)"""
    ended = _ended(start(work), signal.SIGTERM, signal.SIGTERM)
    assert ended == (130, "finished\n\nInterrupted.\n")


_FAILING = """
    try: {ready}; {hung}
    except KeyboardInterrupt: raise {error}"""
_DESTRUCTOR = """
    class Lossy:
        def __del__(self): {ready}; {hung}
    Lossy()
    {hung}"""
_AT_EXIT = """
    import atexit
    def wait(): {ready}; {hung}
    atexit.register(wait)
    raise SystemExit(0)"""


@pytest.mark.parametrize(
    "work",
    [
        _FAILING.replace("{error}", "RuntimeError('computation interrupted')"),
        _FAILING.replace("{error}", "ImportError('half loaded')"),
        _DESTRUCTOR,
        _AT_EXIT,
    ],
)
def test_an_interrupt_shows_one_line_and_no_traceback(start, work):
    ended = _ended(start(work.format(ready=_READY, hung=_HUNG)), signal.SIGINT)
    assert ended == (130, "\nInterrupted.\n")


def test_an_interrupt_of_an_import_shows_no_traceback(start):
    """Before the command begins; Python makes a RuntimeError of one in ``__set_name__``."""
    module = f"""
    from embstore_cli import main
    class Waiting:
        def __set_name__(self, owner, name): {_READY}; {_HUNG}
    def importing():
        class Made: member = Waiting()
    main.run = importing"""
    program = _PROGRAM.replace("    {work}", "    pass").replace(
        "from embstore_cli.entry", textwrap.dedent(module) + "\nfrom embstore_cli.entry"
    )
    process = start(program=program)
    assert _ended(process, signal.SIGINT) == (130, "\nInterrupted.\n")


def test_an_ignored_ctrl_c_stays_ignored(start):
    """As in a job that a shell without job control runs in the background."""
    goes_on = start(f"{_READY}; sys.stdin.readline(); raise SystemExit(7)", signal.SIG_IGN)
    assert _ended(goes_on, signal.SIGINT) == (7, "")
