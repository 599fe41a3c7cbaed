"""Read what an export of embstore says of its own layers and space; anything else is ignored.

The record is in a file that a user gives, so that each value is checked before it is used.
"""

from typing import Any

from embstore import checksum, documents
from embstore.errors import EmbstoreError
from embstore.space import Layer, Layers
from embstore.storage.files.card import Card


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
