"""Define which weights of a checkpoint are computed with: their precision, or random ones instead of them."""

import hashlib
from dataclasses import dataclass
from typing import Any

from embstore.base.errors import UnknownNameError, UsageError
from embstore.encode.extra import need

WEIGHT_DTYPES = ("float32", "bfloat16", "float16")
DEVICE_MAPS = ("auto", "balanced", "sequential")
_SEEDS = 1 << 32


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights that a model computes with.

    Attributes:
        dtype: Type of the weights and of the computation: ``float32``, ``bfloat16`` or ``float16``.
        untrained: Random seed of an untrained model of the same architecture, 0 ≤ seed < 2³²; None for the
            checkpoint's own weights.
        device_map: Distribution over the machine's devices by accelerate: ``auto``, ``balanced`` or ``sequential``;
            None for one device. It changes vectors by rounding only, and is not a part of a space's identity.
    """

    dtype: str = "float32"
    untrained: int | None = None
    device_map: str | None = None

    def __post_init__(self) -> None:
        if self.dtype not in WEIGHT_DTYPES:
            raise UnknownNameError("dtype of weights", self.dtype, WEIGHT_DTYPES)
        if self.device_map is not None and self.device_map not in DEVICE_MAPS:
            raise UnknownNameError("device map", self.device_map, DEVICE_MAPS)
        if self.device_map is not None and self.untrained is not None:
            raise UsageError("an untrained model is made on one device: leave out ⦃device-map⦄ or ⦃untrained⦄.")
        if self.untrained is not None and not 0 <= self.untrained < _SEEDS:
            raise UsageError(f"the seed of an untrained model must be from 0 to {_SEEDS - 1}, not {self.untrained}.")

    def name(self, checkpoint: str) -> str:
        """Return the name of a checkpoint with these weights: ``gpt2``, or ``gpt2-untrained-7``."""
        if self.untrained is None:
            return checkpoint
        suffix = f"-untrained-{self.untrained}"
        return checkpoint.removesuffix(suffix) + suffix


DEFAULT_WEIGHTS = Weights()
"""The checkpoint's own weights, in float32."""


def hash_tensors(model: Any) -> str:
    """Compute the SHA-256 of a model's weights and stored buffers, in the order of their names.

    Each contributes a line with its name, type and shape, and its bytes.
    """
    torch = need("torch")
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
