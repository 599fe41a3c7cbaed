"""How the values of a command are read (plain ones as they are, all others by Typer), and how its
help is laid out.

Typer (since 0.29) converts each value with pydantic, whose import alone takes a fifth of a short
question. Text needs no conversion, nor does a default, and a whole number in digits or a path that
may be read hardly any. What needs more, and what is wrong, is left to Typer, whose messages say
why.

A value that is plain does not reach ``parser`` of an option, which is of use only for the others.
"""

import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from inspect import cleandoc
from itertools import takewhile
from pathlib import Path
from shlex import quote
from typing import Any, get_args, get_type_hints

import typer
from typer import BadParameter
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from embstore.base.errors import UsageError

from ._errors import begin_verbose
from ._options import follow_suffix, grouped, read_store_options

_MOST_LINES = 79
_MOST_OPTIONS = 12  # more are divided into sections
_LONGEST_DEFAULT = 14  # characters of a default that is shown after a first sentence
_WIDEST = 26  # characters of an option with its value, beside its first sentence
_SENTENCE = re.compile(r"(?:\([^)]*\)|[^.;(]|[.;](?!\s|$))*")
_FIRST = ("Arguments", "Options", "Picture")
_SHARED = (
    "Spaces",
    "Layers and items",
    "Picture",
    "Output",
)  # are of the same options in many commands

LEVEL = "embstore.help"  # key of a context's ``meta``: how much a help shows
IN_FULL, _BY_SENTENCE = (
    -1,
    1,
)  # 0: all, if that fits; from 2 on: the first of the shared sections by name

_SECTIONS: Mapping[str, Sequence[str]] = {
    "Spaces": ("models", "revisions", "spaces", "space", "unit", "pooling", "template"),
    "Layers and items": (
        "layers", "where", "words", "word", "timeout", "memory", "sample", "seed", "transforms",
        "by", "bins",
        "common",
    ),
    "Output": (
        "intervals", "space_label", "quiet", "store", "store_option", "form", "format", "output",
        "csv_safe",
        "ids_as_text", "explain", "no_cache", "help",
    ),
}  # fmt: skip
"""Names of the options of each section, in all commands but ``build``; all others come before
them.
"""

_BUILD: Mapping[str, Sequence[str]] = {
    "Models": ("models", "revisions", "untrained", "weights_dtype", "allow_pickle"),
    "Texts": ("columns", "no_header", "delimiter", "keep", "span", "targets", "limit", "per_text",
    "seed"),
    "Vectors": ("unit", "poolings", "prompt", "template", "layers", "dtype", "long", "name"),
    "Computation": ("device", "device_map", "batch_tokens"),
    "Several machines": ("shard", "on", "workers", "worker_gpus", "worker_cpus", "ray_address"),
    "Store and output": ("index", "index_memory", "store", "store_option", "dry_run", "strict",
    "quiet", "help"),
}  # fmt: skip


class LaidOut:
    """A command or group whose help has sections and an example, under 80 lines on a terminal of 80
    columns.

    Where the whole text of each option does not fit, its first sentence is shown; where that does
    not fit either, sections of options that many commands have are shown by name. ``--help-all``
    shows all.
    """

    own: Sequence[
        str
        # names of a metric's parameters, which come first whatever other options have their names
    ] = ()
    rest: str = "Options"  # title of the section of options that are in no other

    def get_help(self: Any, ctx: Any) -> str:
        """Return the help, with as much of each option as fits."""
        text: str = super().get_help(ctx)  # type: ignore[misc]
        for level in range(_BY_SENTENCE, len(_SHARED) + 2):
            if ctx.meta.get(LEVEL) == IN_FULL or text.count("\n") < _MOST_LINES:
                break
            ctx.meta[LEVEL] = level
            text = super().get_help(ctx)  # type: ignore[misc]
        return text

    def format_help_text(self: Any, ctx: Any, formatter: Any) -> None:
        """Write what a command does; where room is short, without the citation of a metric, its
        third paragraph.
        """
        paragraphs = cleandoc(self.help or "").split("\n\n")
        if ctx.meta.get(LEVEL, 0) >= _BY_SENTENCE:
            paragraphs = paragraphs[:2]
        if text := "\n\n".join(paragraphs):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(text)

    def format_options(self: Any, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options, in sections if there are many."""
        level = ctx.meta.get(LEVEL, 0)
        sections: dict[str, list[tuple[str, str]]] = {}
        titles = [*_FIRST, *self._sections()]
        for parameter in sorted(
            self.get_params(ctx), key=lambda each: titles.index(self._section(each))
        ):
            if (record := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(self._section(parameter), []).append(record)
        if level:
            list(sections.values())[-1].append(
                ("--help-all", "Show the whole text of each option.")
            )
        for title, rows in sections.items():
            if title in _SHARED[: max(level - 1, 0)]:
                with formatter.section(f"{title} (--help-all explains these)"):
                    formatter.write_text(", ".join(name.partition(" ")[0] for name, _ in rows))
                continue
            with formatter.section(title):
                if level >= _BY_SENTENCE:
                    formatter.write_dl(
                        [(name, _first_sentence(text)) for name, text in rows], col_max=_WIDEST
                    )
                else:
                    formatter.write_dl(rows)
        if hasattr(self, "format_commands"):
            self.format_commands(ctx, formatter)

    def _sections(self: Any) -> Mapping[str, Sequence[str]]:
        return _BUILD if self.name == "build" else _SECTIONS

    def _section(self: Any, parameter: Any) -> str:
        if parameter.param_type_name == "argument":
            return "Arguments"
        if len(self.params) <= _MOST_OPTIONS or parameter.name in self.own:
            return "Options"
        rest: str = self.rest
        return next(
            (title for title, names in self._sections().items() if parameter.name in names), rest
        )

    def format_epilog(self: Any, ctx: Any, formatter: Any) -> None:
        """Write the last lines of the help: an example, and the page of the documentation that is
        about it.
        """
        from .main import example_of

        super().format_epilog(ctx, formatter)  # type: ignore[misc]
        example = example_of(" ".join(call_names(ctx)), getattr(self, "needs", ""))
        if example is None:
            return
        with formatter.section("Examples" if len(example.lines) > 1 else "Example"):
            formatter.write(
                "".join(f"{' ' * formatter.current_indent}{line}\n" for line in example.lines)
            )
        formatter.write(f"\nMore in {example.url}\n")


def call_names(context: Any) -> list[str]:
    """Return the names of the groups and the command of a call."""
    return [] if context.parent is None else [*call_names(context.parent), context.info_name]


def _first_sentence(text: str) -> str:
    """Return the first sentence of an option's help, with its default unless that is long."""
    text, bracket, default = text.partition("  [")
    first = _SENTENCE.match(text)
    shown = text if first is None or first[0] == text else f"{first[0].rstrip()}."
    return f"{shown}{bracket}{default}" if len(default) <= _LONGEST_DEFAULT else shown


# Flags that stand for an option with a value.
_SHORTCUTS: Mapping[str, Mapping[str, str]] = {"--format": {"--json": "json", "--csv": "csv"}}

# Other spellings of options, which the help does not show.
_SPELLINGS = {
    "--layer": "--layers", "--model": "--models", "--revision": "--revisions",
    "--space": "--spaces",
    "--pooling": "--poolings", "--transform": "--transforms", "--column": "--columns",
    "--columns": "--column",
}  # fmt: skip

# Options whose values are joined with commas where they are repeated.
_JOINED = ("--layer", "--by")

_MOST_DIGITS = 18  # of a number that is read here
_NOT_PLAIN = object()
_STORE_OPTION = "store_option"


class _Helpful(LaidOut):
    """What commands and groups have in common: plain values, plain ``--help``, ``--help-all``, and
    completion.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params = _all_plain(self)

    def get_help_option(self: Any, ctx: Any) -> Any:
        """Return the option ``--help``."""
        return _plain_help(super().get_help_option(ctx))  # type: ignore[misc]

    def get_params(self: Any, ctx: Any) -> list[Any]:
        """Return the options, with ``--help-all`` at the end."""
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        return [*found, _help_all(found[-1])]

    def shell_complete(self: Any, ctx: Any, incomplete: str) -> list[Any]:
        """Return the options that begin like a word, without the help that Typer would lay out by a
        slow import.
        """
        from ._completion import Completion

        found = super().shell_complete(ctx, incomplete)  # type: ignore[misc]
        return [Completion(item.value, item.type) for item in found]


class PlainCommand(_Helpful, TyperCommand):
    """A command that reads plain values itself, and shows its arguments by name, without the type
    that Typer adds.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; for unexpected ones, say how to give an option several values."""
        rest = self._parsed(ctx, args)
        options = ctx.params.pop(_STORE_OPTION, None) or ()
        read_store_options(options, quiet=bool(ctx.params.get("quiet")))
        return rest

    def _parsed(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.allow_extra_args:
            return super().parse_args(ctx, args)
        args = _without_verbose(args)
        given = [*args]
        ctx.allow_extra_args = True  # else Typer refuses them, in words that name no remedy
        extra = super().parse_args(ctx, args)
        ctx.allow_extra_args = False
        if extra and not ctx.resilient_parsing:
            ctx.fail(
                f"unexpected argument{'s' if len(extra) > 1 else ''} {', '.join(map(repr, extra))}."
                + _repeated(self.params, given, extra[0])
            )
        follow_suffix(ctx)
        return extra


def made(function: Any, name: str, kind: type[TyperCommand] = PlainCommand, **options: Any) -> Any:
    """Return the command that a function is."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=kind, **options)(grouped(function))
    command = typer.main.get_command(app)
    command.name = name
    return command


class PlainGroup(_Helpful, TyperGroup):
    """A group of commands that reads plain values itself."""

    def names(self) -> Iterable[str]:
        """Return the names of the commands that a shell completes; none is loaded."""
        return self.commands

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the commands, or options, that begin like a word."""
        from ._completion import Completion

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [Completion(name) for name in self.names() if name.startswith(incomplete)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments of the group."""
        rest = super().parse_args(ctx, args)
        follow_suffix(ctx)
        return rest


class _Plain:
    """An option or argument that reads plain values itself."""

    plain_type: Any

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the values that begin like a word."""
        from ._completion import Completion, values_of

        return [Completion(value) for value in values_of(self, ctx) if value.startswith(incomplete)]

    def process_value(self: Any, ctx: Any, value: Any) -> Any:
        read = _read(value, self.plain_type, self.required)
        if read is _NOT_PLAIN:
            with _clearly(value, self.plain_type):
                return super().process_value(ctx, value)  # type: ignore[misc]
        return read if self.callback is None else self.callback(ctx, self, read)


class _PlainOption(_Plain, TyperOption):
    def add_to_parser(self, parser: Any, ctx: Any) -> None:
        """Register the flags of the option, its other spelling and its shortcuts; keep all
        values.
        """
        if self.is_flag or self.count:
            super().add_to_parser(parser, ctx)
            return
        taken = {flag for parameter in ctx.command.params for flag in parameter.opts}
        other = [
            _SPELLINGS[flag]
            for flag in self.opts
            if flag in _SPELLINGS and _SPELLINGS[flag] not in taken
        ]
        parser.add_option(
            obj=self, opts=[*self.opts, *other], dest=self.name, action="append", nargs=self.nargs
        )
        for flag in self.opts:
            for shortcut, value in _SHORTCUTS.get(flag, {}).items():
                parser.add_option(
                    obj=self, opts=[shortcut], dest=self.name, action="append_const", const=value
                )

    def consume_value(self, ctx: Any, opts: Any) -> Any:
        """Return the value and its source; refuse two different values of an option that takes a
        single value.
        """
        given = opts.get(self.name)
        if not self.multiple and isinstance(given, list):
            opts = {**opts, self.name: self._single(given, ctx.resilient_parsing)}
        return super().consume_value(ctx, opts)

    def _single(self, values: list[Any], is_completing: bool) -> Any:
        flag = max(self.opts, key=len)
        if flag in _JOINED:
            return ",".join(values)
        if len(set(values)) > 1 and not is_completing:
            listed = " and ".join(repr(value) for value in dict.fromkeys(values))
            raise UsageError(f"{flag} takes one value, and {listed} were given. Keep one of them.")
        return values[-1]


class _PlainArgument(_Plain, TyperArgument):
    def display_type_rich(self, ctx: Any) -> None:
        """Return no type, which help would add to the name (``<list[str]>``)."""


def _without_verbose(args: Sequence[str]) -> list[str]:
    """Return the arguments without ``--verbose``, which belongs before a command but is accepted
    after it too.
    """
    end = args.index("--") if "--" in args else len(args)
    options = [word for word in args[:end] if word != "--verbose"]
    if len(options) < end:
        begin_verbose()
    return [*options, *args[end:]]


def _repeated(parameters: Sequence[Any], given: Sequence[str], extra: str) -> str:
    """Return how to give an option several values, if an unexpected argument seems to be one of
    them.
    """
    flags = {
        flag
        for parameter in parameters
        if getattr(parameter, "multiple", False)
        for flag in parameter.opts
    }
    for place, word in enumerate(given):
        flag, is_joined, value = word.partition("=")
        after = takewhile(lambda following: not following.startswith("-"), given[place + 1 :])
        values = [*([value] if is_joined else []), *after]
        if flag in flags and extra in values[1:]:
            return (
                " To give several values, repeat the option:"
                f" {' '.join(f'{flag} {quote(value)}' for value in values)}"
            )
    return ""


def _all_plain(command: Any) -> list[Any]:
    """Return the parameters of a command, with ``--store-option`` after ``--store`` if it has
    that.
    """
    # From 3.14 on, functools.wraps does not copy annotations that were set, as those of a metric's
    # command are.
    types = get_type_hints(inspect.unwrap(command.callback))
    found = []
    for parameter in command.params:
        found.append(_plain(parameter, types[parameter.name]))
        if parameter.name == "store":
            option = _plain(parameter, list[str] | None)
            vars(option).update(
                name=_STORE_OPTION,
                opts=["--store-option"],
                multiple=True,
                metavar="KEY=VALUE",
                help="Option for a store at a URL (repeatable); such as endpoint or region.",
            )
            found.append(option)
    return found


@cache  # Typer sorts parameters by their identity
def _plain_help(option: Any) -> Any:
    return option and _plain(option, bool)


@cache
def _help_all(plain_help: Any) -> Any:
    """Return the option ``--help-all``, made from ``--help``."""

    def show(ctx: Any, parameter: Any, value: bool) -> None:
        if value:
            ctx.meta[LEVEL] = IN_FULL
            plain_help.callback(ctx, parameter, value)

    option = _plain(plain_help, bool)
    vars(option).update(name="help_all", opts=["--help-all"], hidden=True, callback=show)
    return option


def _plain(parameter: Any, its_type: Any) -> Any:
    """Return a copy of the parameter that reads plain values itself."""
    kind = _PlainArgument if isinstance(parameter, TyperArgument) else _PlainOption
    plain = kind.__new__(kind)
    vars(plain).update(vars(parameter), plain_type=its_type)
    return plain


@contextmanager
def _clearly(value: Any, its_type: Any) -> Iterator[None]:
    """Say of a value that is no number what it is, in place of Typer's own words, which do not name
    it.
    """
    try:
        yield
    except BadParameter as error:
        kind, *_ = get_args(its_type) or (its_type,)
        if kind in (int, float):
            error.message = f"{value!r} is not a {'whole ' if kind is int else ''}number."
        raise


def _read(value: Any, its_type: Any, required: bool) -> Any:
    """Return what Typer would make of a plain value; :data:`_NOT_PLAIN` for others."""
    if value is None or value == ():
        return _NOT_PLAIN if required else value
    if its_type in (list[str], list[str] | None):
        return list(value)
    if isinstance(value, its_type):
        return value
    if not isinstance(value, str):
        return _NOT_PLAIN
    kind, *_ = get_args(its_type) or (its_type,)
    if kind is int and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
        return int(value)
    if kind is Path and (os.access(value, os.R_OK) or not os.path.exists(value)):
        return Path(value)
    if issubclass(kind, StrEnum) and value in [*kind]:
        return kind(value)
    return _NOT_PLAIN
