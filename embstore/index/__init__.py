"""Build, search and check cosine indexes: FAISS over the unit vectors of one layer of a space, keyed by item id.

Each index file has a card beside it that lists the shards it covers. An index that does not cover all shards of its
space is out of date and is not searched: the caller scans the vectors with :func:`search_exact` instead.
"""

from embstore.index.building import IndexOptions, remove_index, write_index
from embstore.index.card import AUTO, KINDS, IndexCard, choose, parse_memory, shown_parameters
from embstore.index.exact_search import search_exact, unit_vectors
from embstore.index.opening import differing_items, open_in_background, open_index, stored_ids
from embstore.index.searching import is_few

__all__ = [
    "AUTO", "KINDS", "IndexCard", "IndexOptions", "choose", "differing_items", "is_few", "open_in_background",
    "open_index", "parse_memory", "remove_index", "search_exact", "shown_parameters", "stored_ids", "unit_vectors",
    "write_index",
]  # fmt: skip
