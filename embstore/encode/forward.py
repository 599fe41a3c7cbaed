"""Run one batch through the model and pool its hidden states."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import EncodeError
from embstore.base.space import Pooling
from embstore.encode.contract import Contract
from embstore.encode.devices import free_cached_memory, is_out_of_memory
from embstore.encode.extra import first_sentence, need
from embstore.encode.pooling import gather
from embstore.encode.recipe_head import Head
from embstore.encode.records import MODEL_FAILS, Encoded, ModelFailsError, Skipped
from embstore.encode.spans import Text

if TYPE_CHECKING:
    from torch import Tensor

Texts = Sequence[Text]

_MAX_ERROR_CHARS = 200


@dataclass(frozen=True)
class Forward:
    """A copy of the model, with the poolings and layers to extract from a forward pass.

    Attributes:
        model: Transformers model.
        contract: Verified mapping from its hidden states to layers.
        pad_id: Token id for padding.
        poolings: One or more poolings.
        layers: Layers to keep, for all poolings except ``projection``.
        reference: Short text without items that the model has encoded before, to tell a failing text from a failing
            model.
        head: Part of the checkpoint's own recipe behind the model, for the pooling ``model``.
    """

    model: Any
    contract: Contract
    pad_id: int
    poolings: Sequence[Pooling]
    layers: Sequence[int]
    reference: Text
    head: Head | None = None

    def thread_copy(self) -> "Forward":
        """Return a copy for another thread: separate modules and buffers, shared weights."""
        weights = {id(weight): weight for weight in self.model.parameters()}
        return replace(self, model=copy.deepcopy(self.model, weights))

    def __call__(self, texts: Texts) -> list[Encoded | Skipped] | None:
        """Encode a batch of texts; return None if it does not fit in memory and can be split.

        Texts that the model fails on are skipped; the other texts of the batch are encoded.

        Raises:
            EncodeError: A single text does not fit in memory.
            ModelFailsError: The model fails on a batch and then on the reference text too.
        """
        width = max(len(text.ids) for text in texts)
        try:
            vectors = self._vectors(texts, width)
        except _ForwardError as error:
            return self._encode_halves(texts, error.reason)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(texts) == 1:
                raise EncodeError(
                    f"a text of {width} tokens does not fit in the memory of {str(self.model.device)!r}, even alone: "
                    "leave it out, or use another ⦃device⦄ or a smaller model."
                ) from error
        else:
            ids = np.array([item for text in texts for item in text.item_ids], dtype=np.int64)
            lengths = np.array([n for text in texts for n in text.item_lengths], dtype=np.int64)
            return [Encoded(ids, vectors, len(texts), sum(len(text.ids) for text in texts), lengths)]
        free_cached_memory(self.model.device)
        return None

    def _encode_halves(self, texts: Texts, reason: str) -> list[Encoded | Skipped] | None:
        """Encode a batch that the model fails on in halves, recursively, and skip each text that fails alone."""
        try:
            with need("torch").inference_mode():
                self._states(tensors(self.model, [self.reference], pad_id=self.pad_id))
        except Exception as error:  # any error means that the model itself fails
            raise ModelFailsError(
                f"the model fails at every text, even at one that it read when it was loaded ({reason}). Run the same "
                "build again; if it fails again, with another ⦃device⦄.",
                texts[0].item_ids[0],
            ) from error
        if len(texts) == 1:
            reason = f"{MODEL_FAILS}: {reason}"
            return [Skipped(item, reason, "skipped", len(texts[0].ids)) for item in texts[0].item_ids]
        results: list[Encoded | Skipped] = []
        for half in halves(texts):
            half_results = self(half)
            if half_results is None:
                return None
            results += half_results
        return results

    def _vectors(self, texts: Texts, width: int) -> dict[Pooling, NDArray[np.float32]]:
        """Compute the vectors of a batch for each pooling, float32 (layers, n, dim); (1, n, dim) for ``projection``."""
        torch, model = need("torch"), self.model
        n = sum(len(text.item_ids) for text in texts)
        vectors: dict[Pooling, NDArray[np.float32]] = {}
        with torch.inference_mode():
            states, last = self._states(tensors(model, texts, pad_id=self.pad_id))
            for pooling in self.poolings:
                if pooling is Pooling.MODEL and self.head is not None:
                    vectors[pooling] = self.head.vectors(texts, states, last, self.layers)
                    continue
                pool = gather(texts, width, pooling, model.device)
                if pooling is Pooling.PROJECTION:
                    # As in transformers, the end token's state after the final norm is projected.
                    projected = model.text_projection(pool(last))
                    vectors[pooling] = projected.unsqueeze(0).float().cpu().numpy()
                    continue
                block = np.empty((len(self.layers), n, self.contract.dim), dtype=np.float32)
                target = torch.from_numpy(block)
                for i, layer in enumerate(self.layers):
                    target[i].copy_(pool(states[layer]))
                vectors[pooling] = block
        return vectors

    def _states(self, inputs: Any) -> tuple[list[Any], Any]:
        """Run a forward pass; raise _ForwardError if it fails for a reason other than memory."""
        try:
            return self.contract.forward(self.model, inputs)
        except Exception as error:  # an architecture may raise anything at a text that it cannot read
            if is_out_of_memory(error):
                raise
            raise _ForwardError(error) from error


class _ForwardError(Exception):
    """A forward pass failed for a reason other than memory.

    Attributes:
        reason: Class and first sentence of the error.
    """

    def __init__(self, error: Exception) -> None:
        self.reason = f"{type(error).__name__}: {first_sentence(error)[:_MAX_ERROR_CHARS]}"
        super().__init__(self.reason)


def tensors(model: Any, texts: Sequence[Text], *, pad_id: int) -> dict[str, "Tensor"]:
    """Build the input tensors of a forward pass, padded on the right.

    Args:
        model: Transformers model; ``token_type_ids`` is included only if it accepts them.
        texts: Texts of the batch, one per row.
        pad_id: Token id for padding, the tokenizer's own if it has one: RoBERTa and MPNet derive positions from it.
            Since padding is on the right and masked, any id leaves the real tokens unchanged.

    Returns:
        ``input_ids``, ``attention_mask`` and possibly ``token_type_ids``, int64 (n, t) on the model's device.
    """
    torch = need("torch")
    width = max(len(text.ids) for text in texts)
    columns = {
        "input_ids": [text.ids + [pad_id] * (width - len(text.ids)) for text in texts],
        "attention_mask": [[1] * len(text.ids) + [0] * (width - len(text.ids)) for text in texts],
    }
    if texts[0].type_ids is not None and "token_type_ids" in inspect.signature(model.forward).parameters:
        columns["token_type_ids"] = [(text.type_ids or []) + [0] * (width - len(text.type_ids or [])) for text in texts]
    return {name: torch.tensor(rows, dtype=torch.int64, device=model.device) for name, rows in columns.items()}


def halves(texts: Texts) -> list[Texts]:
    """Split a batch of two or more texts into two halves."""
    middle = (len(texts) + 1) // 2
    return [texts[:middle], texts[middle:]]
