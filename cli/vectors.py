"""``embstore import`` and ``export``: vectors of other programs."""

from pathlib import Path
from typing import Annotated, Any

from . import _options
from ._errors import explained
from ._options import UNITS, IndexMemory, QuietSummary, StoreDir, argument, open_store, option
from ._progress import show_progress, tell


def _arguments(
    files: Annotated[
        list[str],
        argument("FILE", "Files of vectors, which become one space; text formats also as .gz."),
    ],
    name: Annotated[
        str | None,
        option(
            "--name NAME",
            "Name of the space.  [default: that of the only file, without its suffix]",
        ),
    ] = None,
    format: Annotated[
        str | None,
        option(
            "--as FORMAT",
            "Format of the files, such as npy, word2vec or glove.  [default: found by suffix and"
            " content]",
        ),
    ] = None,
    unit: Annotated[
        str,
        option(
            f"--unit {UNITS}",
            "What a vector stands for; occurrence: a word with its sentence, in the columns"
            " context, start, "
            "end.",
        ),
    ] = "word",
    layers: Annotated[
        str | None,
        option(
            "--layer LAYERS",
            "Numbers of the layers, as in 6, 0-12 or 0,6,12.  [default: what the file says, else 0,"
            " 1 …]",
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        option(
            "--texts FILE",
            "Texts of an array, in the order of rows: .txt (one a line), .jsonl, .csv, .tsv,"
            " .parquet or .npy.",
        ),
    ] = None,
    column: Annotated[
        str | None,
        option("--column NAME", "Column with the texts.  [default: text, word, token or key]"),
    ] = None,
    vector_column: Annotated[
        str | None,
        option(
            "--vector-column NAME",
            "Column or array with the vectors.  [default: the only one that fits]",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        option(
            "--dtype float32|float16",
            "Type of the stored vectors.  [default: float16 for vectors of this type, else"
            " float32]",
        ),
    ] = None,
    index: Annotated[
        str, option("--index auto|flat|hnsw|none", "An index of each layer, as in a build.")
    ] = "auto",
    index_memory: IndexMemory = None,
    allow_pickle: Annotated[
        bool, option("--allow-pickle", "Load pickles, which can run code: of files that you trust.")
    ] = False,
) -> None:
    """Declare the arguments of :meth:`Store.import_vectors`."""


def import_(
    *,
    given: Annotated[dict[str, Any], _arguments],
    quiet: QuietSummary = False,
    store: StoreDir = None,
) -> None:
    """Import vectors that were made elsewhere into a space of their own, and index them."""
    with explained(
        "Interrupted. What was imported is kept: run the same command again and it goes on from"
        " there."
    ):
        with show_progress(quiet):
            report = open_store(store).import_vectors(**given)
        if not quiet:
            tell(report)


def _export_arguments(
    dest: Annotated[Path, argument("DEST", "File or folder to write.")],
    space: Annotated[
        str | None, option("--space NAME", "Space to export.  [default: the only one of the store]")
    ] = None,
    format: Annotated[
        str | None,
        option(
            "--as FORMAT",
            "Format, such as parquet, npy or word2vec.  [default: found by the suffix of DEST]",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        option(
            "--layer LAYERS",
            f"{_options.LAYER_HELP}  [default: all, or top if the format has room for one]",
        ),
    ] = None,
    where: Annotated[
        str | None,
        option("--where SQL", "Export the items for which this holds: --where \"text LIKE 'a%'\"."),
    ] = None,
    *,
    listed: _options.Listed,
    transforms: _options.Transforms = None,
    keep: Annotated[
        list[str] | None,
        option(
            "--keep NAMES",
            "Columns of the items to export too, as in pos,freq (repeatable), or all that are"
            " stored.",
            callback=_options.split_names,
        ),
    ] = None,
    force: Annotated[bool, option("--force", "Replace what is at DEST.")] = False,
) -> None:
    """Declare the arguments of :meth:`Store.export`."""


def export(
    *,
    given: Annotated[dict[str, Any], _export_arguments],
    quiet: QuietSummary = False,
    store: StoreDir = None,
) -> None:
    """Write the vectors of a space to a file or folder in the format of another program."""
    with explained("Interrupted. Nothing was written."):
        with show_progress(quiet):
            report = open_store(store).export(**given)
        if not quiet:
            tell(report)
