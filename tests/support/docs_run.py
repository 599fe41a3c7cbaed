"""Run the code blocks of a page of the documentation, and compare what it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import DOCS, ROOT, blocks, commands, matches, python_script, shell_script

_PROGRESS = re.compile(r"^[a-z]+ing .* \d[\d,]* of \d.*\n", re.MULTILINE)
"""Lines of steps that take over two seconds, which depends on the machine."""


def _environment(folder: Path, programs: Path | None) -> dict[str, str]:
    folders = [folder for folder in (programs, Path(sys.executable).parent) if folder is not None]
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    settings = {
        "PATH": path,
        "HF_HUB_OFFLINE": "1",
        "EMBSTORE_DATA": str(folder / ".data"),
        "COLUMNS": "100",
    }
    return {**os.environ, **settings, "DOCS": str(DOCS)}


def link_store(start: Path, store: Path) -> None:
    """Put a store in another place by hard links to its files, but not to its lock: that would lock
    all of them.
    """
    subprocess.run(["cp", "-al", start, store], check=True)
    for lock in store.glob(".lock*"):
        lock.unlink()


def _hidden(kind: str, page: Path) -> str:
    """Return commands to run before or after a page, which it does not show."""
    file = ROOT / "tests" / "docs" / kind / page
    return f"set -eu\n{file.read_text('utf-8')}" if file.exists() else ""


def run_page(
    page: Path, folder: Path, start: Path | None = None, programs: Path | None = None
) -> None:
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
    for kind, (program, code) in scripts.items():
        if not code.strip():
            continue
        script = folder / f".{page.stem}.{kind}"
        script.write_text(code, "utf-8")
        done = subprocess.run(
            [program, script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            errors = "".join(file.read_text("utf-8") for file in sorted(outputs.glob("*.err")))
            pytest.fail(f"{name}: {done.stderr[-3000:]}\n{errors[-3000:]}", pytrace=False)
    for block in blocks(text):
        if block.language != "console":
            continue
        for command in commands(block):
            printed, errors = (
                (outputs / f"{command.line}.{kind}").read_text("utf-8") for kind in ("out", "err")
            )
            notes = _PROGRESS.sub("", errors)
            if not matches(command.output, printed) and not matches(
                command.output, printed + notes
            ):
                pytest.fail(
                    f"{name}:{command.line}: {command.code[0]} printed\n{printed}{notes}",
                    pytrace=False,
                )
