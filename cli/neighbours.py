"""``embstore neighbours`` and ``cosine``."""

from typing import Annotated, Literal

from typer import Argument, Option, Typer

from ._options import (
    ALL,
    TOP,
    AllowPickle,
    AsCsv,
    AsJson,
    CsvSafe,
    Download,
    Embed,
    Form,
    IdsAsText,
    Layers,
    Marked,
    Memory,
    Models,
    OfPooling,
    OfTemplate,
    OfUnit,
    OutputFile,
    Quiet,
    Revisions,
    Spaces,
    StoreDir,
    StoreOptions,
    Timeout,
    Transforms,
    Where,
    Word,
    Words,
    examples,
    filters,
    open_store,
    split_words,
)
from ._output import Output

app = Typer()


@app.command(
    epilog=examples(
        "how-to/neighbours.md",
        "embstore neighbours dog -k 5 --layer 0,top",
        "embstore neighbours --positive king,woman --negative man",
        'embstore neighbours --text "the [bank] of the river"',
    )
)
def neighbours(
    texts: Annotated[list[str] | None, Argument(metavar="TEXT", help="Words or sentences.")] = None,
    marked: Marked = None,
    positive: Annotated[
        list[str] | None,
        Option(metavar="WORDS", help="Words to add, with commas or repeated: king,woman."),
    ] = None,
    negative: Annotated[
        list[str] | None, Option(metavar="WORDS", help="Words to subtract, likewise: man.")
    ] = None,
    method: Annotated[
        Literal["3cosadd", "3cosmul"],
        Option(help="How --positive and --negative words are combined."),
    ] = "3cosadd",
    k: Annotated[int, Option("-k", "--k", metavar="N", help="Number of neighbours.")] = 10,
    exact: Annotated[
        bool, Option("--exact", help="Scan the vectors, whatever indexes there are.")
    ] = False,
    embed: Embed = False,
    download: Download = False,
    allow_pickle: AllowPickle = False,
    models: Models = None,
    revisions: Revisions = None,
    spaces: Spaces = None,
    unit: OfUnit = None,
    pooling: OfPooling = None,
    template: OfTemplate = None,
    layers: Layers = TOP,
    where: Where = None,
    words: Words = None,
    word: Word = None,
    timeout: Timeout = None,
    memory: Memory = None,
    transforms: Transforms = None,
    store: StoreDir = None,
    store_option: StoreOptions = None,
    form: Form = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
    ids_as_text: IdsAsText = False,
    quiet: Quiet = False,
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
        Argument(metavar="TEXT", help="Words or sentences; of more than two, all pairs."),
    ] = None,
    marked: Marked = None,
    embed: Embed = False,
    download: Download = False,
    allow_pickle: AllowPickle = False,
    models: Models = None,
    revisions: Revisions = None,
    spaces: Spaces = None,
    unit: OfUnit = None,
    pooling: OfPooling = None,
    template: OfTemplate = None,
    layers: Layers = ALL,
    transforms: Transforms = None,
    store: StoreDir = None,
    store_option: StoreOptions = None,
    form: Form = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
    quiet: Quiet = False,
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
