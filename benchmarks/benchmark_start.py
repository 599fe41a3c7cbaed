"""One question, one process: what the command line costs beside the libraries that it cannot do
without.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark_stores import Workspace
from benchmark_timing import Contender, Result, compare, interleave, timed

HEAVY = ("torch", "transformers", "scipy.stats")

_COMMAND = (
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'embstore'; from embstore_cli.entry import run; run()",
)


def start(space: Workspace) -> list[Result]:
    """Run single questions in fresh processes."""
    store = ("--store", str(space.words()))
    questions = {
        "embstore neighbours dog": ("neighbours", _a_word(space), *store),
        "embstore query anisotropy": ("query", "anisotropy", *store),
        "embstore --help": ("--help",),
    }
    environment = _environment(space.root)
    commands = {name: (*_COMMAND, *arguments) for name, arguments in questions.items()}
    for name, command in commands.items():
        _check_imports(name, command, environment)
    imports = {
        name: (sys.executable, "-c", f"import {name}") for name in ("typer, duckdb, faiss", "typer")
    }
    seconds = interleave(
        {name: _process(command, environment) for name, command in (commands | imports).items()},
        space.size.starts,
    )
    goals = dict.fromkeys(questions, ("typer, duckdb, faiss", 2.0)) | {
        "embstore --help": ("typer", None)
    }
    return [
        compare(f'{name} to python -c "import {peer}"', seconds[name], seconds[peer], goal=goal)
        for name, (peer, goal) in goals.items()
    ]


def process(arguments: Sequence[str], root: Path) -> Contender:
    """Return what runs embstore with these arguments in a new process."""
    return program((*_COMMAND, *arguments), root)


def program(command: Sequence[str], root: Path) -> Contender:
    """Return what runs any program in a new process."""
    return _process(command, _environment(root))


def output_of(command: Sequence[str], root: Path) -> str:
    """Run a program once, and return what it prints."""
    done = subprocess.run(
        command, check=True, env=_environment(root), capture_output=True, text=True
    )
    return done.stdout


def embstore_command(*arguments: str) -> tuple[str, ...]:
    """Return the command that runs embstore with these arguments."""
    return (*_COMMAND, *arguments)


def _process(command: Sequence[str], environment: Mapping[str, str]) -> Contender:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return timed(lambda: subprocess.run(command, check=True, env=environment, **quiet))


def _environment(root: Path) -> dict[str, str]:
    """Let every contender find compiled modules, as installed programs do."""
    environment = {**os.environ, "LLM_USER_PATH": str(root / "llm")}
    # There may be none beside the sources.
    if environment.pop("PYTHONDONTWRITEBYTECODE", None) is not None:
        environment["PYTHONPYCACHEPREFIX"] = str(root / "pycache")
    return environment


def _check_imports(name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    traced = subprocess.run(
        (command[0], "-X", "importtime", *command[1:]),
        check=True,
        env=environment,
        capture_output=True,
        text=True,
    )
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", traced.stderr, re.MULTILINE))
    if found := imported & {*HEAVY}:
        raise AssertionError(f"{name} imports {', '.join(sorted(found))}")


def _a_word(space: Workspace) -> str:
    """Return ``dog``, or in a smaller store a word that it has."""
    return "dog" if space.size.words >= 2_000 else "the"
