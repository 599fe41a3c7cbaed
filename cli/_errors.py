"""Turn exceptions into what the user sees: one line and an exit code.

0    done
1    the answer is no: ``verify`` found damage, ``--strict`` and something was skipped
2    a mistake in the call or in the input, or a file that the system does not let be read or
written 130  Ctrl-C, or SIGTERM
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

import typer

from embstore import __version__
from embstore.base.errors import EmbstoreError
from embstore.base.messages import printable

from .entry import INTERRUPTED, mark_reported, received

OK, NO, MISTAKE = 0, 1, 2
_ERROR = "Error: "  # what Typer writes before the message of an error of its own


@contextmanager
def explained(interrupted: str = "Interrupted.") -> Iterator[None]:
    """Turn embstore's errors, Ctrl-C and an output that cannot be written into a message and an
    exit code.
    """
    try:
        try:
            yield
            sys.stdout.flush()
        except Exception as error:
            if not received() or getattr(error, "exit_code", None) in (OK, INTERRUPTED):
                raise
            if isinstance(error, EmbstoreError):
                say(f"embstore: {error}")
                interrupted = "Interrupted."  # what the usual text promises may not hold
            raise KeyboardInterrupt from error  # what fails after an interrupt fails by it
    except KeyboardInterrupt:
        say(f"\n{interrupted}")
        mark_reported()
        raise typer.Exit(INTERRUPTED) from None
    except EmbstoreError as error:
        refuse(error)
    except MemoryError as error:
        say(
            f"embstore: there is not enough memory{f' ({error})' if str(error) else ''}. End"
            " other programs, or ask for less: fewer layers (--layer), fewer items (--where,"
            " --sample)."
        )
        raise typer.Exit(MISTAKE) from None
    except BrokenPipeError:
        _forget(sys.stdout)  # the reader has gone (| head): that is its right
        raise typer.Exit(OK) from None
    except OSError as error:
        _forget(sys.stdout)
        say(f"embstore: {error.filename or 'standard output'}: {error.strerror or error}.")
        raise typer.Exit(MISTAKE) from None
    except Exception as error:
        _leave_out_unlike(error)
        if (missing := getattr(error, "param", None)) is not None and hasattr(error, "param_type"):
            error.message = missing.help  # type: ignore[attr-defined]
        if hasattr(error, "format_message"):  # Typer does not export the class of its errors
            message = _wrapped(f"{_ERROR}{error.format_message()}").removeprefix(_ERROR)
            error.format_message = lambda: message
        raise


def _leave_out_unlike(error: Any) -> None:
    """Let Typer's error on an unknown option suggest those that are like it without the dashes,
    which all have.
    """
    if similar := getattr(error, "possibilities", None):
        from difflib import SequenceMatcher

        name = error.option_name.lstrip("-")
        ratios = {flag: SequenceMatcher(None, flag.lstrip("-"), name).ratio() for flag in similar}
        error.possibilities = [
            flag for flag in similar if ratios[flag] > (0.7 if len(name) < 5 else 0.6)
        ]


def refuse(error: EmbstoreError) -> NoReturn:
    """Say what is wrong with the call or the input, and end."""
    show_failure(error)
    say(f"embstore: {error}")
    raise typer.Exit(MISTAKE) from None


def say(message: str) -> None:
    """Write a line for the user to standard error; where nobody reads it any more, the work goes on
    without.

    Control characters in it are escaped, also where it is piped: what is piped is often shown on a
    terminal after all.
    """
    try:
        typer.echo(_wrapped(printable(message, lines=True)), err=True)
    except BrokenPipeError:
        _forget(sys.stderr)


def _wrapped(message: str) -> str:
    """Return a message with lines as wide as the terminal that shows it, broken between words."""
    if not sys.stderr.isatty():
        return message
    try:
        width = max(20, os.get_terminal_size(sys.stderr.fileno()).columns or 80)
    except (OSError, ValueError):  # the stream is no file, or has gone
        return message
    return "\n".join(
        line if len(line) <= width else wrapped(line, width) for line in message.split("\n")
    )


def wrapped(text: str, width: int, indent: str = "") -> str:
    """Return a text in lines of a width, broken between words only: a path or a command stays
    whole.
    """
    from textwrap import TextWrapper

    return TextWrapper(
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ).fill(text)


def _forget(stream: TextIO) -> None:
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


class Escaped:
    """A text stream in which control characters are escaped: of warnings, logs and other packages'
    messages too.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        self._stream.write(printable(text, lines=True))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def escape_terminals() -> None:
    """Escape control characters in standard output and standard error, where they are terminals.

    Tracebacks, which Python 3.13 and later colour there, stay without colours, whose codes would be
    escaped.
    """
    os.environ.setdefault("PYTHON_COLORS", "0")
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream.isatty() and not isinstance(stream, Escaped):
            setattr(sys, name, Escaped(stream))
