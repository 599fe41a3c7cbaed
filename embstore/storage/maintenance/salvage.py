"""Move damaged files out of a store, and salvage the intact rows of tables of texts, which cannot be made again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.storage.files.items import has_its_id
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import ITEMS_SCHEMA, read_part, read_table, stage_part
from embstore.storage.transaction.commit import Change, commit
from embstore.storage.transaction.recovery import replacing

Ids = NDArray[np.int64]


def sound_rows(path: Path, tables: Sequence[Path]) -> pa.Table:
    """Return the intact rows of a damaged table of items: their ids are hashes of the other columns."""
    try:
        table = read_table(path)
        if not table.schema.equals(ITEMS_SCHEMA):
            return ITEMS_SCHEMA.empty_table()
        rows = table.to_pylist()
    except (DamagedError, OSError, pa.ArrowException, UnicodeDecodeError):
        return ITEMS_SCHEMA.empty_table()
    sentences = {row["item_id"]: row["text"] for row in rows if row["unit"] == Unit.SENTENCE}
    context_ids = pa.array({row["context_id"] for row in rows if row["context_id"] is not None}, pa.int64())
    for other in tables:
        found = read_part(other, ["item_id", "text"])
        found = found.filter(pc.is_in(found["item_id"], context_ids))
        sentences |= dict(zip(found["item_id"].to_pylist(), found["text"].to_pylist(), strict=True))
    sentences = {item: text for item, text in sentences.items() if item_id(Unit.SENTENCE, text) == item}
    return table.filter(pa.array([_is_sound(row, sentences.get(row["context_id"])) for row in rows], pa.bool_()))


def _is_sound(row: dict[str, Any], context: str | None) -> bool:
    """Return whether the id of an item is the hash of its other columns, given the text of its sentence."""
    if (context is None) != (row["context_id"] is None):
        return False
    return has_its_id((row["item_id"], row["unit"], row["text"], context, row["start"], row["end"]))


def rewrite_table(paths: StorePaths, path: Path, ids: Ids, rows: pa.Table | None = None) -> None:
    """Replace a table of items by a row of each of some items (n,), of its own or given rows, after copying it out."""
    rows = read_part(path) if rows is None else rows
    _, first = np.unique(rows["item_id"].to_numpy(), return_index=True)
    rows = rows.take(first)
    rows = rows.filter(pc.is_in(rows["item_id"], pa.array(ids)))
    copy = paths.damaged_path(path)
    disk.make_folder(copy.parent)
    disk.copy(path, copy)
    with atomic.temporary(path.parent) as temp:
        target = stage_part(temp, rows)
        if target == path:  # all rows are intact; other bytes of the file were altered
            atomic.publish(temp, target)
            return
        with replacing(paths, path.parent, {target.stem: [path.stem]}):
            if not disk.exists(target):
                atomic.publish(temp, target)


def move_out(paths: StorePaths, path: Path) -> Path:
    """Move a damaged file into :attr:`StorePaths.damaged`, commit that it is not of the store, return its new path."""
    target = paths.damaged_path(path)
    disk.make_folder(target.parent)
    disk.replace(path, target)  # before the commit, after which a file that no manifest names would be deleted
    commit(paths, Change(removed=(path,)))
    return target
