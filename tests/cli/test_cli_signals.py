"""Signals at the moments at which Python itself cannot end a command by them."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a command that does some other work."""

    def start(work: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(work=work)], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    return start


def _ended(process: subprocess.Popen[str], *signals: int, pause: float = 0.4) -> tuple[int, str]:
    with process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 30)[0]
        assert process.stdout.readline() == "ready\n"
        for number in signals:
            process.send_signal(number)
            time.sleep(pause)
        _, err = process.communicate(timeout=5)
    return process.returncode, err


def test_the_second_signal_ends_what_c_code_keeps_from_python(start: Start) -> None:
    """The regular expression takes years, and Python looks for no signal meanwhile."""
    hangs = f"import re; {_READY}; re.fullmatch('(a*)*b', 'a' * 99)"
    assert _ended(start(hangs), signal.SIGINT, signal.SIGTERM) == (130, "\nInterrupted.\n")


def test_a_signal_that_does_not_wake_the_main_thread_ends_what_it_waits_for(start: Start) -> None:
    """As one that comes just before it begins to wait: here another thread gets it."""
    blocked = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]); {_READY}; time.sleep(9)"
    assert _ended(start(blocked), signal.SIGINT) == (130, "\nInterrupted.\n")


def test_the_second_signal_ends_what_will_not_end(start: Start) -> None:
    endless = f"""
    {_READY}
    while True:
        try: time.sleep(9)
        except KeyboardInterrupt: pass"""
    assert _ended(start(endless), signal.SIGTERM, signal.SIGTERM) == (130, "\nInterrupted.\n")


def test_a_signal_that_comes_twice_at_once_is_one(start: Start) -> None:
    """As ``timeout`` sends it, and a terminal together with a shell that passes it on."""
    finishes = f"""
    try: {_READY}; time.sleep(9)
    finally:
        time.sleep(0.5)
        print("finished", file=sys.stderr, flush=True)"""
    code, err = _ended(start(finishes), *[signal.SIGTERM] * 2, pause=0.02)
    assert (code, err) == (130, "finished\n\nInterrupted.\n")


def test_an_interrupt_that_python_cannot_raise_is_not_lost(start: Start) -> None:
    """In a destructor Python only prints an exception."""
    loses = f"""
    class Lossy:
        def __del__(self):
            {_READY}
            time.sleep(9)
    Lossy()
    time.sleep(30)"""
    assert _ended(start(loses), signal.SIGINT) == (130, "\nInterrupted.\n")


@pytest.mark.parametrize(
    "error", ["RuntimeError('Query interrupted')", "ImportError('half loaded')", "SystemExit(130)"]
)
def test_what_fails_after_an_interrupt_fails_by_it(start: Start, error: str) -> None:
    turns = f"""
    try: {_READY}; time.sleep(9)
    except KeyboardInterrupt: raise {error}"""
    assert _ended(start(turns), signal.SIGINT) == (130, "\nInterrupted.\n")


def test_an_error_after_an_interrupt_is_shown_too(start: Start) -> None:
    fails = f"""
    from embstore.errors import StoreError
    try: {_READY}; time.sleep(9)
    except KeyboardInterrupt: raise StoreError("no space left.")"""
    assert _ended(start(fails), signal.SIGINT) == (130, "embstore: no space left.\n\nInterrupted.\n")


def test_a_signal_while_python_ends_shows_no_traceback(start: Start) -> None:
    for when in ("atexit.register", "threading._register_atexit"):
        waits = f"""
    import atexit, threading
    def wait():
        {_READY}
        time.sleep(9)
    {when}(wait)
    raise SystemExit(0)"""
        assert _ended(start(waits), signal.SIGINT) == (130, "\nInterrupted.\n")


def test_an_ignored_ctrl_c_stays_ignored(start: Start, tmp_path: Path) -> None:
    """As in a job that a shell without job control runs in the background."""
    code = _PROGRAM.format(work=f"{_READY}; time.sleep(0.5); raise SystemExit(7)")
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert _ended(process, signal.SIGINT, pause=0.1) == (7, "")
