"""Options that several commands have, declared once; and the store that a command names."""

import inspect
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer

from embstore.base.errors import UnknownNameError, UsageError

from ._errors import refuse, say

if TYPE_CHECKING:
    from embstore.store import Store

F = TypeVar("F", bound=Callable[..., Any])

UNITS = "word|sentence|occurrence"
POOLINGS = "last|first|mean|bos|eos|projection|model"
LAYER_HELP = "Numbers (6), ranges (0-6), all, top, raw, normed or output; several with commas."


def option(usage: str, help: str, **more: Any) -> Any:
    """Return an option as its usage says: ``--output -o FILE``, a flag without a placeholder for a
    value.
    """
    *flags, last = usage.split()
    metavar = None if last.startswith("-") else last
    return typer.Option(*flags, *([] if metavar else [last]), metavar=metavar, help=help, **more)


def argument(metavar: str, help: str) -> Any:
    """Return an argument that stands by its place."""
    return typer.Argument(metavar=metavar, help=help)


class Format(StrEnum):
    """How a table is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"
    LATEX = "latex"
    PARQUET = "parquet"


def read_format(name: str) -> Format:
    """Return the format of that name, or end with a message that names the nearest."""
    try:
        return Format(name)
    except ValueError:
        refuse(UnknownNameError("format", name, map(str, Format)))


_SUFFIXES = {
    ".txt": Format.TABLE, ".json": Format.JSON, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".md": Format.MARKDOWN, ".tex": Format.LATEX, ".parquet": Format.PARQUET,
}  # fmt: skip


def follow_suffix(context: Any) -> None:
    """Choose the format by the suffix of the output file, where a command has both and no format
    was given.

    The output ``-`` is standard output.
    """
    values = context.params
    output = values.get("output")
    if context.resilient_parsing or not isinstance(output, Path | None):
        return
    if output is not None and str(output) == "-":
        output = values["output"] = None
    if output is not None:
        check_place(output)
    if "form" not in values:
        return
    if (
        output is not None
        and context.get_parameter_source("form").name == "DEFAULT"
        and output.suffix
    ):
        values["form"] = _format_of(output)
    if values.get("csv_safe") and values["form"] is not Format.CSV:
        raise UsageError("--csv-safe is about CSV: add --format csv.")
    if values.get("ids_as_text") and values["form"] not in (Format.JSON, Format.JSONL):
        raise UsageError("--ids-as-text is about JSON: add --format json or --format jsonl.")


def given_options(context: Any, besides: Iterable[str]) -> list[str]:
    """Return the options that are given to a command, as they are written, but for some parameters,
    by name.
    """
    besides = set(besides)
    return [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in besides
        and (source := context.get_parameter_source(parameter.name)) is not None
        and source.name == "COMMANDLINE"
    ]


def check_place(output: Path) -> None:
    """Raise UsageError if a file cannot be at a place, before anything is computed for it."""
    if output.is_dir() or not output.parent.is_dir():
        problem = "it is a folder" if output.is_dir() else f"there is no folder {output.parent}"
        raise UsageError(f"{output} cannot be written: {problem}. Name another file with --output.")


def _format_of(output: Path) -> Format:
    suffix = output.suffix.lower()
    if suffix not in _SUFFIXES:
        hint = "Excel opens .csv. " if suffix in (".xlsx", ".xls", ".ods") else ""
        raise UsageError(
            f"--output {output}: unknown file type {output.suffix!r}. Known:"
            f" {', '.join(_SUFFIXES)}. {hint}Rename it, or name the format with --format."
        )
    return _SUFFIXES[suffix]


def split_words(values: list[str] | None) -> list[str]:
    """Return the words of lists with commas; a text with spaces is divided at commas without a
    space only.

    So ``king, woman`` is two words, and ``Well, I see`` a sentence. A text with a word in brackets
    is never divided.
    """
    words: list[str] = []
    for value in values or ():
        parts = [part.strip() for part in value.split(",")]
        if any(re.search(r"\s", part) for part in parts):
            parts = re.split(r",(?!\s)", value)
        words += [value] if "[" in value else [part for part in parts if part]
    return words


StoreDir = Annotated[
    str | None,
    option(
        "--store DIR",
        "The store's folder, or its URL: s3://, gs://, az://, hf:// or https://.  [default:"
        " $EMBSTORE_STORE, else ./store]",
    ),
]
StoreDirs = Annotated[
    list[str] | None,
    option(
        "--store DIR",
        "The store's folder, or its URL: s3://, gs://, az://, hf:// or https://.  [default:"
        " $EMBSTORE_STORE, else ./store]",
    ),
]
Spaces = Annotated[list[str] | None, option("--space NAME", "Keep this space (repeatable).")]
Transforms = Annotated[
    list[str] | None,
    option(
        "--transform NAME",
        "Transform the vectors first (repeatable, left to right); center, standardize, abtt:K,"
        " abtt-original:K, drop:138,378 or whiten, fitted on the selected items.",
    ),
]
Sample = Annotated[int | None, option("--sample N", "Draw N items at random, without replacement.")]


def _filters(
    models: Annotated[
        list[str] | None, option("--model NAME", "Keep the spaces of this checkpoint (repeatable).")
    ] = None,
    revisions: Annotated[
        list[str] | None,
        option(
            "--revision NAMES",
            "Keep the spaces of these revisions (repeatable); as in step0,step1000.",
        ),
    ] = None,
    spaces: Spaces = None,
    unit: Annotated[str | None, option(f"--unit {UNITS}", "Keep the spaces of this unit.")] = None,
    pooling: Annotated[
        str | None, option(f"--pooling {POOLINGS}|imported", "Keep the spaces of this pooling.")
    ] = None,
    template: Annotated[
        str | None,
        option("--template TEXT", "Keep the spaces of this template; as in 'This is {text}'."),
    ] = None,
) -> None:
    """Declare the filters of spaces, which are arguments of the methods of Store."""


def _listed(
    words: Annotated[
        str | None,
        option(
            "--words FILE|WORDS",
            "Keep the items of these words; a file with a word a line, or words with commas:"
            " rose,tulip.",
        ),
    ] = None,
    word: Annotated[
        list[str] | None, option("--word WORD", "Keep the items of this word too (repeatable).")
    ] = None,
    timeout: Annotated[
        float | None, option("--timeout SECONDS", "Time limit of --where.  [default: no limit]")
    ] = None,
    memory: Annotated[
        str | None,
        option(
            "--memory SIZE",
            "Memory limit of --where, as in 2GB.  [default: half of the machine's memory]",
        ),
    ] = None,
) -> None:
    """Declare the words that restrict a query, and the limits of its SQL, which are arguments of
    methods of Store.
    """


Filters = Annotated[dict[str, Any], _filters]
Listed = Annotated[dict[str, Any], _listed]
OutputFormat = Annotated[
    Format,
    option(
        f"--format {'|'.join(Format)}",
        "How the result is written; --json and --csv for short.",
        parser=read_format,
    ),
]
IndexMemory = Annotated[
    str | None,
    option(
        "--index-memory SIZE",
        "Memory limit for building an index, as in 8GB.  [default: half of the machine's memory]",
    ),
]
OutputFile = Annotated[
    Path | None,
    option(
        "--output -o FILE",
        "Write the result there; its suffix (.csv, .json, .jsonl, .md, .parquet, .tex, .txt)"
        " chooses the format.",
    ),
]
IdsAsText = Annotated[
    bool,
    option(
        "--ids-as-text",
        "In JSON: item ids as text. They have up to 63 bits, and JavaScript, jq and R round numbers"
        " beyond 2^53.",
    ),
]
CsvSafe = Annotated[
    bool,
    option(
        "--csv-safe",
        "In CSV: put ' before texts that a spreadsheet would take for formulas (= + - @).",
    ),
]
DeviceName = Annotated[
    str | None, option("--device NAME", "cpu, cuda, mps …  [default: an accelerator if any]")
]
LayerNames = Annotated[str, option("--layer LAYERS", LAYER_HELP)]
PartLayers = Annotated[str, option("--layer --layers LAYERS", LAYER_HELP)]
Marked = Annotated[
    list[str] | None,
    option("--text TEXT", 'A word in its context (repeatable): --text "the [bank] of the river".'),
]
AllowPickle = Annotated[
    bool,
    option("--allow-pickle", "Load pickled weights if there are no others; these can run code."),
]
DryRun = Annotated[bool, option("--dry-run", "Say what would be done, and write nothing.")]


def _encoding(
    embed: Annotated[
        bool, option("--embed", "Encode a text that is not stored, by each space's own checkpoint.")
    ] = False,
    download: Annotated[
        bool,
        option("--download", "With --embed: download checkpoints that are not on this machine."),
    ] = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Declare whether texts are encoded now, which are arguments of the methods of Store."""


Encoding = Annotated[dict[str, Any], _encoding]
_QUIET = "Show only the result and errors; no progress and no notes."
Quiet = Annotated[bool, option("--quiet -q", _QUIET)]
QuietQuery = Annotated[bool, option("--quiet", _QUIET)]  # -q may be a parameter of a metric
QuietSummary = Annotated[
    bool, option("--quiet -q", "Show no progress and no summary, only errors.")
]


def split_names(values: list[str] | None) -> list[str]:
    """Return the names of a repeatable option in which they may also be separated by commas."""
    return [name for value in values or () for part in value.split(",") if (name := part.strip())]


def grouped(command: F) -> F:
    """Let each parameter that is annotated with a group stand for its options, in its place.

    A group is a dataclass whose fields are options, or ``Annotated[dict[str, Any], function]`` for
    the options that a function declares, by name.
    """
    parameters = inspect.signature(command).parameters.values()
    groups = {
        each.name: group for each in parameters if (group := _group(each.annotation)) is not None
    }

    @wraps(command)
    def run(**options: Any) -> Any:
        for name, group in groups.items():
            given = {
                each.name: options.pop(each.name)
                for each in parameters_of(group)
                if each.name in options
            }
            options[name] = group(**given) if isinstance(group, type) else given
        return command(**options)

    set_parameters(run, parameters_of(command))
    del run.__wrapped__  # its parameters are not those of the options
    return run  # type: ignore[return-value]


def _group(annotation: Any) -> Callable[..., Any] | None:
    """Return the dataclass or function that declares a group of options; None for a single
    option.
    """
    if is_dataclass(annotation) and isinstance(annotation, type):
        return annotation
    return next((each for each in get_args(annotation)[1:] if inspect.isfunction(each)), None)


def parameters_of(declaring: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the options that a function or class declares, those of a group in its place; without
    ``**options``.
    """
    found = []
    for each in inspect.signature(declaring).parameters.values():
        if (group := _group(each.annotation)) is not None:
            found += parameters_of(group)
        elif each.kind is not each.VAR_KEYWORD:
            found.append(each.replace(kind=each.KEYWORD_ONLY))
    return found


def set_parameters(command: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Make Typer see these parameters in place of those of a command."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}


_BUCKETS = ("s3://", "gs://", "az://")

_options: dict[str, str] = {}
_is_quiet = False


def read_store_options(values: Sequence[str], *, quiet: bool = False) -> None:
    """Keep the values ``key=value`` of ``--store-option``, and ``--quiet``, for the store that the
    command opens.
    """
    global _is_quiet
    _is_quiet = quiet
    _options.clear()
    for value in values:
        key, is_there, given = value.partition("=")
        if not (key and is_there):
            raise UsageError(
                "--store-option takes key=value, as in --store-option region=eu-central-1."
            )
        _options[key] = given


def open_store(store: str | None, *, takes_options: bool = True) -> "Store":
    """Return the store of this folder or URL; by default ``$EMBSTORE_STORE``, else ``./store``."""
    from embstore.store import Store

    return Store(store, options=(_options if takes_options else None) or None)


def open_all(store: str | None, remedy: str) -> "Store":
    """Return the store of which a command reads each byte; of one at a URL, say how many it
    fetches, and a remedy.
    """
    from embstore.base.table import show_size

    found = open_store(store)
    if found.url is not None and not _is_quiet:
        size = show_size(found.remote_bytes())
        say(f"{found.url}: every byte is fetched and checked, {size}. To fetch less, {remedy}")
    return found


def only_store(stores: Sequence[str] | None) -> str | None:
    """Return the folder or URL of the store, and refuse two."""
    if stores and len({*stores}) > 1:
        raise UsageError(
            "a query is of one store. Query each with --csv, or by Store in a loop, and join the"
            " tables with pandas.concat."
        )
    return stores[0] if stores else None


def open_both(store: str | None, other: str) -> "tuple[Store, dict[str, str] | None]":
    """Return the store, and the options of the other place that a command copies to or from.

    ``--store-option`` is for each of the two that is in a bucket.
    """
    own = store or os.environ.get("EMBSTORE_STORE") or ""
    for_own, for_other = own.startswith(_BUCKETS), other.startswith(_BUCKETS)
    # Without any bucket, the store refuses them.
    return open_store(store, takes_options=for_own or not for_other), (
        _options if for_other else None
    )
