"""Signals at the moments at which Python itself cannot end a command by them."""

import os
import select
import signal
import subprocess
import sys
import time

import pytest
from hanging import HUNG_SECONDS

pytestmark = pytest.mark.process

if os.name != "posix":
    pytest.skip("signals are POSIX's", allow_module_level=True)

# What the command does instead of its work. It says when the moment has come, and when its watching
# thread has taken the time of a signal.
_PROGRAM = """
import os, sys, threading, time
from types import SimpleNamespace
from embstore import Store
from embstore_cli import entry
HUNG = 1e6  # seconds, which no test waits for
def monotonic():
    now = time.monotonic() if {clock_runs} else 0.0
    if threading.get_ident() != threading.main_thread().ident:
        os.write(1, b"seen\\n")
    return now
entry.time = SimpleNamespace(monotonic=monotonic, sleep=time.sleep)
def work(*_, **__):
    {work}
Store.info = work
sys.argv = ["embstore", "info"]
from embstore_cli.entry import run
run()
"""
_READY = "print('ready', flush=True)"
_SECONDS_BETWEEN = 0.3  # more than between two signals that are taken for one


@pytest.fixture
def start(tmp_path):
    """Start a command that does some other work, for which the clock may stand still; Ctrl-C is
    ignored or not.
    """

    def start(
        work: str, *, clock_runs: bool = True, ctrl_c: signal.Handlers = signal.SIG_DFL
    ) -> subprocess.Popen[str]:
        code = _PROGRAM.format(work=work, clock_runs=clock_runs)
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c),
        )

    return start


def _next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], HUNG_SECONDS)[0]
    return process.stdout.readline()


def _ended(process: subprocess.Popen[str], *signals: int, is_seen: bool = True) -> tuple[int, str]:
    """Send each signal once the one before was seen, and write a line; return the exit status and
    the errors.
    """
    with process:
        assert _next_line(process) == "ready\n"
        for place, number in enumerate(signals):
            if place and is_seen:
                time.sleep(_SECONDS_BETWEEN)
            process.send_signal(number)
            if is_seen:
                assert _next_line(process) in ("seen\n", "")  # it may have ended
        _, err = process.communicate("go on\n", timeout=HUNG_SECONDS)
    return process.returncode, err


def test_the_second_signal_ends_what_c_code_keeps_from_python(start):
    """The hash takes a day, and Python looks for no signal meanwhile."""
    hangs = f"import hashlib; {_READY}; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2**31 - 1, 3200)"
    assert _ended(start(hangs), signal.SIGINT, signal.SIGTERM) == (130, "\nInterrupted.\n")


def test_a_signal_that_does_not_wake_the_main_thread_ends_what_it_waits_for(start):
    """As one that comes just before it begins to wait: here another thread gets it."""
    blocked = (
        f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]); {_READY};"
        " time.sleep(HUNG)"
    )
    assert _ended(start(blocked), signal.SIGINT) == (130, "\nInterrupted.\n")


def test_the_second_signal_ends_what_will_not_end(start):
    endless = f"""
    {_READY}
    while True:
        try: time.sleep(HUNG)
        except KeyboardInterrupt: pass"""
    assert _ended(start(endless), signal.SIGTERM, signal.SIGTERM) == (130, "\nInterrupted.\n")


def test_a_signal_that_comes_twice_at_once_is_one(start):
    """As ``timeout`` sends it, and a terminal together with a shell that passes it on."""
    finishes = f"""
    try: {_READY}; time.sleep(HUNG)
    finally:
        sys.stdin.readline()
        time.sleep(0.1)
        print("finished", file=sys.stderr, flush=True)"""
    ended = _ended(start(finishes, clock_runs=False), *[signal.SIGTERM] * 2)
    assert ended == (130, "finished\n\nInterrupted.\n")


def test_a_signal_of_its_own_that_comes_late_is_not_the_second_one(start):
    """The main thread is woken when it has seen the signal already, and does what does not look for
    any.
    """
    finishes = f"""
    entry.received = lambda: False
    import hashlib
    try: {_READY}; time.sleep(HUNG)
    finally:
        began = time.monotonic()
        while time.monotonic() - began < 0.5: hashlib.pbkdf2_hmac('sha256', b'a', b'b', 500_000)
        print("finished", file=sys.stderr, flush=True)"""
    assert _ended(start(finishes), signal.SIGINT) == (130, "finished\n\nInterrupted.\n")


def test_an_interrupt_that_python_cannot_raise_is_not_lost(start):
    """In a destructor Python only prints an exception."""
    loses = f"""
    class Lossy:
        def __del__(self):
            {_READY}
            time.sleep(HUNG)
    Lossy()
    time.sleep(HUNG)"""
    assert _ended(start(loses), signal.SIGINT) == (130, "\nInterrupted.\n")


@pytest.mark.parametrize(
    "error", ["RuntimeError('Query interrupted')", "ImportError('half loaded')", "SystemExit(130)"]
)
def test_what_fails_after_an_interrupt_fails_by_it(start, error):
    turns = f"""
    try: {_READY}; time.sleep(HUNG)
    except KeyboardInterrupt: raise {error}"""
    assert _ended(start(turns), signal.SIGINT) == (130, "\nInterrupted.\n")


def test_an_error_after_an_interrupt_is_shown_too(start):
    fails = f"""
    from embstore.base.errors import StoreError
    try: {_READY}; time.sleep(HUNG)
    except KeyboardInterrupt: raise StoreError("no space left.")"""
    assert _ended(start(fails), signal.SIGINT) == (
        130,
        "embstore: no space left.\n\nInterrupted.\n",
    )


def test_a_signal_while_python_ends_shows_no_traceback(start):
    for when in ("atexit.register", "threading._register_atexit"):
        waits = f"""
    import atexit, threading
    def wait():
        {_READY}
        time.sleep(HUNG)
    {when}(wait)
    raise SystemExit(0)"""
        assert _ended(start(waits), signal.SIGINT) == (130, "\nInterrupted.\n")


def test_an_ignored_ctrl_c_stays_ignored(start):
    """As in a job that a shell without job control runs in the background."""
    goes_on = start(f"{_READY}; sys.stdin.readline(); raise SystemExit(7)", ctrl_c=signal.SIG_IGN)
    assert _ended(goes_on, signal.SIGINT, is_seen=False) == (7, "")
