"""Contain the errors of other packages' code: they fail one metric, never the program."""

import importlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embstore.errors import EmbstoreError

_ENDING = (signal.SIGINT, signal.SIGTERM)


class PluginError(EmbstoreError):
    """A metric of another package cannot be used; the message names the package and the problem."""


@contextmanager
def isolated(failure: str) -> Iterator[None]:
    """Convert any exception raised in the context into a PluginError.

    This includes SystemExit, KeyboardInterrupt and other exceptions outside Exception. embstore's own errors pass
    unchanged, and so do exceptions raised by a signal: Ctrl-C still ends the command.

    Args:
        failure: Message with the metric, the package and the failed action; the exception is appended.
    """
    with _noted_signals() as has_arrived:
        try:
            yield
        except EmbstoreError:
            raise
        except BaseException as error:
            if has_arrived():
                raise
            raise PluginError(f"{failure}: {described(error)}{_place(error)}{_remedy(error)}") from error


def _place(error: BaseException) -> str:
    """Return the file and line of the package's code in the traceback of an error; empty if there is none."""
    own = str(Path(__file__).parents[2])
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    passed = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    others = (own, "<frozen", str(Path(importlib.__file__).parent))
    theirs = [(file, line) for file, line in passed if not file.startswith(others)]
    lines = [line for file, line in theirs if file == theirs[0][0]]
    return f" ({theirs[0][0]}, line {lines[-1]})" if lines else ""


def _remedy(error: BaseException) -> str:
    """Return where to import from, if the error is the import of a private or former module of embstore."""
    name = error.name or "" if isinstance(error, ImportError) else ""
    if name.partition(".")[0] != "embstore" or name == "embstore.metrics":
        return ""
    return ". Import it from embstore.metrics: embstore's other modules may move between releases."


def described(error: BaseException) -> str:
    """Return the type and message of an exception; the type alone if there is no message or it cannot be read."""
    name = type(error).__name__
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException as unreadable:
        return f"{name}, whose text cannot be read ({type(unreadable).__name__})"
    return f"{name}: {text}" if text else name


@contextmanager
def _noted_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM has arrived; restore the signal handlers at the end."""
    arrived: list[int] = []

    def noting(handler: Callable[..., Any]) -> Callable[..., Any]:
        def note(number: int, frame: Any) -> Any:
            arrived.append(number)
            return handler(number, frame)

        return note

    if threading.current_thread() is not threading.main_thread():  # Python handles signals in the main thread only
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, noting(handler))
        yield lambda: bool(arrived)
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not set from Python
                signal.signal(number, handler)
