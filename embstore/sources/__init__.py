"""Sources: where texts come from. Files, standard input and named datasets become rows of text.

``open_source`` is the door; a source streams, and holds one row at a time (one batch for Parquet).
"""

from embstore.sources.datasets import DATASETS
from embstore.sources.opening import STDIN, open_source
from embstore.sources.rows import Blank, DatasetSpec, Row, Source

__all__ = ["DATASETS", "STDIN", "Blank", "DatasetSpec", "Row", "Source", "open_source"]
