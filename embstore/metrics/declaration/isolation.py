"""Run another package's code so that nothing it raises ends more than the one metric."""

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
    """A metric of another package that cannot be used; its text names the package and what is wrong."""


@contextmanager
def isolated(failure: str) -> Iterator[None]:
    """Turn whatever the code in the context raises into a PluginError.

    SystemExit, KeyboardInterrupt and other exceptions beside Exception are turned too. embstore's own errors pass as
    they are, and so does what a signal raises: a user's Ctrl-C ends the command.

    Args:
        failure: Which metric of which package failed, and at what; the exception is added.
    """
    with _noted_signals() as has_arrived:
        try:
            yield
        except EmbstoreError:
            raise
        except BaseException as error:
            if has_arrived():
                raise
            raise PluginError(f"{failure}: {described(error)}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Return the file and the line of a package's code at which an error was raised, or passed on its way."""
    own = str(Path(__file__).parents[2])
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    passed = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    others = (own, "<frozen", str(Path(importlib.__file__).parent))
    theirs = [(file, line) for file, line in passed if not file.startswith(others)]
    lines = [line for file, line in theirs if file == theirs[0][0]]
    return f" ({theirs[0][0]}, line {lines[-1]})" if lines else ""


def described(error: BaseException) -> str:
    """Return the type and the text of an exception; its type alone where it has no text, or cannot tell it."""
    name = type(error).__name__
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException as unreadable:
        return f"{name}, whose text cannot be read ({type(unreadable).__name__})"
    return f"{name}: {text}" if text else name


@contextmanager
def _noted_signals() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether a signal to end has arrived since; afterwards all handlers are as before."""
    arrived: list[int] = []

    def noting(handler: Callable[..., Any]) -> Callable[..., Any]:
        def note(number: int, frame: Any) -> Any:
            arrived.append(number)
            return handler(number, frame)

        return note

    if threading.current_thread() is not threading.main_thread():  # signals are handled in the main thread alone
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
