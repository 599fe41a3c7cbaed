"""A griffe extension: signatures of Store as Python shows them, and roles in docstrings as Markdown.

``:meth:`query``` becomes a link to the method. An entry of Args for several arguments becomes one for each of them.
"""

import inspect
import re

from griffe import Extension, Function, Object, Parameter, ParameterKind

import embstore

_ROLE = re.compile(r":(\w+):`([^`]+)`")
_SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+): (As in .*|Filters .*)$", re.MULTILINE)


def _markdown(role: re.Match[str]) -> str:
    kind, name = role[1], role[2].removeprefix("~")
    if kind == "meth" and "." not in name:
        return f"[`{name}`][embstore.Store.{name}]"
    return f"`{name}`"


def _one_each(entry: re.Match[str]) -> str:
    indent, names, text = entry.groups()
    return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))


class Roles(Extension):
    """Rewrite the docstrings of everything that is loaded, and the signatures of the methods of Store."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(_markdown, _SEVERAL.sub(_one_each, obj.docstring.value))

    def on_function(self, *, func: Function, **_: object) -> None:
        """Add the parameters that a method of Store passes on, instead of its ``**keywords``."""
        method = getattr(embstore.Store, func.name, None)
        if not func.path.startswith("embstore.store.") or method is None or func.name.startswith("_"):
            return
        func.overloads = None
        parameters = inspect.signature(method).parameters
        for keywords in [each.name for each in func.parameters if each.kind is ParameterKind.var_keyword]:
            del func.parameters[keywords]
        for name, parameter in parameters.items():
            if name not in func.parameters:
                func.parameters.add(_shown(parameter))


def _shown(parameter: inspect.Parameter) -> Parameter:
    annotation = inspect.formatannotation(parameter.annotation).replace("collections.abc.", "")
    if parameter.kind is parameter.VAR_KEYWORD:
        return Parameter(parameter.name, annotation=annotation, kind=ParameterKind.var_keyword)
    kind = ParameterKind.keyword_only
    return Parameter(parameter.name, annotation=annotation, kind=kind, default=repr(parameter.default))
