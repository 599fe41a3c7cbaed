"""The datasets as a table."""

from collections.abc import Collection
from typing import Any

from embstore.sources.cache import damage_of, is_at_hand, path_of
from embstore.sources.datasets import known_datasets
from embstore.sources.specs import DataFile, DatasetSpec
from embstore.table import Pivot, Table, table

COLUMNS = (
    "name", "kind", "unit", "rows", "at_hand", "damaged", "columns", "score_min", "score_max", "licence", "help",
    "citation", "address", "sha256", "file",
)  # fmt: skip


def list_datasets(specs: Collection[DatasetSpec] | None = None) -> Table:
    """Return one row per dataset (of all that are known); for the eye, what it is and whether it is at hand.

    One whose file is not the one that it should be is not at hand but damaged; a note says how to get it anew.
    """
    if specs is None:
        specs = known_datasets().values()
    damage = {spec.name: found for spec in specs if (found := damage_of(spec))}
    rows = [_row(spec, is_damaged=spec.name in damage) for spec in specs]
    at_hand = ("at_hand", "damaged") if damage else ("at_hand",)
    shown = Pivot(down=("name",), across=(), values=("kind", "unit", "rows", *at_hand, "licence"))
    return table(rows, columns=COLUMNS, notes=[*damage.values()], pivot=shown)


def _row(spec: DatasetSpec, *, is_damaged: bool) -> dict[str, Any]:
    low, high = spec.scores or (None, None)
    file = spec.content if isinstance(spec.content, DataFile) else None
    return {
        "name": spec.name, "kind": spec.kind, "unit": spec.unit.value, "rows": spec.rows,
        "at_hand": is_at_hand(spec) and not is_damaged, "damaged": is_damaged, "columns": list(spec.columns),
        "score_min": low, "score_max": high, "licence": spec.licence or None, "help": spec.help,
        "citation": spec.citation or None, "address": file and file.address, "sha256": file and file.sha256,
        "file": file and str(path_of(file)),
    }  # fmt: skip
