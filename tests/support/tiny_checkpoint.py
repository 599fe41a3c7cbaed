"""A GPT-2 of a few thousand weights with a byte-level tokenizer: a real checkpoint that loads in no
time.
"""

import json

import numpy as np

POSITIONS = 64
DIM = 32
LAYERS = ("0", "1", "2", "raw")

_CORPUS = [
    "The quick brown fox jumps over the lazy dog.",
    "She sells sea shells by the sea shore; the shells she sells are surely seashells.",
    "Central banks raised rates; the river bank flooded.",
] * 3


def make_checkpoint(folder, *, seed=0, scale=1.0, nan_token=None, positions=POSITIONS):
    """Write a checkpoint.

    Args:
        folder: where.
        seed: of the weights.
        scale: of the token embeddings.
        nan_token: texts with this token get vectors that are not finite.
        positions: the context length.
    """
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        model_max_length=positions,
    )
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=len(fast),
        n_layer=2,
        n_head=4,
        n_embd=DIM,
        n_positions=positions,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
        model.transformer.wte.weight *= scale
        if nan_token is not None:
            model.transformer.wte.weight[fast.convert_tokens_to_ids(nan_token)] = float("nan")
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def named(root, prefix=""):
    """Return the keys of the files that the newest manifest names, read as JSON alone."""
    newest = max((root / "manifest").glob("*.json"))
    return sorted(key for key in json.loads(newest.read_bytes())["files"] if key.startswith(prefix))


def stored_files(root, prefix=""):
    """Return the files that the newest manifest names, by key."""
    return [root / key for key in named(root, prefix)]


def content(root):
    """Return what a store holds, read from its Parquet files alone: space → layer → item id →
    vector.
    """
    import pyarrow.parquet as pq

    found = {}
    for file in stored_files(root, "vectors/"):
        space, number = (
            folder.name.partition("=")[2] for folder in (file.parents[1], file.parents[0])
        )
        layer = found.setdefault(space, {}).setdefault(int(number), {})
        shard = pq.ParquetFile(file).read()
        vectors = shard["vector"].combine_chunks()
        rows = vectors.flatten().to_numpy().reshape(len(vectors), -1).astype(np.float32)
        for item, row in zip(shard["item_id"].to_pylist(), rows, strict=True):
            assert item not in layer, "an item has two vectors"
            layer[item] = row
    return found


def texts(root):
    """Return the stored items, read from their Parquet files alone: item id → text."""
    import pyarrow.parquet as pq

    found = {}
    for file in stored_files(root, "items/"):
        for row in pq.ParquetFile(file).read().to_pylist():
            assert row["item_id"] not in found, "an item is stored twice"
            found[row["item_id"]] = row["text"]
    return found


def columns(root):
    """Column → item id → value, read by pyarrow alone; a value that stands in two tables must be
    the same.
    """
    import pyarrow.parquet as pq

    found = {}
    for file in stored_files(root, "columns/"):
        item_ids, *values = pq.read_table(file).to_pydict().items()
        for name, listed in values:
            for item, value in zip(item_ids[1], listed, strict=True):
                if value is not None:
                    assert found.setdefault(name, {}).setdefault(item, value) == value
    return found


def assert_same_content(first, other):
    """Compare two stores: the same items and columns, and vectors equal to within what the batches
    may differ by.
    """
    assert texts(first) == texts(other)
    assert columns(first) == columns(other)
    left, right = content(first), content(other)
    assert left.keys() == right.keys()
    for space in left:
        assert left[space].keys() == right[space].keys()
        for layer in left[space]:
            assert_same_vectors(left[space][layer], right[space][layer])


def assert_same_vectors(left, right):
    assert left.keys() == right.keys()
    first, other = np.array(list(left.values())), np.array([right[item] for item in left])
    assert (np.linalg.norm(first - other, axis=1) <= 1e-4 * np.linalg.norm(first, axis=1)).all()


def card(root, space):
    [file] = stored_files(root, f"spaces/{space}-")
    return json.loads(file.read_text("utf-8"))
