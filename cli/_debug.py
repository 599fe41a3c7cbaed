"""What developers of metrics and packages see besides: ``--verbose``, and EMBSTORE_DEBUG=1 for tracebacks."""

import os
import sys
import time

from embstore import __version__
from embstore.base.escape import printable

VARIABLE = "EMBSTORE_DEBUG"

_began: float | None = None


def begin_verbose() -> None:
    """Show the versions now, and from here on what caused an error; at the end the time that the command took."""
    global _began
    import atexit
    import platform

    if _began is None:
        atexit.register(_show_time)
    _began = time.monotonic()
    _show(f"embstore {__version__}, Python {platform.python_version()}, {platform.platform()}")


def show_failure(error: BaseException) -> None:
    """Show where an error comes from: by EMBSTORE_DEBUG its traceback, by --verbose the errors that caused it."""
    if os.environ.get(VARIABLE, "0") not in ("", "0"):
        import traceback

        _show("".join(traceback.format_exception(error)).rstrip())
        return
    cause = error.__cause__ or error.__context__
    while _began is not None and cause is not None:
        _show(f"caused by {type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__


def _show_time() -> None:
    if _began is not None:
        _show(f"{time.monotonic() - _began:.1f} s")


def _show(text: str) -> None:
    print(printable(text, lines=True), file=sys.stderr)
