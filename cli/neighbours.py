"""``embstore neighbours`` and ``cosine``."""

from typing import Annotated, Literal

import typer

from . import _options
from ._options import examples, filters, open_store, split_words
from ._output import Output

app = typer.Typer()


@app.command(
    epilog=examples(
        "how-to/neighbours.md",
        "embstore neighbours dog -k 5 --layer 0,top",
        "embstore neighbours --positive king,woman --negative man",
        'embstore neighbours --text "the [bank] of the river"',
    )
)
def neighbours(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Words or sentences.")
    ] = None,
    marked: _options.Marked = None,
    positive: Annotated[
        list[str] | None,
        typer.Option(metavar="WORDS", help="Words to add, with commas or repeated: king,woman."),
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option(metavar="WORDS", help="Words to subtract, likewise: man.")
    ] = None,
    method: Annotated[
        Literal["3cosadd", "3cosmul"],
        typer.Option(help="How --positive and --negative words are combined."),
    ] = "3cosadd",
    k: Annotated[int, typer.Option("-k", metavar="N", help="Number of neighbours.")] = 10,
    exact: Annotated[
        bool, typer.Option("--exact", help="Scan the vectors, whatever indexes there are.")
    ] = False,
    embed: _options.Embed = False,
    download: _options.Download = False,
    allow_pickle: _options.AllowPickle = False,
    models: _options.Models = None,
    revisions: _options.Revisions = None,
    spaces: _options.Spaces = None,
    unit: _options.OfUnit = None,
    pooling: _options.OfPooling = None,
    template: _options.OfTemplate = None,
    layers: _options.Layers = _options.TOP,
    where: _options.Where = None,
    words: _options.Words = None,
    word: _options.Word = None,
    timeout: _options.Timeout = None,
    memory: _options.Memory = None,
    transforms: _options.Transforms = None,
    store: _options.StoreDir = None,
    store_option: _options.StoreOptions = None,
    form: _options.Form = None,
    as_json: _options.AsJson = False,
    as_csv: _options.AsCsv = False,
    output: _options.OutputFile = None,
    csv_safe: _options.CsvSafe = False,
    ids_as_text: _options.IdsAsText = False,
    quiet: _options.Quiet = False,
) -> None:
    """Show the nearest stored items of a text, by cosine, layers and models side by side.

    Instead of a text: --positive and --negative, for the items nearest to king + woman - man.
    """
    out = Output(form, as_json, as_csv, output, csv_safe, ids_as_text=ids_as_text, quiet=quiet)
    with out.progress():
        found = open_store(store, store_option).neighbours(
            texts or (),
            marked=marked or (),
            positive=split_words(positive),
            negative=split_words(negative),
            method=method,
            k=k,
            exact=exact,
            embed=embed,
            download=download,
            allow_pickle=allow_pickle,
            **filters(models, revisions, spaces, unit, pooling, template),
            layers=layers,
            where=where,
            words=words,
            word=word or (),
            timeout=timeout,
            memory=memory,
            transforms=transforms or (),
        )
    out.emit(found)


@app.command(
    epilog=examples(
        "how-to/neighbours.md",
        "embstore cosine bank river",
        'embstore cosine --text "the [bank] of the river" --text "a [bank] lends"',
    )
)
def cosine(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Words or sentences; of more than two, all pairs."),
    ] = None,
    marked: _options.Marked = None,
    embed: _options.Embed = False,
    download: _options.Download = False,
    allow_pickle: _options.AllowPickle = False,
    models: _options.Models = None,
    revisions: _options.Revisions = None,
    spaces: _options.Spaces = None,
    unit: _options.OfUnit = None,
    pooling: _options.OfPooling = None,
    template: _options.OfTemplate = None,
    layers: _options.Layers = _options.ALL,
    transforms: _options.Transforms = None,
    store: _options.StoreDir = None,
    store_option: _options.StoreOptions = None,
    form: _options.Form = None,
    as_json: _options.AsJson = False,
    as_csv: _options.AsCsv = False,
    output: _options.OutputFile = None,
    csv_safe: _options.CsvSafe = False,
    quiet: _options.Quiet = False,
) -> None:
    """Show the cosine of two texts, layers down and models side by side: exact, in float64."""
    out = Output(form, as_json, as_csv, output, csv_safe, quiet=quiet)
    with out.progress():
        found = open_store(store, store_option).cosine(
            texts or (),
            marked=marked or (),
            embed=embed,
            download=download,
            allow_pickle=allow_pickle,
            **filters(models, revisions, spaces, unit, pooling, template),
            layers=layers,
            transforms=transforms or (),
        )
    out.emit(found)
