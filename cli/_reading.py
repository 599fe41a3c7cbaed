"""How the values of a command are read: plain ones as they are, all others by Typer.

Typer (since 0.29) converts each value with pydantic, whose import alone takes a fifth of a short question. Text needs
no conversion, nor does a default, and a whole number in digits or a path that may be read hardly any. What needs more,
and what is wrong, is left to Typer, whose messages say why.

A value that is plain does not reach ``parser`` of an option, which is of use only for the others.
"""

import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from itertools import takewhile
from pathlib import Path
from shlex import quote
from typing import Any, get_args, get_type_hints

import typer
from typer import BadParameter
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from embstore.base.errors import UsageError
from embstore.base.messages import set_call

from ._errors import begin_verbose
from ._help import IN_FULL, LEVEL, LaidOut, call_names
from ._options import follow_suffix, grouped, read_store_options

# Flags that stand for an option with a value.
_SHORTCUTS: Mapping[str, Mapping[str, str]] = {"--format": {"--json": "json", "--csv": "csv"}}

# Other spellings of options, which the help does not show.
_SPELLINGS = {
    "--layer": "--layers", "--model": "--models", "--revision": "--revisions", "--space": "--spaces",
    "--pooling": "--poolings", "--transform": "--transforms", "--column": "--columns", "--columns": "--column",
}  # fmt: skip

# Options whose values are joined with commas where they are repeated.
_JOINED = ("--layer", "--by")

_MOST_DIGITS = 18  # of a number that is read here
_NOT_PLAIN = object()
_STORE_OPTION = "store_option"
_SECRET = re.compile(r"((?:--store-option=)?\w*(?:key|secret|token|sas|signature|password|credential)\w*=).*", re.I)


class _Helpful(LaidOut):
    """What commands and groups have in common: plain values, plain ``--help``, ``--help-all``, and completion."""

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
        """Return the options that begin like a word, without the help that Typer would lay out by a slow import."""
        from ._completion import Completion

        found = super().shell_complete(ctx, incomplete)  # type: ignore[misc]
        return [Completion(item.value, item.type) for item in found]


def _masked(words: Sequence[str]) -> list[str]:
    """Return the words of a command without the values of secret options of a store."""
    return [
        _SECRET.sub(r"\1…", word) if "--store-option" in (flag, word.partition("=")[0]) else word
        for flag, word in zip(["", *words], words, strict=False)
    ]


class PlainCommand(_Helpful, TyperCommand):
    """A command that reads plain values itself, and shows its arguments by name, without the type that Typer adds."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; for unexpected ones, say how to give an option several values."""
        given = [*args]
        rest = self._parsed(ctx, args)
        store, options = ctx.params.get("store"), ctx.params.pop(_STORE_OPTION, None) or ()
        named = [*store] if isinstance(store, list) else [store] if isinstance(store, str) else []
        of_store = ["--store", *named, *(word for option in options for word in ("--store-option", option))]
        set_call(["embstore", *call_names(ctx), *_masked(given)], _masked(of_store) if len(named) == 1 else ())
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
        """Register the flags of the option, its other spelling and its shortcuts; keep all values."""
        if self.is_flag or self.count:
            super().add_to_parser(parser, ctx)
            return
        taken = {flag for parameter in ctx.command.params for flag in parameter.opts}
        other = [_SPELLINGS[flag] for flag in self.opts if flag in _SPELLINGS and _SPELLINGS[flag] not in taken]
        parser.add_option(obj=self, opts=[*self.opts, *other], dest=self.name, action="append", nargs=self.nargs)
        for flag in self.opts:
            for shortcut, value in _SHORTCUTS.get(flag, {}).items():
                parser.add_option(obj=self, opts=[shortcut], dest=self.name, action="append_const", const=value)

    def consume_value(self, ctx: Any, opts: Any) -> Any:
        """Return the value and its source; refuse two different values of an option that takes a single value."""
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
    """Return the arguments without ``--verbose``, which belongs before a command but is accepted after it too."""
    end = args.index("--") if "--" in args else len(args)
    options = [word for word in args[:end] if word != "--verbose"]
    if len(options) < end:
        begin_verbose()
    return [*options, *args[end:]]


def _repeated(parameters: Sequence[Any], given: Sequence[str], extra: str) -> str:
    """Return how to give an option several values, if an unexpected argument seems to be one of them."""
    flags = {flag for parameter in parameters if getattr(parameter, "multiple", False) for flag in parameter.opts}
    for place, word in enumerate(given):
        flag, is_joined, value = word.partition("=")
        after = takewhile(lambda following: not following.startswith("-"), given[place + 1 :])
        values = [*([value] if is_joined else []), *after]
        if flag in flags and extra in values[1:]:
            return (
                f" To give several values, repeat the option: {' '.join(f'{flag} {quote(value)}' for value in values)}"
            )
    return ""


def _all_plain(command: Any) -> list[Any]:
    """Return the parameters of a command, with ``--store-option`` after ``--store`` if it has that."""
    # From 3.14 on, functools.wraps does not copy annotations that were set, as those of a metric's command are.
    types = get_type_hints(inspect.unwrap(command.callback))
    found = []
    for parameter in command.params:
        found.append(_plain(parameter, types[parameter.name]))
        if parameter.name == "store":
            option = _plain(parameter, list[str] | None)
            vars(option).update(
                name=_STORE_OPTION, opts=["--store-option"], multiple=True, metavar="KEY=VALUE",
                help="Option for a store at a URL (repeatable); such as endpoint or region.",
            )  # fmt: skip
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
    """Say of a value that is no number what it is, in place of Typer's own words, which do not name it."""
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
