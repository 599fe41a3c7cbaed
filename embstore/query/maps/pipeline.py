"""Map the layers of spaces: from stored maps if they are current, else computed and stored, layer by layer."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from embstore.base import disk
from embstore.base.errors import QueryError, StoreError, UsageError
from embstore.base.progress import Task, task
from embstore.base.space import Layer
from embstore.base.table import Table
from embstore.metrics import LayerData
from embstore.query.item_filter import missing_words
from embstore.query.layer_data import StoredLayer
from embstore.query.maps.listing import notes_on, row_of, tabulate
from embstore.query.maps.methods import Components, Method, Neighbourhoods
from embstore.query.maps.pca import SharedBasis
from embstore.query.maps.request import MapRequest
from embstore.query.provenance import NOTHING_SELECTED, missing_shard_notes
from embstore.query.request import Selection, stored_ids
from embstore.query.revision_columns import revision_of
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.maps import LayerMap, Positions, find_map, write_map
from embstore.storage.selection import SpaceFilter, select_layers

MADE, FOUND = "made", "found"

_METHODS: dict[str, Callable[[Sequence[LayerData], int], Method]] = {"pca": Components, "tsne": Neighbourhoods}


def map_spaces(
    catalog: Catalog, spaces: SpaceFilter, layers: str, method: str, selection: Selection, *, force: bool = False
) -> Table:
    """Map the layers of spaces, and store the maps; return one row per space and layer.

    Args:
        catalog: Store to read.
        spaces: Filter of the spaces.
        layers: Selection of layers, in the notation of :meth:`Layers.select`; those of a space are mapped together.
        method: ``pca`` or ``tsne``.
        selection: Items to map, with the random seed; no transforms.
        force: Whether to make maps again that are stored.

    Raises:
        UnknownNameError: A space, layer or method does not exist.
        UsageError: openTSNE is not installed, or ``where`` may select other items another time.
        QueryError: No item is selected, or the SQL fails.
        StoreError: A map cannot be written. Those before it are stored.
    """
    cards = spaces.select(catalog.cards)
    chosen, missing = select_layers(cards, layers)
    cards = [card for card in cards if card.space in chosen]
    requests = [MapRequest(card.space, chosen[card.space], method, selection) for card in cards]
    for request in requests:  # before hours of work, if the store is read-only
        disk.make_folder(catalog.paths.maps(request.space))
    notes = [*missing, *(note for card in cards for note in missing_shard_notes(catalog, card))]
    rows: list[dict[str, Any]] = []
    for request, card in zip(requests, cards, strict=True):
        word_columns, word_notes = missing_words(catalog, selection.words, card)
        notes += word_notes
        n_before = len(rows)
        for found, did in _maps(catalog, request, store=True, force=force):
            own = {"model": card.model, "did": did, **revision_of(card), **word_columns}
            rows.append(own | row_of(catalog.paths, found))
            notes += notes_on(found)
        if len(rows) == n_before:
            notes.append(f"{request.space}: {NOTHING_SELECTED}: no map is made.")
    if not rows:
        raise _nothing_selected(requests)
    return tabulate(rows, notes, selection)


def are_stored(catalog: Catalog, request: MapRequest) -> bool:
    """Return whether the maps of all layers of a request are stored and current."""
    return all(_stored(catalog, request, layer) is not None for layer in request.layers)


def map_points(
    catalog: Catalog, space: str, layer: str, layers: str, method: str, selection: Selection
) -> tuple[Ids, Positions]:
    """Return the map of one layer; if it is not stored, compute it, and store it where the store can be written.

    Args:
        catalog: Store to read.
        space: Name of the space.
        layer: One layer, in the notation of :meth:`Layers.select`.
        layers: Layers that are mapped together, among them ``layer``.
        method: ``pca`` or ``tsne``.
        selection: Items to map, with the random seed; no transforms.

    Returns:
        Ids of the items that have a direction, int64 (n,), ascending, and positions, float32 (n, 2).

    Raises:
        UsageError: ``layer`` is not one of ``layers``; or as :func:`map_spaces`.
        QueryError: As :func:`map_spaces`.
    """
    [card] = SpaceFilter(spaces=[space]).select(catalog.cards)
    members, together = card.layers.select(layer).members, card.layers.select(layers).members
    if len(members) != 1 or members[0] not in together:
        raise UsageError(f"a map is of one of the layers {layers!r} of {space}, and {layer!r} is not one of these.")
    request = MapRequest(space, together, method, selection)
    maps = list(_maps(catalog, request, store=False, until=members[0]))
    if not maps:
        raise _nothing_selected([request])
    found, _ = maps[-1]
    return found.ids, found.positions


def shared_basis(catalog: Catalog, space: str, layers: str, selection: Selection) -> SharedBasis:
    """Return the axes and centres of the maps by principal components of some layers, as :func:`map_points` has them.

    Args:
        catalog: Store to read.
        space: Name of the space.
        layers: Layers that are mapped together, in the notation of :meth:`Layers.select`.
        selection: Mapped items; no transforms.
    """
    members = catalog.cards[space].layers.select(layers).members
    request = MapRequest(space, members, "pca", selection)
    return SharedBasis.of(_vectors(catalog, request, _selected(catalog, request)))


def _maps(
    catalog: Catalog, request: MapRequest, *, store: bool, force: bool = False, until: Layer | None = None
) -> Iterator[tuple[LayerMap, str]]:
    """Yield the map of each layer, and whether it was made or found; nothing if no item is selected.

    Args:
        catalog: Store to read.
        request: Maps to return.
        store: Whether a map that cannot be stored is an error.
        force: Whether to make maps again that are stored.
        until: Layer to end with, of whose maps below only those are made that it depends on; None for all layers.
    """
    if until is not None and (stored := _stored(catalog, request, until)) is not None:
        yield stored, FOUND
        return
    needed = [layer for layer in request.layers if until is None or layer == until or _is_below(request, layer, until)]
    below: LayerMap | None = None
    method: Method | None = None
    selected: Ids | None = None
    with task("map", request.space, len(needed)) as mapping:
        for layer in needed:
            found, did = None if force else _stored(catalog, request, layer), FOUND
            if found is None:
                if method is None or selected is None:
                    if not len(selected := _selected(catalog, request)):
                        return
                    method = _METHODS[request.method](_vectors(catalog, request, selected), request.selection.seed)
                found, did = _make(catalog, request, layer, method, below, len(selected), mapping), MADE
                _write(catalog, found, store=store)
            mapping.finish((request.space, layer.id))
            below = found
            yield found, did


def _nothing_selected(requests: Sequence[MapRequest]) -> QueryError:
    spaces = " or ".join(request.space for request in requests)
    return QueryError(f"no item of {spaces} is selected. Leave ⦃where⦄ and ⦃words⦄ out, or select others.")


def _stored(catalog: Catalog, request: MapRequest, layer: Layer) -> LayerMap | None:
    """Return the stored map of a layer if it is current."""
    return find_map(catalog.paths, request.key(layer), catalog.shard_names(request.space))


def _is_below(request: MapRequest, layer: Layer, until: Layer) -> bool:
    """Return whether the map of a layer needs the one of another, as those of t-SNE need the map below."""
    return request.method == "tsne" and layer.id < until.id


def _selected(catalog: Catalog, request: MapRequest) -> Ids:
    """Return the ids of the selected items of the space, ascending."""
    request.selection.items.check_texts(catalog, catalog.cards[request.space])
    return stored_ids(catalog, request.space, request.selection.select(catalog, request.space))


def _vectors(catalog: Catalog, request: MapRequest, selected: Ids) -> list[LayerData]:
    card = catalog.cards[request.space]
    only = selected if request.selection.columns() else None
    summaries = catalog.summaries(request.space) if only is None else {}
    return [StoredLayer(catalog, card, layer, only, summaries.get(layer.id)) for layer in request.layers]


def _make(
    catalog: Catalog, request: MapRequest, layer: Layer, method: Method, below: LayerMap | None, n: int, mapping: Task
) -> LayerMap:
    """Map a layer of which n items are selected."""
    placed = method.place(request.layers.index(layer), below, _reporter(mapping, (request.space, layer.id)))
    return LayerMap(
        request.key(layer), tuple(sorted(catalog.shard_names(request.space))), placed.ids, placed.positions,
        n - len(placed.ids), placed.kept.share, placed.kept.n, placed.kept.reason, method.versions(),
    )  # fmt: skip


def _write(catalog: Catalog, made: LayerMap, *, store: bool) -> None:
    try:
        write_map(catalog.paths, made)
    except StoreError:
        if store:
            raise  # else a read-only store, or a full disk: the next request computes the map again


def _reporter(mapping: Task, part: Any) -> Callable[[float], None]:
    return lambda share: mapping.advance(part, share)
