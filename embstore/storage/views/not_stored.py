"""Name what a call of the macro ``neighbours`` does not find: the space, the layer or the text, with the nearest."""

from collections.abc import Callable, Sequence
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
    """Return the error for a call that has no vector.

    Args:
        call: Arguments of the macro.
        cards: Cards of the spaces of the store.
        nearest: Function that runs :data:`NEAREST` with its parameters.
    """
    by_name = {card.space: card for card in cards}
    if call.space not in by_name:
        return UnknownNameError("space", call.space, by_name)
    ids = by_name[call.space].layers.ids
    if call.layer not in map(str, ids):
        return UnknownNameError("layer", call.layer, map(str, ids), "In SQL a layer is its number.")
    near = nearest({"space": call.space, "layer": int(call.layer), "text": call.text[:_MAX_CHARS]})
    found = f" Nearest stored texts: {', '.join(map(repr, near))}." if near else ""
    return NotStoredError(f"{shortened(call.text)!r} is not in {call.space}.{found} Add it with embstore build.")
