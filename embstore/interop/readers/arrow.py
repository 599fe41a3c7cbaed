"""Open Arrow IPC files and streams (.arrow, .feather), and folders that the library datasets writes or loads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from embstore.base.errors import SourceError
from embstore.interop.files import check_regular
from embstore.interop.readers.parquet import parquet_source
from embstore.interop.readers.recorded import read_record
from embstore.interop.readers.tables import TableSource, open_table
from embstore.interop.vector_file import ReadOptions, VectorFile
from embstore.sources.files import is_file, open_binary


def open_arrow(path: Path, options: ReadOptions) -> VectorFile:
    """Open an Arrow IPC file or stream."""
    check_regular(path)
    return open_table(arrow_source([path], str(path), "arrow"), options)


def open_datasets(path: Path, options: ReadOptions) -> VectorFile:
    """Open a folder that ``Dataset.save_to_disk`` wrote, or one of Parquet files that ``load_dataset`` loads."""
    if is_file(path / "state.json"):
        return open_table(arrow_source(_saved_files(path), str(path), "datasets"), options)
    if is_file(path / "dataset_dict.json"):
        splits = _json(path / "dataset_dict.json").get("splits", [])
        raise SourceError(f"{path} has the splits {', '.join(map(str, splits))}. Give the folder of one: {path}/NAME")
    files = sorted(file for file in path.rglob("*.parquet") if not any(part.startswith(".") for part in file.parts))
    if not files:
        raise SourceError(f"{path} has no file of vectors: neither state.json, nor .parquet, nor vectors.npy.")
    return open_table(parquet_source(files, str(path), "datasets"), options)


def arrow_source(paths: list[Path], name: str, format_name: str) -> TableSource:
    """Return Arrow files of one schema as a table."""
    schemas = []
    for path in paths:
        with _opened(path) as reader:
            schemas.append(reader.schema)
        if not schemas[0].equals(schemas[-1]):
            raise SourceError(f"{path} has other columns than {paths[0]}. Import them one by one.")

    def batches(columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        for path in paths:
            with _opened(path) as reader:
                for batch in _all_batches(reader):
                    chosen = batch.select(columns)
                    for start in range(0, chosen.num_rows, rows):
                        yield chosen.slice(start, rows)

    return TableSource(name, format_name, schemas[0], batches, tuple(paths))


def _all_batches(reader: Any) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of a file or a stream."""
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from reader


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an Arrow IPC file, or else a stream, within a ``with`` block."""
    check_regular(path)
    with open_binary(path, str(path)) as stream:
        try:
            is_whole_file = stream.peek(6)[:6] == b"ARROW1"
            with (pa.ipc.open_file if is_whole_file else pa.ipc.open_stream)(stream) as reader:
                yield reader
        except pa.ArrowException as error:
            raise SourceError(f"{path} is damaged, or is not Arrow IPC: {error}. Copy or write it again.") from error


def _saved_files(folder: Path) -> list[Path]:
    """Return the data files that state.json names, each in the folder itself."""
    files = _json(folder / "state.json").get("_data_files", [])
    names = [file.get("filename") for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise SourceError(f"{folder / 'state.json'} names no data files in its folder. Save the dataset again.")
    return [folder / str(name) for name in names]


def _json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a small file."""
    found = read_record(path)
    if not isinstance(found, dict):
        raise SourceError(f"{path} is damaged: it is not a JSON object. Save the dataset again.")
    return found
