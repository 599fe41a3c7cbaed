"""Plan batches of texts from their lengths in tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

CPU_BATCH_TOKENS = 1024
GPU_BATCH_TOKENS = 16384


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts of one forward pass.

    Attributes:
        rows: Positions of the texts in the list of lengths.
        width: Length of the longest text, in tokens.
    """

    rows: tuple[int, ...]
    width: int

    @property
    def size(self) -> int:
        """Number of tokens of the padded batch: texts × width."""
        return len(self.rows) * self.width


def default_batch_tokens(device: str) -> int:
    """Return the default number of tokens per batch: 1,024 (about a CPU's caches) on a CPU, 16,384 elsewhere."""
    return CPU_BATCH_TOKENS if device == "cpu" else GPU_BATCH_TOKENS


def plan_batches(lengths: Sequence[int], batch_tokens: int, *, pad: bool = True) -> list[Batch]:
    """Group texts of similar length into batches, the longest first.

    The longest text of a batch exceeds any other by at most an eighth of the other's length, and texts × width is at
    most ``batch_tokens``, except for a batch of one longer text. Every text is in exactly one batch.

    Args:
        lengths: Number of tokens of each text.
        batch_tokens: Maximum number of tokens per batch, with padding; >= 1.
        pad: Whether padding is allowed; if not, all texts of a batch have the same length.
    """
    batches: list[Batch] = []
    rows: list[int] = []
    width = 0
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        length = lengths[row]
        is_similar = width - length <= (length // 8 if pad else 0)
        if rows and not (is_similar and (len(rows) + 1) * width <= batch_tokens):
            batches.append(Batch(tuple(rows), width))
            rows = []
        if not rows:
            width = length
        rows.append(row)
    if rows:
        batches.append(Batch(tuple(rows), width))
    return batches
