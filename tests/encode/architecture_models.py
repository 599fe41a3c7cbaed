"""A tiny checkpoint with random weights of any architecture that transformers has."""

from dataclasses import fields, is_dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from encode_vocabularies import bpe
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

LAYERS = 4
POSITIONS = 64
MARKS = ("<pad>", "<s>", "</s>", "<unk>")

# Sizes by the names that configs have for them; a config takes those that it has. Where an architecture's sizes have to
# agree with each other in a way of their own, SPECIAL says how.
SMALL: dict[str, Any] = {
    **dict.fromkeys(
        ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), LAYERS
    ),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "model_dim"), 32),
    **dict.fromkeys(("embedding_size", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "multi_query_group_num"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "hidden_dim", "dff", "ffn_hidden_size"), 64),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "moe_intermediate_size"), 64),
    **dict.fromkeys(("head_dim", "kv_channels", "d_kv", "v_head_dim", "qk_nope_head_dim"), 8),
    "shared_expert_intermediate_size": 64,
    "qk_rope_head_dim": 8,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k"), 2),
    "n_group": 1,
    "topk_group": 1,
    "sliding_window": 16,
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length"), POSITIONS
    ),
    "type_vocab_size": 2,
}
SPECIAL: dict[str, dict[str, Any]] = {
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 2, "state_size": 8, "chunk_size": 8},
}


def config_of(model_type: str, vocab_size: int, **sizes: Any) -> tf.PreTrainedConfig:
    """Return a small config of an architecture: its defaults but for the sizes."""
    cls = CONFIG_MAPPING[model_type]
    names = {field.name for field in fields(cls)} if is_dataclass(cls) else set(signature(cls.__init__).parameters)
    names |= set(cls.attribute_map)
    ids = {"vocab_size": vocab_size, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    special = SPECIAL.get(model_type, {}) | sizes
    return cls(
        **{name: value for name, value in (SMALL | ids).items() if name in names and name not in special}, **special
    )


def tokenizer() -> tf.PreTrainedTokenizerFast:
    """A byte-level BPE that puts marks round each text, as most encoders' do."""
    parts = bpe(list(MARKS))
    made = Tokenizer(models.BPE(vocab=parts["vocab"], merges=parts["merges"]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    marks = [(mark, parts["vocab"][mark]) for mark in ("<s>", "</s>")]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


def make(folder: Path, model_type: str, noise: float = 0.02, **sizes: Any) -> Path:
    """Write a tiny checkpoint of an architecture, in the class that transformers takes for its base model."""
    words = tokenizer()
    config = config_of(model_type, len(words), **sizes)
    torch.manual_seed(0)
    model = tf.AutoModel.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
