"""Pool the hidden states of a batch into one vector per item."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embstore.base.space import Pooling
from embstore.encode.extra import need
from embstore.encode.spans import Text

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Gather:
    """Indices into a batch's flattened hidden states, to pool one vector per item.

    Attributes:
        rows: Flattened index of every pooled token, row · width + position, int64 (m,).
        items: Item index of each of these tokens, int64 (m,); None if every item has exactly one token.
        counts: Number of tokens of each item, float32 (n, 1); None if every item has exactly one token.
    """

    rows: "Tensor"
    items: "Tensor | None" = None
    counts: "Tensor | None" = None

    def __call__(self, state: "Tensor") -> "Tensor":
        """Pool a hidden state (batch, width, dim) into the vectors of the items (n, dim)."""
        pooled_states = state.reshape(-1, state.shape[-1]).index_select(0, self.rows)
        if self.items is None or self.counts is None:
            return pooled_states
        pooled_states = pooled_states.float()  # 16 bits round each sum
        sums = pooled_states.new_zeros(len(self.counts), pooled_states.shape[-1])
        return sums.index_add_(0, self.items, pooled_states) / self.counts


def gather(texts: Sequence[Text], width: int, pooling: Pooling, device: Any) -> Gather:
    """Compute the indices to pool a batch.

    Args:
        texts: Rows of the batch; the result has their items, in order.
        width: Length of the padded rows, in tokens.
        pooling: Pooling; ``projection`` uses the same token as ``eos``.
        device: Torch device of the indices.
    """
    torch = need("torch")
    chosen = [
        [row * width + position for position in _positions(text, tokens, pooling)]
        for row, text in enumerate(texts)
        for tokens in text.tokens
    ]
    rows = torch.tensor([index for indices in chosen for index in indices], dtype=torch.int64, device=device)
    if pooling is not Pooling.MEAN:
        return Gather(rows)
    counts = torch.tensor([len(indices) for indices in chosen], dtype=torch.int64, device=device)
    items = torch.arange(len(chosen), device=device).repeat_interleave(counts)
    return Gather(rows, items, counts.to(torch.float32).unsqueeze(1))


def _positions(text: Text, tokens: list[int], pooling: Pooling) -> list[int]:
    """Return the positions of the tokens to pool for an item, given the positions of its span's tokens."""
    match pooling:
        case Pooling.MEAN:
            return tokens
        case Pooling.FIRST:
            return tokens[:1]
        case Pooling.LAST:
            return tokens[-1:]
        case Pooling.BOS:
            position = text.begin
        case Pooling.EOS | Pooling.PROJECTION:
            position = text.end
    if position is None:  # the tokenizer has skipped such items
        raise ValueError(f"no position for the pooling {pooling.value!r}")
    return [position]
