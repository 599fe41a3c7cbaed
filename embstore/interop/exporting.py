"""Export the vectors of a space to another format: select → stream → publish.

A file is written under a temporary name and renamed when it is whole; so is a folder.
"""

from dataclasses import dataclass
from pathlib import Path

from embstore.base import atomic, disk
from embstore.base.errors import UsageError
from embstore.base.progress import Observer, Progress
from embstore.interop.formats import WRITERS, Writer, find_writer
from embstore.interop.records import CARD_FILE, record_text
from embstore.interop.reports import ExportReport
from embstore.interop.selection import Selected
from embstore.query.request import Selection
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import SpaceFilter, cut_notes


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, and where to."""

    dest: Path
    space: str
    layers: str | None  # in the notation of Layers.select; None for all if the format has room, else the top layer
    format: str | None  # None to find it by the suffix of ``dest``
    selection: Selection
    keep: tuple[str, ...] = ()  # columns of the items; ("all",) for all that are stored
    force: bool = False


def export(catalog: Catalog, request: ExportRequest, observe: Observer) -> ExportReport:
    """Write the selected vectors of a space to a file or folder."""
    name, dest = find_writer(request.dest, request.format), request.dest
    writer = WRITERS[name]
    [card] = SpaceFilter(spaces=[request.space]).select(catalog.cards)
    if not catalog.shards[card.space]:
        raise UsageError(f"{card.space} has no vectors yet: its build was interrupted. Run it again.")
    layers = card.layers.select(request.layers or ("all" if writer.several_layers else "top"))
    if len(layers) > 1 and not writer.several_layers:
        several = ", ".join(known for known, entry in WRITERS.items() if entry.several_layers)
        raise UsageError(
            f"{name} has room for one layer, and {request.layers!r} selects {len(layers)}. Choose one with ⦃layer⦄, or "
            f"a format with room for several: {several}."
        )
    if request.keep and not writer.has_columns:
        with_room = ", ".join(known for known, entry in WRITERS.items() if entry.has_columns)
        raise UsageError(f"{name} has no room for columns of items: leave ⦃keep⦄ out, or choose one of: {with_room}.")
    if not request.force and disk.exists(dest):
        raise UsageError(f"{dest} exists. Name another place, or replace it with ⦃force=True⦄.")
    if request.force and disk.is_folder(dest) and not disk.exists(dest / CARD_FILE):
        raise UsageError(f"{dest} is a folder that no export wrote: it has no {CARD_FILE}. Name another place.")

    def report(n_done: int, n: int) -> None:
        observe(Progress("write", str(dest), n_done, n, n_done / max(1, n)))

    selected = Selected(catalog, card, layers.members, request.selection, request.keep, report)
    atomic.discard_dead(dest.parent)
    with atomic.temporary(dest.parent) as temp:
        if writer.is_folder:
            disk.make_folder(temp)
        more = writer.write(temp, selected) or ()
        files = (
            _publish_folder(temp, dest, request.force)
            if writer.is_folder
            else _publish_file(temp, dest, writer, selected)
        )
    return ExportReport(
        tuple(files), card.space, name, layers.names, selected.n, selected.dim, sum(map(disk.size, files)),
        (*cut_notes([card], request.layers or ""), *selected.notes, *more),
    )  # fmt: skip


def _publish_file(temp: Path, dest: Path, writer: Writer, selected: Selected) -> list[Path]:
    """Rename a file to its place, after the record of the export beside it if it has no room for one."""
    if not writer.card_beside:
        atomic.publish(temp, dest)
        return [dest]
    card = dest.with_name(f"{dest.name}.{CARD_FILE}")
    atomic.write_bytes(card, (record_text(selected.record) + "\n").encode())
    atomic.publish(temp, dest)
    return [dest, card]


def _publish_folder(temp: Path, dest: Path, force: bool) -> list[Path]:
    """Rename a folder to its place, in which ``force`` removes that of an earlier export."""
    files = disk.files_below(temp)
    for file in files:
        disk.sync(file)
    for folder in {temp, *(file.parent for file in files)}:
        disk.sync_folder(folder)
    if force:
        disk.remove_tree(dest)
    disk.replace(temp, dest)
    disk.sync_folder(dest.parent)
    return sorted(disk.files_below(dest))
