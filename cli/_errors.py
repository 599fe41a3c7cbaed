"""From exceptions to what the user sees: one line and an exit code.

0    done
1    the answer is no: ``verify`` found damage, ``--strict`` and something was skipped
2    a mistake in the call or in the input
130  Ctrl-C
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from embstore.errors import EmbstoreError

OK, NO, MISTAKE, INTERRUPTED = 0, 1, 2, 130


@contextmanager
def explained(interrupted: str = "Interrupted.") -> Iterator[None]:
    """Turn embstore's errors, Ctrl-C and a closed pipe into a message and an exit code, without a traceback."""
    try:
        yield
        sys.stdout.flush()
    except EmbstoreError as error:
        typer.echo(f"embstore: {error}", err=True)
        raise typer.Exit(MISTAKE) from None
    except KeyboardInterrupt:
        typer.echo(f"\n{interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader has gone (| head): that is its right. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(OK) from None
