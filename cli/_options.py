"""Options that several commands have, each declared once; and the store that a command names."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Context, Option

from embstore.base import __version__
from embstore.base.errors import EmbstoreError, UsageError

from ._errors import print_message

if TYPE_CHECKING:
    from embstore.store import Store

Values = list[str] | None
"""The values of a repeatable option; None where it is not given."""
Unit = Literal["word", "sentence", "occurrence", "token"]
Pooling = Literal[
    "last",
    "first",
    "mean",
    "mean-all",
    "weighted",
    "weighted-all",
    "bos",
    "cls",
    "eos",
    "projection",
    "model",
    "imported",
]

_in_panels: Any = (
    partial(Option, rich_help_panel=title)
    for title in ("Spaces", "Layers and items", "Output", "Models", "Computation")
)
space_option, item_option, output_option, model_option, computing_option = _in_panels
"""Declare an option in a panel of a help text that many commands have."""

DOCS = f"https://github.com/embstore/embstore/blob/v{__version__}/docs/"
"""Address of the pages of this version, in the repository."""


def escape(text: str) -> str:
    """Return a text as Typer's help shows it: what is in brackets is no markup."""
    return text.replace("[", r"\[")


def examples(page: str, *lines: str) -> str:
    """Return the end of a help text: lines of a shell, and the page of the documentation."""
    shown = "\n".join(f"  {escape(line)}" for line in lines)
    return f"Examples:\n{shown}\n\nMore in {DOCS}{page}"


class Format(StrEnum):
    """How a table is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"
    LATEX = "latex"
    PARQUET = "parquet"


def stored_spaces(ctx: Context) -> list[str]:
    """Return the names of the spaces of the store, for completion."""
    return _stored(ctx, "space")


def stored_models(ctx: Context) -> list[str]:
    """Return the short names of the checkpoints of the store, for completion."""
    return _stored(ctx, "model")


def _stored(ctx: Context, column: str) -> list[str]:
    with suppress(EmbstoreError):
        stores = ctx.params.get("store")
        return sorted({row[column] for row in open_store(stores and [*stores]).info()})
    return []


def known_datasets() -> list[str]:
    """Return the names of the datasets, for completion."""
    from embstore.sources.datasets import DATASETS

    return sorted(DATASETS)


def divided(values: Values) -> Values:
    """Return the names of a repeatable option, which may stand in one value, with commas; a file,
    and a dataset with its columns, stay whole.
    """
    if values is None:
        return None
    parts = [
        [value]
        if ":" in value or os.path.exists(value.rpartition("=")[2])
        else [name.strip() for name in value.split(",")]
        for value in values
    ]
    return [name for names in parts for name in names if name] or values


StoreDir = Annotated[
    Values,
    output_option(
        "--store",
        metavar="DIR",
        help="The store's folder, or its URL: s3://, gs://, az://, hf:// or https://.",
        show_default="$EMBSTORE_STORE, else ./store",
    ),
]
StoreOptions = Annotated[
    Values,
    output_option(
        "--store-option",
        metavar="KEY=VALUE",
        help="Option for a store at a URL (repeatable); such as endpoint or region.",
    ),
]
Models = Annotated[
    Values,
    space_option(
        "--model",
        metavar="NAME",
        help="Keep the spaces of this checkpoint (repeatable, or with commas).",
        callback=divided,
        autocompletion=stored_models,
    ),
]
Named = Annotated[
    Values,
    Argument(
        metavar="MODEL|SPACE",
        help="Keep the spaces of this checkpoint, or this space; as --model and --space.",
        autocompletion=stored_models,
        show_default=False,
        hidden=True,  # Typer lists arguments above all options
    ),
]
Revisions = Annotated[
    Values,
    space_option(
        "--revision",
        metavar="NAMES",
        help="Keep the spaces of these revisions (repeatable); as in step0,step1000.",
    ),
]
Spaces = Annotated[
    Values,
    space_option(
        "--space",
        metavar="NAME",
        help="Keep this space, or SPACE:LAYER of it (repeatable, or with commas).",
        callback=lambda values: split_names(values) or values,
        autocompletion=stored_spaces,
    ),
]
OfUnit = Annotated[Unit | None, space_option("--unit", help="Keep the spaces of this unit.")]
OfPooling = Annotated[
    Pooling | None,
    space_option(
        "--pooling",
        metavar="NAME",
        help=(
            "Keep the spaces of this pooling: last, first, mean, mean-all, weighted,"
            " weighted-all, bos, eos, projection, model or imported."
        ),
    ),
]
OfTemplate = Annotated[
    str | None,
    space_option(
        "--template",
        metavar="TEXT",
        help="Keep the spaces of this template; as in 'This is {text}'.",
    ),
]

LAYER_HELP = (
    "Numbers (6, or -1 for the last), ranges (0-6), all, top, raw, normed or output; several with"
    " commas."
)
ALL, TOP = ["all"], ["top"]  # layers by default
Layers = Annotated[list[str], item_option("--layer", metavar="LAYERS", help=LAYER_HELP)]
CopiedLayers = Annotated[
    list[str], item_option("--layer", "--layers", metavar="LAYERS", help=LAYER_HELP)
]
Where = Annotated[
    str | None,
    item_option(
        "--where",
        metavar="SQL",
        help=(
            "Keep the items for which this holds; over item_id, unit, text, context_id, start,"
            ' "end" and columns (embstore info --columns): --where "length(text) > 3".'
        ),
    ),
]
Words = Annotated[
    str | None,
    item_option(
        "--words",
        metavar="FILE|WORDS",
        help=(
            "Keep the items of these words; a file with a word a line, or words with commas:"
            " rose,tulip."
        ),
    ),
]
Word = Annotated[
    Values,
    item_option(
        "--word",
        metavar="WORD",
        help="Keep the items of this word too (repeatable, or with commas).",
        callback=divided,
    ),
]
Timeout = Annotated[
    float | None,
    item_option(
        "--timeout", metavar="SECONDS", help="Time limit of --where.", show_default="no limit"
    ),
]
Memory = Annotated[
    str | None,
    item_option(
        "--memory",
        metavar="SIZE",
        help="Memory limit of --where, as in 2GB.",
        show_default="half of the machine's memory",
    ),
]
Sample = Annotated[
    int | None,
    item_option("--sample", metavar="N", help="Draw N items at random, without replacement."),
]
Seed = Annotated[
    int, item_option("--seed", metavar="S", help="Random seed of samples, parts and permutations.")
]
Transforms = Annotated[
    Values,
    item_option(
        "--transform",
        metavar="NAME",
        help=(
            "Transform the vectors first (repeatable, left to right); center, standardize, abtt:K,"
            " abtt-original:K, drop:138,378, whiten, normalize or clamp:0.95, fitted on the"
            " selected items."
        ),
    ),
]
By = Annotated[
    Values,
    item_option(
        "--by",
        metavar="COLUMNS",
        help=(
            "A row for each value of this column of the items (pos, position …), or of several:"
            " genre,label."
        ),
    ),
]
Bins = Annotated[
    str | None,
    item_option(
        "--bins",
        metavar="N|EDGES",
        help=(
            "With --by, for numbers: N intervals with equally many items, or the edges of"
            " intervals, as in 0,10,100."
        ),
    ),
]
Fit = Annotated[
    str | None,
    item_option(
        "--fit",
        metavar="all|group",
        help=(
            "With --by: fit transforms on all selected items, or on each group; with --average on"
            " each group by default."
        ),
    ),
]
Common = Annotated[
    bool, item_option("--common", help="Keep the items that all spaces of the query have.")
]
Marked = Annotated[
    Values,
    Option(
        "--text",
        metavar="TEXT",
        help='A word in its context (repeatable): --text "the \\[bank] of the river".',
    ),
]

Embed = Annotated[
    bool,
    model_option(
        "--embed", help="Encode a text that is not stored, by each space's own checkpoint."
    ),
]
Download = Annotated[
    bool,
    model_option(
        "--download", help="With --embed: download checkpoints that are not on this machine."
    ),
]
AllowPickle = Annotated[
    bool,
    model_option(
        "--allow-pickle", help="Load pickled weights if there are no others; these can run code."
    ),
]
DeviceName = Annotated[
    str | None,
    computing_option(
        "--device", metavar="NAME", help="cpu, cuda, mps …", show_default="an accelerator if any"
    ),
]
IndexKind = Literal["auto", "flat", "hnsw", "none"]
DryRun = Annotated[
    bool, output_option("--dry-run", help="Say what would be done, and write nothing.")
]

Form = Annotated[
    Format | None,
    output_option(
        "--format",
        metavar="FORMAT",
        help="table, json, jsonl, csv, markdown, latex or parquet.",
        show_default="table, or by the suffix of --output",
    ),
]
AsJson = Annotated[bool, output_option("--json", help="Short for --format json.")]
AsCsv = Annotated[bool, output_option("--csv", help="Short for --format csv.")]
OutputFiles = Annotated[
    list[Path] | None,
    output_option(
        "--output",
        "-o",
        metavar="FILE",
        help=(
            "Write the result there; its suffix (.csv, .json, .jsonl, .md, .parquet, .tex, .txt)"
            " chooses the format (repeatable)."
        ),
    ),
]
CsvSafe = Annotated[
    bool,
    output_option(
        "--csv-safe",
        help="In CSV: put ' before texts that a spreadsheet would take for formulas (= + - @).",
    ),
]
IdsAsText = Annotated[
    bool,
    output_option(
        "--ids-as-text",
        help=(
            "In JSON: item ids as text. They have up to 63 bits, and JavaScript, jq and R round"
            " numbers beyond 2^53."
        ),
    ),
]
Quiet = Annotated[
    bool,
    output_option(
        "--quiet", "-q", help="Show only the result and errors; no progress and no notes."
    ),
]
Labels = Annotated[
    Values,
    output_option(
        "--space-label",
        metavar="SPACE=TEXT",
        help=(
            "In a printed table: call a space so (repeatable); LaTeX has the labels of figures by"
            " default."
        ),
    ),
]
NoCache = Annotated[
    bool,
    output_option(
        "--no-cache", help="Compute all answers again; use no stored ones, and store none."
    ),
]


def split_names(values: Sequence[str] | None) -> list[str]:
    """Return the names of a repeatable option in which they may also be separated by commas."""
    return [name for value in values or () for part in value.split(",") if (name := part.strip())]


def split_words(values: Sequence[str] | None) -> list[str]:
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


def check_order(ctx: Context, args: Sequence[str]) -> None:
    """Raise UsageError where an option that most commands have stands before the command."""
    option = args[0].partition("=")[0] if args else ""
    if option in ("--store", "--model", "--space", "--layer"):
        what = "command" if ctx.parent is None else "metric"
        raise UsageError(
            f"{option} stands after the {what}: {ctx.command_path} {what.upper()} {option} …"
        )


def given_options(ctx: Context, besides: Sequence[str]) -> list[str]:
    """Return the options that are given to a command, as they are written, but for some parameters,
    by name.
    """
    sources = {
        parameter: ctx.get_parameter_source(parameter.name) for parameter in ctx.command.params
    }
    return [
        parameter.opts[0]
        for parameter, source in sources.items()
        if parameter.name not in besides and source is not None and source.name == "COMMANDLINE"
    ]


def open_store(
    stores: Sequence[str] | None = None, options: Sequence[str] | None = None
) -> "Store":
    """Return the store of this folder or URL; by default ``$EMBSTORE_STORE``, else ``./store``."""
    from embstore.store import Store

    return Store(_only(stores), options=store_options(options))


def _only(stores: Sequence[str] | None) -> str | None:
    if stores and len({*stores}) > 1:
        raise UsageError(
            "a command is about one store. Query each with --csv, or by Store in a loop, and join"
            " the tables with pandas.concat."
        )
    return stores[0] if stores else None


def store_options(values: Sequence[str] | None) -> dict[str, str] | None:
    """Return the values ``key=value`` of ``--store-option`` by key; None if there are none."""
    options = {}
    for value in values or ():
        key, separator, option = value.partition("=")
        if not (key and separator):
            raise UsageError(
                "--store-option takes key=value, as in --store-option region=eu-central-1."
            )
        options[key] = option
    return options or None


def say_fetched(store: "Store", remedy: str) -> None:
    """Say how many bytes a command fetches that reads all of a store at a URL, and a remedy."""
    from embstore.base.table import show_size

    if store.url is not None:
        size = show_size(store.remote_bytes())
        print_message(
            f"{store.url}: every byte is fetched and checked, {size}. To fetch less, {remedy}"
        )


def open_both(
    stores: Sequence[str] | None, other: str, options: Sequence[str] | None
) -> "tuple[Store, dict[str, str] | None]":
    """Return the store, and the options of the other place that a command copies to or from.

    ``--store-option`` is for each of the two that is in a bucket.
    """
    buckets = ("s3://", "gs://", "az://")
    here = _only(stores) or os.environ.get("EMBSTORE_STORE") or ""
    for_other = other.startswith(buckets)
    # Without any bucket, the store refuses them.
    for_own = here.startswith(buckets) or not for_other
    store = open_store(stores, options if for_own else None)
    return store, store_options(options) if for_other else None
