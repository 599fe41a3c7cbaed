"""``embstore datasets``: list the datasets, download them, add copies, store their rows."""

from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Context, Option, Typer

from ._groups import Arguments, as_arguments, filters, opened_store, plain_output, with_groups
from ._options import Quiet, examples, known_datasets
from ._output import Output, print_message, show_progress

if TYPE_CHECKING:
    from embstore.store import Store

app = Typer()
_datasets = Typer()
app.add_typer(_datasets, name="datasets")

Names = Annotated[
    list[str],
    Argument(
        metavar="DATASET",
        help="Datasets, as embstore datasets lists them.",
        autocompletion=known_datasets,
    ),
]


@_datasets.callback(
    invoke_without_command=True,
    epilog=examples("how-to/datasets.md", "embstore datasets", "embstore datasets fetch rg65 stsb"),
)
@with_groups(out=plain_output)
def datasets(ctx: Context, *, out: Output) -> None:
    """List the datasets: kind, unit, rows, whether they are at hand and sound, licence (--format
    json has more).
    """
    if ctx.invoked_subcommand is not None:
        return
    from embstore.store import Store

    out.emit(Store.datasets())


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
            print_message(f"{name}: {'made here, nothing to download' if file is None else file}")


@_datasets.command(
    epilog=examples(
        "how-to/datasets.md",
        "embstore datasets add mine pairs.csv",
        "embstore datasets add rg65 rg65.csv",
    )
)
@with_groups(opened=opened_store)
def add(
    name: Annotated[
        str,
        Argument(
            metavar="NAME",
            help="A new name, or that of a published dataset.",
            autocompletion=known_datasets,
        ),
    ],
    file: Annotated[
        str,
        Argument(
            metavar="FILE",
            help="Pairs of texts with a score, columns after a colon if need be (pairs.csv:a,b,s);"
            " or the published file.",
        ),
    ],
    unit: Annotated[
        Literal["word", "sentence", "occurrence"] | None,
        Option(help="What the texts of pairs are.", show_default="what white space shows"),
    ] = None,
    *,
    opened: "Store",
) -> None:
    """Store pairs of your own as a dataset, which similarity and alignment then use.

    The file of a published dataset, whose hash is checked, is copied to its place instead, for a
    machine without a network.
    """
    if any(row["name"] == name for row in opened.datasets()):
        [row] = opened.add_dataset(name, file)
        print_message(f"{name}: {row['rows']:,} rows ({row['kind']}), in {row['file']}.")
    else:
        [row] = opened.add_pairs(name, file, unit=unit)
        print_message(f"{name}: {row['rows']:,} {row['kind']} stored.")


@_datasets.command(
    "store", epilog=examples("how-to/vectors.md", "embstore datasets store rg65 simlex999")
)
@with_groups(opened=opened_store)
def store_(
    names: Names,
    unit: Annotated[
        Literal["word", "sentence"] | None,
        Option(help="What the texts are as items.", show_default="the dataset's own unit"),
    ] = None,
    *,
    opened: "Store",
    quiet: Quiet = False,
) -> None:
    """Store the rows of datasets without embedding them, for spaces that have their texts, such as
    imported ones.
    """
    with show_progress(quiet):
        stored = opened.store_datasets(names, unit=unit)
    if not quiet:
        for row in stored:
            print_message(
                f"{row['dataset']}: {row['rows']:,} rows ({row['kind']}) stored for spaces of"
                f" {row['unit']}s"
            )


@_datasets.command(
    epilog=examples("how-to/datasets.md", "embstore datasets missing rg65 --model gpt2")
)
@with_groups(opened=opened_store, chosen=filters, out=Output)
def missing(
    sources: Annotated[
        list[str],
        Argument(
            metavar="SOURCE",
            help="Datasets, in the store or at hand, and files of texts.",
            autocompletion=known_datasets,
        ),
    ],
    span: Annotated[
        str | None,
        Option(metavar="START,END", help="Columns with the targets of sentences, as in a build."),
    ] = None,
    targets: Annotated[
        str | None,
        Option(metavar="brackets|COLUMN", help="The targets of sentences, as in a build."),
    ] = None,
    *,
    chosen: Arguments,
    opened: "Store",
    out: Output,
) -> None:
    """List the texts of datasets and files that are missing in the spaces of a store."""
    out.emit(opened.missing(**as_arguments(locals())))
