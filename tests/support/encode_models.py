"""Checkpoints with random weights: a tiny one for each architecture, and one of full size."""

import torch
import transformers as tf
from encode_vocabularies import (
    bpe,
    metaspace_bpe,
    modernbert_tokenizer,
    real_clip,
    real_gpt2,
    unigram,
    wordpiece,
)

POSITIONS = 64
SMALL = {
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
}


def save(folder, model, tokenizer, noise=0.1):
    """Write a checkpoint whose weights are random everywhere.

    Fresh norms have weight 1 and bias 0, so that a norm applied twice would go unnoticed.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def small(folder, model, tokenizer, **sizes):
    """Write a model of a class, with the sizes of all here and others."""
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": POSITIONS, **SMALL, **sizes}
    return save(folder, model(model.config_class(**sizes)), tokenizer)


def gpt2(folder):
    config = tf.GPT2Config(n_layer=3, n_head=4, n_embd=32, n_positions=POSITIONS)
    return save(folder, tf.GPT2LMHeadModel(config), real_gpt2())


def opt(folder):
    parts = bpe(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer = tf.GPT2Tokenizer(
        **parts,
        bos_token="</s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="<pad>",
        model_max_length=POSITIONS,
    )
    tokenizer.add_bos_token = True
    tokenizer.update_post_processor()
    config = tf.OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        ffn_dim=64,
        word_embed_proj_dim=32,
        max_position_embeddings=POSITIONS,
        pad_token_id=1,
    )
    return save(folder, tf.OPTForCausalLM(config), tokenizer)


def gpt_neox(folder):
    tokenizer = tf.GPTNeoXTokenizer(**bpe(["<|endoftext|>", "<|padding|>"]))
    return small(folder, tf.GPTNeoXForCausalLM, tokenizer)


def llama(folder):
    tokenizer = tf.LlamaTokenizer(**metaspace_bpe(["<unk>", "<s>", "</s>"]), add_bos_token=True)
    return small(folder, tf.LlamaForCausalLM, tokenizer)


def qwen2(folder):
    tokenizer = tf.Qwen2Tokenizer(**bpe(["<|endoftext|>"]))
    return small(folder, tf.Qwen2ForCausalLM, tokenizer, num_key_value_heads=2)


def qwen3(folder):
    tokenizer = tf.Qwen2Tokenizer(**bpe(["<|endoftext|>"]))
    return small(folder, tf.Qwen3ForCausalLM, tokenizer, num_key_value_heads=2, head_dim=8)


def bert(folder):
    vocab = wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer = tf.BertTokenizer(vocab=vocab, model_max_length=POSITIONS)
    return small(folder, tf.BertForMaskedLM, tokenizer)


def distilbert(folder):
    vocab = wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer = tf.BertTokenizer(vocab=vocab, model_max_length=POSITIONS)
    config = tf.DistilBertConfig(
        vocab_size=len(vocab),
        max_position_embeddings=POSITIONS,
        n_layers=3,
        n_heads=4,
        dim=32,
        hidden_dim=64,
    )
    return save(folder, tf.DistilBertForMaskedLM(config), tokenizer)


def roberta(folder):
    parts = bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer = tf.RobertaTokenizer(**parts, model_max_length=512)
    own = {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1, "pad_token_id": 1}
    return small(folder, tf.RobertaForMaskedLM, tokenizer, **own)


def mpnet(folder):
    vocab = wordpiece(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"])
    tokenizer = tf.MPNetTokenizer(vocab=vocab, model_max_length=512)
    return small(
        folder,
        tf.MPNetForMaskedLM,
        tokenizer,
        max_position_embeddings=POSITIONS + 2,
        pad_token_id=1,
    )


def modernbert(folder):
    tokenizer = modernbert_tokenizer(POSITIONS)
    ids = {
        f"{mark}_token_id": tokenizer.convert_tokens_to_ids(f"[{mark.upper()}]")
        for mark in ("pad", "cls", "sep")
    }
    return small(
        folder, tf.ModernBertForMaskedLM, tokenizer, bos_token_id=None, eos_token_id=None, **ids
    )


def t5(folder):
    tokenizer = tf.T5Tokenizer(vocab=unigram(), extra_ids=0, model_max_length=POSITIONS)
    config = tf.T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=3, num_heads=4
    )
    return save(folder, tf.T5ForConditionalGeneration(config), tokenizer)


def clip(folder, **text):
    """CLIP as on the hub: two towers, the text tower with the legacy ids that are not the
    tokenizer's.
    """
    tokenizer = real_clip()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    legacy = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "vocab_size": len(tokenizer)}
    config = tf.CLIPConfig(
        text_config={**sizes, "num_hidden_layers": 3, **legacy, **text},
        vision_config={**sizes, "num_hidden_layers": 1, "image_size": 32, "patch_size": 16},
        projection_dim=24,
    )
    return save(folder, tf.CLIPModel(config), tokenizer)


def clip_new_ids(folder):
    """CLIP with the tokenizer's own ids in its config."""
    return clip(folder, bos_token_id=49406, eos_token_id=49407, pad_token_id=49407)


def gpt2_full(folder):
    return save(folder, tf.GPT2Model(tf.GPT2Config()), real_gpt2(), noise=0.01)


TINY = {
    builder.__name__: builder
    for builder in (
        gpt2,
        opt,
        gpt_neox,
        llama,
        qwen2,
        qwen3,
        bert,
        distilbert,
        roberta,
        mpnet,
        modernbert,
        t5,
        clip,
    )
}
TINY["clip_new_ids"] = clip_new_ids
FULL = {"gpt2": gpt2_full}
