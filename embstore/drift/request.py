"""Define a request for drift: the neighbourhoods, the pairs of layers and the items."""

from dataclasses import dataclass

from embstore.base.errors import UnknownNameError, UsageError
from embstore.query.lookup import Query
from embstore.query.request import Selection

PAIRS = ("adjacent", "all")
N_MOST = 10


@dataclass(frozen=True, slots=True)
class DriftRequest:
    """A request for the drift of items.

    Attributes:
        queries: Items whose drift is requested; empty for those that change most and least.
        n_most: Number of items that change most, and of those that change least; None with ``queries``.
        k: Number of neighbours.
        pairs: ``adjacent`` or ``all`` pairs of the chosen layers.
        against: Name of the space to compare with; None for layers of the same space.
        selection: Items that may be neighbours, without transforms.

    Raises:
        UnknownNameError: ``pairs`` is not one of the two.
        UsageError: A number is below 1, or both items and ``n_most`` are given.
    """

    queries: tuple[Query, ...]
    n_most: int | None
    k: int
    pairs: str
    against: str | None
    selection: Selection

    def __post_init__(self) -> None:
        if self.pairs not in PAIRS:
            raise UnknownNameError("choice of pairs", self.pairs, PAIRS)
        if self.k < 1:
            raise UsageError(f"k must be at least 1, not {self.k}.")
        if self.queries and self.n_most is not None:
            raise UsageError("give words, or ⦃most=N⦄ for the items that change most and least, not both.")
        if self.n_most is not None and self.n_most < 1:
            raise UsageError(f"most must be at least 1, not {self.n_most}.")
        if not self.queries and self.n_most is None:
            object.__setattr__(self, "n_most", N_MOST)
