"""How ``--help`` is laid out: options in sections, under 80 lines on a terminal of 80 columns.

Where the whole text of each option does not fit, its first sentence is shown; where that does not fit either, sections
of options that many commands have are shown by name, one after the other. ``--help-all`` shows all.
"""

import re
from collections.abc import Mapping, Sequence
from inspect import cleandoc
from typing import Any

_MOST_LINES = 79
_MOST_OPTIONS = 12  # more are divided into sections
_LONGEST_DEFAULT = 14  # characters of a default that is shown after a first sentence
_WIDEST = 26  # characters of an option with its value, beside its first sentence
_SENTENCE = re.compile(r"(?:\([^)]*\)|[^.;(]|[.;](?!\s|$))*")
_FIRST = ("Arguments", "Options", "Picture")
_SHARED = ("Spaces", "Layers and items", "Picture", "Output")  # are of the same options in many commands

LEVEL = "embstore.help"  # key of a context's ``meta``: how much a help shows
IN_FULL, _BY_SENTENCE = -1, 1  # 0: all, if that fits; from 2 on: the first of the shared sections by name

_SECTIONS: Mapping[str, Sequence[str]] = {
    "Spaces": ("models", "revisions", "spaces", "space", "unit", "pooling", "template"),
    "Layers and items": (
        "layers", "where", "words", "word", "timeout", "memory", "sample", "seed", "transforms", "by", "bins",
        "common",
    ),
    "Output": (
        "intervals", "space_label", "quiet", "store", "store_option", "form", "format", "output", "csv_safe",
        "ids_as_text", "explain", "no_cache", "help",
    ),
}  # fmt: skip
"""Names of the options of each section, in all commands but ``build``; all others come before them."""

_BUILD: Mapping[str, Sequence[str]] = {
    "Models": ("models", "revisions", "untrained", "weights_dtype", "allow_pickle"),
    "Texts": ("columns", "no_header", "delimiter", "keep", "span", "targets", "limit", "per_text", "seed"),
    "Vectors": ("unit", "poolings", "prompt", "template", "layers", "dtype", "long", "name"),
    "Computation": ("device", "device_map", "batch_tokens"),
    "Several machines": ("shard", "on", "workers", "worker_gpus", "worker_cpus", "ray_address"),
    "Store and output": ("index", "index_memory", "store", "store_option", "dry_run", "strict", "quiet", "help"),
}  # fmt: skip


class LaidOut:
    """A command or group whose help has sections, an example, and less of each option where it would be too long."""

    own: Sequence[str] = ()  # names of a metric's parameters, which come first whatever other options have their names
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
        """Write what a command does; where room is short, without the citation of a metric, its third paragraph."""
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
        for parameter in sorted(self.get_params(ctx), key=lambda each: titles.index(self._section(each))):
            if (record := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(self._section(parameter), []).append(record)
        if level:
            list(sections.values())[-1].append(("--help-all", "Show the whole text of each option."))
        for title, rows in sections.items():
            if title in _SHARED[: max(level - 1, 0)]:
                with formatter.section(f"{title} (--help-all explains these)"):
                    formatter.write_text(", ".join(name.partition(" ")[0] for name, _ in rows))
                continue
            with formatter.section(title):
                if level >= _BY_SENTENCE:
                    formatter.write_dl([(name, _first_sentence(text)) for name, text in rows], col_max=_WIDEST)
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
        return next((title for title, names in self._sections().items() if parameter.name in names), rest)

    def format_epilog(self: Any, ctx: Any, formatter: Any) -> None:
        """Write the last lines of the help: an example, and the page of the documentation that is about it."""
        from .main import example_of

        super().format_epilog(ctx, formatter)  # type: ignore[misc]
        example = example_of(" ".join(call_names(ctx)), getattr(self, "needs", ""))
        if example is None:
            return
        with formatter.section("Examples" if len(example.lines) > 1 else "Example"):
            formatter.write("".join(f"{' ' * formatter.current_indent}{line}\n" for line in example.lines))
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
