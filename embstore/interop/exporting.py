"""Export the vectors of a space to another format: select → stream → publish.

A file is written under a temporary name and renamed when it is whole; so is a folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embstore.base import __version__, atomic, disk
from embstore.base.errors import UsageError
from embstore.base.progress import Observer, Progress
from embstore.interop.formats import WRITERS, find_writer
from embstore.interop.provenance import CARD_FILE, provenance_text
from embstore.interop.report import ExportReport
from embstore.interop.selection import Selected
from embstore.query.request import Selection
from embstore.storage.catalog import Catalog
from embstore.storage.selection import SpaceFilter, cut_notes


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, and where to.

    Attributes:
        dest: File or folder to write.
        space: Name of the space.
        layers: Selection of layers, in the notation of :meth:`Layers.select`; None for all if the format has room for
            several, else the top layer.
        format: Name of the format; None to find it by the suffix of ``dest``.
        selection: Items, and transforms of their vectors.
        keep: Columns of the items to export too; ``("all",)`` for all that are stored.
        force: Whether to replace what is at ``dest``.
    """

    dest: Path
    space: str
    layers: str | None
    format: str | None
    selection: Selection
    keep: tuple[str, ...] = ()
    force: bool = False


def export(catalog: Catalog, request: ExportRequest, observe: Observer) -> ExportReport:
    """Write the selected vectors of a space to a file or folder.

    Raises:
        UsageError: The format has room for one layer, and several are selected; it has no room for columns; or there
            is something at the place.
        UnknownNameError: The space, a layer, a column, the format or a transform is not known.
        QueryError: No item is selected, or a text does not fit the format; names it.
        StoreError: The disk is full or cannot be written.
    """
    name = find_writer(request.dest, request.format)
    writer = WRITERS[name]
    [card] = SpaceFilter(spaces=[request.space]).select(catalog.cards)
    if not catalog.shards[card.space]:
        raise UsageError(f"{card.space} has no vectors yet: its build was interrupted. Run it again.")
    layers = card.layers.select(request.layers or ("all" if writer.several_layers else "top"))
    notes = cut_notes([card], request.layers or "")
    if len(layers) > 1 and not writer.several_layers:
        several = ", ".join(known for known, entry in WRITERS.items() if entry.several_layers)
        raise UsageError(
            f"{name} has room for one layer, and {request.layers!r} selects {len(layers)}. Choose one with ⦃layer⦄, or "
            "a "
            f"format with room for several: {several}."
        )
    if request.keep and not writer.has_columns:
        with_room = ", ".join(known for known, entry in WRITERS.items() if entry.has_columns)
        raise UsageError(f"{name} has no room for columns of items: leave ⦃keep⦄ out, or choose one of: {with_room}.")
    _check_free(request.dest, request.force)
    selected = Selected(catalog, card, layers.members, request.selection, request.keep)
    provenance = _provenance(selected, request.selection)

    def report(n_done: int) -> None:
        observe(Progress("write", str(request.dest), n_done, selected.n, n_done / max(1, selected.n)))

    report(0)
    files, more = _write(
        request, writer.load(), selected, provenance, report, is_folder=writer.is_folder,
        card_beside=writer.card_beside,
    )  # fmt: skip
    return ExportReport(
        tuple(files), card.space, name, layers.names, selected.n, selected.dim, sum(map(disk.size, files)),
        (*notes, *selected.notes, *more),
    )  # fmt: skip


Write = Callable[[Path, Selected, dict[str, Any], Callable[[int], None]], Sequence[str] | None]


def _write(
    request: ExportRequest, write: Write, selected: Selected, provenance: dict[str, Any],
    report: Callable[[int], None], *, is_folder: bool, card_beside: bool,
) -> tuple[list[Path], Sequence[str]]:  # fmt: skip
    """Write the file or folder of an export, rename it to its place, and return its files and notes."""
    dest = request.dest
    atomic.discard_dead(dest.parent)
    with atomic.temporary(dest.parent) as temp:
        if is_folder:
            disk.make_folder(temp)
        notes = write(temp, selected, provenance, report) or ()
        if not is_folder:
            beside = _write_beside(dest, provenance) if card_beside else []
            atomic.publish(temp, dest)
            return [dest, *beside], notes
        inside = disk.files_below(temp)
        for file in inside:
            disk.sync(file)
        for folder in {temp, *(file.parent for file in inside)}:
            disk.sync_folder(folder)
        if request.force:
            disk.remove_tree(dest)
        disk.replace(temp, dest)
        disk.sync_folder(dest.parent)
        return sorted(disk.files_below(dest)), notes


def _write_beside(dest: Path, provenance: dict[str, Any]) -> list[Path]:
    """Write the record of an export beside a file that has no room for it."""
    path = dest.with_name(f"{dest.name}.{CARD_FILE}")
    atomic.write_bytes(path, (provenance_text(provenance) + "\n").encode())
    return [path]


def _check_free(dest: Path, force: bool) -> None:
    """Raise UsageError if there is something at the place of an export."""
    if not force and disk.exists(dest):
        raise UsageError(f"{dest} exists. Name another place, or replace it with ⦃force=True⦄.")
    if force and disk.is_folder(dest) and not disk.exists(dest / CARD_FILE):
        raise UsageError(f"{dest} is a folder that no export wrote: it has no {CARD_FILE}. Name another place.")


def _provenance(selected: Selected, selection: Selection) -> dict[str, Any]:
    """Return the record that an export has with it: the card, the layers, and how items and vectors were chosen."""
    return {
        "card": selected.card.to_dict(),
        "layers": [layer._asdict() for layer in selected.layers],
        "n": selected.n,
        "dim": selected.dim,
        **selection.columns(),
        **selected.missing,
        "embstore": __version__,
    }
