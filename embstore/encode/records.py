"""What encoding yields."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embstore.errors import EncodeError
from embstore.space import Pooling

Long = Literal["skip", "truncate", "error"]
"""What to do with a text that is longer than the model's context."""


MODEL_FAILS = "the model fails at this text"
"""How the reason of a text begins that the model cannot read; the error follows."""


class TooLongError(EncodeError):
    """A text is longer than the context, and such texts are errors (``long="error"``).

    Attributes:
        item_id: the first item of the text.
    """

    def __init__(self, message: str, item_id: int) -> None:
        super().__init__(message)
        self.item_id = item_id


class ModelFailsError(EncodeError):
    """The model fails at a text, and then at one that it has read before too.

    Attributes:
        item_id: the first item of the text.
    """

    def __init__(self, message: str, item_id: int) -> None:
        super().__init__(message)
        self.item_id = item_id


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The vectors of one batch.

    Attributes:
        item_ids: int64 (n,), in no promised order: join by id.
        vectors: for each pooling, float32 (layers, n, dim), C-contiguous; layers in the order of the layers that were
            asked for (``projection``: one layer of the projection's own dimension).
        n_passages: how many passages of the input this batch settles.
        n_tokens: how many tokens of them the model read, padding not counted.
    """

    item_ids: NDArray[np.int64]
    vectors: dict[Pooling, NDArray[np.float32]]
    n_passages: int
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A text that was not embedded, or only in part.

    Attributes:
        item_id: the item.
        reason: why, fit to be shown to a user.
        outcome: ``skipped``: there is no vector. ``truncated``: there is one, of the text's beginning.
        n_tokens: tokens of the whole passage, special tokens counted; None where they were not counted, for a very
            long text, or where it could not be tokenised.
    """

    item_id: int
    reason: str
    outcome: Literal["skipped", "truncated"]
    n_tokens: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What encoding would do, counted without a model.

    Attributes:
        n_passages: passages that the model would read.
        n_items: vectors that would result, per layer.
        n_tokens: tokens that it would read.
        n_batches: forward passes.
        skipped: what would be skipped or truncated.
    """

    n_passages: int
    n_items: int
    n_tokens: int
    n_batches: int
    skipped: tuple[Skipped, ...]
