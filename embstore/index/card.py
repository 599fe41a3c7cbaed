"""The card of an index: what it covers, how it was made, and how well it finds what an exact scan finds."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Self

from embstore import atomic, disk
from embstore.errors import DamagedError

INDEX_FORMAT = 2
_SAMPLE_BLOCKS, _BLOCK_BYTES = 16, 4096
ANEW = "Delete it, and an exact scan answers; embstore index makes it anew."


@dataclass(frozen=True, slots=True)
class IndexCard:
    """What an index covers and how it was made.

    Attributes:
        space: the space's name.
        layer: the layer's number.
        kind: ``flat`` (exact), ``hnsw`` (a graph over the vectors) or ``ivf`` (lists of codes by nearest centre).
        metric: ``cosine``: inner products of unit vectors.
        n: the number of vectors in it.
        n_zero: the number of zero vectors, which have no direction and are left out.
        dim: components of a vector.
        shards: the names of the shards that it covers.
        sha256: of the index file.
        faiss: the version that wrote it.
        created: when, in UTC (ISO 8601).
        asked: the kind that was asked for: ``auto``, or the kind itself.
        parameters: how it was made: of ``hnsw`` ``m`` and ``ef_construction``, of ``ivf`` ``n_lists`` and
            ``n_trained``.
        effort: what a search spends: of ``hnsw`` ``ef_search``, of ``ivf`` ``n_probe`` and ``n_exact``, the candidates
            whose cosines are computed from the vectors; as tuned for 10 neighbours.
        recall: how much of the exact answer it finds at that effort, recall@10 in [0, 1] (:mod:`.tuning`).
        wanted_recall: what the effort was tuned to reach.
        n_queries: how many queries the recall is the mean of; 0 for a flat index, which is exact.
        build_seconds: how long the making, or the last adding, took.
        crc32: of the vectors and the ids of a flat index, by which it is checked whenever it is opened; None where
            that is not said.
        sample_sha256: SHA-256 of the length of the index file and of blocks spread over it (:func:`sample_of`), by
            which any index is checked whenever it is opened; None in cards of older versions.
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
    def missed(self) -> bool:
        """Whether it finds less of the exact answer than was wanted."""
        return not self.is_exact and self.recall < self.wanted_recall

    @property
    def is_exact(self) -> bool:
        """Whether it gives the exact answer."""
        return self.kind == "flat"

    def covers(self, shards: Iterable[str]) -> bool:
        """Return whether the index was built from exactly these shards."""
        listed = tuple(shards)
        return self.shards == listed or set(self.shards) == set(listed)

    def write(self, index: Path) -> None:
        """Store the card of the index at that path."""
        atomic.write_document(card_of(index), {"format": INDEX_FORMAT, **asdict(self)})

    @classmethod
    def read(cls, index: Path) -> Self | None:
        """Return the card of the index at that path, or None if there is no index.

        Raises:
            DamagedError: it was altered, a later version wrote it, or it is of another space's or layer's index.
        """
        path = card_of(index)
        if not disk.exists(index):
            return None
        try:
            document = atomic.read_document(path, "index-card", ANEW)
        except FileNotFoundError:
            return None
        values = {name: document[name] for name in document.keys() & {one.name for one in fields(cls)}}
        card = cls(**{**values, "shards": tuple(values["shards"])})
        if (index.parent.name, index.stem) != (f"space={card.space}", f"layer={card.layer:02d}"):
            raise DamagedError(f"{path} is damaged: it is of the index of {card.space} layer {card.layer}. {ANEW}")
        return card

    def check_sample(self, index: Path) -> None:
        """Check a few blocks of the index file: at no cost to speak of, they tell whether it is this card's.

        Raises:
            DamagedError: it is another file, as that of another layer.
        """
        if self.sample_sha256 is not None and sample_of(index) != self.sample_sha256:
            raise DamagedError(f"{index} is damaged: it is not the index that its card was written for. {ANEW}")


def card_of(index: Path) -> Path:
    """Return the path of the card of an index, which is beside it."""
    return index.with_suffix(".json")


def sample_of(index: Path) -> str:
    """Return the SHA-256 of a file's length, as decimal digits, and of 16 blocks of 4 KiB spread over it evenly."""
    n_bytes = disk.size(index)
    digest = hashlib.sha256(str(n_bytes).encode())
    with disk.reading(index) as file:
        for block in range(_SAMPLE_BLOCKS):
            file.seek(block * max(0, n_bytes - _BLOCK_BYTES) // (_SAMPLE_BLOCKS - 1))
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()


def shown_parameters(cards: Iterable[IndexCard]) -> str:
    """Return how some indexes were made and are searched, for the eye: ``m 32, ef_search 40-65``."""
    values: dict[str, set[int]] = {}
    for card in cards:
        for name, value in (card.parameters | card.effort).items():
            values.setdefault(name, set()).add(value)
    return ", ".join(
        f"{name} {min(found)}" + (f"-{max(found)}" if len(found) > 1 else "") for name, found in values.items()
    )
