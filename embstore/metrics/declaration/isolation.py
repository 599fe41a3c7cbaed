"""Contain the errors of other packages' code: they fail one metric, never the program."""

import importlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embstore.base.errors import EmbstoreError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
    with _record_signals() as has_arrived:
        try:
            yield
        except EmbstoreError:
            raise
        except BaseException as error:
            if has_arrived():
                raise
            raise PluginError(f"{failure}: {_describe(error)}{_source_line(error)}{_remedy(error)}") from error


def _source_line(error: BaseException) -> str:
    """Return the file and line of the package's code in the traceback of an error; empty if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    other_code = (str(Path(__file__).parents[2]), "<frozen", str(Path(importlib.__file__).parent))
    package_lines = [(file, line) for file, line in lines if not file.startswith(other_code)]
    if not package_lines:
        return ""
    first_file = package_lines[0][0]
    return f" ({first_file}, line {[line for file, line in package_lines if file == first_file][-1]})"


def _remedy(error: BaseException) -> str:
    """Return where to import from, if the error is the import of a private or former module of embstore."""
    name = error.name or "" if isinstance(error, ImportError) else ""
    if name.partition(".")[0] != "embstore" or name == "embstore.metrics":
        return ""
    return ". Import it from embstore.metrics: embstore's other modules may move between releases."


def _describe(error: BaseException) -> str:
    """Return the type and message of an exception; the type alone if there is no message or it cannot be read."""
    name = type(error).__name__
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException as unreadable:
        return f"{name}, whose text cannot be read ({type(unreadable).__name__})"
    return f"{name}: {text}" if text else name


@contextmanager
def _record_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM has arrived; restore the signal handlers at the end."""
    arrived: list[int] = []

    def recording(handler: Callable[..., Any]) -> Callable[..., Any]:
        def record(number: int, frame: Any) -> Any:
            arrived.append(number)
            return handler(number, frame)

        return record

    if threading.current_thread() is not threading.main_thread():  # only it can set signal handlers
        yield lambda: False
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, recording(handler))
        yield lambda: bool(arrived)
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # None: a handler that was not set from Python
                signal.signal(number, handler)
