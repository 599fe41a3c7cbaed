"""Sources: where texts come from. Files, standard input and named datasets become rows of text.

``open_source`` is the door; a source streams, and holds one row at a time (one batch for Parquet).

    opening      from what a user wrote to a source
    source       one that is opened; rows: what it gives
    files        opened and read, and what the system refuses
    lines        text files; tables: CSV and TSV (delimiters: what separates their columns); jsonl; parquet;
                 columns: which of them are read
    datasets     the table of datasets (with listing, specs)
    published    the papers' own: address, hash, layout (with layouts, values); own: a user's (with records)
    words        the most frequent words; attributes: ValNorm's
    cache        where files of datasets are kept; download: how they come there
"""

from embstore.sources.datasets import (
    DATASETS,
    add_dataset,
    fetch_dataset,
    fetch_datasets,
    find_dataset,
    missing_datasets,
)
from embstore.sources.listing import list_datasets
from embstore.sources.opening import STDIN, open_source
from embstore.sources.rows import Blank, Row
from embstore.sources.source import Source
from embstore.sources.specs import DatasetSpec

__all__ = [
    "DATASETS",
    "STDIN",
    "Blank",
    "DatasetSpec",
    "Row",
    "Source",
    "add_dataset",
    "fetch_dataset",
    "fetch_datasets",
    "find_dataset",
    "list_datasets",
    "missing_datasets",
    "open_source",
]
