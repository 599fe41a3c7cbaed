"""Open Parquet files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embstore.base.errors import SourceError
from embstore.interop.files import check_regular
from embstore.interop.readers.tables import TableSource, open_table
from embstore.interop.vector_file import ReadOptions, VectorFile
from embstore.sources.files import open_binary


def open_parquet(path: Path, options: ReadOptions) -> VectorFile:
    """Open a Parquet file with a column of texts and columns of vectors."""
    check_regular(path)
    return open_table(parquet_source([path], str(path), "parquet"), options)


def parquet_source(paths: list[Path], name: str, format_name: str) -> TableSource:
    """Return Parquet files of one schema as a table."""
    schemas = []
    for path in paths:
        with _opened(path) as file:
            schemas.append(file.schema_arrow)
        if not schemas[0].equals(schemas[-1]):
            raise SourceError(f"{path} has other columns than {paths[0]}. Import them one by one.")

    def batches(columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        for path in paths:
            with _opened(path) as file:
                yield from file.iter_batches(rows, columns=columns)

    return TableSource(name, format_name, schemas[0], batches, tuple(paths))


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file within a ``with`` block."""
    with open_binary(path, str(path)) as stream:
        try:
            with pq.ParquetFile(stream) as file:
                yield file
        except pa.ArrowException as error:
            raise SourceError(f"{path} is damaged, or is not Parquet: {error}. Copy or write it again.") from error
