"""Ctrl-C and SIGTERM raise KeyboardInterrupt, which ends a command with status 130."""

import os
import signal
import sys
from types import FrameType
from typing import Any

INTERRUPTED = 130

_is_interrupted = False


def handle_signals() -> None:
    """Let SIGTERM, which batch schedulers send, interrupt the command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _unraisable


def is_interrupted() -> bool:
    """Return whether a signal has interrupted the command: any failure after it comes from it."""
    return _is_interrupted


def end() -> None:
    """Say that the command was interrupted, and end it."""
    os.write(2, b"\nInterrupted.\n")
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt at the first signal; a second Ctrl-C ends the process at once.

    A second SIGTERM is ignored: ``timeout`` sends it to the process and to its group.
    """
    global _is_interrupted
    _is_interrupted = True
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _unraisable(unraisable: Any) -> None:
    """End the process by an interrupt that Python cannot raise, as in a destructor."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        end()
    sys.__unraisablehook__(unraisable)
