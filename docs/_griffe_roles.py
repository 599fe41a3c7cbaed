"""A griffe extension: turn roles in docstrings (``:meth:`query```) into Markdown, those of methods into links."""

import re

from griffe import Extension, Object

_ROLE = re.compile(r":(\w+):`([^`]+)`")


def _markdown(role: re.Match[str]) -> str:
    kind, name = role[1], role[2].removeprefix("~")
    if kind == "meth" and "." not in name:
        return f"[`{name}`][embstore.Store.{name}]"
    return f"`{name}`"


class Roles(Extension):
    """Rewrite the docstrings of everything that is loaded."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(_markdown, obj.docstring.value)
