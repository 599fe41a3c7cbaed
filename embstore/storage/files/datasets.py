"""Read the rows of stored datasets: item ids, texts and scores."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base import atomic
from embstore.base.errors import DamagedError, QueryError, nearest
from embstore.base.space import Unit
from embstore.base.text import source_name
from embstore.storage.sql.reader import FILES, Reader

Columns = dict[str, NDArray[Any]]

_JOIN_COLUMNS = tuple(f"{name}{suffix}" for suffix in ("", "_2", "_3", "_4") for name in ("item_id", "text"))
_KIND = "SELECT decode(value) FROM parquet_kv_metadata($files) WHERE decode(key) = 'kind'"
_ROWS = """SELECT * EXCLUDE (unit, file_row_number)
           FROM read_parquet($files, hive_partitioning = false, file_row_number = true)
           WHERE unit = $unit ORDER BY file_row_number"""


def stored_kinds(reader: Reader, files: Sequence[Path], kinds: Collection[str] = ()) -> dict[str, str]:
    """Return the kind of each dataset, by name; only the given kinds, or all if none is given."""
    found = {}
    for file in files:
        rows = reader.rows(_KIND, [file])
        found[source_name(file.stem)] = rows[0][0] if rows else ""
    return {name: kind for name, kind in found.items() if not kinds or kind in kinds}


def stored_rows(reader: Reader, files: Sequence[Path], name: str, unit: Unit) -> Columns:
    """Return the rows of a dataset (``words:5000`` or ``words_5000``) for a unit, as columns in the dataset's order.

    Returns:
        ``item_id`` int64 (n,) and ``text`` (n,), for pairs also ``item_id_2`` and ``text_2``, for analogies up to
        ``text_4``, then the dataset's own columns; strings have dtype object. Missing numbers are NaN and missing
        strings None.
    """
    name = source_name(name)
    file = next((file for file in files if source_name(file.stem) == name), None)
    if file is None:
        stored = [source_name(file.stem) for file in files]
        suggestion = "".join(f"Did you mean {near!r}? " for near in nearest(name, stored, n=1))
        raise QueryError(
            f"the dataset {name!r} is not in the store, which holds {', '.join(stored) or 'none'}. {suggestion}"
            f"{'If not, e' if suggestion else 'E'}mbed it with: ⦃embstore build {name} --model MODEL⦄; or, if its "
            f"texts have vectors, as imported ones, store it with: ⦃embstore datasets store {name}⦄"
        )
    check_dataset(file)
    columns = reader.columns(_ROWS, [file], unit=unit.value)
    if not len(columns["item_id"]):
        [units] = reader.rows(f"SELECT list(DISTINCT unit) FROM {FILES}", [file])
        remedy = f", or embed it for this one: ⦃embstore build {name} --model MODEL --unit {unit.value}⦄"
        if Unit.OCCURRENCE in (unit, *units[0]):  # scores are of whole texts, or of occurrences
            remedy = "."
        raise QueryError(
            f"the store has the dataset {name!r} for the unit {' and '.join(sorted(units[0]))}, not for "
            f"{unit.value}. Query spaces of that unit{remedy}"
        )
    return {key: _without_mask(column, key, file) for key, column in columns.items()}


def _without_mask(column: NDArray[Any], key: str, file: Path) -> NDArray[Any]:
    """Return a column in which NaN or None replaces DuckDB's mask, under which a missing score would read as 0."""
    missing = np.ma.getmaskarray(column)
    if not missing.any():
        return np.asarray(column)
    if key in _JOIN_COLUMNS:
        raise _damage(file, f"{key} is missing in row {int(missing.argmax()) + 1}.")
    values = np.ma.getdata(column).astype(np.float64 if column.dtype.kind in "iuf" else object)
    values[missing] = np.nan if values.dtype.kind == "f" else None
    return values


def check_dataset(file: Path) -> None:
    """Raise DamagedError if the file of a dataset was altered or cannot be read."""
    import pyarrow as pa  # slow, and most queries need no dataset
    import pyarrow.parquet as pq

    from embstore.storage.files.tables import DATASET_TYPES

    data = atomic.read_checked(file, rebuild_remedy(file))
    try:
        found = pq.read_schema(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise _damage(file, str(error).splitlines()[0]) from error
    types = dict(zip(found.names, found.types, strict=True))
    is_complete = {"unit", "item_id", "text"} <= types.keys()
    if not is_complete or any(types.get(name, kind) != kind for name, kind in DATASET_TYPES.items()):
        raise _damage(file, "its columns are not those of a dataset.")


def _damage(file: Path, problem: str) -> DamagedError:
    return DamagedError(f"{file} is damaged: {problem} {rebuild_remedy(file)}")


def rebuild_remedy(file: Path) -> str:
    """Return the remedy for a damaged dataset, as a sentence."""
    return f"To repair it, build the dataset again: ⦃embstore build {source_name(file.stem)}⦄"
