"""List the datasets as a table."""

from collections.abc import Collection
from typing import Any

from embstore.base.errors import SourceAccessError
from embstore.base.table import Pivot, Table, table
from embstore.sources.cache import describe_damage, is_at_hand, path_of
from embstore.sources.datasets import known_datasets
from embstore.sources.specs import DataFile, DatasetSpec

COLUMNS = (
    "name", "kind", "unit", "rows", "at_hand", "damaged", "columns", "score_min", "score_max", "licence", "help",
    "citation", "address", "sha256", "file",
)  # fmt: skip


def list_datasets(specs: Collection[DatasetSpec] | None = None) -> Table:
    """Return a table with one row per dataset; by default of all known datasets.

    A dataset is ``at_hand`` if it can be read without a download. One whose file has a wrong SHA-256 is ``damaged``
    instead, and one whose file cannot be read neither; notes give the reasons and remedies.
    """
    if specs is None:
        specs = known_datasets().values()
    states = [_state(spec) for spec in specs]
    rows = [_row(spec, at_hand, damaged) for spec, (at_hand, damaged, _) in zip(specs, states, strict=True)]
    shown_states = ("at_hand", "damaged") if any(damaged for _, damaged, _ in states) else ("at_hand",)
    shown = Pivot(down=("name",), across=(), values=("kind", "unit", "rows", *shown_states, "licence"))
    return table(rows, columns=COLUMNS, notes=[note for *_, note in states if note], pivot=shown)


def _state(spec: DatasetSpec) -> tuple[bool, bool, str | None]:
    """Return whether a dataset is at hand, whether its file is damaged, and a note if it cannot be used."""
    try:
        damage = describe_damage(spec)
        return is_at_hand(spec) and damage is None, damage is not None, damage
    except SourceAccessError as error:
        return False, False, str(error)


def _row(spec: DatasetSpec, at_hand: bool, damaged: bool) -> dict[str, Any]:
    """Return the row of one dataset."""
    low, high = spec.scores or (None, None)
    file = spec.content if isinstance(spec.content, DataFile) else None
    return {
        "name": spec.name, "kind": spec.kind, "unit": spec.unit.value, "rows": spec.rows,
        "at_hand": at_hand, "damaged": damaged, "columns": list(spec.columns),
        "score_min": low, "score_max": high, "licence": spec.licence or None, "help": spec.help,
        "citation": spec.citation or None, "address": file and file.address, "sha256": file and file.sha256,
        "file": file and str(path_of(file)),
    }  # fmt: skip
