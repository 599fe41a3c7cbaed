"""Macros for users' SQL over a store: the vector of a text, cosines, and nearest neighbours.

DuckDB puts the arguments of a macro into its body as they are written, so a body must not have a column that an
argument could name: the columns inside begin with a hyphen, and the parameters with an underscore.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from embstore.base.errors import EmbstoreError, NotStoredError, UnknownNameError, shortened
from embstore.storage.files.card import Card

_SEPARATOR = "\x1f"
_MARK = f"{_SEPARATOR}neighbours{_SEPARATOR}"
_MAX_CHARS = 1000
_N_NEAREST = 5

FAILURE = f"""error('{_MARK}' || concat_ws('{_SEPARATOR}', coalesce(_space::VARCHAR, 'NULL'),
    coalesce(_layer::VARCHAR, 'NULL'), coalesce(_text::VARCHAR, 'NULL')))"""
"""SQL that fails with the arguments of the macro, from which :func:`parse_failure` reads them."""

NEAREST = f"""SELECT text FROM (SELECT DISTINCT text FROM items SEMI JOIN
        (SELECT item_id FROM embeddings WHERE space = $space AND layer = $layer) USING (item_id)
        WHERE length(text) <= {_MAX_CHARS})
    ORDER BY damerau_levenshtein(lower(text), lower($text)), jaro_winkler_similarity(lower(text), lower($text)) DESC,
        text LIMIT {_N_NEAREST}"""
"""SQL of the texts of a layer with the most similar spelling, as :meth:`.ItemTables.nearest_texts` orders them."""


class Macro(NamedTuple):
    """A macro that users' SQL may call."""

    signature: str  # how it is called
    help: str  # its result, in one line
    views: frozenset[str]
    statement: str  # statement that creates it
    needs: tuple[str, ...] = ()
    is_table: bool = False  # whether it is called in place of a table; its arguments are then constants


_VECTORS = """(SELECT space AS "-space", layer AS "-layer", item_id AS "-item", vector AS "-vector" FROM embeddings)"""
_ITEMS = """(SELECT item_id AS "-id", text AS "-text", unit AS "-unit" FROM items)"""

MACROS: Mapping[str, Macro] = {
    "cosine": Macro(
        "cosine(a, b)",
        "Cosine of two vectors, computed in float64; NULL if one is zero.",
        frozenset(),
        "CREATE MACRO cosine(_a, _b) AS nullif(list_cosine_similarity(_a::DOUBLE[], _b::DOUBLE[]), 'NaN'::DOUBLE)",
    ),
    "vec": Macro(
        "vec(space, layer, text)",
        "Vector of a text in a layer (its number); NULL if it is not stored.",
        frozenset(("embeddings", "items", "spaces")),
        f"""CREATE MACRO vec(_space, _layer, _text) AS (
            SELECT "-vector" FROM {_VECTORS}, {_ITEMS}, (SELECT space AS "-name", unit AS "-its" FROM spaces)
            WHERE "-item" = "-id" AND "-space" = _space AND "-name" = _space AND "-layer" = _layer
            AND "-text" = _text AND "-unit" = "-its")""",
    ),
    "neighbours": Macro(
        "neighbours(space, layer, text, k := 10)",
        "Table of the k nearest other items by cosine: rank, item_id, text, cosine; an error if it is not stored.",
        frozenset(("embeddings", "items", "spaces")),
        f"""CREATE MACRO neighbours(_space, _layer, _text, k := 10) AS TABLE
            WITH "-query" AS MATERIALIZED (SELECT vec(_space, _layer, _text)::DOUBLE[] AS "-given")
            SELECT row_number() OVER (ORDER BY cosine DESC, item_id) AS rank, item_id, text, cosine FROM (
                SELECT "-item" AS item_id, "-text" AS text, cosine("-vector", "-given") AS cosine
                FROM {_VECTORS}, {_ITEMS}, "-query"
                WHERE "-item" = "-id" AND "-space" = _space AND "-layer" = _layer AND "-text" <> _text
                UNION ALL SELECT NULL, NULL, CASE WHEN "-given" IS NULL THEN {FAILURE}::DOUBLE END FROM "-query")
            WHERE cosine IS NOT NULL ORDER BY cosine DESC, item_id LIMIT k""",
        needs=("cosine", "vec"),
        is_table=True,
    ),
}
"""Macros by name."""


def in_order(names: frozenset[str]) -> list[str]:
    """Return macros with those that their bodies call, each after these."""
    needed = {*names, *(other for name in names for other in MACROS[name].needs)}
    return [name for name in MACROS if name in needed]


class Call(NamedTuple):
    """Arguments of a call of the macro, as texts."""

    space: str
    layer: str
    text: str


def parse_failure(message: str) -> Call | None:
    """Return the call that a message of DuckDB is about; None if it is about something else."""
    _, mark, arguments = message.partition(_MARK)
    parts = arguments.split(_SEPARATOR, 2)
    return Call(*parts) if mark and len(parts) == 3 else None


def not_stored(
    call: Call, cards: Sequence[Card], nearest: Callable[[dict[str, str | int]], Sequence[str]]
) -> EmbstoreError:
    """Return the error for a call that has no vector."""
    by_name = {card.space: card for card in cards}
    if call.space not in by_name:
        return UnknownNameError("space", call.space, by_name)
    ids = by_name[call.space].layers.ids
    if call.layer not in map(str, ids):
        return UnknownNameError("layer", call.layer, map(str, ids), "In SQL a layer is its number.")
    near = nearest({"space": call.space, "layer": int(call.layer), "text": call.text[:_MAX_CHARS]})
    found = f" Nearest stored texts: {', '.join(map(repr, near))}." if near else ""
    return NotStoredError(f"{shortened(call.text)!r} is not in {call.space}.{found} Add it with embstore build.")
