"""The small Parquet tables beside the vectors: items, datasets and skipped texts."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embstore import atomic, checksum
from embstore.storage.paths import StorePaths
from embstore.text import Item

ITEMS_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.int64(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("context_id", pa.int64()),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
    ]
)

SKIPPED_SCHEMA = pa.schema(
    [
        pa.field("space", pa.string()),
        pa.field("item_id", pa.int64()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("origin", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class SkippedText:
    """A text that got no vector, or not a whole one.

    Attributes:
        text: the text; what UTF-8 cannot hold of it is escaped.
        outcome: ``skipped``, or ``truncated`` for a text that was cut to the context length and embedded.
        reason: why.
        space: the space that lacks it; None where the source itself held no text.
        item_id: its id; None where there was no text.
        origin: where it stands in the source ("words.txt:12").
    """

    text: str
    outcome: str
    reason: str
    space: str | None = None
    item_id: int | None = None
    origin: str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """The row of the table ``skipped`` that it becomes."""
        return (self.space, self.item_id, self.stored_text, self.outcome, self.reason, self.origin)

    @property
    def stored_text(self) -> str:
        """The text with what UTF-8 cannot hold escaped."""
        return self.text.encode("utf-8", "backslashreplace").decode()


def write_items(paths: StorePaths, items: Iterable[Item]) -> Path | None:
    """Write items, by ascending id, and return the file (None if there were none)."""
    rows: list[dict[str, object]] = [
        {
            "item_id": item.id, "unit": item.unit.value, "text": item.text, "context_id": item.context_id,
            "start": item.span and item.span.start, "end": item.span and item.span.end,
        }
        for item in sorted(items, key=lambda item: item.id)
    ]  # fmt: skip
    return _write_part(paths, paths.items, rows, ITEMS_SCHEMA)


def write_skipped(paths: StorePaths, skipped: Iterable[SkippedText]) -> Path | None:
    """Write skipped texts and return the file (None if there were none)."""
    rows: list[dict[str, object]] = [
        {
            "space": one.space, "item_id": one.item_id, "outcome": one.outcome, "reason": one.reason,
            "origin": one.origin, "text": one.stored_text,
        }
        for one in skipped
    ]  # fmt: skip
    return _write_part(paths, paths.skipped, rows, SKIPPED_SCHEMA)


def write_dataset(
    paths: StorePaths, name: str, item_ids: Sequence[int], values: Sequence[Mapping[str, float | int | str]]
) -> None:
    """Write the rows of a dataset: the item of each, and the values that it brings (rank, score …).

    Rows of items that are not among these stay: they are the same texts as another unit.
    """
    columns = {"item_id": pa.array(item_ids, pa.int64())}
    columns |= {key: pa.array([row[key] for row in values]) for key in (values[0] if values else {})}
    table = pa.table(columns)
    path = paths.datasets / f"{name}.parquet"
    if path.exists():
        stored = pq.read_table(path, partitioning=None)
        others = np.isin(stored["item_id"].to_numpy(), table["item_id"].to_numpy(), invert=True)
        if stored.schema == table.schema and others.any():
            table = pa.concat_tables([stored.filter(pa.array(others)), table])
    write_table(path, table)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a small Parquet file atomically, with its own hash in its metadata."""
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(buffer, table.schema, write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({checksum.KEY: checksum.BLANK})
    atomic.write_bytes(path, checksum.sealed(buffer.getvalue().to_pybytes()))


def _write_part(paths: StorePaths, folder: Path, rows: list[dict[str, object]], schema: pa.Schema) -> Path | None:
    if not rows:
        return None
    with atomic.temporary(folder) as temp:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temp, write_page_checksum=True)
        target = folder / f"part-{file_sha256(temp)[:16]}.parquet"
        atomic.publish(temp, target)
    return target


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
