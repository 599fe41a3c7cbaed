"""Messages that name options of the command line, in the words of Python: ``--embed`` is ``embed=True`` there."""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import is_dataclass, replace
from functools import wraps
from typing import Any, TypeVar

from embstore.base.errors import EmbstoreError
from embstore.base.keywords import PLURALS, public_members

T = TypeVar("T", bound=type)

_FLAGS = {
    "allow-pickle": "allow_pickle=True", "deep": "deep=True", "download": "download=True", "dry-run": "dry_run=True",
    "embed": "embed=True", "exact": "exact=True", "force": "force=True", "no-cache": "cache=False",
    "no-header": "header=False", "quick": "quick=True", "adjusted": "adjusted=True", "fold-case": "fold_case=True",
}  # fmt: skip
_NAMES = {
    "store-option": "options",
    "text": "marked",
    "store": "path",
    "memory": "memory",
    "timeout": "timeout",
    "as": "format",
}

# An option, with its value if what follows looks like one: in quotes, a placeholder, a number or a known word.
_VALUE = (
    r"[\w.-]+=(?i:folder)|pairs\|lexicon|'[^']*'|\"[^\"]*\"|[A-Z…][A-Z0-9=…]*(?![a-z])|\d[\w./]*|word|sentence"
    r"|occurrence|model|mean|skip|truncate|error|brackets|start,end|cpu|float32|float16|bfloat16|auto|balanced|sequential|minilm|euclidean|tab|all|ray"
    r"|glove|parquet"
)
_OPTION = rf"(?<![\w-])-(?:-([a-z][a-z-]*)|([xy]))(?: ({_VALUE}))?(?![\w-])(?! \([a-z_]+= in Python)"
# What stands in a command stays.
_COMMAND = r"pip install(?:(?!\)|\. |; |$).)*|(?:embstore [a-z]+|embedding-atlas)(?:(?!\. |; |$).)*"
_EXAMPLE = r"as in: embstore (neighbours|cosine) ([\w ]+)$"

_is_command_line: ContextVar[bool] = ContextVar("is_command_line", default=False)


@contextmanager
def command_line() -> Iterator[None]:
    """Keep the options of the command line in messages, since they are read there."""
    token = _is_command_line.set(True)
    try:
        yield
    finally:
        _is_command_line.reset(token)


def is_command_line() -> bool:
    """Return whether messages are read on the command line."""
    return _is_command_line.get()


def in_python(message: str) -> str:
    """Return a message with the arguments of Python in place of options; commands in it stay as they are."""
    return outside_commands(re.sub(_EXAMPLE, _call, message), lambda prose: re.sub(_OPTION, _argument, prose))


def outside_commands(message: str, change: Callable[[str], str]) -> str:
    """Return a message with its prose changed; commands in it stay as they are."""
    parts, end = [], 0
    for command in re.finditer(_COMMAND, message):
        parts += [change(message[end : command.start()]), command[0]]
        end = command.end()
    return "".join([*parts, change(message[end:])])


def speak_python(kind: T) -> T:
    """Let the methods of a class, its inherited ones too, name arguments in errors and notes, not options."""
    for name, member in public_members(kind).items():
        if isinstance(member, staticmethod):
            setattr(kind, name, staticmethod(_speaking(member.__func__)))
        elif inspect.isfunction(member):
            setattr(kind, name, _speaking(member))
    return kind


def _speaking(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*values: Any, **named: Any) -> Any:
        if is_command_line():
            return method(*values, **named)
        try:
            result = method(*values, **named)
        except EmbstoreError as error:
            if len(error.args) == 1 and isinstance(error.args[0], str):
                error.args = (in_python(error.args[0]),)
            raise
        notes = getattr(result, "notes", None)
        if notes and isinstance(notes, tuple) and is_dataclass(result) and not isinstance(result, type):
            changed: Any = replace(result, **{"notes": tuple(map(in_python, notes))})
            return changed
        return result

    return call


def _call(example: re.Match[str]) -> str:
    """Return an example of a command as a call of its method."""
    texts = [f'"{text}"' for text in example[2].split()]
    listed = ", ".join(texts)
    return f"as in: {example[1]}({listed if len(texts) == 1 else f'[{listed}]'})"


def _argument(option: re.Match[str]) -> str:
    name, value = option[1] or option[2], option[3]
    if name in _FLAGS:
        return _FLAGS[name] + (f" {value}" if value else "")
    found = _NAMES.get(name) or PLURALS.get(name) or name.replace("-", "_")
    if value is None:
        return f"{found}="
    return f"{found}={value}" if value[0] in "'\"" or value[0].isdigit() else f'{found}="{value}"'
