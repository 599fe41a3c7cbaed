"""The second witness: one text at a time through plain transformers, nothing of embstore's
encoder.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf

from embstore.base.space import Pooling

# Where the last block is, written down by hand for each architecture that has a final norm.
LAST_BLOCK = {
    "GPT2Model": lambda model: model.h[-1],
    "OPTModel": lambda model: model.decoder.layers[-1],
    "GPTNeoXModel": lambda model: model.layers[-1],
    "LlamaModel": lambda model: model.layers[-1],
    "Qwen2Model": lambda model: model.layers[-1],
    "Qwen3Model": lambda model: model.layers[-1],
    "ModernBertModel": lambda model: model.layers[-1],
    "T5EncoderModel": lambda model: model.encoder.block[-1],
    "CLIPTextModelWithProjection": lambda model: model.text_model.encoder.layers[-1],
}
CLASSES = {"clip": tf.CLIPTextModelWithProjection, "t5": tf.T5EncoderModel}


@dataclass
class Witness:
    folder: Path
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    tokenizer: Any = field(init=False)
    model: Any = field(init=False)

    def __post_init__(self):
        config = tf.AutoConfig.from_pretrained(self.folder)
        options = {}
        if config.model_type == "clip":
            config.text_config.projection_dim = config.projection_dim
            options["config"] = config.text_config
        cls = CLASSES.get(config.model_type, tf.AutoModel)
        self.tokenizer = tf.AutoTokenizer.from_pretrained(self.folder)
        self.model = (
            cls.from_pretrained(self.folder, dtype=self.dtype, **options).eval().to(self.device)
        )
        self.is_clip = config.model_type == "clip"

        # The poolings of a text, and the words of a sentence, come one after the other.
        self._states_of = lru_cache(maxsize=1)(
            lambda text, options: self.states(text, **dict(options))
        )

    def states(self, text, **options):
        """Return every layer with the top's other form, float32 (layers, t, dim), the outputs and
        the encoding.
        """
        encoding = self.tokenizer(text, return_tensors="pt", **options).to(self.device)
        blocks = []
        handle = None
        if block := LAST_BLOCK.get(type(self.model).__name__):
            handle = block(self.model).register_forward_hook(
                lambda _m, _i, out: blocks.append(out[0] if isinstance(out, tuple) else out)
            )
        with torch.no_grad():
            outputs = self.model(**encoding, output_hidden_states=True)
        layers = list(outputs.hidden_states)
        if handle is not None:
            handle.remove()
            raw, normed = blocks[-1], outputs.last_hidden_state
            assert not torch.equal(raw, normed)
            layers.append(normed if torch.equal(layers[-1], raw) else raw)
        return torch.stack(layers)[:, 0].float().cpu().numpy(), outputs, encoding

    def vector(self, text, start, end, pooling, marks, **options):
        """Return one item's vector, float32 (layers, dim).

        Args:
            text: the whole string for the tokenizer.
            start: where the item begins in it.
            end: where it ends.
            pooling: as it says.
            marks: the item is every token that is not special, but for so many of the template's
                before and after; None: the tokens that hold its characters.
            options: for the tokenizer.
        """
        states, outputs, encoding = self._states_of(text, tuple(options.items()))
        if pooling is Pooling.PROJECTION:
            return outputs.text_embeds.float().cpu().numpy()
        ids = encoding["input_ids"][0].tolist()
        if pooling is Pooling.BOS:
            return states[:, 0]
        if pooling is Pooling.MEAN_ALL:
            return states.mean(axis=1)
        if pooling is Pooling.WEIGHTED_ALL:
            return np.average(states, axis=1, weights=1 + np.arange(states.shape[1]))
        if pooling is Pooling.EOS:
            return states[:, ids.index(self.tokenizer.eos_token_id) if self.is_clip else -1]
        if marks is None:
            spans = [encoding.token_to_chars(place) or (0, 0) for place in range(len(ids))]
            chosen = [place for place, span in enumerate(spans) if _is_inside(span, start, end)]
        else:
            special = encoding.encodings[0].special_tokens_mask
            chosen = [place for place, mark in enumerate(special) if not mark]
            chosen = chosen[marks[0] : len(chosen) - marks[1]]
        rows = states[
            :, chosen[self.n_added(text, start, [encoding.tokens()[place] for place in chosen]) :]
        ]
        if pooling is Pooling.MEAN:
            return rows.mean(axis=1)
        if pooling is Pooling.WEIGHTED:
            return np.average(rows, axis=1, weights=1 + np.arange(rows.shape[1]))
        return rows[:, 0] if pooling is Pooling.FIRST else rows[:, -1]

    def n_added(self, text, start, tokens):
        """Return 1 if the first of an item's tokens is a blank that its tokenizer puts before
        words, else 0.

        Args:
            text: the whole string for the tokenizer.
            start: where the item begins in it.
            tokens: the names of the tokens that hold its characters.
        """
        lengths = [len(self.tokenizer(words)["input_ids"]) for words in ("a b", "a  b")]
        reads_blanks = lengths[0] < lengths[1]
        is_blank = tokens[:1] in (["▁"], ["Ġ"])
        return int(is_blank and not (reads_blanks and text[start] == " "))


def _is_inside(token, start, end):
    # RoBERTa trims blanks off its tokens: one by itself begins where it ends.
    if token[0] == token[1]:
        return start < token[0] <= end
    return bool(set(range(*token)) & set(range(start, end)))


def worst(actual, expected):
    """Return the largest difference relative to the expected vector's norm, over the layers."""
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()  # max(0.0, nan) is 0.0: a NaN would pass for equality
    norms = np.linalg.norm(expected, axis=-1)
    assert norms.min() > 0
    return float((np.linalg.norm(actual - expected, axis=-1) / norms).max())
