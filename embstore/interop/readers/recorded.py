"""Read what an export of embstore says of its own layers and space; anything else is ignored.

The record is in a file that a user gives, so that each value is checked before it is used.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from embstore.base import checksum, documents
from embstore.base.errors import EmbstoreError
from embstore.base.space import Layer, Layers
from embstore.interop.files import check_regular
from embstore.interop.provenance import CARD_FILE
from embstore.interop.vector_file import VectorFile
from embstore.sources.files import is_file, read_binary
from embstore.storage.files.card import Card

_MAX_BYTES = 1 << 24


def read_record(path: Path) -> Any:
    """Return the JSON in a small file, such as the record of an export; None if there is none."""
    return parse_record(read_binary(path)) if is_file(path) and check_regular(path) <= _MAX_BYTES else None


def parse_record(data: Any) -> Any:
    """Return the record of an export, given as JSON; None if it is none."""
    try:
        return documents.parse_foreign(data) if isinstance(data, str | bytes) else None
    except documents.InvalidDocument:
        return None


def with_record_beside(file: VectorFile, path: Path) -> VectorFile:
    """Return a file of vectors with the layers and the origin that the record beside it names, if they fit it."""
    record = read_record(path.with_name(f"{path.name}.{CARD_FILE}"))
    origin = recorded_origin(record)
    if origin is None or origin["dim"] != file.dim:
        return file
    return replace(file, layers=recorded_layers(record, file.n_layers), origin=origin)


def recorded_layers(record: Any, n_layers: int) -> Layers | None:
    """Return the layers that a record names; None if it names none, or not as many as there are."""
    card = _card(record)
    if card is None or not isinstance(record.get("layers"), list):
        return None
    try:
        members = tuple(Layer(int(layer["id"]), str(layer["name"])) for layer in record["layers"])
    except (KeyError, TypeError, ValueError):
        return None
    if (
        len(members) != n_layers
        or not {*card.layers.members}.issuperset(members)
        or list(members) != sorted({*members})
    ):
        return None
    return Layers(members, card.layers.n_blocks, card.layers.top_form)


def recorded_origin(record: Any) -> dict[str, object] | None:
    """Return the card of the space that a file was exported from; None if it names none."""
    card = _card(record)
    return None if card is None else card.to_dict()


def _card(record: Any) -> Card | None:
    """Return the card in a record; None if there is none, or it is no card."""
    if not isinstance(record, dict) or not isinstance(record.get("card"), dict):
        return None
    document = {**record["card"], checksum.KEY: checksum.BLANK}
    try:
        documents.check(document, "card")
        return Card.from_dict(document)
    except (EmbstoreError, documents.InvalidDocument, ValueError):
        return None
