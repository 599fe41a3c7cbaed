"""The command line: the group of all commands, each of which is loaded when it is called, since a
call needs one.
"""

import os
from importlib import import_module
from keyword import iskeyword
from typing import Any, NamedTuple

import typer

from embstore import __version__
from embstore.base.errors import UsageError, nearest
from embstore.base.messages import is_utf8

from ._errors import begin_verbose, explained
from ._reading import PlainCommand, PlainGroup, made

_GROUPS = {
    "Build": {
        "build": "Embed texts, every layer, and index them.",
        "import": "Import vectors that were made elsewhere.",
        "datasets": "List, fetch, add and store datasets.",
    },
    "Ask": {
        "query": "Compute a metric for each space and layer.",
        "neighbours": "Show the nearest items of a text (also: neighbors).",
        "cosine": "Show the cosine of two texts at every layer.",
        "drift": "Show how the neighbourhoods of items change over layers.",
        "sql": "Run one SELECT over the store.",
        "reproduce": "Measure a paper's figures next to the published ones.",
    },
    "See": {
        "plot": "Draw a metric, drift, or a stored result.",
        "map": "Map items into the plane, layer by layer.",
        "explore": "Explore a store in a browser: maps, neighbours, metrics.",
        "report": "Write a report on a store, as one HTML file.",
    },
    "Share": {
        "push": "Copy the store to another place.",
        "pull": "Copy a store from another place.",
        "merge": "Copy what is missing here from another store.",
        "export": "Write vectors in the format of another program.",
        "cite": "Write BibTeX of what a store or a result uses.",
    },
    "Keep": {
        "info": "Show what a store contains.",
        "index": "Bring indexes up to date, or change their kind.",
        "verify": "Check every file of a store.",
        "repair": "Repair a store; quarantine damaged files.",
        "compact": "Merge small shards into large ones.",
        "remove": "Remove a space.",
        "completion": "Print a script that completes commands in a shell.",
    },
}
"""Group → name → help, in the order in which users need them."""

_SPELLINGS = {"neighbors": "neighbours"}
COMMANDS = {
    name: text for group in _GROUPS.values() for name, text in group.items()
} | dict.fromkeys(_SPELLINGS, "")
"""Name → help; other spellings of a name have none and are not listed."""

_MODULES = {
    "maintenance": ("index", "info", "verify", "repair", "compact", "remove"), "copies": ("merge",
    "push", "pull"),
    "vectors": ("import", "export"), "neighbours": ("neighbours", "cosine"), "maps": ("drift",
    "map"),
    "pages": ("explore", "report"), "papers": ("reproduce", "cite"), "_completion": ("completion",),
}  # fmt: skip
"""Modules with a family of commands; all others have one of their name."""


_ELSEWHERE = {
    "neighbours TEXT": ("search", "similar", "nearest", "knn", "nn"),
    "build SOURCE": ("embed", "encode", "add", "create", "init"),
    "info": ("list", "ls", "show", "status", "spaces", "stats"),
    "query --help": ("metric", "metrics", "compute", "measure", "eval", "evaluate"),
    "map --method tsne": ("pca", "tsne", "t-sne", "umap", "project"),
    "datasets fetch NAME": ("download", "fetch"),
    "remove --space NAME": ("delete", "rm", "drop"),
    "push DEST": ("upload", "publish", "share"),
    "pull SOURCE": ("clone", "sync"),
    "verify": ("check", "validate", "fsck"),
    "repair": ("fix", "clean"),
    "import FILE --name NAME": ("load", "bring"),
    "export DEST --space NAME --layer N": ("save", "dump", "convert", "write"),
    "--help": ("help",),
    "--version": ("version",),
}
"""What to run instead → the names that other programs give to the task."""


class Commands(PlainGroup):
    """The group of all commands; of an unknown name Typer looks for the nearest.

    Help and the version are written while arguments are read, before any command runs: there too an
    output that closes is no error.
    """

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Read the arguments of the group."""
        with explained():
            for text in args:
                if not is_utf8(text):
                    raise UsageError(
                        f"{text} is not UTF-8. Rename that file or folder, or write the text in"
                        " UTF-8."
                    )
            return super().make_context(info_name, args, *rest, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the arguments of a command, and run it."""
        with explained():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command of a call; for an unknown name, suggest what to run instead."""
        name = args[0]
        is_unknown = name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing
        if is_unknown and (hint := _hint(name)):
            ctx.fail(f"No such command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def names(self) -> list[str]:
        """Return the commands, but for other spellings."""
        return [name for name, text in COMMANDS.items() if text]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return [*COMMANDS]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the help of each command; none is loaded."""
        widest = max(map(len, COMMANDS))
        for title, commands in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), text) for name, text in commands.items()])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, if there is one."""
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.add_command(_load(name), name)
        return super().get_command(ctx, cmd_name)


def _hint(name: str) -> str | None:
    """Return what to run instead of an unknown command; None if a command has a similar name."""
    lowered = name.lower()
    if call := next((call for call, names in _ELSEWHERE.items() if lowered in names), ""):
        return f"Did you mean 'embstore {call}'?"
    from embstore.metrics import METRICS

    if lowered not in METRICS and nearest(name, COMMANDS):
        return None
    near = nearest(name, METRICS)[:1]
    return f"Did you mean 'embstore query {near[0]}'?" if near else None


def _load(name: str) -> Any:
    text, own_name = COMMANDS[name], _SPELLINGS.get(name, name)
    place = next((module for module, names in _MODULES.items() if own_name in names), own_name)
    module = import_module(f".{place}", __package__)
    if hasattr(module, "app"):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.add_typer(module.app, name=name, short_help=text)
        return typer.main.get_group(app).commands[name]
    function = getattr(module, f"{own_name}_" if iskeyword(own_name) else own_name)
    return made(
        function, name, getattr(module, "COMMAND", PlainCommand), short_help=text, hidden=not text
    )


app = typer.Typer(
    name="embstore",
    cls=Commands,
    help=(
        "Embed words and sentences once, keep every layer, and query their geometry without a"
        " model."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback(invoke_without_command=True)
def embstore(
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
    verbose: bool = typer.Option(
        False, "--verbose", help="Also show versions, the time taken and what caused an error."
    ),
) -> None:
    """Embed words and sentences once, keep every layer, and query their geometry without a
    model.
    """
    if version:
        typer.echo(f"embstore {__version__}")
        raise typer.Exit
    if verbose:
        begin_verbose()


def run() -> None:
    """Run the command line."""
    if instruction := os.environ.get("_EMBSTORE_COMPLETE"):
        from ._completion import answer

        answer(typer.main.get_command(app), instruction)
        return
    app()


DOCS = "https://embstore.github.io/embstore/latest/"
"""Address of the newest release's pages, which are in folders: ``how-to/build.md`` is at
``how-to/build/``.
"""


class Example(NamedTuple):
    """The last lines of a help text."""

    lines: tuple[str, ...]
    page: str

    @property
    def url(self) -> str:
        """Address of the page."""
        return DOCS if self.page == "index.md" else f"{DOCS}{self.page.removesuffix('.md')}/"


_EXAMPLES = {
    "": ("index.md", "embstore build words --model minilm", "embstore query anisotropy"),
    "build": (
        "how-to/build.md",
        "embstore build words rg65 --model minilm --model gpt2",
        "embstore build texts.csv --column sentence --unit sentence",
        "embstore build --model EleutherAI/pythia-70m --revision step0,step1000",
    ),
    "import": (
        "how-to/vectors.md",
        "embstore import glove.6B.300d.txt --name glove",
        "embstore import layers.npy --texts words.txt --name mine --layer 0-12",
    ),
    "export": (
        "how-to/vectors.md",
        "embstore export vectors.parquet --space gpt2.word.last --layer 0,6,top",
        "embstore export gpt2.vec --space gpt2.word.last --layer top --transform center",
    ),
    "datasets": ("how-to/datasets.md", "embstore datasets", "embstore datasets fetch rg65 stsb"),
    "datasets fetch": ("how-to/datasets.md", "embstore datasets fetch rg65 stsb"),
    "datasets add": (
        "how-to/datasets.md",
        "embstore datasets add mine pairs.csv --kind pairs --columns a,b,score",
    ),
    "datasets store": ("how-to/vectors.md", "embstore datasets store rg65 simlex999"),
    "datasets missing": ("how-to/datasets.md", "embstore datasets missing rg65 --model gpt2"),
    "query": (
        "how-to/query.md",
        "embstore query anisotropy --model gpt2 --layer 0,6,top",
        "embstore query similarity --dataset rg65 --csv",
    ),
    "plot": (
        "how-to/plot.md",
        "embstore plot anisotropy --model gpt2 -o figure.svg",
        "embstore plot --from result.json -o a.pdf -o a.png",
        "embstore plot anisotropy --model pythia-70m --x step --logx",
    ),
    "plot drift": (
        "how-to/maps.md",
        "embstore plot drift bank river -o drift.svg",
        "embstore plot drift --most 3 --column turnover -o most.pdf",
    ),
    "neighbours": (
        "how-to/neighbours.md",
        "embstore neighbours dog -k 5 --layer 0,top",
        "embstore neighbours --positive king,woman --negative man",
        'embstore neighbours --text "the [bank] of the river"',
    ),
    "cosine": (
        "how-to/neighbours.md",
        "embstore cosine bank river",
        'embstore cosine --text "the [bank] of the river" --text "a [bank] lends"',
    ),
    "sql": (
        "how-to/sql.md",
        'embstore sql "SELECT unit, count(*) AS n FROM items GROUP BY unit"',
        "embstore sql -f query.sql -p word dog --csv -o result.csv",
    ),
    "drift": (
        "how-to/maps.md",
        "embstore drift bank river --space gpt2.word.last --layer 0,6,top",
        "embstore drift --most 20 --model minilm",
    ),
    "map": (
        "how-to/maps.md",
        "embstore map --model minilm",
        "embstore map --method tsne --sample 4000 --layer 0-6",
    ),
    "explore": ("how-to/explore.md", "embstore explore", "embstore explore --port 9000 --no-open"),
    "report": (
        "how-to/explore.md",
        "embstore report",
        "embstore report --recipe wolfe2022 -o wolfe2022.html",
    ),
    "index": ("how-to/neighbours.md", "embstore index --kind hnsw --recall 0.99"),
    "reproduce": ("tutorials/reproduce.md", "embstore reproduce wolfe2022 --quick --model minilm"),
    "info": ("how-to/maintenance.md", "embstore info", "embstore info --skipped -o skipped.csv"),
    "verify": ("how-to/maintenance.md", "embstore verify --deep"),
    "repair": ("how-to/maintenance.md", "embstore repair --dry-run"),
    "compact": ("how-to/maintenance.md", "embstore compact --dry-run"),
    "merge": ("how-to/machines.md", "embstore merge ../other/store"),
    "push": (
        "how-to/share-a-store.md",
        "embstore push hf://datasets/group/gpt2-words",
        "embstore push ../small --space gpt2.word.last --layer 0,6,top",
    ),
    "pull": (
        "how-to/share-a-store.md",
        "embstore pull s3://group/gpt2-words",
        "embstore pull ../other/store --space gpt2.word.last --dry-run",
    ),
    "remove": ("how-to/maintenance.md", "embstore remove --space gpt2.word.last"),
    "cite": (
        "how-to/scripts.md",
        "embstore cite > references.bib",
        "embstore cite similarity rg65",
    ),
    "completion": (
        "reference/cli.md",
        "embstore completion bash > ~/.local/share/bash-completion/completions/embstore",
    ),
}
"""Command → the page about it, and the lines of its example."""
EXAMPLES = {name: Example(tuple(lines), page) for name, (page, *lines) in _EXAMPLES.items()}
EXAMPLES["neighbors"] = EXAMPLES["neighbours"]

_OF_METRICS = {
    "pairs": "--dataset rg65 --layer 0,6,top",
    "analogies": "--dataset google --layer top",
    "lexicon": "--lexicon bellezza --layer top",
    "layers": "--space gpt2.word.last",
    "contexts": "--space gpt2.occurrence.last --sample 10000",
    "neighbours": "--space gpt2.word.last --sample 10000",
    "column": "--column zipf_frequency --value hubness",
    "labels": "--label pos --layer 0,6,top",
}
_OF_METRIC = {
    "weat": "-x rose,tulip,daisy,lily -y wasp,ant,flea,spider",
    "ceat": "-x rose,tulip,daisy -y wasp,ant,flea",
    "sc-weat": "--word rose --word wasp", "axis": "--positive good,happy --negative bad,sad",
    "change": "--by year",
}  # fmt: skip


def example_of(path: str, needs: str = "") -> Example | None:
    """Return the example of a command by its path (``datasets fetch``), if any; ``needs``: of a
    metric.
    """
    group, _, metric = path.partition(" ")
    if group != "query" or not metric:
        return EXAMPLES.get(path)
    options = _OF_METRIC.get(metric) or _OF_METRICS.get(needs, "--model gpt2 --layer 0,6,top")
    return Example((f"embstore query {metric} {options}",), "reference/metrics.md")
