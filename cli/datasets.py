"""``embstore datasets``: list the datasets, download them, add copies and your own tables, store
their rows.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ._options import (
    AsCsv,
    AsJson,
    CsvSafe,
    Form,
    IdsAsText,
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
    Unit,
    examples,
    filters,
    known_datasets,
    open_store,
)
from ._output import Output, say
from ._progress import show_progress

app = typer.Typer()
_datasets = typer.Typer()
app.add_typer(_datasets, name="datasets")

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="DATASET",
        help="Datasets, as embstore datasets lists them.",
        autocompletion=known_datasets,
    ),
]


@_datasets.callback(
    invoke_without_command=True,
    epilog=examples("how-to/datasets.md", "embstore datasets", "embstore datasets fetch rg65 stsb"),
)
def datasets(
    ctx: typer.Context,
    form: Form = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
) -> None:
    """List the datasets: kind, unit, rows, whether they are at hand and sound, licence (--format
    json has more).
    """
    if ctx.invoked_subcommand is not None:
        return
    from embstore.store import Store

    Output(form, as_json, as_csv, output, csv_safe).emit(Store.datasets())


@_datasets.command(epilog=examples("how-to/datasets.md", "embstore datasets fetch rg65 stsb"))
def fetch(names: Names, quiet: Quiet = False) -> None:
    """Download datasets into $EMBSTORE_DATA, else the platform's cache folder, and check their
    hashes.
    """
    from embstore.store import Store

    with show_progress(quiet):
        files = Store.fetch_datasets(names)
    if not quiet:
        for name, file in files.items():
            say(f"{name}: {'made here, nothing to download' if file is None else file}")


@_datasets.command(
    epilog=examples(
        "how-to/datasets.md",
        "embstore datasets add mine pairs.csv --kind pairs --columns a,b,score",
    )
)
def add(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A listed dataset, or a new name for your own table."),
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=(
                "Its file, or your table: .csv, .tsv, .jsonl (also .gz), .parquet; analogies:"
                " .txt, or a folder."
            ),
        ),
    ],
    kind: Annotated[
        Literal["pairs", "lexicon", "analogies"] | None,
        typer.Option(help="For your own data: what its rows are."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help=(
                "For your own table: the two texts and the score of pairs, or the text and the"
                " value of a lexicon; of occurrences text1,start1,end1,text2,start2,end2,score, or"
                " three with targets in brackets."
            ),
        ),
    ] = None,
    unit: Annotated[
        Unit,
        typer.Option(
            help=(
                "For your own table: what its texts are; occurrence: targets in sentences, as in"
                " WiC."
            )
        ),
    ] = "word",
    delimiter: Annotated[
        str | None,
        typer.Option(
            metavar="CHAR",
            help=(
                "For your own CSV or TSV table: character between its columns, as in ';' or tab."
            ),
            show_default="detected",
        ),
    ] = None,
    no_header: Annotated[
        bool,
        typer.Option(
            "--no-header", help="Your own CSV or TSV table has no header; its columns are 1, 2, 3 …"
        ),
    ] = False,
    comment: Annotated[
        str | None,
        typer.Option(
            metavar="SIGN",
            help="Leave out the lines of your own CSV or TSV table that begin with it, as in '#'.",
        ),
    ] = None,
) -> None:
    """Keep a local copy of a dataset (its hash is checked), or a table of your own as a dataset."""
    from embstore.store import Store

    [row] = Store.add_dataset(
        name,
        file,
        kind=kind,
        columns=columns or (),
        unit=unit,
        header=not no_header,
        delimiter=delimiter,
        comment=comment,
    )
    command = f"embstore build {name} --model MODEL"
    say(f"{name}: {row['rows']:,} rows ({row['kind']}), in {row['file']}. Embed it with: {command}")


@_datasets.command(
    "store", epilog=examples("how-to/vectors.md", "embstore datasets store rg65 simlex999")
)
def store_(
    names: Names,
    unit: Annotated[
        Literal["word", "sentence"] | None,
        typer.Option(help="What the texts are as items.", show_default="the dataset's own unit"),
    ] = None,
    store: StoreDir = None,
    store_option: StoreOptions = None,
    quiet: Quiet = False,
) -> None:
    """Store the rows of datasets without embedding them, for spaces that have their texts, such as
    imported ones.
    """
    with show_progress(quiet):
        stored = open_store(store, store_option).store_datasets(names, unit=unit)
    if not quiet:
        for row in stored:
            say(
                f"{row['dataset']}: {row['rows']:,} rows ({row['kind']}) stored for spaces of"
                f" {row['unit']}s"
            )


@_datasets.command(
    epilog=examples("how-to/datasets.md", "embstore datasets missing rg65 --model gpt2")
)
def missing(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Datasets, in the store or at hand, and files of texts.",
            autocompletion=known_datasets,
        ),
    ],
    span: Annotated[
        str | None,
        typer.Option(
            metavar="START,END", help="Columns with the targets of sentences, as in a build."
        ),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(metavar="brackets|COLUMN", help="The targets of sentences, as in a build."),
    ] = None,
    models: Models = None,
    revisions: Revisions = None,
    spaces: Spaces = None,
    unit: OfUnit = None,
    pooling: OfPooling = None,
    template: OfTemplate = None,
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
    """List the texts of datasets and files that are missing in the spaces of a store."""
    out = Output(form, as_json, as_csv, output, csv_safe, ids_as_text=ids_as_text, quiet=quiet)
    chosen = filters(models, revisions, spaces, unit, pooling, template)
    out.emit(
        open_store(store, store_option).missing(sources, span=span or (), targets=targets, **chosen)
    )
