"""Write what the page shows: values as JSON, messages with its fields, and the commands that give
the same results.
"""

import json
import shlex
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from embstore.base.table import Table, plain
from embstore.plot import PlotOptions, draw

Arguments = Mapping[str, Any]
"""Arguments of a method of Store, by name."""

_OPTIONS = {
    "models": "model",
    "revisions": "revision",
    "spaces": "space",
    "layers": "layer",
    "transforms": "transform",
    "marked": "text",
}
_SAFE = 2**53 - 1  # JavaScript rounds larger integers
_LONGEST = 2_000


def command(verb: str, path: Path, arguments: Arguments, texts: tuple[str, ...] = ()) -> str:
    """Return a command for a shell."""
    parts = ["embstore", *verb.split(), "--store", str(path)]
    for name, value in arguments.items():
        option = _OPTIONS.get(name, name).replace("_", "-")
        flag = f"-{option}" if len(option) == 1 else f"--{option}"
        if isinstance(value, bool):
            parts.append(flag if value else f"--no-{option}")
        elif value is not None:
            for member in value if isinstance(value, list | tuple) else [value]:
                text = str(member)
                parts += (
                    [f"{flag}={text}"]
                    if text.startswith("-") and flag.startswith("--")
                    else [flag, text]
                )
    if any(text.startswith("-") for text in texts):
        parts.append("--")
    return shlex.join([*parts, *texts])


def python(method: str, path: Path, arguments: Arguments, *positional: Any) -> str:
    """Return a line of Python that calls a method of Store; arguments that are None or empty are
    left out.
    """
    written = [repr(value) for value in positional]
    written += [
        f"{name}={list(value) if isinstance(value, tuple) else value!r}"
        for name, value in arguments.items()
        if value not in (None, (), [])
    ]
    return f"embstore.Store({str(path)!r}).{method}({', '.join(written)})"


def calls(verb: str, path: Path, arguments: Arguments, *positional: str) -> dict[str, str]:
    """Return a command, and the line of Python that does the same."""
    return {
        "command": command(verb, path, arguments, positional),
        "python": python(verb, path, arguments, *positional),
    }


def svg(table: Table, width: float, *, style: str) -> str:
    """Return the figure of a table as SVG, so many CSS pixels wide."""
    written = BytesIO()
    figure = draw(table, PlotOptions(width=f"{width / 96}in", style=style))
    figure.savefig(written, format="svg")
    return written.getvalue().decode()


def to_json(value: Any) -> bytes:
    """Return a value as strict JSON: integers beyond 2^53 as strings, numbers that are not finite
    as null.
    """
    return json.dumps(
        plain(value, _SAFE), ensure_ascii=True, allow_nan=False, separators=(",", ":")
    ).encode()


def shortened(value: Any) -> Any:
    """Return a cell of a user's SQL with a text or list cut to what a page can show, and ``…`` at
    its end.
    """
    if isinstance(value, str | bytes | bytearray) and len(value) > _LONGEST:
        return str(plain(value[:_LONGEST])) + "…"
    if isinstance(value, list | tuple) and len(value) > _LONGEST:
        return [*value[:_LONGEST], "…"]
    return value
