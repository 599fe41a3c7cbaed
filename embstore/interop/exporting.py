"""Export the vectors of a space to another format: select → stream → publish.

A file is written under a temporary name and renamed when it is whole; so is a folder.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base import __version__, atomic, disk
from embstore.base.arrays import Float32Array, Ids, Vectors
from embstore.base.errors import QueryError, UsageError
from embstore.base.progress import Progress, report_progress
from embstore.base.space import Layer
from embstore.base.text import Item
from embstore.interop.formats import WRITERS, find_writer
from embstore.interop.records import CARD_FILE, ExportReport, record_text
from embstore.metrics import NotComputable
from embstore.metrics.transforms import fit
from embstore.query.layer_data import StoredLayer
from embstore.query.request import Selection, missing_words
from embstore.storage.card import Card, SpaceFilter, cut_notes
from embstore.storage.catalog import Catalog
from embstore.storage.item_columns import ColumnValues
from embstore.storage.item_lookup import chosen_columns, column_values
from embstore.storage.vectors import LayerVectors

_BLOCK_ITEMS = 8192

Transform = Callable[[Vectors], NDArray[np.float64]]


class Rows(NamedTuple):
    """Some items (n) of an export, with their vectors (layers, n, dim); ``start`` items are before
    them.
    """

    start: int
    items: Sequence[Item]
    vectors: Vectors


class Selected:
    """The selected items of a space, and the layers to export."""

    def __init__(
        self,
        catalog: Catalog,
        card: Card,
        layers: Sequence[Layer],
        selection: Selection,
        keep: Sequence[str],
        dest: Path,
    ) -> None:
        self._catalog, self.card, self.layers = catalog, card, tuple(layers)
        self._dest = str(dest)
        self.columns = chosen_columns(catalog, card.space, keep)
        self._only = selection.select(catalog, card.space)
        self._batches = self._in_order()
        if not self.n:
            raise QueryError(
                f"no item of {card.space} is selected. Leave `where` and `words` out, or select"
                " others."
            )
        missing, self.notes = missing_words(catalog, selection.words, card)
        self._transforms: list[Transform] = []
        self._columns = np.arange(card.dim)
        if selection.steps:
            for layer in layers:
                try:
                    transform = fit(StoredLayer(catalog, card, layer, self._only), selection.steps)
                except NotComputable as error:
                    raise QueryError(
                        f"layer {layer.name} of {card.space} cannot be transformed: {error}."
                    ) from error
                self._transforms.append(transform)
                self._columns = transform.columns
                self.notes += [f"layer {layer.name}: {note}" for note in transform.notes]
        self.record: dict[str, Any] = {  # what the export says of itself
            "card": card.to_dict(),
            "layers": [layer._asdict() for layer in layers],
            "n": self.n,
            "dim": self.dim,
            **selection.columns(),
            **missing,
            "embstore": __version__,
        }

    @cached_property
    def n(self) -> int:
        """Number of items."""
        return sum(map(len, self._batches))

    @property
    def dim(self) -> int:
        """Number of components of an exported vector."""
        return len(self._columns)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Type of the exported numbers: that of the store, or float32 after a transform."""
        return np.dtype(np.float32 if self._transforms else self.card.dtype)

    def items(self) -> Iterator[list[Item]]:
        """Yield the items, in the order of :meth:`rows`."""
        for ids in self._batches:
            items = self._catalog.items(ids.tolist())
            yield [items[item] for item in ids.tolist()]

    def rows(self) -> Iterator[Rows]:
        """Yield the items with all their layers, in blocks, and report the progress."""
        start = 0
        report_progress(Progress("write", self._dest, start, self.n))
        for ids in self._batches:
            gathered = [
                self._catalog.vectors(self.card.space, layer.id, ids).gather()
                for layer in self.layers
            ]
            for first in range(0, len(ids), _BLOCK_ITEMS):
                part = ids[first : first + _BLOCK_ITEMS]
                vectors = np.stack([rows[first : first + _BLOCK_ITEMS] for _, rows in gathered])
                items = self._catalog.items(part.tolist())
                yield Rows(start, [items[item] for item in part.tolist()], self._exported(vectors))
                start += len(part)
                report_progress(Progress("write", self._dest, start, self.n))

    def values(self, items: Sequence[Item]) -> list[ColumnValues]:
        """Return the values of the columns for some items."""
        if not self.columns:
            return []
        ids = np.fromiter((item.id for item in items), np.int64, len(items))
        return [*column_values(self._catalog, self.card.space, self.columns, ids).values()]

    def _exported(self, vectors: Float32Array) -> Vectors:
        """Return vectors (layers, n, dim) transformed, and in the type of the export."""
        if not self._transforms:
            return vectors.astype(self.dtype, copy=False)
        layers = [
            transform(block) for transform, block in zip(self._transforms, vectors, strict=True)
        ]
        return np.stack(layers).astype(np.float32)

    def _in_order(self) -> list[Ids]:
        """Return the selected items of each shard that has some, by their first id."""
        shards = self._catalog.shards(self.card.space, self.card.layers.ids[0])
        ids_of_shards = [LayerVectors([shard], self.card.dim, self._only).ids() for shard in shards]
        return sorted((ids for ids in ids_of_shards if len(ids)), key=lambda ids: int(ids[0]))


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, and where to."""

    dest: Path
    space: str | None  # None for the only one of the store
    # In the notation of Layers.select; None for all if the format has room, else the top layer.
    layers: str | None
    format: str | None  # None to find it by the suffix of ``dest``
    selection: Selection
    keep: tuple[str, ...] = ()  # columns of the items; ("all",) for all that are stored
    force: bool = False


def export(catalog: Catalog, request: ExportRequest) -> ExportReport:
    """Write the selected vectors of a space to a file or folder."""
    name, dest = find_writer(request.dest, request.format), request.dest
    writer = WRITERS[name]
    spaces = SpaceFilter(spaces=[request.space] if request.space else [])
    card, *others = spaces.select_with_layers(catalog.cards)
    if others:
        raise UsageError(
            f"the store has several spaces: {', '.join(catalog.cards)}. Name one: space='NAME'"
        )
    layers = card.layers.select(request.layers or ("all" if writer.several_layers else "top"))
    if len(layers) > 1 and not writer.several_layers:
        raise UsageError(
            f"{name} has room for one layer, and {len(layers)} are selected. Choose one with"
            " `layers`, or another format, such as format='parquet'."
        )
    if request.keep and not writer.has_columns:
        raise UsageError(
            f"{name} has no room for columns of items: leave `keep` out, or choose another format,"
            " such as format='parquet'."
        )
    if not request.force and disk.exists(dest):
        raise UsageError(f"{dest} exists. Name another place, or replace it with force=True.")
    if request.force and disk.is_folder(dest) and not disk.exists(dest / CARD_FILE):
        raise UsageError(
            f"{dest} is a folder that no export wrote: it has no {CARD_FILE}. Name another place."
        )

    selected = Selected(catalog, card, layers.members, request.selection, request.keep, dest)
    atomic.discard_leftovers(dest.parent)
    with atomic.temporary(dest.parent) as temp:
        if writer.is_folder:
            disk.make_folder(temp)
        writer.write(temp, selected)
        beside = [dest.with_name(f"{dest.name}.{CARD_FILE}")] if writer.card_beside else []
        for file in beside:
            atomic.write_bytes(file, (record_text(selected.record) + "\n").encode())
        files = [*_published(temp, dest, force=request.force), *beside]
    return ExportReport(
        tuple(files),
        card.space,
        name,
        layers.names,
        selected.n,
        selected.dim,
        sum(map(os.path.getsize, files)),
        (*cut_notes([card], request.layers or ""), *selected.notes),
    )


def _published(temp: Path, dest: Path, *, force: bool) -> list[Path]:
    """Rename a file or folder to its place, and list its files; ``force`` replaces the folder of an
    earlier export.
    """
    if not disk.is_folder(temp):
        atomic.publish(temp, dest)
        return [dest]
    files = disk.files_below(temp)
    for file in files:
        disk.sync(file)
    for folder in {temp, *(file.parent for file in files)}:
        disk.sync_folder(folder)
    if force:
        disk.remove_tree(dest)
    os.replace(temp, dest)
    disk.sync_folder(dest.parent)
    return sorted(disk.files_below(dest))
