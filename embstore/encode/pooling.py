"""Hidden states to one vector an item."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embstore.encode.extra import need
from embstore.encode.spans import Text
from embstore.space import Pooling

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Gather:
    """Which rows of a batch's flattened hidden states make up each item's vector.

    Attributes:
        rows: int64 (m,), row · width + position of every token that is used.
        items: int64 (m,), the item that each belongs to; None where every item has exactly one.
        counts: float32 (n, 1), tokens of each item; None likewise.
    """

    rows: "Tensor"
    items: "Tensor | None" = None
    counts: "Tensor | None" = None

    def __call__(self, state: "Tensor") -> "Tensor":
        """Return the items' vectors (n, dim) out of a hidden state (batch, width, dim)."""
        picked = state.reshape(-1, state.shape[-1]).index_select(0, self.rows)
        if self.items is None or self.counts is None:
            return picked
        sums = picked.new_zeros(len(self.counts), picked.shape[-1])
        return sums.index_add_(0, self.items, picked) / self.counts


def gather(texts: Sequence[Text], width: int, pooling: Pooling, device: Any) -> Gather:
    """Plan the pooling of a batch.

    Args:
        texts: the rows of the batch; their items, in order, are the items of the result.
        width: tokens of the padded batch.
        pooling: which tokens. ``projection`` takes the same token as ``eos``.
        device: where the indices go.
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
    if position is None:  # the tokenizer skips such items before they come here
        raise ValueError(f"no position for the pooling {pooling.value!r}")
    return [position]
