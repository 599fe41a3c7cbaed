"""What the tests of tampered stores share: a folder with a store and what lies beside it, and a
limit of CPU time.
"""

import os
import stat

from hanging import cpu_limit
from store_damage import full_store
from synthetic import synthetic_store

SECONDS = 10.0


class HungError(Exception):
    """A command computed for longer than a tampered store may make it."""


def limit():
    """Return a context in which a command is stopped that goes on computing."""
    return cpu_limit(SECONDS, HungError)


def make_folder(folder):
    """Make the store to tamper with, another one, and files that neither may touch."""
    full_store(folder / "store")
    (folder / "store" / "damaged" / "items").mkdir(parents=True)
    synthetic_store(folder / "other", n=25, dim=6, n_blocks=1)
    victim = folder / "victim"
    (victim / "space=x").mkdir(parents=True)
    for name in (
        "precious",
        "part-0123456789abcdef.parquet",
        "space=x/precious",
        ".1-0badcafe.tmp",
    ):
        (victim / name).write_text("precious")
    (folder / "words.txt").write_text("text1\nriver\n")


def is_of_several_files(message):
    """Return whether an error is about what several files say, each of which is sound by itself."""
    known = (
        "other items than its first layer",
        "a table is lost",
        "Nearest stored texts",
        "this SQL cannot be answered",
    )
    return any(part in message for part in known)


def outside(folder):
    """What is beside the store: of each file and link its kind and its content."""
    found = {}
    start = os.fspath(folder)
    for parent, folders, files in os.walk(start):
        if parent == start:
            folders[:] = [name for name in folders if name != "store"]
        for name in (*folders, *files):
            path = f"{parent}/{name}"
            mode = os.lstat(path).st_mode
            content = os.readlink(path) if stat.S_ISLNK(mode) else b""
            if stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    content = file.read()
            found[path.removeprefix(f"{start}/")] = (mode, content)
    return found
