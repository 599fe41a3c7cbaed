"""From exceptions to what the user sees: one line and an exit code.

0    done
1    the answer is no: ``verify`` found damage, ``--strict`` and something was skipped
2    a mistake in the call or in the input
130  Ctrl-C
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import typer

from embstore.errors import EmbstoreError

OK, NO, MISTAKE, INTERRUPTED = 0, 1, 2, 130


@contextmanager
def explained(interrupted: str = "Interrupted.") -> Iterator[None]:
    """Turn embstore's errors, Ctrl-C and an output that cannot be written into a message and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except EmbstoreError as error:
        refuse(error)
    except KeyboardInterrupt:
        typer.echo(f"\n{interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _forget_output()  # the reader has gone (| head): that is its right
        raise typer.Exit(OK) from None
    except OSError as error:
        _forget_output()
        _say(f"{error.filename or 'standard output'}: {error.strerror or error}.")
        raise typer.Exit(MISTAKE) from None


def refuse(error: EmbstoreError) -> NoReturn:
    """Say what is wrong with the call or the input, and end."""
    _say(str(error))
    raise typer.Exit(MISTAKE) from None


def _say(problem: str) -> None:
    typer.echo(f"embstore: {problem}", err=True)


def _forget_output() -> None:
    """Send what is left to nowhere, else Python complains once more when it flushes at exit."""
    with suppress(OSError, ValueError):  # standard output is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
