"""Run the code blocks of a page of the documentation, and compare what it shows."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import tty
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
from docs_pages import DOCS, ROOT, blocks, commands, matches, python_script, shell_script

_PROGRESS = re.compile(r"^.*\r", re.MULTILINE)
"""Bars of steps that take over two seconds, which depends on the machine."""
_WIDTH = 100  # of the terminal


def _environment(folder, programs):
    folders = [folder for folder in (programs, Path(sys.executable).parent) if folder is not None]
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    settings = {
        "PATH": path,
        "HF_HUB_OFFLINE": "1",
        "EMBSTORE_DATA": str(folder / ".data"),
        "COLUMNS": str(_WIDTH),
    }
    return {**os.environ, **settings, "DOCS": str(DOCS)}


def link_store(start, store):
    """Put a store in another place by hard links to its files, but not to its lock: that would lock
    all of them.
    """
    subprocess.run(["cp", "-al", start, store], check=True)
    for lock in store.glob(".lock*"):
        lock.unlink()


def _hidden(kind, page):
    """Return commands to run before or after a page, which it does not show."""
    file = ROOT / "tests" / "docs" / kind / page
    return f"set -eu\n{file.read_text('utf-8')}" if file.exists() else ""


def run_page(page, folder, start=None, programs=None):
    """Run the shell blocks and then the Python blocks of a page in a folder; fail with the page's
    line.

    Args:
        page: The Markdown file.
        folder: An empty folder to run in.
        start: Store to put there as ``store``, by hard links.
        programs: Folder of the programs of a server (see :mod:`preloaded`); None to start every
            command anew.
    """
    text = page.read_text("utf-8")
    name = page.relative_to(ROOT) if page.is_relative_to(ROOT) else Path(page.name)
    inner = (page.relative_to(DOCS) if page.is_relative_to(DOCS) else name).with_suffix(".sh")
    if start is not None:
        link_store(start, folder / "store")
    outputs = folder / ".outputs"
    outputs.mkdir()
    environment = _environment(folder, programs)
    python = programs / "preloaded-python" if programs else sys.executable
    scripts = {
        "before": ("bash", _hidden("before", inner)),
        "bash": ("bash", shell_script(text, outputs)),
        "python": (python, python_script(text)),
        "after": ("bash", _hidden("after", inner)),
    }
    with _terminal() as (terminal, written):
        for kind, (program, code) in scripts.items():
            if not code.strip():
                continue
            script = folder / f".{page.stem}.{kind}"
            script.write_text(code, "utf-8")
            done = subprocess.run(
                [program, script],
                cwd=folder,
                env={**environment, "TERMINAL": str(terminal)},
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                pass_fds=[terminal],
            )
            if done.returncode:
                errors = "".join(file.read_text("utf-8") for file in sorted(outputs.glob("*.err")))
                pytest.fail(f"{name}: {done.stderr[-3000:]}\n{errors[-3000:]}", pytrace=False)
    parts = b"".join(written).decode().split("\036")[1:]
    shown = dict(zip(map(int, parts[::2]), parts[1::2], strict=True))
    for command in (found for block in blocks(text) for found in commands(block)):
        written = (outputs / f"{command.line}.err").read_bytes().decode()  # with carriage returns
        notes = _PROGRESS.sub("", written)
        printed = shown[command.line]
        if not matches(command.output, printed) and not matches(command.output, notes + printed):
            pytest.fail(
                f"{name}:{command.line}: {command.code[0]} printed\n{notes}{printed}", pytrace=False
            )


@contextmanager
def _terminal():
    """Open a terminal, and collect what is written to it until the end of the context."""
    reading, writing = os.openpty()
    tty.setraw(writing)
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, _WIDTH, 0, 0))
    written = []

    def read():
        with suppress(OSError):  # when the last writer has closed it
            while block := os.read(reading, 1 << 16):
                written.append(block)

    reader = Thread(target=read)
    reader.start()
    try:
        yield writing, written
    finally:
        os.close(writing)
        reader.join()
        os.close(reading)
