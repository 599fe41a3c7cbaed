"""Results of encoding: vectors, skipped texts, and plans."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import EncodeError
from embstore.base.space import Pooling

Long = Literal["skip", "truncate", "error"]
"""Treatment of a text longer than the model's context."""

MODEL_FAILS = "the model fails at this text"
"""Beginning of the reason for skipping a text that the model fails on; the error follows."""


class TooLongError(EncodeError):
    """A text is longer than the context, with ``long="error"``.

    Attributes:
        item_id: The first item of the text.
    """

    def __init__(self, message: str, item_id: int) -> None:
        super().__init__(message)
        self.item_id = item_id


class ModelFailsError(EncodeError):
    """The model fails on a text, and then on a text that it has encoded before.

    Attributes:
        item_id: The first item of the text.
    """

    def __init__(self, message: str, item_id: int) -> None:
        super().__init__(message)
        self.item_id = item_id


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The vectors of one batch.

    Attributes:
        item_ids: Ids of the items, int64 (n,), in no particular order: join by id.
        vectors: Pooling → vectors, float32 (layers, n, dim), C-contiguous, in the order of the requested layers;
            ``projection`` has one layer, of the projection's dimension.
        n_passages: Number of passages in the batch.
        n_tokens: Number of tokens in the batch, without padding.
        item_lengths: Number of tokens of each item itself, without special tokens, the template and the prompt, int64
            (n,).
    """

    item_ids: NDArray[np.int64]
    vectors: dict[Pooling, NDArray[np.float32]]
    n_passages: int
    n_tokens: int
    item_lengths: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An item that was skipped, or embedded from a truncated text.

    Attributes:
        item_id: Id of the item.
        reason: Reason, to be shown to the user.
        outcome: ``skipped`` (no vector) or ``truncated`` (vector of the truncated text).
        n_tokens: Number of tokens of the whole passage, with special tokens; None if it was too long to be tokenised
            whole, or could not be tokenised.
    """

    item_id: int
    reason: str
    outcome: Literal["skipped", "truncated"]
    n_tokens: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts of an encoding run, computed without running the model.

    Attributes:
        n_passages: Number of passages to encode.
        n_items: Number of vectors per layer.
        n_tokens: Number of tokens, without padding.
        n_batches: Number of forward passes.
        skipped: Items that would be skipped or truncated.
    """

    n_passages: int
    n_items: int
    n_tokens: int
    n_batches: int
    skipped: tuple[Skipped, ...]
