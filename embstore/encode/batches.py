"""Batches, planned on lengths alone."""

from collections.abc import Sequence
from dataclasses import dataclass

CPU_BATCH_TOKENS = 1024
GPU_BATCH_TOKENS = 16384


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that go through the model together.

    Attributes:
        rows: positions in the list of lengths.
        width: tokens of the longest.
    """

    rows: tuple[int, ...]
    width: int

    @property
    def size(self) -> int:
        """Tokens of the padded batch."""
        return len(self.rows) * self.width


def default_batch_tokens(device: str) -> int:
    """Return the token budget that keeps a device busy: about 1,000 fill a CPU's caches, a GPU wants more."""
    return CPU_BATCH_TOKENS if device == "cpu" else GPU_BATCH_TOKENS


def plan_batches(lengths: Sequence[int], batch_tokens: int, *, pad: bool = True) -> list[Batch]:
    """Put texts of about the same length together, the longest first.

    In a batch the longest text is at most an eighth longer than the shortest, and rows × width stays within the
    budget; a text that is longer than the budget is a batch by itself. Every text is in exactly one batch.

    Args:
        lengths: tokens of each text.
        batch_tokens: the budget, padding counted; >= 1.
        pad: whether lengths may differ in a batch at all.
    """
    batches: list[Batch] = []
    rows: list[int] = []
    width = 0
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        length = lengths[row]
        near = width - length <= (length // 8 if pad else 0)
        if rows and not (near and (len(rows) + 1) * width <= batch_tokens):
            batches.append(Batch(tuple(rows), width))
            rows = []
        if not rows:
            width = length
        rows.append(row)
    if rows:
        batches.append(Batch(tuple(rows), width))
    return batches
