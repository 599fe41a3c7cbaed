"""Checkpoints of one training run: in a local cache of the hub, and as folders that a Trainer
leaves.
"""

import shutil

COMMITS = {"step0": "a" * 40, "step16": "b" * 40, "step2": "c" * 40}
"""Revision on the hub → its commit, in the order in which they are built."""
HUB_ID = "org/tiny-neox"
STEPS = (500, 1000)
WORDS = (
    "dog",
    "cat",
    "bird",
    "river",
    "bank",
    "shell",
    "fish",
    "sea",
    "shore",
    "rate",
    "lazy",
    "fox",
)


def write_hub_cache(cache, tokenizer):
    """Write a GPT-NeoX with other weights at each revision into a local cache of the hub; return
    the cache.

    Args:
        cache: Folder of the cache (``HF_HUB_CACHE``).
        tokenizer: Checkpoint whose tokenizer it gets.
    """
    import torch
    import transformers

    vocabulary = transformers.AutoTokenizer.from_pretrained(tokenizer)
    config = transformers.GPTNeoXConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    repository = cache / f"models--{HUB_ID.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    for seed, (name, commit) in enumerate(COMMITS.items()):
        torch.manual_seed(seed)
        folder = repository / "snapshots" / commit
        transformers.GPTNeoXForCausalLM(config).save_pretrained(folder)
        vocabulary.save_pretrained(folder)
        (repository / "refs" / name).write_text(commit)
    return cache


def write_run(run):
    """Write the folder of a training run: GPT-2 at some steps, and the last weights at its top;
    return the folder.
    """
    from tiny_checkpoint import make_checkpoint

    for seed, step in enumerate(STEPS):
        make_checkpoint(run / f"checkpoint-{step}", seed=seed)
    shutil.copytree(run / f"checkpoint-{STEPS[-1]}", run, dirs_exist_ok=True)
    return run


def hidden_states(folder, word):
    """Return the last token's vector of a word at each layer, as transformers itself gives them."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = model(**tokenizer(word, return_tensors="pt"), output_hidden_states=True)
    return [state[0, -1].numpy() for state in found.hidden_states]
