"""Stand in for a layer whose transformed vectors cannot be computed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.base.summary import Summary
from embstore.metrics import NotComputable
from embstore.storage.catalog import Ids

Block = NDArray[np.floating]
T = TypeVar("T")


@dataclass(frozen=True)
class NoVectors:
    """A layer without computable vectors (the protocol ``LayerData``): every access raises NotComputable.

    Attributes:
        reason: Reason, as in the rows of a result.
    """

    reason: str

    @property
    def dim(self) -> int:
        """Raise NotComputable."""
        raise NotComputable(self.reason)

    @property
    def summary(self) -> Summary:
        """Raise NotComputable."""
        raise NotComputable(self.reason)

    def map(self, function: Callable[[Block], T]) -> Iterator[T]:
        """Raise NotComputable."""
        raise NotComputable(self.reason)

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Raise NotComputable."""
        raise NotComputable(self.reason)

    def gather(self, ids: Ids | None = None) -> tuple[Ids, Block]:
        """Raise NotComputable."""
        raise NotComputable(self.reason)

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False
    ) -> tuple[Ids, NDArray[np.int64], NDArray[np.float64]]:
        """Raise NotComputable."""
        raise NotComputable(self.reason)
