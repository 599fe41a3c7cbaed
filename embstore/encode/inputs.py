"""Texts to the tensors that a model is called with."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from embstore.encode.extra import need
from embstore.encode.spans import Text

if TYPE_CHECKING:
    from torch import Tensor


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
