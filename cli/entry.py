"""Where the command line begins, before anything is loaded: from here on Ctrl-C ends it with a line and 130."""

import atexit
import os
import sys
import threading
from contextlib import suppress

from . import _interrupts


def run() -> None:
    """Run the command line."""
    _open_streams()
    try:
        _run()
    except KeyboardInterrupt:
        _interrupts.stop()


def _open_streams() -> None:
    """Let closed standard streams lead nowhere, so that no other file gets their numbers; replace what has no code."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # embstore compact >&-
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]


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
        _end_early()


def _end_early() -> None:
    """End the process without what Python's own end only loses time with.

    It would wait for a query that exceeded its time limit, and it takes apart all modules: a thirtieth of a short
    command. With PyTorch loaded, Python ends as usual: Triton reports what is not taken apart as leaked.
    """
    error = sys.exception()
    if not isinstance(error, SystemExit) or not isinstance(error.code, int | None):
        return
    queries = sys.modules.get("embstore.storage.sql.interruptible")
    if queries is not None and queries.is_running():
        _flush()
    elif "torch" in sys.modules:
        return
    else:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # Python reports what it cannot write
    os._exit(error.code or 0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _end() -> None:
    """End an interrupted command, without waiting for the threads that it has left."""
    _interrupts.stop_from_now_on()
    _flush()
    _interrupts.stop()
