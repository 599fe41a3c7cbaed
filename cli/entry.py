"""Where the command line begins, before anything is loaded: from here on Ctrl-C ends it with a line
and 130.

The first Ctrl-C or SIGTERM shuts a command down cleanly, the second ends it at once. While modules
are loaded and while Python shuts down, the first ends the process too: then nothing has begun, or
all is done. In between it raises KeyboardInterrupt in the main thread, and what the command has
begun is finished or undone on the way out. Where it would leave a lock or a context half taken, it
is raised a few milliseconds later. Python calls its handlers only between two instructions of the
main thread, so a thread of its own watches for the second signal, which ends the process whatever
the main thread waits for. That thread wakes the main thread by SIGURG, which nobody else sends:
however late it comes, it is taken for no signal of the user's.
"""

import _thread
import atexit
import gc
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any


def run() -> None:
    """Run the command line."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # embstore compact >&-: no other file may get their numbers
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # what has no code
    try:
        _run()
    except KeyboardInterrupt:
        stop()


def _run() -> None:
    # Imports allocate much that stays. Collecting while they run finds nothing, and takes a tenth
    # of a short command.
    gc.set_threshold(200_000)
    begin()
    from .main import run as run_commands

    raise_from_now_on()
    try:
        run_commands()
    except BaseException as error:
        if received() and not (isinstance(error, SystemExit) and error.code in (None, 0)):
            _end()
        raise
    finally:
        stop_from_now_on()
        _end_early()


def _end_early() -> None:
    """End the process without what Python's own end only loses time with.

    It would wait for a query that exceeded its time limit, and it takes apart all modules: a
    thirtieth of a short command. With PyTorch loaded, Python ends as usual: Triton reports what is
    not taken apart as leaked.
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
    stop_from_now_on()
    _flush()
    stop()


INTERRUPTED = 130

_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the second is what batch schedulers send
_SECONDS_OF_DUPLICATES = (
    0.2  # ``timeout``, and a shell with its process group, may send one signal twice
)
_AGAIN = 0  # to the watching thread: raise KeyboardInterrupt again
_SECONDS_TO_AGAIN = 0.005
_SECONDS_TO_POSTPONE = 1.0  # the main thread may wait for a thread as long as that runs
_SECONDS_TO_WAKE = (0.01, 0.05, 0.1)  # after the first signal, if the main thread has not seen it

_LOCKING = {
    "threading",
    "queue",
    "contextlib",
    "concurrent.futures._base",
    "concurrent.futures.thread",
}

_raises = False
_is_reported = False
_received: float | None = None
_is_postponed = False
_to_watcher = -1


def begin() -> None:
    """Take the signals; until :func:`raise_from_now_on` the first of them ends the process."""
    for number in _SIGNALS:
        if (
            number != signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
        ):  # as in the background
            signal.signal(number, _handle)
    atexit.register(_ignore)  # the first that is registered is the last that runs
    sys.unraisablehook = _unraisable
    if os.name == "posix":
        _watch_signals()


def raise_from_now_on() -> None:
    """Let the first signal raise KeyboardInterrupt."""
    global _raises
    _raises = True


def stop_from_now_on() -> None:
    """Let any signal end the process: the command has ended."""
    global _raises
    _raises = False


def received() -> bool:
    """Return whether a signal has interrupted the command: any failure after it comes from it."""
    return _received is not None


def mark_reported() -> None:
    """Note that the user has seen that the command was interrupted."""
    global _is_reported
    _is_reported = True


def stop() -> None:
    """Say that the command was interrupted, unless the user has seen it, and end the process at
    once.
    """
    try:
        if not _is_reported:
            os.write(2, b"\nInterrupted.\n")
    finally:
        os._exit(INTERRUPTED)


def _handle(_: int, frame: FrameType | None) -> None:
    global _received
    now = time.monotonic()
    if _raises and _received is None:
        _received = now
        _interrupt(frame, _received)
    elif _received is None or (_to_watcher < 0 and now - _received > _SECONDS_OF_DUPLICATES):
        stop()  # where a thread watches, it does so at the second signal


def _handle_own(_: int, frame: FrameType | None) -> None:
    """Raise an interrupt that was postponed."""
    if _raises and _is_postponed and _received is not None:
        _interrupt(frame, _received)


def _interrupt(frame: FrameType | None, received: float) -> None:
    """Raise KeyboardInterrupt in a frame of the main thread, or postpone it, but not for long after
    it was received.
    """
    global _is_postponed
    is_late = time.monotonic() - received > _SECONDS_TO_POSTPONE
    _is_postponed = not (is_late or _can_be_interrupted(frame)) and _raise_again()
    if not _is_postponed:
        raise KeyboardInterrupt


def _can_be_interrupted(frame: FrameType | None) -> bool:
    """Return whether KeyboardInterrupt may be raised in a frame of the main thread.

    Python's library fails with other errors, or hangs, where it is raised while a lock is taken or
    given back; a condition that waits gives it back. A context whose ``__exit__`` it interrupts at
    the beginning is not left.
    """
    if frame is None:
        return True
    function = frame.f_code.co_name
    if frame.f_globals.get("__name__") in _LOCKING:
        return (
            function == "wait" and "gotit" in frame.f_locals
        )  # threading.Condition has a ``try`` from there on
    return function not in ("__enter__", "__exit__")


def _raise_again() -> bool:
    """Let the watching thread send a signal a moment later, and return whether there is such a
    thread.
    """
    if _to_watcher >= 0:
        os.write(_to_watcher, bytes([_AGAIN]))
    return _to_watcher >= 0


def _ignore() -> None:
    """Ignore the signals while Python's last lines run, in which it resets their handlers."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _unraisable(unraisable: Any) -> None:
    """Take an exception that Python cannot raise, as in a destructor; an interrupt is raised again
    a moment later.
    """
    global _is_postponed
    if not received():
        sys.__unraisablehook__(unraisable)
    elif issubclass(unraisable.exc_type, KeyboardInterrupt) and _raises:
        _is_postponed = _raise_again()


def _watch_signals() -> None:
    global _to_watcher
    reading, _to_watcher = os.pipe()
    os.set_blocking(_to_watcher, False)
    signal.signal(signal.SIGURG, _handle_own)
    signal.set_wakeup_fd(_to_watcher, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch, (reading, _thread.get_ident()))


def _watch(reading: int, main_thread: int) -> None:
    """End the process at the second signal; C writes the number of each to a pipe, whatever Python
    does.
    """
    first = None
    while number := os.read(reading, 1):
        if number[0] == _AGAIN:
            time.sleep(_SECONDS_TO_AGAIN)  # until what cannot raise it is left
            signal.pthread_kill(main_thread, signal.SIGURG)  # breaks what it waits for too
        elif number[0] in _SIGNALS:
            now = time.monotonic()
            if first is None:
                first = now
                _wake(main_thread)
            elif now - first > _SECONDS_OF_DUPLICATES:
                stop()


def _wake(main_thread: int) -> None:
    """Break what the main thread waits for until it has seen the first signal.

    A signal that comes just before it begins to wait, or that another thread gets, does not wake
    it.
    """
    for seconds in _SECONDS_TO_WAKE:
        time.sleep(seconds)
        if received():
            return
        signal.pthread_kill(main_thread, signal.SIGURG)
