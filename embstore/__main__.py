"""Run the command line as ``python -m embstore``, where the script ``embstore`` is not on the
path.
"""

from importlib import import_module

if __name__ == "__main__":
    import_module("embstore_cli.entry").run()
