"""Read texts from sources: files, standard input and named datasets.

The entry point is ``open_source``. A source is read one row at a time (one batch at a time for Parquet).

    opening      a source from the file, dataset or ``-`` that the user named
    source       an opened source; rows: the rows that it yields
    files        opens and reads files, and reports system errors
    lines        text files; tables: CSV and TSV (delimiters: detects the delimiter); jsonl; parquet
    columns      chooses the columns of a table to read; kept: those whose values are stored with the texts
    iterables    the texts of Python iterables
    targets      the targets of sentences: in brackets, or given by columns
    datasets     the table of datasets (with listing, specs)
    published    datasets of papers: URL, hash, layout (with layouts, values); own: a user's (with records)
    analogies    questions of four words, of Google's format and that of BATS
    attributes   the attribute words of ValNorm
    cache        the folder of the files of datasets; download: downloads them
"""

from embstore.sources.datasets import (
    DATASETS,
    add_dataset,
    fetch_dataset,
    fetch_datasets,
    find_dataset,
    get_datasets,
    missing_datasets,
)
from embstore.sources.iterables import GivenTexts
from embstore.sources.kept import NO_COLUMNS, Cell, Keep
from embstore.sources.listing import list_datasets
from embstore.sources.opening import STDIN, open_source
from embstore.sources.rows import Blank, Row
from embstore.sources.source import Source
from embstore.sources.specs import DatasetSpec
from embstore.sources.targets import Targets

__all__ = [
    "DATASETS",
    "NO_COLUMNS",
    "STDIN",
    "Blank",
    "Cell",
    "DatasetSpec",
    "GivenTexts",
    "Keep",
    "Row",
    "Source",
    "Targets",
    "add_dataset",
    "fetch_dataset",
    "fetch_datasets",
    "find_dataset",
    "get_datasets",
    "list_datasets",
    "missing_datasets",
    "open_source",
]
