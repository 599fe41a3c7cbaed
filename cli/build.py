"""``embstore build``."""

from typing import Annotated

import typer

from ._errors import NO, explained
from ._options import StoreDir


def build(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Files (.txt, .csv, .tsv, .jsonl, .parquet), - for standard input, or a dataset's name.  "
            "[default: words]",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="gpt2, clip, minilm, a hub id (id@revision), a folder, or name=folder (repeatable).  "
            "[default: gpt2, clip]",
        ),
    ] = None,
    unit: Annotated[str, typer.Option("--unit", help="word, sentence or occurrence.")] = "word",
    pooling: Annotated[
        list[str] | None,
        typer.Option(
            "--pooling",
            help="last, first, mean, bos, eos or projection (repeatable).  [default: last; of sentences eos or mean]",
        ),
    ] = None,
    template: Annotated[
        str,
        typer.Option("--template", help="The text put round an item; {bos} and {eos} are special tokens."),
    ] = "{text}",
    layers: Annotated[str, typer.Option("--layers", help="all, 0,6,12, 0-12, -1 …")] = "all",
    dtype: Annotated[str, typer.Option("--dtype", help="float32 or float16, as stored.")] = "float32",
    column: Annotated[list[str] | None, typer.Option("--column", help="Column of a table (repeatable).")] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="Stop after N texts.")] = None,
    per_text: Annotated[
        int | None, typer.Option("--per-text", metavar="N", help="Of occurrences, draw N from each sentence.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of that draw.")] = 0,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the space.  [default: model.unit.pooling]")
    ] = None,
    index: Annotated[str, typer.Option("--index", help="flat or none.")] = "flat",
    long: Annotated[str, typer.Option("--long", help="Texts over the context: skip, truncate or error.")] = "skip",
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda …  [default: an accelerator if any]")
    ] = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", metavar="N", help="Tokens of a batch.")] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Load pickled weights, which can run code, if there are no others."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if any text was skipped.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
    store: StoreDir = None,
) -> None:
    """Embed what the store lacks of some texts, every layer, and index it."""
    from embstore.store import DEFAULT_MODELS, DEFAULT_SOURCES, Store

    from ._progress import show_progress, summarise

    with explained("Interrupted. What was embedded is kept: run the same command again and it goes on from there."):
        with show_progress(quiet) as observe:
            report = Store(store).build(
                sources or DEFAULT_SOURCES, models=model or DEFAULT_MODELS, unit=unit, poolings=pooling or (),
                template=template, layers=layers, dtype=dtype, columns=column or (), limit=limit, per_text=per_text,
                seed=seed, name=name, index=index, long=long, device=device, batch_tokens=batch_tokens,
                allow_pickle=allow_pickle, dry_run=dry_run, observe=observe,
            )  # fmt: skip
        if not quiet:
            summarise(report)
        if strict and report.n_skipped:
            raise typer.Exit(NO)
