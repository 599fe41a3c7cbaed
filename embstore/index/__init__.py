"""Cosine indexes: FAISS over the unit vectors of one layer of a space, keyed by item id.

An index lives beside its card, which says which shards it covers. One that does not cover all of them is behind, and
is never searched as if it were whole: the caller scans the vectors instead, with :func:`search_exact`.

    card.py         what an index covers, how it was made, and its measured recall
    policy.py       which index a layer gets, by size and memory
    building.py     make one, or add to one
    hnsw_layout.py  near vectors near each other in memory
    tuning.py       the least effort that finds enough of the exact answer
    hnsw_holdout.py a graph as it would be without some of its vectors
    searching.py    search
    opening.py      open, once
    faiss_index.py  FAISS itself
    structure.py    read a file of FAISS that may have been made to do harm
    points.py       distances between vectors, in float64 and roughly
    exact_knn.py    the nearest neighbours of all vectors of a layer, without an index, for metrics
"""

from embstore.index.building import Wanted, extend_index, remove_index, write_index
from embstore.index.card import IndexCard, sample_of, shown_parameters
from embstore.index.opening import disagreeing, open_index, open_soon, stored_ids
from embstore.index.policy import (
    AUTO,
    KINDS,
    Design,
    check_kind,
    choose,
    has_outgrown,
    memory_of,
    parse_memory,
    shown_memory,
)
from embstore.index.searching import Index, is_few, search_exact
from embstore.index.tuning import WANTED_RECALL
from embstore.index.vectors import unit_vectors

__all__ = [
    "AUTO",
    "KINDS",
    "WANTED_RECALL",
    "Design",
    "Index",
    "IndexCard",
    "Wanted",
    "check_kind",
    "choose",
    "disagreeing",
    "extend_index",
    "has_outgrown",
    "is_few",
    "memory_of",
    "open_index",
    "open_soon",
    "parse_memory",
    "remove_index",
    "sample_of",
    "search_exact",
    "shown_memory",
    "shown_parameters",
    "stored_ids",
    "unit_vectors",
    "write_index",
]
