"""Sources: where texts come from. Files, standard input and named datasets become rows of text.

``open_source`` is the door; a source streams, and holds one row at a time (one batch for Parquet).
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
