"""Where the command line begins, before anything is loaded: from here on Ctrl-C ends it with a line and 130."""

import os
import sys
from contextlib import suppress

from . import _interrupts


def run() -> None:
    """Run the command line."""
    try:
        _run()
    except KeyboardInterrupt:
        _interrupts.stop()


def _run() -> None:
    _interrupts.begin()
    from .main import run as run_commands

    _interrupts.raise_from_now_on()
    try:
        run_commands()
    except BaseException as error:
        if _interrupts.received() and not (isinstance(error, SystemExit) and error.code in (None, 0)):
            _end()
        raise
    finally:
        _interrupts.stop_from_now_on()
        _leave_queries()


def _leave_queries() -> None:
    """End the process if a query goes on that exceeded its time limit: Python would wait for it."""
    queries = sys.modules.get("embstore.storage.sql.interruptible")
    error = sys.exception()
    if queries is None or not queries.is_running() or not isinstance(error, SystemExit):
        return
    _flush()
    os._exit(error.code if isinstance(error.code, int) else 0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _end() -> None:
    """End an interrupted command, without waiting for the threads that it has left."""
    _interrupts.stop_from_now_on()
    _flush()
    _interrupts.stop()
