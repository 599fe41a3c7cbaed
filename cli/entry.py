"""Where the command line begins, before anything is loaded: Ctrl-C ends it with a line and 130 from here on."""

import os
import signal


def run() -> None:
    """Run the command line."""
    try:
        _load_and_run()
    except KeyboardInterrupt:
        _stop()


def _load_and_run() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
        # While modules are loaded, what is raised may be lost: importlib calls back where Python can only print it.
        signal.signal(signal.SIGINT, _stop)
    from .main import run as run_commands

    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch scheduler's way to say Ctrl-C
    run_commands()


def _stop(*_: object) -> None:
    """End the process: nothing has begun that would have to be ended."""
    try:
        os.write(2, b"\nInterrupted.\n")
    finally:
        os._exit(130)
