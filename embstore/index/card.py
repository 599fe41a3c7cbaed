"""Read, write and check the card of an index: its shards, its parameters and its measured recall."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Self

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError

INDEX_FORMAT = 2
_SAMPLE_BLOCKS, _BLOCK_BYTES = 16, 4096
REMEDY = "Delete it, and an exact scan answers; embstore index makes it anew."


@dataclass(frozen=True, slots=True)
class IndexCard:
    """Metadata of an index, stored beside it as JSON.

    Attributes:
        space: Name of the space.
        layer: Number of the layer.
        kind: ``flat`` (exact), ``hnsw`` (a graph over the vectors) or ``ivf`` (8-bit codes in lists by nearest
            centroid).
        metric: ``cosine``: inner products of unit vectors.
        n: Number of indexed vectors.
        n_zero: Number of zero vectors, which have no direction and are not indexed.
        dim: Dimension of the vectors.
        shards: Names of the shards that the index covers.
        sha256: SHA-256 of the index file.
        faiss: Version of FAISS that wrote the file.
        created: Time of creation in UTC (ISO 8601).
        asked: Requested kind: ``auto``, or the same as ``kind``.
        parameters: Build parameters: ``m`` and ``ef_construction`` for ``hnsw``, ``n_lists`` and ``n_trained`` for
            ``ivf``.
        effort: Search parameters, tuned for 10 neighbours: ``ef_search`` for ``hnsw``; ``n_probe`` and ``n_exact`` for
            ``ivf``, where ``n_exact`` candidates are ranked again by the cosines of their stored vectors.
        recall: Recall@10 in [0, 1] at that effort (:mod:`.tuning`).
        wanted_recall: Recall@10 in [0, 1] that the effort was tuned to reach.
        n_queries: Number of queries over which the recall is averaged; 0 for a flat index, which is exact.
        build_seconds: Duration of the build, or of the last addition, in seconds.
        crc32: CRC-32 of the vectors and ids of a flat index, checked at every opening; None of other kinds.
        sample_sha256: SHA-256 of the file's length and sampled blocks (:func:`sample_hash`), checked at every opening.
    """

    space: str
    layer: int
    kind: str
    metric: str
    n: int
    n_zero: int
    dim: int
    shards: tuple[str, ...]
    sha256: str
    faiss: str
    created: str
    asked: str = "auto"
    parameters: dict[str, int] = field(default_factory=dict)
    effort: dict[str, int] = field(default_factory=dict)
    recall: float = 1.0
    wanted_recall: float = 1.0
    n_queries: int = 0
    build_seconds: float | None = None
    crc32: int | None = None
    sample_sha256: str | None = None

    @property
    def is_below_target(self) -> bool:
        """Whether the measured recall is below the requested recall."""
        return not self.is_exact and self.recall < self.wanted_recall

    @property
    def is_exact(self) -> bool:
        """Whether a search returns the exact nearest neighbours."""
        return self.kind == "flat"

    def covers(self, shards: Iterable[str]) -> bool:
        """Return whether the index was built from exactly these shards."""
        listed = tuple(shards)
        return self.shards == listed or set(self.shards) == set(listed)

    def write(self, index: Path) -> None:
        """Write the card beside the index at this path."""
        atomic.write_document(card_path(index), {"format": INDEX_FORMAT, **asdict(self)}, "index-card")

    @classmethod
    def read(cls, index: Path) -> Self | None:
        """Return the card of the index at this path, or None if the index or its card does not exist.

        Raises:
            DamagedError: The card was altered, was written by a later version, or belongs to another space or layer.
        """
        path = card_path(index)
        if not disk.exists(index):
            return None
        try:
            document = atomic.read_document(path, "index-card", REMEDY)
        except FileNotFoundError:
            return None
        values = {name: document[name] for name in document.keys() & {field.name for field in fields(cls)}}
        card = cls(**{**values, "shards": tuple(values["shards"])})
        if (index.parent.name, index.stem) != (f"space={card.space}", f"layer={card.layer:02d}"):
            raise DamagedError(f"{path} is damaged: it is of the index of {card.space} layer {card.layer}. {REMEDY}")
        return card

    def check_sample(self, index: Path) -> None:
        """Check sampled blocks of the index file against the card; this is fast, and detects a file that was exchanged.

        Raises:
            DamagedError: The file is not the one that the card was written for.
        """
        if self.sample_sha256 is not None and sample_hash(index) != self.sample_sha256:
            raise DamagedError(f"{index} is damaged: it is not the index that its card was written for. {REMEDY}")


def card_path(index: Path) -> Path:
    """Return the path of an index's card, which is beside the index."""
    return index.with_suffix(".json")


def sample_hash(index: Path) -> str:
    """Return the SHA-256 of a file's length, as decimal digits, and of 16 blocks of 4 KiB spaced evenly over it."""
    n_bytes = disk.size(index)
    digest = hashlib.sha256(str(n_bytes).encode())
    with disk.reading(index) as file:
        for block in range(_SAMPLE_BLOCKS):
            file.seek(block * max(0, n_bytes - _BLOCK_BYTES) // (_SAMPLE_BLOCKS - 1))
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()


def shown_parameters(cards: Iterable[IndexCard]) -> str:
    """Format the parameters of some indexes for display, as ranges: ``m 32, ef_search 40-65``."""
    values: dict[str, set[int]] = {}
    for card in cards:
        for name, value in (card.parameters | card.effort).items():
            values.setdefault(name, set()).add(value)
    return ", ".join(
        f"{name} {min(used)}" + (f"-{max(used)}" if len(used) > 1 else "") for name, used in values.items()
    )
