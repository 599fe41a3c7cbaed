"""Write the Python reference as Markdown, from signatures and docstrings."""

import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

import embstore
from embstore import Result, Store, Table, errors, metrics
from embstore.storage.views.users_sql import SqlResult

INTERNAL = ("catalog", "remote_bytes")
"""Public members of Store that no user needs."""

# Are made, not called: their methods are embstore's own.
_DECLARATIONS = ("Metric", "Column", "Parameter", "Parts", "Value")
_HIDDEN = ("layout", "exact_sizes")  # what printing a table needs

TASKS = {
    "Build": (
        "build", "encode", "import_vectors", "add_vectors", "datasets", "fetch_datasets",
        "add_dataset",
        "store_datasets",
    ),
    "Ask": (
        "query", "metrics", "explain", "explain_query", "cache_state", "neighbours", "neighbors",
        "cosine", "vectors",
        "drift", "sql", "sql_views", "columns", "missing", "reproduce",
    ),
    "See": ("map", "map_points", "maps", "explore", "report"),
    "Share": ("push", "pull", "merge", "export", "cite"),
    "Keep": ("info", "skipped", "index", "verify", "repair", "compact", "remove", "refresh"),
}  # fmt: skip
"""Task → the methods of Store that serve it; a method that is in none is in the last."""

METRICS = (
    "metric", "Column", "Option", "LayerData", "Metric", "Parameter", "Parts", "Value",
    "NotComputable", "METRICS", "all_metrics", "get_metric", "as_metric", "rows_of", "with_scores",
)  # fmt: skip
_CONSTANTS = {"METRICS": "The built-in metrics: name → [`Metric`](#embstore.metrics.Metric)."}
_SECTIONS = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Raises": "Raises",
}
_HEAD = re.compile(r"^(Args|Attributes|Returns|Raises):$", re.MULTILINE)
_ENTRY = re.compile(r"^(?=\S)", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?([^`]+)`")
_MODULES = re.compile(
    r"\b(?:collections\.abc|typing|os|pathlib|numpy|np|embstore(?:\.\w+)+)\.(?=[A-Za-z])"
)
_ARRAY = re.compile(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]")
_WIDTH = 80


def page() -> str:
    """Return the whole reference: Store, what packages with metrics import, and the errors."""
    return f"""\
{_store()}
## embstore.metrics

A package that adds metrics imports from here. See [A metric of your own](../tutorials/own-metric.md).

{_metrics()}
## Errors

Every error that embstore raises on purpose is an [`EmbstoreError`](#embstore.base.errors.EmbstoreError); the others
are in `embstore.errors`. Their texts are safe to print. A file that the
system does not open, read or write is an `OSError` of Python with `errno` and `filename`.

{_errors()}"""


def _store() -> str:
    members = {
        name: member for name, member in public_members(Store).items() if name not in INTERNAL
    }
    left = [name for name in members if not any(name in names for names in TASKS.values())]
    tasks = {title: [name for name in names if name in members] for title, names in TASKS.items()}
    tasks[[*tasks][-1]] += left
    lines = ["| task | methods of `Store` |", "|---|---|"]
    for title, names in tasks.items():
        lines.append(
            f"| {title} | {', '.join(f'[`{name}`](#embstore.Store.{name})' for name in names)} |"
        )
    parts = [
        "\n".join(lines),
        _heading("##", "Store", "embstore.Store"),
        _of_class(Store, "embstore.Store", ()),
    ]
    for title, names in tasks.items():
        parts.append(f"## {title}")
        for name in names:
            first = next(
                other for other in members if members[other].__doc__ == members[name].__doc__
            )
            if first == name:
                parts.append(_member(name, members[name], "embstore.Store"))
            else:
                text = f"Another spelling of [`{first}`](#embstore.Store.{first})."
                parts += [_heading("###", name, f"embstore.Store.{name}"), text]
    parts += ["## Tables and pictures"]
    kinds = {
        "embstore.Result": Result, "embstore.Table": Table,
        "embstore.storage.views.users_sql.SqlResult": SqlResult,
    }  # fmt: skip
    for name, kind in kinds.items():
        parts += [_heading("###", kind.__name__, name), _of_class(kind, name)]
    return "\n\n".join(parts) + "\n"


def _metrics() -> str:
    parts = []
    for name in METRICS:
        full = f"embstore.metrics.{name}"
        if name in _CONSTANTS:
            parts += [_heading("###", name, full), _CONSTANTS[name]]
        elif inspect.isclass(member := getattr(metrics, name)):
            parts += [
                _heading("###", name, full),
                _of_class(member, full, () if name in _DECLARATIONS else None),
            ]
        else:
            parts.append(_member(name, member, "embstore.metrics"))
    return "\n\n".join(parts) + "\n"


def _errors() -> str:
    kinds = [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, embstore.EmbstoreError)
    ]
    parts = []
    for kind in kinds:
        name = f"embstore.base.errors.{kind.__name__}"
        bases = ", ".join(base.__name__ for base in kind.__bases__)
        parts += [
            _heading("###", kind.__name__, name),
            f"`{kind.__name__}({bases})`",
            *_text(kind, name),
        ]
    return "\n\n".join(parts) + "\n"


def _heading(marks: str, name: str, anchor: str) -> str:
    """Return a heading that GitHub and the site both find by the full name."""
    return f'<a id="{anchor}"></a>\n\n{marks} {name}'


def _of_class(kind: type, name: str, members: tuple[str, ...] | None = None) -> str:
    parts = [_signature(kind.__name__, kind)] if kind.__doc__ and "Args:" in kind.__doc__ else []
    parts += _text(kind, name)
    for member, value in public_members(kind).items() if members is None else ():
        if (
            member not in _HIDDEN
            and (kind is not Result or member in vars(Result))  # Table has the others
            and _unbound(value).__doc__
            and _is_ours(value)
            and not _is_field(kind, member)
        ):
            parts.append(_member(member, value, name, "####"))
    return "\n\n".join(parts)


def _is_field(kind: type, name: str) -> bool:
    return name in getattr(kind, "__dataclass_fields__", {}) or not (
        callable(_unbound(public_members(kind)[name]))
        or isinstance(public_members(kind)[name], property)
    )


def _is_ours(member: Any) -> bool:
    function = member.fget if isinstance(member, property) else _unbound(member)
    return getattr(function, "__module__", None) is not None


def _unbound(member: Any) -> Any:
    return member.__func__ if isinstance(member, staticmethod | classmethod) else member


def _member(name: str, member: Any, owner: str, marks: str = "###") -> str:
    full = f"{owner}.{name}"
    parts = [_heading(marks, name, full)]
    called = _unbound(member)
    if callable(called):
        prefix = (
            f"{owner.rpartition('.')[2]}." if isinstance(member, staticmethod | classmethod) else ""
        )
        parts.append(_signature(f"{prefix}{name}", called))
    return "\n\n".join([*parts, *_text(called, full)])


def public_members(kind: type) -> dict[str, Any]:
    """Return the public attributes of a class, inherited ones too, as they are defined: methods are
    not bound.
    """
    members = {
        name: member for base in reversed(kind.__mro__) for name, member in vars(base).items()
    }
    return {name: member for name, member in members.items() if not name.startswith("_")}


def _signature(name: str, called: Any) -> str:
    """Return the call with its defaults, in a block of code; types are in the list of arguments."""
    parameters = [
        p for p in inspect.signature(called).parameters.values() if p.name not in ("self", "cls")
    ]
    shown: list[str] = []
    for parameter in parameters:
        if (
            parameter.kind is parameter.KEYWORD_ONLY
            and "*" not in shown
            and not any(s[:1] == "*" for s in shown)
        ):
            shown.append("*")
        mark = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = parameter.default
        tail = "" if default is parameter.empty else f"={default!r}" if _is_plain(default) else "=…"
        shown.append(f"{mark}{parameter.name}{tail}")
    text = f"{name}({', '.join(shown)})"
    if len(text) > _WIDTH:
        inner = textwrap.fill(
            ", ".join(shown), _WIDTH, initial_indent="    ", subsequent_indent="    "
        )
        text = f"{name}(\n{inner},\n)".replace("*,\n)", "*\n)")
    return f"```py\n{text}\n```"  # py, since the tests run blocks of python


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | tuple)


def _text(member: Any, name: str) -> Iterator[str]:
    """Yield the parts of a docstring as Markdown."""
    _, first, *rest = ("", *_HEAD.split(inspect.getdoc(member) or ""))
    types = _types(member)
    yield _markdown(first, name)
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        section, _, after = body.strip("\n").partition("\n\n")
        if title in ("Args", "Attributes", "Raises"):
            yield f"**{_SECTIONS[title]}**\n\n{_entries(textwrap.dedent(section), types, name)}"
        else:
            yield f"**{_SECTIONS[title]}**\n\n{_markdown(textwrap.dedent(section), name)}"
        if after.strip():
            yield _markdown(textwrap.dedent(after), name)


def _entries(section: str, types: dict[str, str], name: str) -> str:
    shown = []
    for entry in filter(None, _ENTRY.split(section)):
        names, _, text = entry.partition(":")
        names = names.partition(" (")[0]
        kind = (
            f" ({types[names.strip(chr(42))]})"
            if names.strip("*") in types and "," not in names
            else ""
        )
        listed = ", ".join(f"`{part.strip()}`" for part in names.split(","))
        shown.append(f"* {listed}{kind}: {_markdown(' '.join(text.split()), name)}")
    return "\n".join(shown)


def _types(member: Any) -> dict[str, str]:
    """Return the types of arguments or fields, as code."""
    found: dict[str, str] = {}
    if inspect.isclass(member):
        found = {
            field: str(kind.type)
            for field, kind in getattr(member, "__dataclass_fields__", {}).items()
        }
    if callable(member):
        try:
            parameters = inspect.signature(member).parameters.values()
        except ValueError:
            parameters = ()
        for parameter in parameters:
            if parameter.annotation is not parameter.empty:
                found[parameter.name] = inspect.formatannotation(parameter.annotation)
        for declared in (member, *typing.get_overloads(member)):
            for annotation in getattr(declared, "__annotations__", {}).values():
                if typing.get_origin(annotation) is typing.Unpack:
                    [options] = typing.get_args(annotation)
                    for name, kind in options.__annotations__.items():
                        text = getattr(kind, "__forward_arg__", None)
                        found[name] = text or inspect.formatannotation(kind)
    return {name: f"`{_type(text)}`" for name, text in found.items()}


def _type(text: str) -> str:
    """Return a type without modules; Python 3.11 writes ``Unpack[X]`` as ``*<class 'X'>``."""
    text = re.sub(r"^\*<class '(.*)'>$", r"Unpack[\1]", text)
    return _ARRAY.sub(r"NDArray[\1]", _MODULES.sub("", text).strip("'"))


def _markdown(text: str, name: str) -> str:
    """Return text of a docstring as Markdown: roles as links, double backticks as single ones."""
    owner = name.rpartition(".")[0] if name.count(".") > 1 else name

    def link(role: re.Match[str]) -> str:
        target = role[1]
        shown = target.rpartition(".")[2] if target.startswith("embstore.") else target
        if role[0].startswith(":meth:"):
            full = f"embstore.{target}" if "." in target else f"{owner}.{target}"
            is_known = full.startswith("embstore.Store.") or full.startswith(owner)
            return f"[`{shown}`](#{full})" if is_known else f"`{shown}`"
        return f"`{shown}`"

    return _ROLE.sub(link, text).replace("``", "`").strip()
