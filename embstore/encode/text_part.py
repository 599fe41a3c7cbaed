"""Find the part of a transformers model that reads text: all of it, a text tower, an encoder, or a language model."""

from dataclasses import dataclass
from typing import Any

_T5 = ("t5", "mt5", "umt5")
"""Model types whose encoders have a class of their own, and whose configs may be of the encoder alone."""

_RELATIVE = (*_T5, "longt5", "switch_transformers")
"""Model types with relative positions, whose configs state no maximum length."""

# Text towers of contrastive models, which are loaded without the image tower: class, and whether it has a projection.
_TOWERS = {
    "clip": ("CLIPTextModelWithProjection", True),
    "clip_text_model": ("CLIPTextModelWithProjection", True),
    "metaclip_2": ("MetaClip2TextModelWithProjection", True),
    "metaclip_2_text_model": ("MetaClip2TextModelWithProjection", True),
    "siglip": ("SiglipTextModel", False),
    "siglip_text_model": ("SiglipTextModel", False),
    "siglip2": ("Siglip2TextModel", False),
    "siglip2_text_model": ("Siglip2TextModel", False),
}
# Text towers of contrastive models, which transformers loads with the image tower alone.
_PAIRED = ("align", "altclip", "chinese_clip", "clipseg")

_LANGUAGE_MODELS = {
    **dict.fromkeys(("idefics2", "idefics3", "smolvlm"), "text_model"),
    "llama4": "language_model.model",
}
"""Paths of the language models in multimodal models, where it is not ``language_model``."""

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


@dataclass(frozen=True, slots=True)
class TextPart:
    """The part of a model that reads text.

    Attributes:
        architecture: Name of the transformers class to load.
        path: Path of the part in a model of that class; empty for the whole model.
        config: Config of the part, or of the whole model.
        loaded: Config that the class is loaded with.
        has_projection: Whether the class has a text projection.
        is_tower: Whether it is the text tower of a contrastive model.
        is_language_model: Whether it is the language model in a multimodal model.
    """

    architecture: str
    path: str
    config: Any
    loaded: Any
    has_projection: bool = False
    is_tower: bool = False
    is_language_model: bool = False

    @property
    def is_causal(self) -> bool:
        """Whether attention is causal, so that only the last token depends on the whole text.

        True for the text towers of CLIP and MetaCLIP, for language models in multimodal models, and for model types
        that transformers can load as a causal language model but not as a masked one.
        """
        from transformers.models.auto import modeling_auto as auto

        if self.is_tower:
            return self.has_projection
        if getattr(self.config, "use_bidirectional_attention", False) or self.loaded.is_encoder_decoder:
            return False  # EmbeddingGemma, encoders
        kind = self.loaded.model_type
        return self.is_language_model or (
            kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        )

    @property
    def has_positions(self) -> bool:
        """Whether the config states the maximum length in tokens."""
        return self.loaded.model_type not in _RELATIVE


def text_part(config: Any) -> TextPart | None:
    """Return the part of a model with a config that reads text; None if embstore can read none."""
    from transformers.models.auto import modeling_auto as auto

    kind = config.model_type
    if kind in _TOWERS:
        architecture, has_projection = _TOWERS[kind]
        own = config.get_text_config()
        if has_projection and own is not config:
            # The tower's own config has a default; the projection has the dimension of the whole model's config.
            own.projection_dim = config.projection_dim
        return TextPart(architecture, "", own, own, has_projection, is_tower=True)
    if kind in _T5:
        return TextPart("AutoModelForTextEncoding", "", config, config)
    if type(config) not in auto.MODEL_MAPPING:
        return None
    if config.is_encoder_decoder:
        if kind not in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
            return None
        own = getattr(config, "encoder", None) or config  # the encoder of T5Gemma has a config of its own
        path = "encoder" if own.get_text_config() is own else "encoder.text_model"
        return TextPart("AutoModel", path, own.get_text_config(), config)
    if any(getattr(config, f"{mode}_config", None) is not None for mode in ("vision", "audio")):
        mappings = auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
        own = getattr(config, "text_config", None)
        if own is None:
            return None
        if kind in _PAIRED:
            return TextPart("AutoModel", "text_model", own, config, is_tower=True)
        if not any(kind in names for names in mappings):
            return None
        return TextPart("AutoModel", _LANGUAGE_MODELS.get(kind, "language_model"), own, config, is_language_model=True)
    heads = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    reads_text = any(kind in names for names in (*heads, auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES))
    own = getattr(config, "text_config", None) or config
    return TextPart("AutoModel", "", own, config) if reads_text else None


def max_tokens(hf: Any, part: TextPart) -> int | None:
    """Return the maximum input length in tokens, with special tokens; None if there is no limit.

    It is the minimum of the tokenizer's ``model_max_length`` and the config's number of positions. Encoders of the T5
    family have relative positions, and only the tokenizer's limit.
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
