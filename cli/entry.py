"""Where the command line begins, before anything is loaded: Ctrl-C ends it with a line and 130 from here on."""


def run() -> None:
    """Run the command line."""
    try:
        from .main import run as run_commands

        run_commands()
    except KeyboardInterrupt:
        import os

        try:
            os.write(2, b"\nInterrupted.\n")
        finally:
            os._exit(130)  # nothing has begun that would have to be ended
