"""Stores of made-up vectors, written by embstore's own writer: no model is needed to test what
reads a store.

from synthetic import synthetic_store

made = synthetic_store(tmp_path / "store", n=40, dim=8)
made.vectors[2]             # layer at place 2, float32 (n, dim), exactly as a reader gets it
made.ids, made.texts        # row by row, in the order they were given
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from store_writing import NewItems, write_items

from embstore import Store
from embstore.base.space import Layers, Pooling, Template, TopForm, Unit, default_space_name
from embstore.base.text import Item, word_boundaries, words_in
from embstore.index.updating import update_indexes
from embstore.storage import keys
from embstore.storage.cache import StoreFiles
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.manifest import Change
from embstore.storage.writer import StoreWriter, write_batch


@dataclass(frozen=True)
class Synthetic:
    """A space of a synthetic store.

    Attributes:
        root: the store's folder.
        card: of the space.
        items: what was embedded by this call, in order.
        vectors: as stored and read back, float32 of shape (layers, n, dim), in the order of
            ``items``.
    """

    root: Path
    card: Card
    items: tuple[Item, ...] = field(repr=False)
    vectors: NDArray[np.float32] = field(repr=False)

    @property
    def files(self):
        """The store's files, newly opened."""
        return StoreFiles.of_folder(self.root)

    @property
    def catalog(self):
        """A newly opened catalog of the store."""
        return Catalog(self.root)

    @property
    def space(self):
        return self.card.space

    @property
    def store(self):
        """A newly opened store."""
        return Store(self.root)

    @property
    def ids(self):
        return np.array([item.id for item in self.items], np.int64)

    @property
    def texts(self):
        return [item.text for item in self.items]

    def layer(self, layer_id):
        """The vectors of a layer by its id, (n, dim), in the order of ``items``."""
        return self.vectors[self.card.layers.ids.index(layer_id)]

    @property
    def shard_files(self):
        """The shards of the first layer, by name."""
        return self.shards_of(self.card.layers.ids[0])

    def shards_of(self, layer_id):
        return self._paths(keys.VECTORS, layer_id)

    def overwrite_vector(self, layer_id, place, value):
        """Write a value over all components of a float32 vector in its shard."""
        old, new = self.layer(layer_id)[place], np.full(self.card.dim, value, np.float32)
        for path in self.shards_of(layer_id):
            path.write_bytes(path.read_bytes().replace(old.tobytes(), new.tobytes()))

    def index_file(self, layer_id):
        [path] = self._paths(keys.INDEXES, layer_id)
        return path

    def _paths(self, kind, layer_id):
        return [
            self.root / key for key in self.files.manifest().keys_of(kind, self.space, layer_id)
        ]


def synthetic_card(
    space=None,
    *,
    model="toy",
    unit="word",
    pooling="last",
    template="{text}",
    n_blocks=3,
    top_form=TopForm.NORMED,
    layers="all",
    dim=8,
    dtype="float32",
    weights="0",
    checkpoint="toy/checkpoint",
    revision="c0ffee",
    architecture="ToyModel",
    layer_check=1,
    created="2025-01-01T00:00:00+00:00",
):
    form = None if top_form is None else TopForm(top_form)
    if pooling == "projection":
        stored = Layers.of_projection(n_blocks, form)
    else:
        stored = Layers.of_model(n_blocks, form).select(layers)
    return Card(
        space=space or default_space_name(model, Unit(unit), Pooling(pooling)),
        model=model,
        checkpoint=checkpoint,
        revision=revision,
        weights_sha256=weights * 64,
        tokenizer_sha256="1" * 64,
        config_sha256="2" * 64,
        architecture=architecture,
        unit=Unit(unit),
        pooling=Pooling(pooling),
        template=Template(template),
        layers=stored,
        dim=dim,
        dtype=dtype,
        max_tokens=16,
        versions={"embstore": "0"},
        created=created,
        layer_check=layer_check,
        word_boundaries=word_boundaries() if unit == "occurrence" else None,
    )


def synthetic_items(unit, texts):
    """Words and sentences give one item for each text, sentences of an occurrence space one for
    each word.
    """
    if Unit(unit) is Unit.OCCURRENCE:
        return tuple(Item.occurrence(text, span) for text in texts for span in words_in(text))
    return tuple(Item.whole(Unit(unit), text) for text in texts)


def synthetic_store(
    root,
    n=40,
    dim=8,
    n_blocks=3,
    top_form=TopForm.NORMED,
    dtype="float32",
    n_shards=2,
    unit="word",
    *,
    texts=None,
    vectors=None,
    offset=0.5,
    seed=0,
    index=True,
    new_only=False,
    **card,
):
    """Write one space. Called again with the same root it adds to the store: new texts, or another
    space.

    Args:
        root: the store's folder, or its files.
        n: how many texts, if ``texts`` is not given: ``text0``, ``text1`` …
        dim: components of a vector.
        n_blocks: L; the layers are 0…L, and L+1 for the other side of the final norm where there is
            one.
        top_form: which side of the final norm layer L is from; None for a model without one.
        dtype: as stored.
        n_shards: in how many shards (at most) the items are written.
        unit: of the space.
        texts: the texts; of an occurrence space, the sentences.
        vectors: (layers, n, dim); by default normal deviates plus ``offset`` in every component.
        offset: see ``vectors``: the larger, the more anisotropic.
        seed: of the vectors.
        index: whether to index all layers.
        new_only: write only what the space lacks, and the texts of what it has, as a build does.
        **card: ``space``, ``model``, ``pooling``, ``template``, ``layers``, ``weights``,
            ``checkpoint``, ``revision``, ``architecture``, ``layer_check``,
            ``created``.
    """
    texts = [f"text{number}" for number in range(n)] if texts is None else texts
    made = synthetic_card(
        unit=unit, n_blocks=n_blocks, top_form=top_form, dim=dim, dtype=dtype, **card
    )
    items = synthetic_items(unit, texts)
    if vectors is None:
        shape = (len(made.layers), len(items), dim)
        vectors = np.random.default_rng(seed).normal(size=shape) + offset
    given = np.ascontiguousarray(vectors, np.float32)
    ids = np.array([item.id for item in items], np.int64)
    with StoreWriter(root) as store:
        new = np.arange(len(items))
        if (
            new_only
            and (known := store.files.find_manifest())
            and known.keys_of(keys.CARDS, made.space)
        ):
            new = np.flatnonzero(~np.isin(ids, Catalog(root).ids(made.space)))
        texts_of = NewItems(store.files, {item.id: item for item in items})
        rows = max(1, -(-len(items) // n_shards))
        parts = [new[start : start + rows] for start in range(0, len(new), rows)]
        store.commit(
            [
                (write_batch(store.files, made, ids[part], given[:, part]), texts_of)
                for part in parts
            ]
        )
        if not parts:
            store.files.commit(lambda base: Change(store.add_card(base, made)))
        if new_only:
            known_ids = set(Catalog(root).item_ids().tolist())
            write_items(store.files, (item for item in items if item.id not in known_ids))
        stored = Catalog(root).cards[made.space]
        if index:
            index_space(root, stored)
    folder = root.root if isinstance(root, StoreFiles) else Path(root)
    return Synthetic(folder, stored, items, given.astype(dtype).astype(np.float32))


def index_space(root, card):
    """Index all layers of a space."""
    update_indexes(root, card, "flat")
