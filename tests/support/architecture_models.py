"""A tiny checkpoint with random weights of any architecture that transformers has."""

from dataclasses import fields, is_dataclass
from inspect import signature

import torch
import transformers as tf
from encode_vocabularies import bpe
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

LAYERS = 4
POSITIONS = 64
MOST_WEIGHTS = 50_000_000
MARKS = ("<pad>", "<s>", "</s>", "<unk>")

# Sizes by the names that configs have for them; a config takes those that it has. Where an
# architecture's sizes have to agree with each other in a way of their own, SPECIAL says how.
SMALL = {
    **dict.fromkeys(
        (
            "num_hidden_layers",
            "n_layer",
            "n_layers",
            "num_layers",
            "encoder_layers",
            "decoder_layers",
        ),
        LAYERS,
    ),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "model_dim"), 32),
    **dict.fromkeys(("embedding_size", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "multi_query_group_num"), 2),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "d_ff", "n_inner", "hidden_dim", "dff", "ffn_hidden_size"),
        64,
    ),
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
        ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length"),
        POSITIONS,
    ),
    "type_vocab_size": 2,
}
_FULL_HEADS = {"num_key_value_heads": 4}
_MAMBA_2 = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_n_groups": 2,
    "mamba_d_state": 8,
    "mamba_chunk_size": 8,
}
_MROPE = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
}
_QWEN_VISION = {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 14}
SPECIAL = {
    **dict.fromkeys(
        (
            "axk1",
            "axk2",
            "deepseek_v2",
            "deepseek_v3",
            "deepseek_v32",
            "esmc",
            "dots3_note_text",
            "glm4_moe_lite",
            "glm_moe_dsa",
            "longcat_flash",
            "minicpm3",
            "sarvam_mla",
            "youtu",
        ),
        _FULL_HEADS,
    ),
    **dict.fromkeys(("bamba", "granitemoehybrid"), _MAMBA_2),
    "codegen": {"rotary_dim": 4},
    "gptj": {"rotary_dim": 4},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0}},
    "dots1": {"n_shared_experts": 1},
    "falcon_h1": _MAMBA_2 | {"mamba_d_ssm": 64},
    "funnel": {"block_sizes": [2, 2]},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 400,
        "laurel_rank": 8,
        "activation_sparsity_pattern": [0.0] * LAYERS,
    },
    "gemma4_text": {
        "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 400,
        "global_head_dim": 8,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "lfm2_moe": {
        "layer_types": ["conv", "full_attention", "conv", "full_attention"],
        "num_dense_layers": 1,
    },
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 8},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 2, "state_size": 8, "chunk_size": 8},
    "neomme": {"head_dim": 16},
    **dict.fromkeys(("qwen2_5_vl_text", "qwen2_vl_text", "glm4v_text", "glm_ocr_text"), _MROPE),
    "qwen2_vl": {"vision_config": _QWEN_VISION},
    "reformer": {
        "attn_layers": ["local", "lsh", "local", "lsh"],
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [16, 16],
        "attention_head_size": 8,
        "num_buckets": 2,
        "lsh_attn_chunk_length": 16,
        "local_attn_chunk_length": 16,
    },
    "t5gemma": {
        "encoder": {
            "num_hidden_layers": LAYERS,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "vocab_size": 400,
            "max_position_embeddings": POSITIONS,
        },
        "decoder": {
            "num_hidden_layers": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "vocab_size": 400,
            "max_position_embeddings": POSITIONS,
        },
        "vocab_size": 400,
    },
    "zamba": {"num_hidden_layers": 12, "num_key_value_heads": 4, "use_mamba_kernels": False},
    "zamba2": {
        "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "num_key_value_heads": 4,
        "attention_head_dim": 16,
        "n_mamba_heads": 8,
        "mamba_headdim": 8,
        "mamba_d_state": 8,
        "mamba_ngroups": 1,
        "chunk_size": 8,
        "num_mem_blocks": 1,
    },
    "zaya": {"num_experts_per_tok": 1},
}


def config_of(model_type, vocab_size, **sizes):
    """Return a small config of an architecture: its defaults but for the sizes."""
    special = SPECIAL.get(model_type, {}) | sizes
    return _small_config(CONFIG_MAPPING[model_type], vocab_size, special)


def _small_config(cls, vocab_size, special):
    """Return a config of a class with small sizes, also in the configs of its parts."""
    names = (
        {field.name for field in fields(cls)}
        if is_dataclass(cls)
        else set(signature(cls.__init__).parameters)
    )
    names |= set(cls.attribute_map)
    ids = {"vocab_size": vocab_size, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    parts = {}
    for name in getattr(cls, "sub_configs_defaults", cls.sub_configs):  # as it was called before
        part = getattr(cls(), name, None)
        if name not in special and isinstance(part, tf.PretrainedConfig):
            parts[name] = _small_config(type(part), vocab_size, SPECIAL.get(part.model_type, {}))
    given = {name: value for name, value in (SMALL | ids).items() if name in names}
    return cls(**given | parts | special)


def tokenizer():
    """A byte-level BPE that puts marks round each text, as most encoders' do."""
    parts = bpe(list(MARKS))
    made = Tokenizer(models.BPE(vocab=parts["vocab"], merges=parts["merges"]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    marks = [(mark, parts["vocab"][mark]) for mark in ("<s>", "</s>")]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
    )


def make(folder, model_type, noise=0.02, **sizes):
    """Write a tiny checkpoint of an architecture, in the class that transformers takes for its base
    model.
    """
    words = tokenizer()
    config = config_of(model_type, len(words), **sizes)
    with torch.device("meta"):
        n_weights = sum(weight.numel() for weight in tf.AutoModel.from_config(config).parameters())
    if n_weights > MOST_WEIGHTS:
        raise ValueError(f"{n_weights:,} weights are not few")
    torch.manual_seed(0)
    model = tf.AutoModel.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
