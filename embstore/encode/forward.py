"""One batch through the model."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore.encode.contract import Contract
from embstore.encode.devices import is_out_of_memory, release
from embstore.encode.extra import need, told
from embstore.encode.pooling import gather
from embstore.encode.records import MODEL_FAILS, Encoded, ModelFailsError, Skipped
from embstore.encode.spans import Text
from embstore.errors import EncodeError
from embstore.space import Pooling

if TYPE_CHECKING:
    from torch import Tensor

Texts = Sequence[Text]

_MOST_SHOWN = 200  # characters of an error


@dataclass(frozen=True)
class Forward:
    """One copy of the model, and what is taken from a pass through it.

    Attributes:
        model: the transformers model.
        contract: what its hidden states are.
        pad_id: the id that fills up a batch.
        poolings: at least one.
        layers: the layers to keep, for all poolings but ``projection``.
        reference: a short text that the model has read before; it has no items.
    """

    model: Any
    contract: Contract
    pad_id: int
    poolings: Sequence[Pooling]
    layers: Sequence[int]
    reference: Text

    def twin(self) -> "Forward":
        """Return a copy that may run beside this one: modules and buffers of its own, the same weights."""
        weights = {id(weight): weight for weight in self.model.parameters()}
        return replace(self, model=copy.deepcopy(self.model, weights))

    def __call__(self, texts: Texts) -> list[Encoded | Skipped] | None:
        """Run a batch of texts; None where the memory does not suffice and it can be split.

        Texts at which the model fails are skipped: the others of the batch get their vectors.

        Raises:
            EncodeError: the memory does not suffice for one text.
            ModelFailsError: the model fails, and then at the reference text too.
        """
        width = max(len(text.ids) for text in texts)
        try:
            vectors = self._vectors(texts, width)
        except _ForwardError as error:
            return self._apart(texts, error.reason)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(texts) == 1:
                raise EncodeError(
                    f"a text of {width} tokens does not fit in the memory of {str(self.model.device)!r}, even alone: "
                    "leave it out, or use another --device or a smaller model."
                ) from error
        else:
            ids = np.array([item for text in texts for item in text.item_ids], dtype=np.int64)
            return [Encoded(ids, vectors, len(texts), sum(len(text.ids) for text in texts))]
        release(self.model.device)
        return None

    def _apart(self, texts: Texts, reason: str) -> list[Encoded | Skipped] | None:
        """Run the halves of a batch at which the model failed; skip a text at which it fails alone."""
        try:
            with need("torch").inference_mode():
                self._states(tensors(self.model, [self.reference], pad_id=self.pad_id))
        except Exception as error:  # whatever it is, nothing can be read any more
            raise ModelFailsError(
                f"the model fails at every text, even at one that it read when it was loaded ({reason}). Run the same "
                "build again; if it fails again, with another --device.",
                texts[0].item_ids[0],
            ) from error
        if len(texts) == 1:
            why = f"{MODEL_FAILS}: {reason}"
            return [Skipped(item, why, "skipped", len(texts[0].ids)) for item in texts[0].item_ids]
        results: list[Encoded | Skipped] = []
        for half in halves(texts):
            of_half = self(half)
            if of_half is None:
                return None
            results += of_half
        return results

    def _vectors(self, texts: Texts, width: int) -> dict[Pooling, NDArray[np.float32]]:
        """Return the vectors of one batch, float32 (layers, n, dim) for each pooling."""
        torch, model = need("torch"), self.model
        n = sum(len(text.item_ids) for text in texts)
        vectors: dict[Pooling, NDArray[np.float32]] = {}
        with torch.inference_mode():
            states, last = self._states(tensors(model, texts, pad_id=self.pad_id))
            for pooling in self.poolings:
                pool = gather(texts, width, pooling, model.device)
                if pooling is Pooling.PROJECTION:
                    # As in transformers, it is the end mark's state after the final norm that is projected.
                    vectors[pooling] = model.text_projection(pool(last)).unsqueeze(0).cpu().numpy()
                    continue
                block = np.empty((len(self.layers), n, self.contract.dim), dtype=np.float32)
                target = torch.from_numpy(block)
                for place, layer in enumerate(self.layers):
                    target[place].copy_(pool(states[layer]))
                vectors[pooling] = block
        return vectors

    def _states(self, inputs: Any) -> tuple[list[Any], Any]:
        try:
            return self.contract.forward(self.model, inputs)
        except Exception as error:  # whatever an architecture raises at a text that it cannot read
            if is_out_of_memory(error):
                raise
            raise _ForwardError(error) from error


class _ForwardError(Exception):
    """A forward pass failed, and not for want of memory.

    Attributes:
        reason: in a few words.
    """

    def __init__(self, error: Exception) -> None:
        self.reason = f"{type(error).__name__}: {told(error)[:_MOST_SHOWN]}"
        super().__init__(self.reason)


def tensors(model: Any, texts: Sequence[Text], *, pad_id: int) -> dict[str, "Tensor"]:
    """Return the arguments of a forward pass, padded on the right.

    Args:
        model: a transformers model; what it does not take (``token_type_ids``) is left out.
        texts: the rows.
        pad_id: the id for padding, the tokenizer's own where it has one. RoBERTa and MPNet count positions by it; on
            the right and masked, any id leaves the real tokens as they are.

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
    """Split a batch of at least two texts into two."""
    middle = (len(texts) + 1) // 2
    return [texts[:middle], texts[middle:]]
