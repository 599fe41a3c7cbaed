"""Define the weights, batches and results of encoding: vectors, skipped texts, and plans."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float32Array, Ids
from embstore.base.errors import EncodeError, UsageError, check_known
from embstore.base.space import Pooling
from embstore.encode.adapters import Adapter

Long = Literal["skip", "truncate", "error"]  # treatment of a text longer than the model's context

MODEL_FAILS = "the model fails at this text"
"""Beginning of the reason for skipping a text that the model fails on; the error follows."""

CPU_BATCH_TOKENS = 1024
GPU_BATCH_TOKENS = 16384
WEIGHT_DTYPES = ("float32", "bfloat16", "float16")
DEVICE_MAPS = ("auto", "balanced", "sequential")
_SEEDS = 1 << 32


class TextError(EncodeError):
    """A text, of which ``item_id`` is the first item, cannot be encoded, and ends the build."""

    def __init__(self, message: str, item_id: int) -> None:
        super().__init__(message)
        self.item_id = item_id


class TooLongError(TextError):
    """A text is longer than the context, with ``long="error"``."""


class ModelFailsError(TextError):
    """The model fails on a text, and then on a text that it has encoded before."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The vectors of one batch.

    Attributes:
        vectors: Pooling → vectors, float32 (layers, n, dim), C-contiguous, in the order of the
            requested layers; ``projection`` has one layer, of the projection's dimension.
        item_lengths: Number of tokens of each item itself, without special tokens, the template and
            the prompt, int64 (n,).
        n_first: Number of items whose vector is the state of the first token of the input, at
            position 0, which is no special token.
    """

    item_ids: Ids  # ids of the items, int64 (n,), in no particular order: join by id
    vectors: dict[Pooling, Float32Array]
    n_tokens: int  # number of tokens in the batch, without padding
    item_lengths: NDArray[np.int64]
    n_first: int = 0


@dataclass(frozen=True, slots=True)
class Skipped:
    """An item that was skipped, or embedded from a truncated text."""

    item_id: int
    reason: str
    # ``truncated`` items have the vector of the truncated text.
    outcome: Literal["skipped", "truncated"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts of an encoding run, computed without running the model."""

    n_tokens: int
    n_batches: int
    skipped: tuple[Skipped, ...]


def default_batch_tokens(device: str) -> int:
    """Return the default number of tokens per batch: 1,024 (about a CPU's caches) on a CPU, 16,384
    elsewhere.
    """
    return CPU_BATCH_TOKENS if device == "cpu" else GPU_BATCH_TOKENS


def plan_batches(lengths: Sequence[int], batch_tokens: int, *, pad: bool = True) -> list[list[int]]:
    """Group texts, given by their lengths in tokens, into batches of similar length, the longest
    first.

    A batch is a list of the positions of its texts, of which the first is the longest.

    The longest text of a batch exceeds any other by at most an eighth of the other's length (not
    without ``pad``), and texts × width is at most ``batch_tokens``, except for a batch of one
    longer text. Every text is in one batch.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        length, width = lengths[row], lengths[batches[-1][0]] if batches else 0
        is_similar = width - length <= (length // 8 if pad else 0)
        if batches and is_similar and (len(batches[-1]) + 1) * width <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights that a model computes with.

    Attributes:
        dtype: Type of the weights and of the computation: ``float32``, ``bfloat16`` or ``float16``.
        untrained: Random seed of an untrained model of the same architecture, 0 ≤ seed < 2³²; None
            for the checkpoint's own weights.
        device_map: Distribution over the machine's devices by accelerate: ``auto``, ``balanced`` or
            ``sequential``; None for one device. It changes vectors by rounding only, and is not a
            part of a space's identity.
        adapter: LoRA adapter that is merged into the weights; None for none.
    """

    dtype: str = "float32"
    untrained: int | None = None
    device_map: str | None = None
    adapter: Adapter | None = None

    def __post_init__(self) -> None:
        check_known("dtype of weights", self.dtype, WEIGHT_DTYPES)
        check_known("device map", self.device_map, DEVICE_MAPS)
        if self.device_map is not None and self.untrained is not None:
            raise UsageError(
                "an untrained model is made on one device: leave out `device_map` or `untrained`."
            )
        if self.adapter is not None and (self.untrained, self.device_map) != (None, None):
            raise UsageError(
                "an adapter is merged into a checkpoint's own weights, on one device: leave out"
                " `adapter`, or both `untrained` and `device_map`."
            )
        if self.untrained is not None and not 0 <= self.untrained < _SEEDS:
            raise UsageError(
                f"the seed of an untrained model must be from 0 to {_SEEDS - 1}, not"
                f" {self.untrained}."
            )

    def name(self, checkpoint: str) -> str:
        """Return the name of a checkpoint with these weights: ``gpt2``, ``gpt2-untrained-7``, or
        ``gpt2-`` and the name of an adapter.
        """
        if self.untrained is None and self.adapter is None:
            return checkpoint
        suffix = f"-{self.adapter.name}" if self.adapter else f"-untrained-{self.untrained}"
        return checkpoint.removesuffix(suffix) + suffix


DEFAULT_WEIGHTS = Weights()  # the checkpoint's own weights, in float32
