"""Columns about the revisions of checkpoints, which a result has if some of its spaces are of a named one."""

from collections.abc import Mapping, Sequence
from typing import Any

from embstore.storage.files.card import Card

REVISION_COLUMNS = ("revision", "step")
REVISION_TYPES = {"revision": "string", "step": "integer", "revision_2": "string", "step_2": "integer"}


def revision_of(card: Card) -> dict[str, Any]:
    """Return the columns that describe the revision of a space; they are None for a space without one."""
    return {"revision": card.revision_name, "step": card.step}


def columns_with_values(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return columns without those about revisions that have no value in any row."""
    return [name for name in columns if name not in REVISION_TYPES or any(row[name] is not None for row in rows)]
