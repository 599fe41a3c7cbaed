"""The actions of a maintenance command, as a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embstore.base.progress import Observer, observing
from embstore.base.table import ShownColumn, Table, table
from embstore.index.updating import readable_card, recall_notes, update_indexes
from embstore.storage.files.card import Card
from embstore.storage.files.paths import StorePaths

COLUMNS = ("action", "file", "items", "bytes", "detail")
# The file comes first: a terminal that is too narrow repeats the first column beside those that go below.
_SHOWN = (
    ShownColumn("file"), ShownColumn("action"), ShownColumn("items", kind="count"),
    ShownColumn("bytes", "size", "bytes"), ShownColumn("detail"),
)  # fmt: skip


_PLANNED = {
    "kept": "would keep", "merged": "would merge", "rebuilt": "would rebuild", "removed": "would remove",
    "rewritten": "would rewrite", "taken in": "would take in", "taken out": "would take out",
}  # fmt: skip
"""The verb of a planned action, by that of a done one."""


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


def tabulate(actions: Iterable[Action], root: Path, notes: Sequence[str] = (), *, dry_run: bool = False) -> Table:
    """Return a table with one row per action, of a file below a folder; after a dry run, ``would remove``."""
    rows = []
    for each in actions:
        verb = _PLANNED.get(each.action, each.action) if dry_run else each.action
        file = each.file.relative_to(root).as_posix() if each.file.is_relative_to(root) else str(each.file)
        values = (verb, file, each.n_items, each.n_bytes, each.detail)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return table(rows, columns=COLUMNS, notes=notes, shown=_SHOWN)


def kind_of_indexes(paths: StorePaths, card: Card) -> str | None:
    """Return the requested kind of a space's indexes, from the first readable index card; None if it has no indexes."""
    stored = (readable_card(paths.index(card.space, layer)) for layer in card.layers)
    return next((index_card.asked for index_card in stored if index_card is not None), None)


def renew_indexes(paths: StorePaths, card: Card, observe: Observer) -> list[str]:
    """Update the indexes of a space, if it has any; return a note for each index below its target recall."""
    kind = kind_of_indexes(paths, card)
    if kind is None:
        return []
    with observing(observe):
        return recall_notes(card, update_indexes(paths, card, kind))
