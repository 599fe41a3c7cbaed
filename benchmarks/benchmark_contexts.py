"""Vectors of words in contexts, of MiniLM: words drawn by their frequency in English, in sequences
of twenty.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from embstore.encode.checkpoint import resolve

LAYER, DIM = 3, 384  # the middle one of six
_WORDS, _VOCABULARY, _SEQUENCES = 20, 50_000, 64


def save_words_in_context(path: Path, n: int) -> None:
    """Write the vectors of n words in contexts as an .npy file."""
    file, done = np.lib.format.open_memmap(path, "w+", np.float32, (n, DIM)), 0
    for block in words_in_context(n, seed=0):
        file[done : done + len(block)] = block[: n - done]
        done += len(block)
    file.flush()


@torch.inference_mode()
def words_in_context(n: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors of n words or a few more, float32 (m, dim): of each the state of its last
    token.
    """
    import wordfreq
    from transformers import AutoModel, AutoTokenizer

    folder = resolve("minilm").folder
    model, tokenizer = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    del model.encoder.layer[LAYER:]  # those above are not asked for
    frequencies = {
        word: value for word, value in wordfreq.get_frequency_dict("en").items() if word.isalpha()
    }
    words = sorted(frequencies, key=lambda word: (-frequencies[word], word))[:_VOCABULARY]
    shares = np.array([frequencies[word] for word in words])
    rng = np.random.default_rng(seed)
    for _ in range(-(-n // (_WORDS * _SEQUENCES))):
        drawn = rng.choice(len(words), (_SEQUENCES, _WORDS), p=shares / shares.sum())
        texts = [[words[number] for number in row] for row in drawn]
        inputs = tokenizer(texts, is_split_into_words=True, padding=True, return_tensors="pt")
        states = model(**inputs, output_hidden_states=True).hidden_states[-1].numpy()
        block = []
        for row in range(len(texts)):
            last = {word: at for at, word in enumerate(inputs.word_ids(row)) if word is not None}
            block.append(states[row, [*last.values()]])
        yield np.concatenate(block)
