"""Write the command, and the line of Python, that give the result that the page shows; and name its fields."""

import shlex
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from embstore.base.messages import argument_name, as_option
from embstore.metrics import all_metrics

_SHARED = ("spaces", "layers", "where", "sample", "seed", "transforms", "marked", "embed")
_PLACEHOLDERS = ("FILE", "WORD", "WORDS", "NAME", "SPACE")
_OPTIONS = {
    "models": "model",
    "revisions": "revision",
    "spaces": "space",
    "layers": "layer",
    "transforms": "transform",
    "marked": "text",
}


def command(
    verb: str, path: Path, arguments: Mapping[str, Any], texts: tuple[str, ...] = (), files: Collection[str] = ()
) -> str:
    """Return a command for a shell; before it, commands that write the files that it reads.

    Args:
        verb: Command with its subcommand, such as ``query norms``.
        path: Folder of the store.
        arguments: Arguments of the method of Store; those that are None or empty are left out.
        texts: Positional arguments.
        files: Arguments that are lists in Python, and on the command line files with one word a line.
    """
    lines = [
        shlex.join(["printf", r"%s\n", *arguments[name]]) + f" > {name}.txt" for name in files if arguments.get(name)
    ]
    arguments = {name: f"{name}.txt" if name in files and value else value for name, value in arguments.items()}
    parts = ["embstore", *verb.split(), "--store", str(path)]
    for name, value in arguments.items():
        option = _OPTIONS.get(name, name).replace("_", "-")
        flag = f"-{option}" if len(option) == 1 else f"--{option}"
        if isinstance(value, bool):
            parts.append(flag if value else f"--no-{option}")
        elif value is not None:
            for member in value if isinstance(value, list | tuple) else [value]:
                text = str(member)
                parts += [f"{flag}={text}"] if text.startswith("-") and flag.startswith("--") else [flag, text]
    if any(text.startswith("-") for text in texts):
        parts.append("--")
    return "\n".join([*lines, shlex.join([*parts, *texts])])


def python(method: str, path: Path, arguments: Mapping[str, Any], *positional: Any) -> str:
    """Return a line of Python that calls a method of Store; arguments that are None or empty are left out."""
    given = [repr(value) for value in positional]
    given += [
        f"{name}={list(value) if isinstance(value, tuple) else value!r}"
        for name, value in arguments.items()
        if value is not None and value != () and value != []
    ]
    return f"embstore.Store({str(path)!r}).{method}({', '.join(given)})"


def as_field(name: str, value: str | None) -> str:
    """Return a parameter in a message as a field of the page: ``“missing”: skip``; others as options of commands."""
    argument = argument_name(name)
    if argument not in _fields():
        return as_option(name, value)
    if argument == "embed":
        return "tick the box below the text"
    if argument == "marked" and value:
        return f"“{value}”"
    field = f"“{argument.capitalize() if argument in _SHARED else argument.replace('_', ' ')}”"
    if value == "True":
        return f"tick {field}"
    return field if value is None or value in _PLACEHOLDERS else f"{field}: {value}"


@cache
def _fields() -> frozenset[str]:
    """Return the names of the fields: of what all metrics have, and of their own parameters."""
    own = (parameter.name for metric in all_metrics()[0].values() for parameter in metric.parameters)
    return frozenset([*_SHARED, *own])
