"""Store the rows of datasets without a checkpoint, for spaces that have their texts: imported vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embstore.base import disk
from embstore.base.errors import UsageError
from embstore.base.progress import Observer
from embstore.base.space import Unit
from embstore.base.table import ShownColumn, Table, table
from embstore.build.texts import Sources, read_texts
from embstore.sources import get_datasets
from embstore.storage.files.paths import StorePaths, check_marker
from embstore.storage.staging.staging import Staging
from embstore.storage.transaction.additions import write_dataset
from embstore.storage.writer import StoreWriter

COLUMNS = ("dataset", "kind", "unit", "rows")
_SHOWN = (ShownColumn("dataset"), ShownColumn("kind"), ShownColumn("unit"), ShownColumn("rows", kind="count"))


def store_datasets(root: Path, names: Sequence[str], unit: Unit | None, observe: Observer) -> Table:
    """Write the rows of datasets to a store; those that are stored for the same unit are replaced.

    Args:
        root: Folder of the store.
        names: Names of datasets, with a size or without: ``rg65``, ``words:5000``.
        unit: Unit of the items that the texts are; None for the dataset's own.
        observe: Callback for progress.

    Returns:
        One row per dataset: its name in the store, kind, unit and number of rows.

    Raises:
        UsageError: The dataset has no rows for the unit.
        UnknownNameError: There is no such dataset.
        StoreError: There is no store, or another process writes to it.
    """
    datasets = get_datasets(names)
    paths = StorePaths(disk.resolved(root))
    check_marker(paths)
    rows: list[dict[str, Any]] = []
    with StoreWriter(root) as store:
        for name, dataset in datasets.items():
            chosen = unit or dataset.unit
            with Staging(store.paths.root, chosen) as staging:
                found = read_texts(Sources((name,), chosen), staging, observe).datasets
            if not found:
                raise UsageError(
                    f"the rows of {name!r} are of the unit {dataset.unit.value}, and are not stored for "
                    f"{chosen.value}s. Leave out ⦃unit⦄."
                )
            [each] = found
            write_dataset(store.paths, each.name, each.kind, chosen, each.columns)
            values = (each.name, each.kind, chosen.value, len(each.columns["text"]))
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return table(rows, columns=COLUMNS, shown=_SHOWN)
