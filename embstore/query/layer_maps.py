"""Map the layers of spaces, from stored maps if they are current, else computed and stored; and
list stored maps.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embstore.base import disk
from embstore.base.chart import MAP
from embstore.base.errors import DamagedError, QueryError, StoreError, UsageError, check_known
from embstore.base.progress import task
from embstore.base.space import Layer
from embstore.base.table import ShownColumn, Table, table
from embstore.query import provenance
from embstore.query.cache import minor_version
from embstore.query.layer_data import stored_layers
from embstore.query.provenance import Row
from embstore.query.request import Selection, missing_words, stored_ids
from embstore.storage import keys
from embstore.storage.card import SpaceFilter, only_space, select_layers
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.maps import LayerMap, MapKey, Positions, find_map, read_map, write_map
from embstore.storage.maps import stored_maps as stored_map_files
from embstore.storage.sql import connections
from embstore.storage.views.fence import changing_part

if TYPE_CHECKING:
    from embstore.metrics import LayerData
    from embstore.query.map_methods import Method, SharedBasis

METHODS = {"pca": 1, "tsne": 2}  # method → version, incremented when it gives other positions


@dataclass(frozen=True, slots=True)
class MapRequest:
    """A request for the maps of some layers of a space."""

    space: str
    layers: tuple[Layer, ...]
    method: str
    selection: Selection

    def __post_init__(self) -> None:
        check_known("method", self.method, METHODS)
        where = self.selection.where
        if where is not None and (name := changing_part(where)):
            raise UsageError(
                "a map is of items that stay the same, and what `where` selects may change"
                f" ({name}). To map items drawn at random, use `sample`. To map listed texts, use"
                " `words`."
            )

    def up_to(self, layer: Layer) -> tuple[Layer, ...]:
        """Return the layers that are not above a layer."""
        return tuple(other for other in self.layers if other.id <= layer.id)

    def key(self, layer: Layer) -> MapKey:
        """Return all that the map of a layer depends on: with ``tsne`` no layer above it."""
        fitted_on = self.layers if self.method == "pca" else self.up_to(layer)
        selection = self.selection
        return MapKey(
            self.space,
            layer.id,
            layer.name,
            self.method,
            METHODS[self.method],
            tuple(other.name for other in fitted_on),
            selection.where,
            selection.sample,
            selection.seed,
            numpy=None if selection.sample is None else minor_version(np.__version__),
            duckdb=None if selection.where is None else minor_version(connections.version()),
            words=None if selection.words is None else selection.words.name,
            words_sha256=None if selection.words is None else selection.words.sha256,
        )


def map_spaces(
    catalog: Catalog,
    spaces: SpaceFilter,
    layers: str,
    method: str,
    selection: Selection,
    *,
    force: bool = False,
) -> Table:
    """Map the layers of spaces, and store the maps; return one row per space and layer."""
    chosen, notes = _chosen(catalog, spaces, layers, selection)
    requests = [MapRequest(space, members, method, selection) for space, members in chosen.items()]
    for request in requests:  # before hours of work, if the store is read-only
        disk.make_folder(catalog.root / keys.folder_of(keys.MAPS, request.space))
    rows: list[Row] = []
    for request in requests:
        card = catalog.cards[request.space]
        word_columns, word_notes = missing_words(catalog, selection.words, card)
        notes += word_notes
        for layer_map, did in _maps(catalog, request, request.layers, store=True, force=force):
            columns = {"revision": card.revision_name, "step": card.step, **word_columns}
            rows.append({"model": card.model, "did": did, **columns, **_row_of(layer_map)})
            notes += _notes_on(layer_map)
    settings = selection.columns()
    if selection.words is not None:
        settings["words_missing"] = None
    return table(
        [settings | row for row in rows],
        columns=[*provenance.columns_with_values(COLUMNS, rows), *settings],
        notes=[*notes, _KEPT],
        shown=_SHOWN,
        types=_TYPES,
    )


def map_points(
    catalog: Catalog, space: str, layer: str, layers: str, method: str, selection: Selection
) -> tuple[Ids, Positions]:
    """Return the map of one layer; if it is not stored, compute it, and store it where the store
    can be written.
    """
    card = only_space(catalog.cards, space)
    members, together = card.layers.select(layer).members, card.layers.select(layers).members
    if len(members) != 1 or members[0] not in together:
        raise UsageError(
            f"a map is of one of the layers {layers!r} of {space}, and {layer!r} is not one of"
            " these."
        )
    request = MapRequest(card.space, together, method, selection)
    layer_map = _stored(catalog, request, members[0])
    if layer_map is None:  # a map of t-SNE needs the map below
        needed = members if method == "pca" else request.up_to(members[0])
        maps = [*_maps(catalog, request, needed, store=False)]
        if not maps:
            raise _nothing_selected([space])
        layer_map, _ = maps[-1]
    return layer_map.ids, layer_map.positions


def map_items(
    catalog: Catalog,
    spaces: SpaceFilter,
    layers: str,
    together: str,
    method: str,
    selection: Selection,
) -> Table:
    """Return the maps of some layers, mapped together with others, with a row per item."""
    chosen, notes = _chosen(catalog, spaces, layers, selection)
    rows: list[Row] = []
    for space, members in chosen.items():
        for layer in members:
            ids, positions = map_points(catalog, space, layer.name, together, method, selection)
            shown = {"space": space, "layer": layer.id, "layer_name": layer.name, "n": len(ids)}
            texts = catalog.texts(ids)
            for item_id, text, (x, y) in zip(ids.tolist(), texts, positions.tolist(), strict=True):
                rows.append({**shown, "item_id": item_id, "text": text, "x": x, "y": y})
    settings = selection.columns() | {"method": method, "reason": None}
    columns = ["space", "layer", "layer_name", "n", "item_id", "text", "x", "y", *settings]
    cards = [catalog.cards[space] for space in chosen]
    notes += missing_words(catalog, selection.words, *cards)[1]
    return table([row | settings for row in rows], columns=columns, notes=notes, chart=MAP)


def shared_basis(catalog: Catalog, space: str, layers: str, selection: Selection) -> "SharedBasis":
    """Return the axes and centres of the maps of some layers by principal components."""
    members = catalog.cards[space].layers.select(layers).members
    request = MapRequest(space, members, "pca", selection)
    from embstore.query.map_methods import SharedBasis

    return SharedBasis.of(
        _vectors(catalog, request, _selected(catalog, request.space, request.selection))
    )


def _maps(
    catalog: Catalog,
    request: MapRequest,
    layers: Sequence[Layer],
    *,
    store: bool,
    force: bool = False,
) -> Iterator[tuple[LayerMap, str]]:
    """Yield the map of each of some layers, and whether it was made or found; nothing if no item is
    selected.

    Args:
        catalog: Store to read.
        request: Maps that belong together.
        layers: Layers whose maps are returned, ascending.
        store: Whether a map that cannot be stored is an error.
        force: Whether to make maps again that are stored.
    """
    below: LayerMap | None = None
    method: Method | None = None
    selected: Ids | None = None
    with task("map", request.space, len(layers)) as mapping:
        for layer in layers:
            layer_map = None if force else _stored(catalog, request, layer)
            did = "found"
            if layer_map is None:
                if method is None or selected is None:
                    selected = _selected(catalog, request.space, request.selection)
                    if not len(selected):
                        return
                    from embstore.query import map_methods  # which stored maps do not need

                    vectors = _vectors(catalog, request, selected)
                    method = map_methods.METHODS[request.method](vectors, request.selection.seed)
                place = request.layers.index(layer)
                ids, positions, kept = method.place(place, below, mapping.report)
                layer_map = LayerMap(
                    request.key(layer),
                    catalog.items_of(request.space),
                    ids,
                    positions,
                    len(selected) - len(ids),
                    *kept,
                    method.versions,
                )
                did = "made"
                try:
                    write_map(catalog.root, layer_map)
                except (StoreError, OSError):
                    if store:
                        # else a read-only store, or a full disk: the next request computes the map
                        # again
                        raise
            mapping.finish()
            below = layer_map
            yield layer_map, did


def _chosen(
    catalog: Catalog, spaces: SpaceFilter, layers: str, selection: Selection
) -> tuple[dict[str, tuple[Layer, ...]], list[str]]:
    """Return the layers of each space that has a selected item, and notes on what is left out."""
    cards = spaces.select_with_layers(catalog.cards)
    chosen, notes = select_layers(cards, layers)
    empty = [space for space in chosen if not len(_selected(catalog, space, selection))]
    if len(empty) == len(chosen):
        raise _nothing_selected(chosen)
    notes += spaces.left_out(cards, dict.fromkeys(empty, "none of its items is selected."))
    return {space: chosen[space] for space in chosen if space not in empty}, notes


def _nothing_selected(spaces: Iterable[str]) -> QueryError:
    return QueryError(
        f"no item of {' or '.join(spaces)} is selected. Leave `where` and `words` out, or select"
        " others."
    )


def _stored(catalog: Catalog, request: MapRequest, layer: Layer) -> LayerMap | None:
    """Return the stored map of a layer if it is current."""
    return find_map(catalog.root, request.key(layer), catalog.items_of(request.space))


def _selected(catalog: Catalog, space: str, selection: Selection) -> Ids:
    """Return the ids of the selected items of a space, ascending."""
    selection.check_texts(catalog, catalog.cards[space])
    return stored_ids(catalog, space, selection.select(catalog, space))


def _vectors(catalog: Catalog, request: MapRequest, selected: Ids) -> list["LayerData"]:
    card = catalog.cards[request.space]
    only = selected if request.selection.columns() else None
    return list(stored_layers(catalog, card, request.layers, only))


_OF_MAP = ("n", "n_zero", "kept", "n_kept", "reason")
COLUMNS = (
    "space",
    "model",
    *provenance.REVISION_COLUMNS,
    "layer",
    "layer_name",
    "method",
    "did",
    *_OF_MAP,
    "file",
)
LISTED_COLUMNS = (
    "space",
    "layer",
    "layer_name",
    "method",
    "fitted_on",
    "where",
    "words",
    "words_sha256",
    "sample",
    "seed",
    *_OF_MAP,
    "state",
    "bytes",
    "file",
)
_LAYER = (ShownColumn("space"), ShownColumn("layer_name", "layer"), ShownColumn("method"))
_NUMBERS = (ShownColumn("n", kind="count"), ShownColumn("kept"))
_SHOWN = (*_LAYER, ShownColumn("did"), *_NUMBERS)
_TYPES = {
    **provenance.REVISION_TYPES,
    "kept": "number",
    "reason": "string",
    "where": "string",
    "words": "string",
    "words_sha256": "string",
    "sample": "integer",
}
_KEPT = (
    "kept: share of the ten nearest neighbours by cosine that are among the ten nearest on the map"
)


def stored_maps(
    catalog: Catalog, spaces: SpaceFilter, layers: str | None = None, method: str | None = None
) -> Table:
    """Return one row per stored map of a space; notes name those that are damaged.

    ``state`` is ``current``, or ``behind`` if items were added since or another version would make
    the map.
    """
    check_known("method", method, METHODS)
    cards = (
        spaces.select_with_layers(catalog.cards)
        if spaces != SpaceFilter()
        else list(catalog.cards.values())
    )
    chosen, notes = select_layers(cards, layers or "all") if cards else ({}, [])
    rows = []
    for space in (card.space for card in cards):
        for path in stored_map_files(catalog.root, space):
            try:
                layer_map = read_map(catalog.root, path)
                size = os.path.getsize(path)
            except DamagedError as error:
                notes.append(str(error))
                continue
            except FileNotFoundError:
                continue
            key = layer_map.key
            is_chosen = any(layer.id == key.layer for layer in chosen.get(space, ()))
            if method not in (None, key.method) or not is_chosen:
                continue
            is_current = layer_map.items == catalog.items_of(space) and (
                key.version == METHODS.get(key.method)
                and key.numpy in (None, minor_version(np.__version__))
                and key.duckdb in (None, minor_version(connections.version()))
            )
            rows.append(
                {
                    "fitted_on": list(key.fitted_on),
                    "where": key.where,
                    "words": key.words,
                    "words_sha256": key.words_sha256,
                    "sample": key.sample,
                    "seed": key.seed,
                    "state": "current" if is_current else "behind",
                    "bytes": size,
                    **_row_of(layer_map),
                }
            )
    settings = [name for name in ("where", "words", "sample") if any(row[name] for row in rows)]
    shown = (
        *_LAYER,
        ShownColumn("fitted_on", "with", "layers"),
        *map(ShownColumn, settings),
        *_NUMBERS,
        ShownColumn("state"),
    )
    return table(rows, columns=LISTED_COLUMNS, notes=notes, shown=shown, types=_TYPES)


def _row_of(layer_map: LayerMap) -> Row:
    """Return the columns that describe a map."""
    key = layer_map.key
    return {
        "space": key.space,
        "layer": key.layer,
        "layer_name": key.layer_name,
        "method": key.method,
        "n": len(layer_map.ids),
        "n_zero": layer_map.n_zero,
        "kept": layer_map.kept,
        "n_kept": layer_map.n_kept,
        "reason": layer_map.reason,
        "file": key.path(Path()).as_posix(),
    }


def _notes_on(layer_map: LayerMap) -> Iterator[str]:
    """Yield notes on a map: a small sample, items without a place, and how its share of kept
    neighbours is measured.
    """
    key, n = layer_map.key, len(layer_map.ids)
    where = f"{key.space} layer {key.layer_name}"
    if key.sample is not None and n + layer_map.n_zero < key.sample:
        yield f"{key.space}: the sample of {key.sample} is all {n + layer_map.n_zero} items."
    if layer_map.n_zero:
        yield (
            f"{where}: n_zero = {layer_map.n_zero} (items whose vector is zero: they have no place"
            " on the map)."
        )
    if layer_map.reason:
        yield f"{where}: kept: {layer_map.reason}."
    elif layer_map.n_kept < n:
        yield (
            f"{key.space}: kept is measured over {layer_map.n_kept} items, a random sample (seed"
            f" {key.seed})"
        )
