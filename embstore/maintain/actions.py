"""What a command did to the files of a store, as a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embstore.table import Shown, Table, table

COLUMNS = ("action", "file", "items", "bytes", "detail")
_SHOWN = (
    Shown("action"), Shown("file"), Shown("items", kind="count"), Shown("bytes", "size", "bytes"), Shown("detail"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that was done, or would be.

    Attributes:
        action: a verb: ``merged``, ``removed``, ``rebuilt`` …
        file: the file or folder that it was done to.
        detail: why, or what it means, as a sentence without its full stop.
        n_items: how many items, rows or texts it is about; None where it is about none.
        n_bytes: the bytes of the files; None where that says nothing.
    """

    action: str
    file: Path
    detail: str = ""
    n_items: int | None = None
    n_bytes: int | None = None


def tabulate(actions: Iterable[Action], root: Path, notes: Sequence[str] = ()) -> Table:
    """Return one row per action; files are named as seen from the store's folder."""
    rows = [
        {
            "action": one.action, "file": _within(one.file, root), "items": one.n_items, "bytes": one.n_bytes,
            "detail": one.detail,
        }
        for one in actions
    ]  # fmt: skip
    return table(rows, columns=COLUMNS, notes=notes, shown=_SHOWN)


def _within(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
