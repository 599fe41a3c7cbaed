"""How many tokens a model reads at once, from its config and tokenizer alone."""

from typing import Any

# Their position ids begin after the pad token's id (fairseq's convention), so the table has that many rows less.
_POSITIONS_AFTER_PAD = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "lilt",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
_SANE = 10**9  # transformers writes 1e30 where a tokenizer states no limit


def max_tokens(hf: Any, config: Any) -> int | None:
    """Return the longest input in tokens, special tokens counted; None where nothing limits it.

    The lower of the tokenizer's ``model_max_length`` and the config's positions. Encoders of the T5 family have
    relative positions and no limit but the tokenizer's.
    """
    limits = [int(hf.model_max_length)] if hf.model_max_length < _SANE else []
    if not config.is_encoder_decoder:
        text = config.get_text_config()
        positions = getattr(text, "max_position_embeddings", None)
        if isinstance(positions, int) and positions > 0:
            after_pad = text.model_type in _POSITIONS_AFTER_PAD and text.pad_token_id is not None
            limits.append(positions - text.pad_token_id - 1 if after_pad else positions)
    return min(limits, default=None)
