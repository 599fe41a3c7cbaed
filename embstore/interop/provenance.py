"""The record in every export: the card of the space, its layers, and how items and vectors were chosen."""

import json
from pathlib import Path
from typing import Any

from embstore.base import disk

CARD_FILE = "card.json"
"""File with the record in each exported folder."""

METADATA_KEY = "embstore"
"""Key of the record in the metadata of a file that has room for it."""


def provenance_text(provenance: dict[str, Any]) -> str:
    """Return the record of an export as JSON."""
    return json.dumps(provenance, ensure_ascii=False, allow_nan=False)


def write_card_file(folder: Path, provenance: dict[str, Any]) -> None:
    """Write the record of an export into a folder."""
    disk.write(folder / CARD_FILE, (json.dumps(provenance, indent=2, ensure_ascii=False) + "\n").encode())
