"""Build and search cosine indexes: FAISS over the unit vectors of one layer of a space, keyed by
item id.

The manifest says which items an index covers. One that does not cover all items of its space is out
of date and is not searched: the caller scans the vectors with :func:`search_exact` instead.
"""

from embstore.index.card import AUTO, KINDS, IndexCard, choose, readable_card, shown_parameters
from embstore.index.exact_search import search_exact, unit_vectors, with_squares
from embstore.index.searching import open_index

__all__ = [
    "AUTO", "KINDS", "IndexCard", "choose", "open_index", "readable_card", "search_exact",
    "shown_parameters", "unit_vectors", "with_squares",
]  # fmt: skip
