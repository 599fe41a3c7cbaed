"""Read the rows of stored datasets: item ids, texts and scores."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import QueryError, nearest
from embstore.base.space import Unit
from embstore.base.text import source_name
from embstore.storage import keys
from embstore.storage.cache import StoredFile
from embstore.storage.sql.interruptible import Columns
from embstore.storage.sql.reader import FILES, Reader

_JOIN_COLUMNS = tuple(
    f"{name}{suffix}" for suffix in ("", "_2", "_3", "_4") for name in ("item_id", "text")
)
_ROWS = """SELECT * EXCLUDE (unit, file_row_number)
           FROM read_parquet($files, hive_partitioning = false, file_row_number = true)
           WHERE unit = $unit ORDER BY file_row_number"""


def name_of(file: StoredFile) -> str:
    """Return the name of a dataset in its file's key, such as ``words_5000``."""
    parts = keys.parse(file.key)
    return parts.name if parts else ""


def stored_kinds(files: Sequence[StoredFile], kinds: Collection[str] = ()) -> dict[str, str]:
    """Return the kind of each dataset, by name; only the given kinds, or all if none is given."""
    stored = {source_name(name_of(file)): file.entry.get("kind", "") for file in files}
    return {name: kind for name, kind in stored.items() if not kinds or kind in kinds}


def stored_rows(reader: Reader, files: Sequence[StoredFile], name: str, unit: Unit) -> Columns:
    """Return the rows of a dataset (``words:5000`` or ``words_5000``) for a unit, as columns in the
    dataset's order.

    Returns:
        ``item_id`` int64 (n,) and ``text`` (n,), for pairs also ``item_id_2`` and ``text_2``, for
        analogies up to ``text_4``, then the dataset's own columns; strings have dtype object.
        Missing numbers are NaN and missing strings None.
    """
    from embstore.storage import tables  # and pyarrow

    name = source_name(name)
    file = next((file for file in files if source_name(name_of(file)) == name), None)
    if file is None:
        stored = [source_name(name_of(file)) for file in files]
        suggestion = "".join(f"Did you mean {near!r}? " for near in nearest(name, stored, n=1))
        raise QueryError(
            f"the dataset {name!r} is not in the store, which holds {', '.join(stored) or 'none'}."
            f" {suggestion}{'If not, e' if suggestion else 'E'}mbed it with: embstore build {name}"
            " --model MODEL; or, if its texts have vectors, as imported ones, store it with:"
            f" embstore datasets store {name}"
        )
    tables.check(file)
    columns = reader.columns(_ROWS, [file], unit=unit.value)
    if not len(columns["item_id"]):
        [units] = reader.rows(f"SELECT list(DISTINCT unit) FROM {FILES}", [file])
        remedy = (
            f", or embed it for this one: embstore build {name} --model MODEL --unit {unit.value}"
        )
        if Unit.OCCURRENCE in (unit, *units[0]):  # scores are of whole texts, or of occurrences
            remedy = "."
        raise QueryError(
            f"the store has the dataset {name!r} for the unit {' and '.join(sorted(units[0]))}, not"
            f" for {unit.value}. Query spaces of that unit{remedy}"
        )
    return {key: _without_mask(column, key, file) for key, column in columns.items()}


def _without_mask(column: NDArray[Any], key: str, file: StoredFile) -> NDArray[Any]:
    """Return a column in which NaN or None replaces DuckDB's mask, under which a missing score
    would read as 0.
    """
    missing = np.ma.getmaskarray(column)
    if not missing.any():
        return np.asarray(column)
    if key in _JOIN_COLUMNS:
        raise file.damage(f"{key} is missing in row {int(missing.argmax()) + 1}")
    values = np.ma.getdata(column).astype(np.float64 if column.dtype.kind in "iuf" else object)
    values[missing] = np.nan if values.dtype.kind == "f" else None
    return values
