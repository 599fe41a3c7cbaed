"""Turn exceptions into what the user sees: one line and an exit code.

0    done
1    the answer is no: ``verify`` found damage, ``--strict`` and something was skipped
2    a mistake in the call or in the input, or a file that the system does not let be read or
written 130  Ctrl-C, or SIGTERM
"""

import os
import re
import sys
import time
from ast import literal_eval
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

from typer import Exit, echo

from embstore import __version__
from embstore.base.errors import EmbstoreError, system_reason
from embstore.base.messages import brief, printable

from ._interrupts import INTERRUPTED, is_interrupted

OK, NO, MISTAKE = 0, 1, 2


@contextmanager
def explained(interrupted: str = "Interrupted.") -> Iterator[None]:
    """Turn embstore's errors, Ctrl-C and an output that cannot be written into a message and an
    exit code.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        print_message(f"\n{interrupted}")
        raise Exit(INTERRUPTED) from None
    except Exception as error:
        if is_interrupted():  # what fails after an interrupt fails by it
            print_message("\nInterrupted.")
            raise Exit(INTERRUPTED) from None
        if isinstance(error, EmbstoreError):
            refuse(error)
        if isinstance(error, MemoryError):
            reason = f" ({error})" if str(error) else ""
            print_message(
                f"embstore: there is not enough memory{reason}. End other programs, or ask for"
                " less: fewer layers (--layer), fewer items (--where, --sample)."
            )
            raise Exit(MISTAKE) from None
        if isinstance(error, BrokenPipeError):
            redirect_to_devnull(sys.stdout)  # the reader has gone (| head): that is its right
            raise Exit(OK) from None
        if isinstance(error, OSError):
            place = error.filename2 or error.filename
            if place is None:
                redirect_to_devnull(sys.stdout)
            print_message(f"embstore: {place or 'standard output'}: {system_reason(error)}")
            raise Exit(MISTAKE) from None
        raise


def refuse(error: EmbstoreError) -> NoReturn:
    """Say what is wrong with the call or the input, and end."""
    show_failure(error)
    print_message(f"embstore: {error}")
    raise Exit(MISTAKE) from None


_options: dict[str, str] = {}  # option of the command that runs, by the name of its argument
_QUOTES = "'\""
_ARGUMENT = re.compile(
    r"""`(?P<named>\w+)`
    |(?<![^\s(])(?P<set>\w+)=(?P<value>
        True|False|'[^']*'|"[^"]*"|\[(?:'[^']*'|"[^"]*"|,\ )*\]|[A-Z]+|\d+
    )(?=[.,;:)]*(?:\s|$))
    |(?<!\w)(?:'[^']*'|"[^"]*")  # what a user wrote stays as it is
    """,
    re.VERBOSE,
)


def register_options(command: Any) -> None:
    """From here on name arguments, which messages name as in Python, as options of a command."""
    _options.clear()
    for subcommand in (command, *getattr(command, "commands", {}).values()):
        for parameter in subcommand.params:
            option = max(parameter.opts, key=len)
            if option.startswith("--"):
                _options[parameter.name] = option
    if "store" in _options:
        _options.setdefault("path", _options["store"])


def _as_option(argument: re.Match[str]) -> str:
    name, value = argument["named"] or argument["set"], argument["value"]
    option = _options.get(f"no_{name}" if value == "False" else name or "")
    if option is None:
        return argument[0]
    if value in (None, "True", "False"):
        return option
    if value.startswith("["):
        value = repr(",".join(literal_eval(value)))
    is_plain = re.fullmatch(r"['\"]?[\w.,:/-]+['\"]?", value)  # needs no quotes in a shell
    return f"{option} {value.strip(_QUOTES) if is_plain else value}"


def print_message(message: str) -> None:
    """Write a line for the user to standard error, with arguments as options of the command, of a
    long note its brief form but with --verbose; where it cannot be written (nobody reads it, or its
    disk failed), the work goes on without.

    Control characters in it are escaped, also where it is piped: what is piped is often shown on a
    terminal after all.
    """
    message = message if _began is not None else brief(message)
    try:
        echo(printable(_ARGUMENT.sub(_as_option, message), lines=True), err=True)
    except OSError:
        redirect_to_devnull(sys.stderr)


def redirect_to_devnull(stream: TextIO) -> None:
    """Send what is left to nowhere, else Python complains once more when it flushes at exit."""
    with suppress(OSError, ValueError):  # the stream is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


_DEBUG = "EMBSTORE_DEBUG"  # 1: developers of metrics and packages see tracebacks

_began: float | None = None


def begin_verbose() -> None:
    """Show the versions now, and from here on what caused an error; at the end the time that the
    command took.
    """
    global _began
    import atexit
    import platform

    if _began is None:
        atexit.register(_show_time)
    _began = time.monotonic()
    _show(f"embstore {__version__}, Python {platform.python_version()}, {platform.platform()}")


def show_failure(error: BaseException) -> None:
    """Show where an error comes from: by EMBSTORE_DEBUG its traceback, by --verbose the errors that
    caused it.
    """
    if os.environ.get(_DEBUG, "0") not in ("", "0"):
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
