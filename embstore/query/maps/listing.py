"""Tabulate maps: those that a request made or found, and all that are stored."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from embstore.base import disk
from embstore.base.errors import DamagedError
from embstore.base.space import Layer
from embstore.base.table import ShownColumn, Table, table
from embstore.query.maps.request import check_method, is_of_this_version
from embstore.query.request import Selection
from embstore.query.revision_columns import REVISION_COLUMNS, REVISION_TYPES, columns_with_values
from embstore.storage.catalog import Catalog
from embstore.storage.files.maps import LayerMap, MapKey, read_map
from embstore.storage.files.paths import StorePaths
from embstore.storage.selection import SpaceFilter, select_layers

Row = dict[str, Any]

_OF_MAP = ("n", "n_zero", "kept", "n_kept", "reason")
COLUMNS = ("space", "model", *REVISION_COLUMNS, "layer", "layer_name", "method", "did", *_OF_MAP, "file")
LISTED_COLUMNS = (
    "space", "layer", "layer_name", "method", "fitted_on", "where", "words", "words_sha256", "sample", "seed", *_OF_MAP,
    "state", "bytes",
    "file",
)  # fmt: skip
_LAYER = (ShownColumn("space"), ShownColumn("layer_name", "layer"), ShownColumn("method"))
_NUMBERS = (ShownColumn("n", kind="count"), ShownColumn("kept"))
_SHOWN = (*_LAYER, ShownColumn("did"), *_NUMBERS, ShownColumn("file"))
_LISTED_SHOWN = (
    *_LAYER, ShownColumn("where"), ShownColumn("words"), ShownColumn("sample"), ShownColumn("seed"), *_NUMBERS,
    ShownColumn("state"), ShownColumn("bytes", "size", "bytes"),
)  # fmt: skip
_TYPES = {**REVISION_TYPES, "kept": "number", "reason": "string", "where": "string", "words": "string",
          "words_sha256": "string", "sample": "integer"}  # fmt: skip
_KEPT = "kept: share of the ten nearest neighbours by cosine that are among the ten nearest on the map"


def tabulate(rows: Sequence[Row], notes: Sequence[str], selection: Selection) -> Table:
    """Return the rows of maps, from :func:`row_of`, as a table.

    Args:
        rows: Rows, each with ``model``, ``did`` and the columns about the revision too.
        notes: Notes on the choice of spaces and layers, and on the maps (:func:`notes_on`).
        selection: Items that were mapped.
    """
    columns = selection.columns() | ({} if selection.words is None else {"words_missing": None})
    return table(
        [columns | row for row in rows], columns=[*columns_with_values(COLUMNS, rows), *columns],
        notes=list(dict.fromkeys([*notes, _KEPT])), shown=_SHOWN, types=_TYPES,
    )  # fmt: skip


def stored_maps(catalog: Catalog, spaces: SpaceFilter, layers: str | None = None, method: str | None = None) -> Table:
    """Return one row per stored map of a space; notes name those that are damaged.

    ``state`` is ``current``, or ``behind`` if items were added since or another version would make the map.

    Args:
        catalog: Store to read.
        spaces: Filter of the spaces.
        layers: Selection of layers, in the notation of :meth:`Layers.select`; None for all.
        method: ``pca`` or ``tsne``; None for both.

    Raises:
        UnknownNameError: A space, layer or method does not exist.
        QueryError: No space matches the filter.
    """
    if method is not None:
        check_method(method)
    cards = spaces.select(catalog.cards) if spaces != SpaceFilter() else list(catalog.cards.values())
    chosen, notes = ({}, []) if layers is None or not cards else select_layers(cards, layers)
    rows = []
    for space in (card.space for card in cards):
        for path in catalog.paths.map_files(space):
            try:
                found = read_map(catalog.paths, path)
                size = disk.size(path)
            except DamagedError as error:
                notes.append(str(error))
                continue
            except FileNotFoundError:
                continue
            key = found.key
            if method not in (None, key.method) or (layers is not None and not _is_in(key, chosen)):
                continue
            rows.append(
                {
                    "fitted_on": list(key.fitted_on), "where": key.where, "words": key.words,
                    "words_sha256": key.words_sha256, "sample": key.sample, "seed": key.seed,
                    "state": _state(catalog, found), "bytes": size, **row_of(catalog.paths, found),
                }
            )  # fmt: skip
    return table(rows, columns=LISTED_COLUMNS, notes=notes, shown=_LISTED_SHOWN, types=_TYPES)


def _is_in(key: MapKey, chosen: Mapping[str, Sequence[Layer]]) -> bool:
    """Return whether the layer of a map is one of those chosen of its space."""
    return any(layer.id == key.layer for layer in chosen.get(key.space, ()))


def _state(catalog: Catalog, found: LayerMap) -> str:
    is_current = found.shards == tuple(sorted(catalog.shard_names(found.key.space)))
    return "current" if is_current and is_of_this_version(found.key) else "behind"


def row_of(paths: StorePaths, found: LayerMap) -> Row:
    """Return the columns that describe a map."""
    key = found.key
    return {
        "space": key.space, "layer": key.layer, "layer_name": key.layer_name, "method": key.method, "n": len(found.ids),
        "n_zero": found.n_zero, "kept": found.kept, "n_kept": found.n_kept, "reason": found.reason,
        "file": key.path(paths).relative_to(paths.root).as_posix(),
    }  # fmt: skip


def notes_on(found: LayerMap) -> Iterator[str]:
    """Yield notes on a map: a small sample, items without a place, and how its share of kept neighbours is measured."""
    key, n = found.key, len(found.ids)
    where = f"{key.space} layer {key.layer_name}"
    if key.sample is not None and n + found.n_zero < key.sample:
        yield f"{key.space}: the sample of {key.sample} is all {n + found.n_zero} items."
    if found.n_zero:
        yield f"{where}: n_zero = {found.n_zero} (items whose vector is zero: they have no place on the map)."
    if found.reason:
        yield f"{where}: kept: {found.reason}."
    elif found.n_kept < n:
        yield f"{key.space}: kept is measured over {found.n_kept} items, a random sample (seed {key.seed})"
