"""Check vectors that a user gives as queries."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import UsageError
from embstore.base.space import Layer
from embstore.query.lookup import FoundQueries, Query
from embstore.storage.files.card import Card


def parse_vectors(vector: Any) -> dict[Query, NDArray[np.float64]]:
    """Return the vectors of an array (dim,) or (n, dim) by query, float64 (dim,).

    A single vector is called ``vector``, several are ``vector[0]``, ``vector[1]`` and so on.

    Raises:
        UsageError: It is not such an array of numbers, or a vector is not finite or zero.
    """
    try:
        given = np.asarray(vector)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged rows; a tensor on a GPU, or with a gradient
        raise UsageError(f"vector is not an array of numbers: {error}") from error
    if given.dtype.kind not in "fiu":
        raise UsageError(f"vector is an array of {given.dtype}, not of real numbers.")
    if given.ndim not in (1, 2) or not given.size:
        raise UsageError(f"vector has the shape {given.shape}: give one vector (dim,), or several (n, dim).")
    rows = np.atleast_2d(given).astype(np.float64)
    names = ["vector"] if given.ndim == 1 else [f"vector[{row}]" for row in range(len(rows))]
    for name, row in zip(names, rows, strict=True):
        if not np.isfinite(row).all():
            raise UsageError(f"{name} has the number {row[~np.isfinite(row)][0]} in it, which has no cosine.")
        with np.errstate(over="ignore", under="ignore"):
            square = np.vecdot(row, row)
        if not row.any():
            raise UsageError(f"{name} is zero, which has no cosine.")
        if not 0 < square < np.inf:
            raise UsageError(f"{name} has numbers too {'large' if square else 'small'} for a norm: scale it first.")
    return {Query(name): row for name, row in zip(names, rows, strict=True)}


def look_up_vectors(
    cards: Sequence[Card], vectors: Mapping[Query, NDArray[np.floating]], layers: Mapping[str, Sequence[Layer]]
) -> list[FoundQueries]:
    """Return given vectors as what each space has for the queries: the same vector in each layer.

    Args:
        cards: Cards of the spaces.
        vectors: Vectors by query (dim,).
        layers: Layers to search, by space; spaces without layers are left out.

    Raises:
        UsageError: A space has vectors of another dimension.
    """
    dim = next(iter(vectors.values())).size
    if others := [card for card in cards if card.space in layers and card.dim != dim]:
        dims = ", ".join(f"{card.space} has {card.dim}" for card in others)
        fitting = [card.space for card in cards if card.space in layers and card.dim == dim]
        remedy = f" Choose spaces that fit: spaces={fitting!r}." if fitting else ""
        raise UsageError(f"vector has {dim} dimensions, and {dims}.{remedy}")
    return [
        FoundQueries(
            card,
            {query: {layer.id: vector for layer in layers[card.space]} for query, vector in vectors.items()},
            {},
            {},
        )
        for card in cards
        if card.space in layers
    ]
