"""``embstore build``."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from . import _options
from ._errors import NO, explained
from ._options import argument, open_store, option, split_names
from ._progress import show_progress, summarise

_STOPPED = "Interrupted."
_INTERRUPTED = (
    "Interrupted. What was embedded is kept: run the same command again and it goes on from there."
)


def _arguments(
    sources: Annotated[
        list[str] | None,
        argument(
            "SOURCE",
            "Files (.txt, .csv, .tsv, .jsonl, each also as .gz; .parquet), - for standard input, or"
            " datasets by name (see: "
            "embstore datasets).  [default: words]",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        option(
            "--model NAME",
            "gpt2, clip, minilm, a hub id or a folder (repeatable); also id@revision and"
            " name=folder.  [default: gpt2, "
            "clip]",
        ),
    ] = None,
    revisions: Annotated[
        list[str] | None,
        option(
            "--revision NAMES",
            "Revisions of each checkpoint on the hub, or subfolders of its folder, as in"
            " step0,step1000 (repeatable), a "
            "pattern such as 'step*', or all; each makes a space of its own.",
        ),
    ] = None,
    unit: Annotated[
        str | None,
        option(
            f"--unit {_options.UNITS}",
            "What a vector stands for; occurrence: each word of each sentence, in its context. Each"
            " unit has a space of "
            "its own.  [default: that of a dataset; of a file sentence if most of its texts have"
            " white space, word if "
            "hardly any have some]",
        ),
    ] = None,
    poolings: Annotated[
        list[str] | None,
        option(
            f"--pooling {_options.POOLINGS}",
            "How tokens become one vector (repeatable). All but model take one forward pass; model:"
            " the checkpoint's own "
            "recipe, as in sentence-transformers.  [default: last; for sentences model if the"
            " checkpoint has a recipe, "
            "else eos if a causal model's input ends with it, else mean]",
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        option(
            "--prompt NAME",
            "Prompt for --pooling model; '' for none.  [default: that of the checkpoint's recipe]",
        ),
    ] = None,
    template: Annotated[
        str,
        option(
            "--template TEXT",
            "Text around an item, as in 'This is {text}'; {bos} and {eos} are special tokens.",
        ),
    ] = "{text}",
    layers: Annotated[str, option("--layer LAYERS", "all, or as in 0,6,12, 0-6, -1.")] = "all",
    dtype: Annotated[
        str, option("--dtype float32|float16", "Type of the stored vectors.")
    ] = "float32",
    weights_dtype: Annotated[
        str,
        option(
            "--weights-dtype float32|bfloat16|float16",
            "Type of the weights and of the computation; 16 bits take half the memory.",
        ),
    ] = "float32",
    untrained: Annotated[
        int | None,
        option(
            "--untrained SEED",
            "Take random weights, not the checkpoint's; the control for what training adds.",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        option(
            "--column NAME",
            "Column of a table that holds texts (repeatable).  [default: text, or the only one]",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        option(
            "--keep NAMES",
            "Columns of a table to store, or all (repeatable), as in pos,freq; for --where, --by,"
            " sql and export. n_tokens "
            "is stored without it.",
            callback=split_names,
        ),
    ] = None,
    no_header: Annotated[
        bool,
        option(
            "--no-header", "CSV and TSV files begin with a text; --column 1, 2 … are their columns."
        ),
    ] = False,
    delimiter: Annotated[
        str | None,
        option(
            "--delimiter CHAR",
            "Separator of CSV and TSV files, as in ';' or tab.  [default: detected]",
        ),
    ] = None,
    span: Annotated[
        str | None,
        option(
            "--span START,END",
            "Columns with the start and end of a target in each sentence; in characters as in"
            " Python's text[start:end], or "
            "a column with both (4:8). Only these occurrences are embedded.",
        ),
    ] = None,
    targets: Annotated[
        str | None,
        option(
            "--targets brackets|COLUMN",
            "Embed only the target of each sentence; in brackets, as in 'the [bank] of the river',"
            " or named by a column "
            "and once in the text.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        option("--limit N", "Stop after N texts; half a dataset is not kept as a dataset."),
    ] = None,
    per_text: Annotated[
        int | None, option("--per-text N", "Draw N occurrences from each sentence.")
    ] = None,
    seed: Annotated[int, option("--seed S", "Random seed of --per-text.")] = 0,
    name: Annotated[
        str | None, option("--name NAME", "Name of the space.  [default: model.unit.pooling]")
    ] = None,
    index: Annotated[
        str,
        option(
            "--index auto|flat|hnsw|none",
            "An index of each layer for neighbours, or none; auto: exact (flat) while that is"
            " fast.",
        ),
    ] = "auto",
    index_memory: _options.IndexMemory = None,
    long: Annotated[
        str | None,
        option(
            "--long skip|truncate|error",
            "What to do with a text longer than the context.  [default: skip; of --pooling model"
            " truncate]",
        ),
    ] = None,
    device: _options.DeviceName = None,
    device_map: Annotated[
        str | None,
        option(
            "--device-map auto|balanced|sequential",
            "Spread a model over all devices, by accelerate.",
        ),
    ] = None,
    batch_tokens: Annotated[
        int | None,
        option(
            "--batch-tokens N", "Number of tokens in a batch.  [default: what suits the device]"
        ),
    ] = None,
    allow_pickle: _options.AllowPickle = False,
    shard: Annotated[
        str | None,
        option(
            "--shard I/N",
            "Embed the I-th of N parts of the sources. N machines build one store between them, in"
            " a shared folder or "
            "bucket, or each in its own, to be merged; items are divided by item id.",
        ),
    ] = None,
    on: Annotated[
        str | None,
        option(
            "--on ray",
            "Encode on a Ray cluster. Its nodes share the store's folder, or reach its bucket.",
        ),
    ] = None,
    workers: Annotated[
        int | None, option("--workers N", "Number of workers on Ray.  [default: as many as fit]")
    ] = None,
    worker_gpus: Annotated[
        float | None,
        option("--worker-gpus G", "GPUs of each worker.  [default: 1 if the cluster has any]"),
    ] = None,
    worker_cpus: Annotated[
        int | None,
        option(
            "--worker-cpus C",
            "CPU cores of each worker.  [default: 1 beside a GPU, else all of the smallest node]",
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        option(
            "--ray-address HOST:PORT",
            "Address of the Ray cluster.  [default: $RAY_ADDRESS; without, Ray is started for this"
            " build]",
        ),
    ] = None,
    dry_run: _options.DryRun = False,
) -> None:
    """Declare the arguments of :meth:`Store.build`; without a header a table has ``no_header``."""


@dataclass(frozen=True)
class SourceName:
    """Name of a source: a path, so that it is not taken for a text."""

    name: str

    def __fspath__(self) -> str:
        return self.name


def build(
    *,
    given: Annotated[dict[str, Any], _arguments],
    strict: Annotated[bool, option("--strict", "Exit with 1 if any text was skipped.")] = False,
    quiet: _options.QuietSummary = False,
    store: _options.StoreDir = None,
) -> None:
    """Embed the texts that are not stored yet, at every layer, and index them."""
    with explained(_STOPPED if given["dry_run"] else _INTERRUPTED):
        from embstore.store import DEFAULT_MODELS

        given["models"] = given["models"] or DEFAULT_MODELS
        with show_progress(quiet):
            report = open_store(store).build(
                [SourceName(name) for name in given.pop("sources") or ()] or None,
                header=not given.pop("no_header"),
                **given,
            )
        if not quiet:
            summarise(report)
        if strict and report.n_skipped:
            raise typer.Exit(NO)
