"""Write the command, and the line of Python, that give the result that the page shows."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OPTIONS = {"models": "model", "spaces": "space", "layers": "layer", "transforms": "transform", "marked": "text"}
_SHORT = {"k": "-k"}


def command(verb: str, path: Path, arguments: Mapping[str, Any], texts: tuple[str, ...] = ()) -> str:
    """Return a command for a shell.

    Args:
        verb: Command with its subcommand, such as ``query norms``.
        path: Folder of the store.
        arguments: Arguments of the method of Store; those that are None, empty or False are left out.
        texts: Positional arguments.
    """
    parts = ["embstore", *verb.split(), "--store", str(path)]
    for name, value in arguments.items():
        flag = _SHORT.get(name, f"--{_OPTIONS.get(name, name).replace('_', '-')}")
        if value is True:
            parts.append(flag)
        elif value is not None and value is not False:
            for member in value if isinstance(value, list | tuple) else [value]:
                text = str(member)
                parts += [f"{flag}={text}"] if text.startswith("-") and flag.startswith("--") else [flag, text]
    if any(text.startswith("-") for text in texts):
        parts.append("--")
    return shlex.join([*parts, *texts])


def python(method: str, path: Path, arguments: Mapping[str, Any], *positional: Any) -> str:
    """Return a line of Python that calls a method of Store; arguments that are None, empty or False are left out."""
    given = [repr(value) for value in positional]
    given += [
        f"{name}={list(value) if isinstance(value, tuple) else value!r}"
        for name, value in arguments.items()
        if value is not None and value is not False and value != () and value != []
    ]
    return f"embstore.Store({str(path)!r}).{method}({', '.join(given)})"
