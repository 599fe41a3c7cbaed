"""Tokenise texts as a checkpoint's own recipe does: with its prompt, lower case and maximum length."""

import copy
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from embstore.base.space import Pooling
from embstore.base.text import Passage, Span
from embstore.encode.extra import need
from embstore.encode.recipe import Recipe
from embstore.encode.records import Long, Skipped
from embstore.encode.spans import Text, skip_all
from embstore.encode.tokens import Tokenizer


def reader(tokenizer: Tokenizer, poolings: Collection[Pooling], prompt: str = "") -> Tokenizer:
    """Return the tokenizer that reads texts for some poolings: that of the recipe for ``model``.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        poolings: Poolings.
        prompt: Text before each item, for ``model``.
    """
    if Pooling.MODEL not in poolings or tokenizer.recipe is None:
        return tokenizer
    return RecipeTokenizer(tokenizer, tokenizer.recipe, prompt)


class RecipeTokenizer(Tokenizer):
    """A tokenizer that reads texts as the recipe of its checkpoint does.

    The tokens of an item are those that the recipe pools: all of the text with its special tokens, without those of the
    prompt if the recipe excludes them.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        recipe: Recipe of the checkpoint.
        prompt: Text before each item.
    """

    def __init__(self, tokenizer: Tokenizer, recipe: Recipe, prompt: str) -> None:
        hf = _lower_casing(tokenizer._hf) if recipe.lower_case else copy.copy(tokenizer._hf)
        if recipe.max_seq_length is not None:
            hf.model_max_length = recipe.max_seq_length
        super().__init__(hf, tokenizer._config, tokenizer.name)
        self.context = f"the context of {self.name!r} in its own recipe"
        self.recipe, self._prompt, self._n_prompt, self._pad_to = recipe, prompt, 0, recipe.pad_to
        if prompt and not recipe.include_prompt:
            # As in sentence-transformers: all tokens of the prompt alone, but for a special one at its end.
            ids = self._truncated(prompt).ids
            self._n_prompt = len(ids) - (bool(ids) and ids[-1] in hf.all_special_ids)

    def windows(
        self, passages: Iterable[Passage], *, poolings: Collection[Pooling], long: Long
    ) -> Iterator[tuple[list[Text], list[Skipped]]]:
        """Tokenise passages behind the prompt, in windows as :meth:`Tokenizer.windows` does."""
        return super().windows(map(self._prompted, passages), poolings=poolings, long=long)

    def _prompted(self, passage: Passage) -> Passage:
        n = len(self._prompt)
        spans = tuple(Span(span.start + n, span.end + n) for span in passage.spans)
        return Passage(self._prompt + passage.text, spans, passage.item_ids)

    def _with_items(
        self, passage: Passage, tokens: Any, cut: str, n_tokens: int | None, poolings: Collection[Pooling]
    ) -> tuple[Text | None, list[Skipped]]:
        text, skipped = super()._with_items(passage, tokens, cut, n_tokens, poolings)
        if text is not None:
            text = replace(text, n_own=tuple(text.item_lengths))
            pooled = list(range(self._n_prompt, len(text.ids)))
            if not pooled:
                return None, skip_all(passage, "no tokens behind those of the prompt", n_tokens)
            if self._pad_to is not None:
                text, pooled = _padded(text, self._pad_to, self.pad_id, self._hf.padding_side)
            text.tokens[:] = [pooled for _ in text.item_ids]
        return text, skipped


def _padded(text: Text, length: int, pad_id: int, side: str) -> tuple[Text, list[int]]:
    """Pad a text to a length with tokens that are read like others; return it and the positions of all tokens."""
    pads = [pad_id] * (length - len(text.ids))
    ids = [*pads, *text.ids] if side == "left" else [*text.ids, *pads]
    type_ids = None if text.type_ids is None else [0] * len(ids)
    return replace(text, ids=ids, type_ids=type_ids), list(range(len(ids)))


def _lower_casing(hf: Any) -> Any:
    """Return a copy of a tokenizer that lower-cases texts, as sentence-transformers prepares it."""
    normalizers = need("tokenizers.normalizers")
    hf = copy.deepcopy(hf)
    backend = hf.backend_tokenizer
    present = backend.normalizer
    members = list(present) if isinstance(present, normalizers.Sequence) else [present] if present is not None else []
    if not any(isinstance(member, normalizers.Lowercase) for member in members):
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *members])
    return hf
