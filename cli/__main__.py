"""``python -m embstore_cli``: the command line where the script ``embstore`` is not on the path."""

from .entry import run

if __name__ == "__main__":
    run()
