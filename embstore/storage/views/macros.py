"""Give users' SQL the vector of a text, cosines, norms and nearest neighbours, as macros of DuckDB.

DuckDB puts the arguments of a macro into its body as they are written, so a body must not have a
column that an argument could name: the columns inside begin with a hyphen, and the parameters with
an underscore.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from embstore.base.errors import EmbstoreError, NotStoredError, UnknownNameError, shortened
from embstore.storage.card import Card

_NOT_STORED = "neighbours of what is not stored: "
_FAILURE = f"error('{_NOT_STORED}' || to_json([_space::VARCHAR, _layer::VARCHAR, _text::VARCHAR]))"
"""SQL that fails with the arguments of the macro, from which :func:`not_stored` reads them."""


class Macro(NamedTuple):
    """A macro that users' SQL may call."""

    signature: str  # how it is called
    help: str  # its result, in one line
    definition: str  # name, parameters and body, as in CREATE MACRO
    reads_views: bool = False  # whether it reads the views of :data:`VIEWS`


VIEWS = frozenset(("embeddings", "items", "spaces"))
"""Views that macros read."""
_VECTORS = """(SELECT space AS "-space", layer AS "-layer", item_id AS "-item", vector AS "-vector"
                FROM embeddings)"""
_ITEMS = """(SELECT item_id AS "-id", text AS "-text", unit AS "-unit" FROM items)"""

MACROS: Mapping[str, Macro] = {
    "cosine": Macro(
        "cosine(a, b)",
        "Cosine of two vectors, computed in float64; NULL if one is zero.",
        "cosine(_a, _b) AS nullif(list_cosine_similarity(_a::DOUBLE[], _b::DOUBLE[]),"
        " 'NaN'::DOUBLE)",
    ),
    "norm": Macro(
        "norm(v)",
        "Euclidean length of a vector, computed in float64.",
        "norm(_v) AS sqrt(list_inner_product(_v::DOUBLE[], _v::DOUBLE[]))",
    ),
    "vec": Macro(
        "vec(space, layer, text)",
        "Vector of a text in a layer (its number); NULL if it is not stored.",
        f"""vec(_space, _layer, _text) AS (
            SELECT "-vector" FROM {_VECTORS}, {_ITEMS},
                   (SELECT space AS "-name", unit AS "-its" FROM spaces)
            WHERE "-item" = "-id" AND "-space" = _space AND "-name" = _space AND "-layer" = _layer
            AND "-text" = _text AND "-unit" = "-its")""",
        reads_views=True,
    ),
    "neighbours": Macro(
        "neighbours(space, layer, text, k := 10)",
        "Table of the k nearest other items by cosine: rank, item_id, text, cosine; an error if it"
        " is not stored.",
        f"""neighbours(_space, _layer, _text, k := 10) AS TABLE
            WITH "-query" AS MATERIALIZED (SELECT vec(_space, _layer, _text)::DOUBLE[] AS "-given")
            SELECT row_number() OVER (ORDER BY cosine DESC, item_id) AS rank, item_id, text, cosine
            FROM (
                SELECT "-item" AS item_id, "-text" AS text, cosine("-vector", "-given") AS cosine
                FROM {_VECTORS}, {_ITEMS}, "-query"
                WHERE "-item" = "-id" AND "-space" = _space AND "-layer" = _layer
                AND "-text" <> _text
                UNION ALL
                SELECT NULL, NULL, CASE WHEN "-given" IS NULL THEN {_FAILURE}::DOUBLE END
                FROM "-query")
            WHERE cosine IS NOT NULL ORDER BY cosine DESC, item_id LIMIT k""",
        reads_views=True,
    ),
}
"""Macros by name, each after those that it calls."""


def not_stored(
    message: str,
    cards: Sequence[Card],
    nearest_texts: Callable[[str, Sequence[str]], Sequence[str]],
) -> EmbstoreError | None:
    """Return the error for a call of ``neighbours`` that a message of DuckDB is about; None if it
    is about none.
    """
    try:
        space, layer, text = json.loads(message.partition(_NOT_STORED)[2])
    except ValueError:  # another error, which may quote the same words
        return None
    space, layer, text = ("NULL" if part is None else str(part) for part in (space, layer, text))
    by_name = {card.space: card for card in cards}
    if space not in by_name:
        return UnknownNameError("space", space, by_name)
    ids = [*map(str, by_name[space].layers.ids)]
    if layer not in ids:
        return UnknownNameError("layer", layer, ids, "In SQL a layer is its number.")
    near = nearest_texts(text, [space])
    hint = f" Nearest stored texts: {', '.join(map(repr, near))}." if near else ""
    return NotStoredError(
        f"{shortened(text)!r} is not in {space}.{hint} Add it with embstore build."
    )
