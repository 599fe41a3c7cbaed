"""``embstore import`` and ``export``: vectors of other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option, Typer

from ._errors import explained
from ._groups import Arguments, as_arguments, conditions, opened_store, with_groups
from ._options import (
    LAYER_HELP,
    IndexKind,
    Quiet,
    Transforms,
    Unit,
    Values,
    examples,
    split_names,
    stored_spaces,
)
from ._output import show_progress
from ._progress import print_report

if TYPE_CHECKING:
    from embstore.store import Store

app = Typer()


@app.command(
    "import",
    epilog=examples(
        "how-to/vectors.md",
        "embstore import glove.6B.300d.txt --name glove",
        "embstore import layers.npy --texts words.txt --name mine --layer 0-12",
    ),
)
@with_groups(opened=opened_store)
def import_(
    files: Annotated[
        list[str],
        Argument(
            metavar="FILE",
            help="Files of vectors, which become one space; text formats also as .gz.",
        ),
    ],
    name: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Name of the space.",
            show_default="that of the only file, without its suffix",
        ),
    ] = None,
    format: Annotated[
        str | None,
        Option(
            "--as",
            metavar="FORMAT",
            help="Format of the files, such as npy, word2vec or glove.",
            show_default="found by suffix and content",
        ),
    ] = None,
    unit: Annotated[
        Unit,
        Option(
            help=(
                "What a vector stands for; occurrence: a word with its sentence, in the columns"
                " context, start, end."
            )
        ),
    ] = "word",
    layers: Annotated[
        Values,
        Option(
            "--layer",
            metavar="LAYERS",
            help="Numbers of the layers, as in 6, 0-12 or 0,6,12.",
            show_default="what the file says, else 0, 1 …",
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help=(
                "Texts of an array, in the order of rows: .txt (one a line), .jsonl, .csv, .tsv,"
                " .parquet or .npy."
            ),
        ),
    ] = None,
    column: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Column with the texts.",
            show_default="text or word; of vectors in a table also token, key or sentence",
        ),
    ] = None,
    vector_column: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Column or array with the vectors.",
            show_default="the only one that fits",
        ),
    ] = None,
    keep: Annotated[
        Values,
        Option(
            metavar="NAMES",
            help=(
                "Columns of the file, or of --texts, to store, or all (repeatable), as in"
                " pos,freq; for --where, --by, sql and export."
            ),
            callback=split_names,
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "float16"] | None,
        Option(
            help="Type of the stored vectors.",
            show_default="float16 for vectors of this type, else float32",
        ),
    ] = None,
    index: Annotated[IndexKind, Option(help="An index of each layer, as in a build.")] = "auto",
    allow_pickle: Annotated[
        bool,
        Option("--allow-pickle", help="Load pickles, which can run code: of files that you trust."),
    ] = False,
    *,
    opened: "Store",
    quiet: Quiet = False,
) -> None:
    """Import vectors that were made elsewhere into a space of their own, and index them."""
    arguments = as_arguments(locals())
    with explained(
        "Interrupted. What was imported is kept: run the same command again and it goes on from"
        " there."
    ):
        with show_progress(quiet):
            report = opened.import_vectors(**arguments)
        if not quiet:
            print_report(report)


@app.command(
    epilog=examples(
        "how-to/pool.md",
        "embstore build sentences.txt --unit occurrence --model minilm",
        "embstore pool minilm.occurrence.last --min 5 --name minilm.pooled",
        "embstore query similarity --space minilm.pooled",
    )
)
@with_groups(opened=opened_store)
def pool(
    space: Annotated[
        str,
        Argument(
            metavar="SPACE",
            help="Space of occurrences, or of tokens.",
            autocompletion=stored_spaces,
        ),
    ],
    name: Annotated[str, Option(metavar="NAME", help="Name of the new space.", show_default=False)],
    by: Annotated[
        Literal["word", "context"],
        Option(
            help="One vector for each word, as it is written, or for each text that items are in."
        ),
    ] = "word",
    min: Annotated[
        int, Option("--min", metavar="N", help="Leave out what has fewer vectors.", min=1)
    ] = 1,
    how: Annotated[
        Literal["mean", "first-pc"],
        Option(
            "--as",
            help=(
                "The mean, or the first principal component of the vectors, not centred, towards"
                " their mean."
            ),
        ),
    ] = "mean",
    index: Annotated[IndexKind, Option(help="An index of each layer, as in a build.")] = "auto",
    *,
    opened: "Store",
    quiet: Quiet = False,
) -> None:
    """Make one vector for each word from those of its occurrences, as a space of its own.

    With --by context, one for each text from those of its tokens or words. The space is like any
    other, has the column n_pooled, and is made again by the same command once SPACE has changed.
    """
    arguments = as_arguments(locals())
    with explained("Interrupted. The store is as it was."):
        with show_progress(quiet):
            report = opened.pool(**arguments)
        if not quiet:
            print_report(report)


@app.command(
    epilog=examples(
        "how-to/vectors.md",
        "embstore export vectors.parquet --space gpt2.word.last --layer 0,6,top",
        "embstore export gpt2.vec --layer top --transform center",
    )
)
@with_groups(opened=opened_store, items=conditions)
def export(
    dest: Annotated[Path, Argument(metavar="DEST", help="File or folder to write.")],
    space: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Space to export.",
            show_default="the only one of the store",
            autocompletion=stored_spaces,
        ),
    ] = None,
    format: Annotated[
        str | None,
        Option(
            "--as",
            metavar="FORMAT",
            help="Format, such as parquet, npy or word2vec.",
            show_default="found by the suffix of DEST",
        ),
    ] = None,
    layers: Annotated[
        Values,
        Option(
            "--layer",
            metavar="LAYERS",
            help=LAYER_HELP,
            show_default="all, or top if the format has room for one",
        ),
    ] = None,
    keep: Annotated[
        Values,
        Option(
            metavar="NAMES",
            help=(
                "Columns of the items to export too, as in pos,freq (repeatable), or all that are"
                " stored."
            ),
            callback=split_names,
        ),
    ] = None,
    force: Annotated[bool, Option("--force", help="Replace what is at DEST.")] = False,
    *,
    items: Arguments,
    transforms: Transforms = None,
    opened: "Store",
    quiet: Quiet = False,
) -> None:
    """Write the vectors of a space to a file or folder in the format of another program."""
    arguments = as_arguments(locals())
    with explained("Interrupted. Nothing was written."):
        with show_progress(quiet):
            report = opened.export(**arguments)
        if not quiet:
            print_report(report)
