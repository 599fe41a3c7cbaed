"""Define a request for maps: the layers of a space, the method and the items."""

from dataclasses import dataclass

import numpy as np

from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.space import Layer
from embstore.query.request import Selection
from embstore.storage.files.maps import MapKey
from embstore.storage.sql import connections
from embstore.storage.sql.connections import changing_part

METHODS = {"pca": 1, "tsne": 2}
"""Method → version, incremented when it gives other positions."""


@dataclass(frozen=True, slots=True)
class MapRequest:
    """A request for the maps of some layers of a space.

    Attributes:
        space: Name of the space.
        layers: Layers that are mapped together, by ascending id.
        method: ``pca`` or ``tsne``.
        selection: Items to map, with the random seed; no transforms.

    Raises:
        UnknownNameError: There is no such method.
        UsageError: ``where`` may select other items another time.
    """

    space: str
    layers: tuple[Layer, ...]
    method: str
    selection: Selection

    def __post_init__(self) -> None:
        check_method(self.method)
        where = self.selection.where
        if where is not None and (name := changing_part(where)):
            raise UsageError(
                f"a map is of items that stay the same, and what ⦃where⦄ selects may change ({name}). To map items "
                "drawn at random, use ⦃sample⦄."
            )

    def key(self, layer: Layer) -> MapKey:
        """Return all that the map of a layer depends on: with ``tsne`` no layer above it."""
        depends_on = self.layers if self.method == "pca" else [each for each in self.layers if each.id <= layer.id]
        selection = self.selection
        return MapKey(
            self.space, layer.id, layer.name, self.method, METHODS[self.method],
            tuple(each.name for each in depends_on), selection.where, selection.sample, selection.seed,
            numpy=None if selection.sample is None else _minor(np.__version__),
            duckdb=None if selection.where is None else _minor(connections.version()),
            words=None if selection.words is None else selection.words.name,
            words_sha256=None if selection.words is None else selection.words.sha256,
        )  # fmt: skip


def check_method(method: str) -> None:
    """Raise UnknownNameError if there is no such method."""
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)


def is_of_this_version(key: MapKey) -> bool:
    """Return whether this version of embstore and of its libraries would make the map anew under the same key."""
    return (
        key.version == METHODS.get(key.method)
        and key.numpy in (None, _minor(np.__version__))
        and key.duckdb in (None, _minor(connections.version()))
    )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
