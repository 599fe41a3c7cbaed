"""Where the command line begins: Ctrl-C and SIGTERM end it with one line and status 130."""

import os
import sys

from ._interrupts import end, handle_signals, is_interrupted


def run() -> None:
    """Run the command line."""
    try:
        handle_signals()
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # >&-: no other file may get their numbers
                setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # what has no code
        from .main import run as run_commands

        run_commands()
    except KeyboardInterrupt:
        end()
    except SystemExit:
        raise
    except BaseException:
        if is_interrupted():  # one while a class is made becomes a RuntimeError, or Rust panics
            end()
        raise
