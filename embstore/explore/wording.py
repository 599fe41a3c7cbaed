"""Messages that name arguments of Python, in the words of the page: ``missing="skip"`` is the field “missing” there."""

import re
from functools import cache

from embstore.base.wording import in_python, outside_commands
from embstore.metrics import all_metrics

_SHARED = ("spaces", "layers", "where", "sample", "seed", "transforms", "marked", "embed")
_ARGUMENT = re.compile(r"""(?<![\w.])(?:add )?([a-z][a-z_]*)=(?:("[^"]*"|'[^']*')|(True)\b|(\d[\w.]*))?""")
_LIST = re.compile(
    r"(: a file with )?one (?:word )?a line"
    r"(?: or with commas|, or (?:instead of a file the )?words with commas(?::| between them, as in) rose,tulip)?"
)
_PLACEHOLDERS = ("FILE", "WORD", "NAME", "SPACE")


def on_page(message: str) -> str:
    """Return a message with fields of the page in place of options and arguments; commands in it stay as they are."""
    return outside_commands(in_python(message), _in_fields)


def _in_fields(prose: str) -> str:
    prose = _ARGUMENT.sub(_field, prose)
    prose = _LIST.sub(lambda found: f"{', ' if found[1] else ''}separated by commas", prose)
    prose = prose.replace("Or name another with path= or EMBSTORE_STORE.", "Or explore another one.")
    return prose.replace("may be repeated", "several with commas")


def _field(argument: re.Match[str]) -> str:
    name, text, is_ticked, number = argument.groups()
    if name not in _names():
        return argument[0]
    if name == "embed":
        return "tick the box below the text"
    if name == "marked" and text:
        return f"“{text[1:-1]}”"
    field = f"“{name.capitalize() if name in _SHARED else name.replace('_', ' ')}”"
    if is_ticked:
        return f"tick {field}"
    value = text[1:-1] if text else number
    return f"{field}: {value}" if value and value not in _PLACEHOLDERS else field


@cache
def _names() -> frozenset[str]:
    """Return the names of the fields."""
    own = (parameter.name for metric in all_metrics()[0].values() for parameter in metric.parameters)
    return frozenset([*_SHARED, *own])
