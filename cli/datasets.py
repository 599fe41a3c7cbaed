"""``embstore datasets``: list the datasets, download them, add copies and your own tables, store
their rows.
"""

from pathlib import Path
from typing import Annotated

import typer

from . import _options
from ._options import argument, grouped, open_store, option
from ._output import ShownItems, emit, say
from ._progress import show_progress
from ._reading import PlainCommand, PlainGroup

app = typer.Typer(cls=PlainGroup, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def datasets(
    context: typer.Context,
    form: _options.OutputFormat = _options.Format.TABLE,
    output: _options.OutputFile = None,
    csv_safe: _options.CsvSafe = False,
) -> None:
    """List the datasets: kind, unit, rows, whether they are at hand and sound, licence (--format
    json has more).
    """
    if context.invoked_subcommand is not None:
        return
    from embstore.store import Store

    emit(Store.datasets(), form, output, csv_safe=csv_safe)


@app.command("fetch", cls=PlainCommand)
def fetch(
    names: Annotated[list[str], argument("DATASET", "Datasets, as embstore datasets lists them.")],
    quiet: Annotated[bool, option("--quiet -q", "Show no progress, only errors.")] = False,
) -> None:
    """Download datasets into $EMBSTORE_DATA, else the platform's cache folder, and check their
    hashes.
    """
    from embstore.store import Store

    with show_progress(quiet):
        files = Store.fetch_datasets(names)
    if not quiet:
        for name, file in files.items():
            say(f"{name}: {'made here, nothing to download' if file is None else file}")


@app.command("add", cls=PlainCommand)
def add(
    name: Annotated[str, argument("NAME", "A listed dataset, or a new name for your own table.")],
    file: Annotated[
        Path,
        argument(
            "FILE",
            "Its file, or your table: .csv, .tsv, .jsonl (also .gz), .parquet; analogies: .txt, or"
            " a folder.",
        ),
    ],
    kind: Annotated[
        str | None,
        option("--kind pairs|lexicon|analogies", "For your own data: what its rows are."),
    ] = None,
    columns: Annotated[
        str | None,
        option(
            "--columns A,B,...",
            "For your own table: the two texts and the score of pairs, or the text and the value of"
            " a lexicon; of "
            "occurrences text1,start1,end1,text2,start2,end2,score, or three with targets in"
            " brackets.",
        ),
    ] = None,
    unit: Annotated[
        str,
        option(
            "--unit word|sentence|occurrence",
            "For your own table: what its texts are; occurrence: targets in sentences, as in WiC.",
        ),
    ] = "word",
    delimiter: Annotated[
        str | None,
        option(
            "--delimiter CHAR",
            "For your own CSV or TSV table: character between its columns, as in ';' or tab. "
            " [default: detected]",
        ),
    ] = None,
    no_header: Annotated[
        bool,
        option("--no-header", "Your own CSV or TSV table has no header; its columns are 1, 2, 3 …"),
    ] = False,
    comment: Annotated[
        str | None,
        option(
            "--comment SIGN",
            "Leave out the lines of your own CSV or TSV table that begin with it, as in '#'.",
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


@app.command("store", cls=PlainCommand)
def store_(
    names: Annotated[list[str], argument("DATASET", "Datasets, as embstore datasets lists them.")],
    unit: Annotated[
        str | None,
        option(
            "--unit word|sentence",
            "What the texts are as items.  [default: the dataset's own unit]",
        ),
    ] = None,
    store: _options.StoreDir = None,
    quiet: _options.QuietSummary = False,
) -> None:
    """Store the rows of datasets without embedding them, for spaces that have their texts, such as
    imported ones.
    """
    with show_progress(quiet):
        stored = open_store(store).store_datasets(names, unit=unit)
    if not quiet:
        for row in stored:
            say(
                f"{row['dataset']}: {row['rows']:,} rows ({row['kind']}) stored for spaces of"
                f" {row['unit']}s"
            )


@app.command("missing", cls=PlainCommand)
@grouped
def missing(
    sources: Annotated[
        list[str], argument("SOURCE", "Datasets, in the store or at hand, and files of texts.")
    ],
    span: Annotated[
        str | None,
        option("--span START,END", "Columns with the targets of sentences, as in a build."),
    ] = None,
    targets: Annotated[
        str | None, option("--targets brackets|COLUMN", "The targets of sentences, as in a build.")
    ] = None,
    *,
    filters: _options.Filters,
    shown: ShownItems,
) -> None:
    """List the texts of datasets and files that are missing in the spaces of a store."""
    shown.emit(
        open_store(shown.store).missing(sources, span=span or (), targets=targets, **filters)
    )
