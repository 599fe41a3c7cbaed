"""Compute the maximum input length of a model from its config and tokenizer."""

from typing import Any

from embstore.encode.text_part import TextPart

# Model types whose position ids begin after the pad token's id, as in fairseq, so that the first rows are unused.
_POSITIONS_AFTER_PAD = frozenset({
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
})  # fmt: skip
# Config attributes for the number of positions, in order of precedence.
# BLOOM's seq_length and RWKV's context_length are no limits: ALiBi and recurrences have no maximum.
_POSITIONS = (
    "max_encoder_position_embeddings", "max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length",
    "max_seq_length", "n_ctx",
)  # fmt: skip
_MAX_LIMIT = 10**9  # transformers writes 1e30 where a tokenizer states no limit


def max_tokens(hf: Any, part: TextPart) -> int | None:
    """Return the maximum input length in tokens, with special tokens; None if there is no limit.

    It is the minimum of the tokenizer's ``model_max_length`` and the config's number of positions. Encoders of the T5
    family have relative positions, and only the tokenizer's limit.

    Args:
        hf: Tokenizer of transformers.
        part: Part of the model that reads text.
    """
    limits = [int(hf.model_max_length)] if hf.model_max_length < _MAX_LIMIT else []
    if part.has_positions:
        text = part.config
        stated = (getattr(text, name, None) for name in _POSITIONS)
        positions = next((n for n in stated if isinstance(n, int) and n > 0), None)
        if positions is not None:
            after_pad = text.model_type in _POSITIONS_AFTER_PAD and text.pad_token_id is not None
            limits.append(positions - text.pad_token_id - 1 if after_pad else positions)
    return min(limits, default=None)
