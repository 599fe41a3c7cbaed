"""``embstore build``."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Exit, Option, Typer

from ._errors import NO, explained
from ._groups import as_arguments, opened_store, with_groups
from ._options import (
    ALL,
    AllowPickle,
    DeviceName,
    DryRun,
    IndexKind,
    Quiet,
    Unit,
    Values,
    computing_option,
    divided,
    examples,
    known_datasets,
    model_option,
    output_option,
    split_names,
)
from ._output import show_progress
from ._progress import summarise

if TYPE_CHECKING:
    from embstore.store import Store

app = Typer()

_INTERRUPTED = (
    "Interrupted. What was embedded is kept: run the same command again and it goes on from there."
)

_in_panels: Any = (
    partial(Option, rich_help_panel=title) for title in ("Texts", "Vectors", "Several machines")
)
_text_option, _vector_option, _machine_option = _in_panels
Float = Literal["float32", "float16"]


@app.command(
    epilog=examples(
        "how-to/build.md",
        "embstore build words rg65 --model minilm --model gpt2",
        "embstore build texts.csv --column sentence --unit sentence",
        "embstore build --model EleutherAI/pythia-70m --revision step0,step1000",
    )
)
@with_groups(opened=opened_store)
def build(
    sources: Annotated[
        Values,
        Argument(
            metavar="SOURCE",
            help=(
                "Files (.txt, .csv, .tsv, .jsonl, each also as .gz; .parquet), - for standard"
                " input, or datasets by name (see: embstore datasets)."
            ),
            show_default="words",
            autocompletion=known_datasets,
        ),
    ] = None,
    models: Annotated[
        Values,
        model_option(
            "--model",
            metavar="NAME",
            help=(
                "gpt2, clip, minilm, a hub id or a folder (repeatable, or with commas); also"
                " id@revision and name=folder."
            ),
            show_default="gpt2, clip",
            callback=divided,
            autocompletion=lambda: ["gpt2", "clip", "minilm"],
        ),
    ] = None,
    revisions: Annotated[
        Values,
        model_option(
            "--revision",
            metavar="NAMES",
            help=(
                "Revisions of each checkpoint on the hub, or subfolders of its folder, as in"
                " step0,step1000 (repeatable), a pattern such as 'step*', or all; each makes a"
                " space of its own."
            ),
        ),
    ] = None,
    weights_dtype: Annotated[
        Literal["float32", "bfloat16", "float16"],
        model_option(
            help="Type of the weights and of the computation; 16 bits take half the memory."
        ),
    ] = "float32",
    adapter: Annotated[
        str | None,
        model_option(
            metavar="PATH|ID",
            help="LoRA adapter of peft, a folder or hub id, to merge into the checkpoint.",
        ),
    ] = None,
    untrained: Annotated[
        int | None,
        model_option(
            metavar="SEED",
            help=("Take random weights, not the checkpoint's; the control for what training adds."),
        ),
    ] = None,
    allow_pickle: AllowPickle = False,
    columns: Annotated[
        Values,
        _text_option(
            "--column",
            metavar="NAME",
            help="Column of a table that holds texts (repeatable).",
            show_default="text, word, or the only one",
        ),
    ] = None,
    keep: Annotated[
        Values,
        _text_option(
            metavar="NAMES",
            help=(
                "Columns of a table to store, or all (repeatable), as in pos,freq; also file and"
                " line, the place of each text. For --where,"
                " --by, sql and export. n_tokens is stored without it."
            ),
            callback=split_names,
        ),
    ] = None,
    no_header: Annotated[
        bool,
        _text_option(
            "--no-header",
            help="CSV and TSV files begin with a text; --column 1, 2 … are their columns.",
        ),
    ] = False,
    delimiter: Annotated[
        str | None,
        _text_option(
            metavar="CHAR",
            help="Separator of CSV and TSV files, as in ';' or tab.",
            show_default="detected",
        ),
    ] = None,
    span: Annotated[
        str | None,
        _text_option(
            metavar="START,END",
            help=(
                "Columns with the start and end of a target in each sentence; in characters as in"
                " Python's text\\[start:end], or a column with both (4:8). Only these occurrences"
                " are embedded."
            ),
        ),
    ] = None,
    targets: Annotated[
        str | None,
        _text_option(
            metavar="brackets|COLUMN",
            help=(
                "Embed only the target of each sentence; in brackets, as in 'the \\[bank] of the"
                " river', or named by a column and once in the text."
            ),
        ),
    ] = None,
    limit: Annotated[
        int | None,
        _text_option(
            metavar="N", help="Stop after N texts; half a dataset is not kept as a dataset."
        ),
    ] = None,
    per_text: Annotated[
        int | None,
        _text_option(
            metavar="N", help="Draw N occurrences from each sentence, or tokens from each text."
        ),
    ] = None,
    special: Annotated[
        bool,
        _text_option(
            "--special", help="With --unit token, take the model's own special tokens too."
        ),
    ] = False,
    seed: Annotated[int, _text_option(metavar="S", help="Random seed of --per-text.")] = 0,
    unit: Annotated[
        Unit | None,
        _vector_option(
            help=(
                "What a vector stands for; occurrence: each word of each sentence, in its context;"
                " token: each token of each text, in order. Each unit has a space of its own."
            ),
            show_default=(
                "that of a dataset; of a file sentence if most of its texts have white space, word"
                " if hardly any have some"
            ),
        ),
    ] = None,
    poolings: Annotated[
        Values,
        _vector_option(
            "--pooling",
            metavar="NAME",
            help=(
                "How tokens become one vector (repeatable, or with commas): last, first, mean,"
                " mean-all (special tokens too), weighted and weighted-all (by position), bos, eos"
                " or projection, all by one forward pass;"
                " model: the checkpoint's own recipe, as in sentence-transformers."
            ),
            callback=divided,
            show_default=(
                "last; for sentences model if the checkpoint has a recipe, else eos if a causal"
                " model's input ends with it, else mean"
            ),
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        _vector_option(
            metavar="NAME",
            help="Prompt for --pooling model; '' for none.",
            show_default="that of the checkpoint's recipe",
        ),
    ] = None,
    template: Annotated[
        str,
        _vector_option(
            metavar="TEXT",
            help="Text around an item, as in 'This is {text}'; {bos} and {eos} are special tokens.",
        ),
    ] = "{text}",
    layers: Annotated[
        list[str],
        _vector_option("--layer", metavar="LAYERS", help="all, or as in 0,6,12, 0-6, -1."),
    ] = ALL,
    dtype: Annotated[
        Float, _vector_option(help="Type of the stored vectors; float16 takes half the room.")
    ] = "float32",
    long: Annotated[
        Literal["skip", "truncate", "error"] | None,
        _vector_option(
            help="What to do with a text longer than the context.",
            show_default="skip; of --pooling model truncate",
        ),
    ] = None,
    name: Annotated[
        str | None,
        _vector_option(
            metavar="NAME", help="Name of the space.", show_default="model.unit.pooling"
        ),
    ] = None,
    device: DeviceName = None,
    device_map: Annotated[
        Literal["auto", "balanced", "sequential"] | None,
        computing_option(help="Spread a model over all devices, by accelerate."),
    ] = None,
    batch_tokens: Annotated[
        int | None,
        computing_option(
            metavar="N", help="Number of tokens in a batch.", show_default="what suits the device"
        ),
    ] = None,
    shard: Annotated[
        str | None,
        _machine_option(
            metavar="I/N",
            help=(
                "Embed the I-th of N parts of the sources. N machines build one store between"
                " them, in a shared folder or bucket, or each in its own, to be merged; items are"
                " divided by item id. No index is made: embstore index does, afterwards."
            ),
        ),
    ] = None,
    on: Annotated[
        Literal["ray"] | None,
        _machine_option(
            help="Encode on a Ray cluster, whose nodes share the store's folder or its bucket."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        _machine_option(
            metavar="N", help="Number of workers on Ray.", show_default="as many as fit"
        ),
    ] = None,
    worker_gpus: Annotated[
        float | None,
        _machine_option(
            metavar="G", help="GPUs of each worker.", show_default="1 if the cluster has any"
        ),
    ] = None,
    worker_cpus: Annotated[
        int | None,
        _machine_option(
            metavar="C",
            help="CPU cores of each worker.",
            show_default="1 beside a GPU, else all of the smallest node",
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        _machine_option(
            metavar="HOST:PORT",
            help="Address of the Ray cluster.",
            show_default="$RAY_ADDRESS; without, Ray is started for this build",
        ),
    ] = None,
    index: Annotated[
        IndexKind,
        output_option(
            help=(
                "An index of each layer for neighbours, or none; auto: exact (flat) while that is"
                " fast."
            )
        ),
    ] = "auto",
    *,
    opened: "Store",
    dry_run: DryRun = False,
    strict: Annotated[
        bool, output_option("--strict", help="Exit with 1 if any text was skipped.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Embed the texts that are not stored yet, at every layer, and index them."""
    arguments = as_arguments(locals())
    arguments["header"] = not arguments.pop("no_header")
    with explained("Interrupted." if dry_run else _INTERRUPTED):
        with show_progress(quiet):
            report = opened.build(**arguments)
        if not quiet:
            summarise(report)
        if strict and report.n_skipped:
            raise Exit(NO)
