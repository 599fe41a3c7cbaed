"""Which index a layer gets: a function of the number of vectors, their dimension and the memory there is. Pure.

An exact scan is one pass over the vectors at the speed of memory. Past ``FLAT_BYTES`` it takes too long, and a graph
(HNSW) answers in a fraction of a millisecond for the memory of the vectors and their links; where that does not fit,
lists of codes of one byte a component (IVF) do with a quarter.
"""

import math
from dataclasses import dataclass, field

from embstore.errors import UnknownNameError, UsageError

AUTO = "auto"
STORED_KINDS = ("flat", "hnsw", "ivf")
KINDS = (AUTO, *STORED_KINDS, "none")

FLAT_BYTES = 250_000_000
"""A flat index is scanned by one core at the speed of memory: 50 ms at 5 GB/s, 17 ms where 14 GB/s were measured."""

# Of HNSW: up to 2 m links of each vector on the ground level, and how many candidates they are chosen from. Among
# 100,000 x 384 in clusters, recall 0.99 takes half the time that it takes with 24 and 120 and all links used: the links
# that the choice leaves out lead to the same places again.
M = 16
EF_CONSTRUCTION = 200
# Vectors that the centres of IVF are trained on: enough for each, at most so many bytes, one in so many.
_TRAINED_PER_LIST = 32
_TRAINED_PART = 4
_TRAINED_BYTES = 64 << 20
# Candidates of IVF for 10 neighbours, whose cosines are computed from the vectors; and what those of all queries may
# take while it is tuned. They are read in parts, put together, ordered and divided by their lengths.
N_EXACT = 48
CANDIDATE_BYTES = 32 << 20
_COPIES = 4
# What blocks of vectors and held-out queries take while an index is built.
_WORK_BYTES = 128 << 20
# Once a layer has grown to so many times the vectors that the centres were chosen for, they are chosen anew.
_OUTGROWN = 4

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


@dataclass(frozen=True, slots=True)
class Design:
    """How an index is made.

    Attributes:
        kind: one of :data:`STORED_KINDS`.
        parameters: see :class:`.card.IndexCard`.
    """

    kind: str
    parameters: dict[str, int] = field(default_factory=dict)


def choose(kind: str, n: int, dim: int, memory: int) -> Design:
    """Return how to index n vectors.

    Args:
        kind: one of :data:`STORED_KINDS`, or ``auto``: ``flat`` up to :data:`FLAT_BYTES`, then ``hnsw``, and ``ivf``
            where the memory is too little for it.
        n: vectors.
        dim: components of each.
        memory: bytes that the index may take while it is built.

    Raises:
        UsageError: no index, or none of this kind, fits into the memory; says the least that would do.
    """
    check_kind(kind, STORED_KINDS if kind != AUTO else KINDS)
    if kind == AUTO:
        kind = _suitable(n, dim, memory)
    if memory_of(kind, n, dim) > memory:
        raise UsageError(_too_little(kind, n, dim, memory))
    return Design(kind, _parameters(kind, n, dim))


def check_kind(kind: str, known: tuple[str, ...] = KINDS) -> None:
    """Raise UnknownNameError unless an index of that kind can be asked for."""
    if kind not in known:
        raise UnknownNameError("kind of index", kind, known)


def memory_of(kind: str, n: int, dim: int) -> int:
    """Return the bytes that an index of n vectors takes while it is built."""
    vector = 4 * dim
    work = min(_WORK_BYTES, 3 * n * vector)
    if kind == "flat":
        return n * (vector + 8) + work
    if kind == "hnsw":  # links grow by doubling, and are copied when near vectors are brought together
        return n * (vector + 8 + 2 * 4 * (2 * M + 2) + 16) + work
    # Lists grow by doubling, and are on average three quarters full; a sample is held more than twice as it is drawn.
    lists = 3 * n * (dim + 8) // 2 + 8 * n + n_lists(n, dim) * vector
    candidates = _COPIES * min(n * vector, max(CANDIDATE_BYTES, 100 * N_EXACT * vector))
    return lists + max(5 * n_trained(n, dim) * vector // 2, work, candidates)


def n_lists(n: int, dim: int) -> int:
    """Return the number of lists of an IVF index: 4 √n, as FAISS advises, where there is memory to train so many."""
    return max(1, min(int(4 * math.sqrt(n)), n // _TRAINED_PART // _TRAINED_PER_LIST, _TRAINED_BYTES // (4 * dim * 8)))


def n_trained(n: int, dim: int) -> int:
    """Return how many vectors the centres of an IVF index are trained on."""
    return max(1, min(n // _TRAINED_PART, n_lists(n, dim) * _TRAINED_PER_LIST, _TRAINED_BYTES // (4 * dim)))


def has_outgrown(design: Design, n: int, dim: int) -> bool:
    """Return whether n vectors are so many more than an index was designed for that it should be made anew."""
    return design.kind == "ivf" and n_lists(n, dim) ** 2 > _OUTGROWN * design.parameters["n_lists"] ** 2


def parse_memory(text: str) -> int:
    """Return the bytes that ``8GB``, ``500 MB``, ``2GiB`` or a number name.

    Raises:
        UsageError: it names none.
    """
    letters = text.strip().upper().removesuffix("B").rstrip()
    number = letters.rstrip("KMGTI")
    try:
        n_bytes = float(number) * _UNITS[letters[len(number) :]]
    except (ValueError, KeyError):
        n_bytes = math.nan
    if not (math.isfinite(n_bytes) and n_bytes > 0):
        raise UsageError(f"{text!r} is no amount of memory. Give one as in 8GB, 500MB or 2GiB.")
    return int(n_bytes)


def shown_memory(n_bytes: int) -> str:
    """Return an amount of memory, rounded up, as :func:`parse_memory` reads it: ``1.7GB``."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if n_bytes >= size:
            whole, tenths = divmod(-(-n_bytes * 10 // size), 10)
            return f"{whole}.{tenths}{unit}" if tenths else f"{whole}{unit}"
    return f"{-(-n_bytes // 10**3)}kB"


def _suitable(n: int, dim: int, memory: int) -> str:
    if 4 * n * dim <= FLAT_BYTES and memory_of("flat", n, dim) <= memory:
        return "flat"
    if 4 * n * dim > FLAT_BYTES and memory_of("hnsw", n, dim) <= memory:
        return "hnsw"
    return "ivf"


def _parameters(kind: str, n: int, dim: int) -> dict[str, int]:
    if kind == "hnsw":
        return {"m": M, "ef_construction": EF_CONSTRUCTION}
    if kind == "ivf":
        return {"n_lists": n_lists(n, dim), "n_trained": n_trained(n, dim)}
    return {}


def _too_little(kind: str, n: int, dim: int, memory: int) -> str:
    needs = {one: memory_of(one, n, dim) for one in STORED_KINDS}
    fitting = [one for one in STORED_KINDS if needs[one] <= memory]
    said = f"{shown_memory(memory)} is too little memory for an index of {n:,} vectors of {dim} components"
    if fitting:
        return (
            f"{said} of the kind {kind!r}, which takes {shown_memory(needs[kind])}. Give --index-memory "
            f"{shown_memory(needs[kind])}, or a kind that fits: {' or '.join(fitting)}."
        )
    least = min(needs, key=lambda one: needs[one])
    return (
        f"{said}. The least that would do is --index-memory {shown_memory(needs[least])} ({least}); without an index "
        "(none) an exact scan answers."
    )
