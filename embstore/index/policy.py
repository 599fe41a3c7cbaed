"""Choose the kind and the parameters of a layer's index from the number of vectors, their dimension and the memory.

An exact scan reads all vectors at memory speed. Above ``FLAT_BYTES`` it is too slow, and a graph (HNSW) answers in a
fraction of a millisecond, with memory for the vectors and their links; where that does not fit, inverted lists of 8-bit
codes (IVF) take a quarter of it. All functions here are pure.
"""

import math
from typing import NamedTuple

from embstore.base.errors import UnknownNameError, UsageError

AUTO = "auto"
STORED_KINDS = ("flat", "hnsw", "ivf")
KINDS = (AUTO, *STORED_KINDS, "none")

FLAT_BYTES = 250_000_000
"""A flat index is scanned by one core at memory speed: 50 ms at 5 GB/s, or 17 ms at the 14 GB/s that were measured."""

# HNSW: up to 2 m links per vector on the ground level, chosen from ef_construction candidates. For 100,000 x 384
# clustered vectors, recall 0.99 takes half the time that it takes with 24, 120 and all links used: the links that the
# selection drops lead to the same regions again.
M = 16
EF_CONSTRUCTION = 200
# Training sample of the IVF centroids: 32 vectors per list, at most one vector in four, and at most 64 MiB.
_TRAINED_PER_LIST = 32
_TRAINED_PART = 4
_TRAINED_BYTES = 64 << 20
# Candidates of an IVF search for 10 neighbours, ranked again by the cosines of their stored vectors; the limit of the
# candidates' memory during tuning; and the number of copies: they are read, concatenated, ordered and normalised.
N_EXACT = 48
CANDIDATE_BYTES = 32 << 20
_COPIES = 4
# Memory for blocks of vectors and queries during a build.
_WORK_BYTES = 128 << 20
# Growth since the training of the centroids above which they are trained again.
_OUTGROWN = 4

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


class Design(NamedTuple):
    """Kind and parameters of an index.

    Attributes:
        kind: One of :data:`STORED_KINDS`.
        parameters: Build parameters; see :class:`.card.IndexCard`.
    """

    kind: str
    parameters: dict[str, int]


def choose(kind: str, n: int, dim: int, memory: int) -> Design:
    """Choose the kind and the parameters of an index of n vectors.

    Args:
        kind: One of :data:`STORED_KINDS`, or ``auto``: ``flat`` up to :data:`FLAT_BYTES`, then ``hnsw``, or ``ivf``
            where memory is too small for it.
        n: Number of vectors.
        dim: Dimension of the vectors.
        memory: Memory limit of the build in bytes.

    Raises:
        UsageError: The index does not fit into the memory; the message names the least that suffices.
    """
    check_kind(kind, STORED_KINDS if kind != AUTO else KINDS)
    if kind == AUTO:
        kind = _suitable(n, dim, memory)
    if memory_of(kind, n, dim) > memory:
        raise UsageError(_memory_message(kind, n, dim, memory))
    return Design(kind, _parameters(kind, n, dim))


def check_kind(kind: str, known: tuple[str, ...] = KINDS) -> None:
    """Raise UnknownNameError unless the kind of index is known."""
    if kind not in known:
        raise UnknownNameError("kind of index", kind, known)


def memory_of(kind: str, n: int, dim: int) -> int:
    """Return an estimate of the memory, in bytes, that building an index of n vectors takes."""
    vector = 4 * dim
    work = min(_WORK_BYTES, 3 * n * vector)
    if kind == "flat":
        return n * (vector + 8) + work
    if kind == "hnsw":  # links grow by doubling, and are copied when the vectors are reordered
        return n * (vector + 8 + 2 * 4 * (2 * M + 2) + 16) + work
    # Lists grow by doubling, and are on average three quarters full; drawing a sample takes more than twice its size.
    lists = 3 * n * (dim + 8) // 2 + 8 * n + n_lists(n, dim) * vector
    candidates = _COPIES * min(n * vector, max(CANDIDATE_BYTES, 100 * N_EXACT * vector))
    return lists + max(5 * n_trained(n, dim) * vector // 2, work, candidates)


def n_lists(n: int, dim: int) -> int:
    """Return the number of lists of an IVF index: 4 √n, as FAISS advises, limited by the memory for training."""
    return max(1, min(int(4 * math.sqrt(n)), n // _TRAINED_PART // _TRAINED_PER_LIST, _TRAINED_BYTES // (4 * dim * 8)))


def n_trained(n: int, dim: int) -> int:
    """Return the size of the training sample of an IVF index, in vectors."""
    return max(1, min(n // _TRAINED_PART, n_lists(n, dim) * _TRAINED_PER_LIST, _TRAINED_BYTES // (4 * dim)))


def has_outgrown(design: Design, n: int, dim: int) -> bool:
    """Return whether an ``ivf`` index should be rebuilt with more lists for n vectors; False for other kinds."""
    return design.kind == "ivf" and n_lists(n, dim) ** 2 > _OUTGROWN * design.parameters["n_lists"] ** 2


def parse_memory(text: str) -> int:
    """Parse an amount of memory, such as ``8GB``, ``500 MB``, ``2GiB`` or a number of bytes, and return it in bytes.

    Raises:
        UsageError: The text is not a positive amount of memory.
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
    """Format an amount of memory in bytes, rounded up, in the form that :func:`parse_memory` reads: ``1.7GB``."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if n_bytes >= size:
            whole, tenths = divmod(-(-n_bytes * 10 // size), 10)
            return f"{whole}.{tenths}{unit}" if tenths else f"{whole}{unit}"
    return f"{-(-n_bytes // 10**3)}kB"


def _suitable(n: int, dim: int, memory: int) -> str:
    """Return the kind of index that ``auto`` stands for."""
    if 4 * n * dim <= FLAT_BYTES and memory_of("flat", n, dim) <= memory:
        return "flat"
    if 4 * n * dim > FLAT_BYTES and memory_of("hnsw", n, dim) <= memory:
        return "hnsw"
    return "ivf"


def _parameters(kind: str, n: int, dim: int) -> dict[str, int]:
    """Return the build parameters of a kind of index for n vectors."""
    if kind == "hnsw":
        return {"m": M, "ef_construction": EF_CONSTRUCTION}
    if kind == "ivf":
        return {"n_lists": n_lists(n, dim), "n_trained": n_trained(n, dim)}
    return {}


def _memory_message(kind: str, n: int, dim: int, memory: int) -> str:
    """Return the error message for an index that does not fit into the memory, with what would fit."""
    needs = {name: memory_of(name, n, dim) for name in STORED_KINDS}
    fitting = [name for name in STORED_KINDS if needs[name] <= memory]
    problem = f"{shown_memory(memory)} is too little memory for an index of {n:,} vectors of {dim} components"
    if fitting:
        return (
            f"{problem} of the kind {kind!r}, which takes {shown_memory(needs[kind])}. Give "
            f"⦃index-memory={shown_memory(needs[kind])}⦄, or a kind that fits: {' or '.join(fitting)}."
        )
    smallest = min(needs, key=lambda name: needs[name])
    return (
        f"{problem}. The least that would do is ⦃index-memory={shown_memory(needs[smallest])}⦄ ({smallest}); without "
        "an index (none) an exact scan answers."
    )
