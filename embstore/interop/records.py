"""The record in every export: the card of the space, its layers, and how items and vectors were
chosen.

What is read of it is in a file that a user gives, so that each value is checked before it is used;
anything but the record of an export is ignored. And the results of an import and an export, in
sentences.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embstore.base import disk, documents
from embstore.base.documents import Document
from embstore.base.errors import EmbstoreError
from embstore.base.messages import Report, count, first_of
from embstore.base.progress import duration
from embstore.base.space import Layers
from embstore.base.table import show_size
from embstore.interop.vector_file import VectorFile, check_regular
from embstore.sources.files import is_file, read_binary
from embstore.storage.card import Card

CARD_FILE = "card.json"  # file with the record in each exported folder
METADATA_KEY = "embstore"  # key of the record in the metadata of a file that has room for it
_MAX_BYTES = 1 << 24


def record_text(record: Document) -> str:
    """Return the record of an export as JSON in one line."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


def write_card_file(folder: Path, record: Document) -> None:
    """Write the record of an export into a folder."""
    disk.write(
        folder / CARD_FILE, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
    )


def read_record(path: Path) -> Any:
    """Return the JSON in a small file, such as the record of an export; None if there is none."""
    return (
        parse_record(read_binary(path))
        if is_file(path) and check_regular(path) <= _MAX_BYTES
        else None
    )


def parse_record(data: Any) -> Any:
    """Return the record of an export, given as JSON; None if it is none."""
    try:
        return documents.parse_foreign(data) if isinstance(data, str | bytes) else None
    except documents.InvalidDocument:
        return None


def with_record(file: VectorFile, record: Any) -> VectorFile:
    """Return a file of vectors with the layers and the card that the record of an export names, if
    it is one.
    """
    card = _card(record)
    if card is None:
        return file
    return replace(file, layers=_layers(record, card, file.n_layers), origin=card.to_dict())


def with_record_beside(file: VectorFile, path: Path) -> VectorFile:
    """Return a file of vectors with what the record beside it names, if its vectors are of that
    dimension.
    """
    described = with_record(file, read_record(path.with_name(f"{path.name}.{CARD_FILE}")))
    is_of_file = described.origin is not None and described.origin["dim"] == file.dim
    return described if is_of_file else file


def _layers(record: Any, card: Card, n_layers: int) -> Layers | None:
    """Return the layers that a record names; None if it names none, or not as many as there are."""
    named = record.get("layers")
    members = (
        tuple(layer for layer in card.layers if layer._asdict() in named)
        if isinstance(named, list)
        else ()
    )
    if len(members) != n_layers:
        return None
    return Layers(members, card.layers.n_blocks, card.layers.top_form)


def _card(record: Any) -> Card | None:
    """Return the card in a record; None if there is none, or it is no card."""
    if not isinstance(record, dict) or not isinstance(record.get("card"), dict):
        return None
    document = record["card"]
    try:
        documents.check(document, "card")
        return Card.from_dict(document)
    except (EmbstoreError, documents.InvalidDocument, ValueError):
        return None


@dataclass(frozen=True, slots=True, repr=False)
class ImportReport(Report):
    """The result of an import."""

    store: Path | str
    space: str
    format: str
    imported: int  # items whose vectors were written
    present: int  # items whose vectors were stored before
    n_layers: int
    dim: int
    n_bytes: int  # of the shards and indexes written
    seconds: float
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        counts = (
            f"{self.space}: {self.imported:,} imported ({self.format},"
            f" {count(self.n_layers, 'layer')}, dimension {self.dim:,})"
        )
        return [
            f"{counts}, {self.present:,} already there",
            f"{show_size(self.n_bytes)} written to {self.store} in {duration(self.seconds)}",
        ]


@dataclass(frozen=True, slots=True, repr=False)
class ExportReport(Report):
    """The result of an export."""

    files: tuple[Path, ...]
    space: str
    format: str
    layers: tuple[str, ...]
    n: int
    dim: int
    n_bytes: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report in sentences."""
        layers = (
            f"layer {self.layers[0]}"
            if len(self.layers) == 1
            else f"layers {', '.join(self.layers)}"
        )
        return [
            f"{self.space}, {layers}: {self.n:,} items, dimension {self.dim:,} ({self.format}, "
            f"{show_size(self.n_bytes)}) in {first_of(self.files)}"
        ]
