"""The actions of a maintenance command, as a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embstore.table import ShownColumn, Table, table

COLUMNS = ("action", "file", "items", "bytes", "detail")
_SHOWN = (
    ShownColumn("action"), ShownColumn("file"), ShownColumn("items", kind="count"),
    ShownColumn("bytes", "size", "bytes"), ShownColumn("detail"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Action:
    """One action on a file or folder, done or planned.

    Attributes:
        action: Verb: ``merged``, ``removed``, ``rebuilt`` …
        file: File or folder.
        detail: Reason or consequence, as a sentence without its full stop.
        n_items: Number of items, rows or texts concerned; None if not applicable.
        n_bytes: Bytes of the files; None if not applicable.
    """

    action: str
    file: Path
    detail: str = ""
    n_items: int | None = None
    n_bytes: int | None = None


def tabulate(actions: Iterable[Action], root: Path, notes: Sequence[str] = ()) -> Table:
    """Return a table with one row per action; files are relative to the store's folder."""
    rows = [
        dict(
            zip(COLUMNS, (each.action, _within(each.file, root), each.n_items, each.n_bytes, each.detail), strict=True)
        )
        for each in actions
    ]
    return table(rows, columns=COLUMNS, notes=notes, shown=_SHOWN)


def _within(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
