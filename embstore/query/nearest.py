"""The nearest items of vectors in one layer: from its index, or by an exact scan."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.errors import DamagedError
from embstore.index import IndexCard
from embstore.query.layer_data import StoredLayer, TransformedLayer
from embstore.query.lookup import Found, Query
from embstore.space import Layer
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.card import Card

if TYPE_CHECKING:
    from embstore.metrics import LayerData

_SELF_COSINE_ERROR = 1e-4

Vectors = NDArray[np.floating]
Answer = tuple[Ids, NDArray[np.float32]]


@dataclass(frozen=True)
class LayerSearch:
    """A search for nearest items, layer by layer.

    Attributes:
        catalog: The store.
        k: Number of neighbours.
        only: Ids of the items that may be neighbours, ascending; None for all.
        exact: Whether to scan the vectors, whatever indexes there are.
    """

    catalog: Catalog
    k: int
    only: Ids | None = None
    exact: bool = False

    def rows(
        self, found: Found, layer: Layer, transformed: TransformedLayer | None
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the rows of the queries that a space has, in one layer, and notes on them.

        Args:
            found: What the space has for the queries.
            layer: The layer.
            transformed: Its vectors after a transform; None for the stored ones.
        """
        queries, vectors, notes = self._with_direction(found, layer, transformed)
        if not queries:
            return [], notes
        own = np.array(sorted({found.stored[query] for query in queries if query in found.stored}), np.int64)
        if transformed is not None:
            ids, cosines = _scan(transformed, vectors, self.k + 1)
        else:
            ids, cosines, search_notes = self._search(found.card, layer, vectors, own)
            notes += search_notes
        rows = []
        for query, vector, near, near_cosines in zip(queries, vectors, ids, cosines, strict=True):
            hits = [(int(i), float(c)) for i, c in zip(near, near_cosines, strict=True) if i >= 0]
            if transformed is None:
                self._check(found, query, layer, vector, hits)
            others = [hit for hit in hits if hit[0] != found.stored.get(query) and self._may_be(hit[0])][: self.k]
            rows += [
                {
                    "space": found.card.space, "model": found.card.model, "layer": layer.id, "layer_name": layer.name,
                    "query": query.shown, "rank": rank, "item_id": item, "cosine": cosine,
                }
                for rank, (item, cosine) in enumerate(others, 1)
            ]  # fmt: skip
        if not rows and self.only is not None:
            notes.append(f"{found.card.space} layer {layer.name}: the filter keeps no neighbour (n = 0).")
        return rows, notes

    def _with_direction(
        self, found: Found, layer: Layer, transformed: TransformedLayer | None
    ) -> tuple[list[Query], Vectors, list[str]]:
        """Return the queries that have a vector in the layer, their vectors, and a note for each vector of zeros."""
        queries = [query for query in found.vectors if layer.id in found.vectors[query]]
        if not queries:
            return [], np.empty((0, 0), np.float32), []
        vectors: Vectors = np.stack([found.vectors[query][layer.id] for query in queries])
        if not np.isfinite(vectors).all():
            raise DamagedError(
                f"a stored vector in {self.catalog.paths.embeddings(found.card.space)} is not finite: a file there is "
                "damaged. Run: embstore verify"
            )
        if transformed is not None:
            vectors = transformed.transform(vectors)
        after = "" if transformed is None else ", transformed"
        has_direction = (vectors != 0).any(axis=1)
        notes = [
            f"{query.shown!r} is the zero vector in {found.card.space} layer {layer.name}{after}: no direction."
            for query, has in zip(queries, has_direction, strict=True)
            if not has
        ]
        kept = [query for query, has in zip(queries, has_direction, strict=True) if has]
        return kept, vectors[has_direction], notes

    def _search(
        self, card: Card, layer: Layer, vectors: Vectors, own: Ids
    ) -> tuple[Ids, NDArray[np.float32], list[str]]:
        """Return ids, cosines and notes, the queries' own items among the ids: by these, damage shows."""
        where, only, k = f"{card.space} layer {layer.name}", self.only, self.k + 1
        if only is not None:
            only, k = np.union1d(only, own), self.k + max(1, len(own))
        data = StoredLayer(self.catalog, card, layer, only)
        if self.exact:
            return *_scan(data, vectors, k), []
        path = self.catalog.paths.index(card.space, layer)
        opened = index.open_index(path, self.catalog.shard_names(card.space))
        if opened is None:
            state = "has no index" if IndexCard.read(path) is None else "has an index of other shards (it is behind)"
            return *_scan(data, vectors, k), [f"{where} {state}: answered by an exact scan."]
        its_card, its_index = opened
        members = None
        if only is not None:
            members = its_index.members(only)
            if not its_card.is_exact and index.is_few(int(members.sum()), card.dim):
                n = self._n_candidates(its_index, own)
                notes = [f"{where}: n = {n} after the filter: answered by an exact scan of just those."] if n else []
                if its_card.kind == "ivf":
                    return *_scan(data, vectors, k), notes
                return *its_index.search(vectors, k, members=members), notes
        notes = [] if its_card.is_exact else [f"{where}: {_approximate(its_card, filtered=only is not None)}"]
        return *its_index.search(vectors, k, members=members, gather=lambda ids: _gather(data, ids)), notes

    def _n_candidates(self, searched: index.Index, own: Ids) -> int:
        """Return how many items may be neighbours after the filter: of a single query, without its own."""
        assert self.only is not None
        candidates = np.setdiff1d(self.only, own) if len(own) == 1 else self.only
        return int(searched.members(candidates).sum())

    def _may_be(self, item: int) -> bool:
        if self.only is None:
            return True
        at = int(np.searchsorted(self.only, item))
        return at < len(self.only) and int(self.only[at]) == item

    def _check(self, found: Found, query: Query, layer: Layer, vector: Vectors, hits: list[tuple[int, float]]) -> None:
        """Raise DamagedError if a cosine is out of range, or the index disagrees with the query item's stored vector.

        The item is among the hits with cosine 1, unless as many others have cosine 1 too, or the index missed it.
        """
        path = self.catalog.paths.index(found.card.space, layer)
        if not all(abs(cosine) <= 1 + _SELF_COSINE_ERROR for _, cosine in hits):
            raise DamagedError(
                f"{path} gives a cosine that is none: it is damaged. Delete it and its card, and run embstore index to "
                "make it anew; until then an exact scan answers."
            )
        if query not in found.stored:
            return
        item = found.stored[query]
        cosine = dict(hits).get(item, hits[-1][1] if hits else 0.0)
        if abs(cosine - 1) <= _SELF_COSINE_ERROR:
            return
        is_missed = item not in dict(hits) and self._is_in_index(found.card, layer, item, vector)
        if is_missed and self._is_stored(found.card, layer, item, vector):
            return
        raise DamagedError(
            f"the vector of {query.shown!r} in {self.catalog.paths.embeddings(found.card.space)} and the index {path} "
            f"disagree about layer {layer.name}: one of them is damaged. Run: embstore verify"
        )

    def _is_in_index(self, card: Card, layer: Layer, item: int, vector: Vectors) -> bool:
        """Return whether an approximate index has that vector for an item; True where a scan answered."""
        path = self.catalog.paths.index(card.space, layer)
        opened = None if self.exact else index.open_index(path, self.catalog.shard_names(card.space))
        return opened is None or (not opened[0].is_exact and opened[1].agrees(item, vector))

    def _is_stored(self, card: Card, layer: Layer, item: int, vector: Vectors) -> bool:
        """Return whether that is the vector of an item, by a reading that checks what it reads."""
        _, stored = StoredLayer(self.catalog, card, layer).gather(np.array([item]))
        return len(stored) == 1 and np.array_equal(stored[0], vector)


def _scan(data: "LayerData", vectors: Vectors, k: int) -> Answer:
    return index.search_exact(data.map_with_ids(lambda ids, block: (ids, block)), vectors, k)


def _gather(data: StoredLayer, ids: Ids) -> tuple[Ids, Vectors]:
    return data.gather(ids)


def _approximate(card: IndexCard, *, filtered: bool) -> str:
    note = f"an {card.kind} index answered, whose recall@10 is {card.recall:.3f}"
    if card.missed:
        note += f" (wanted: {card.wanted_recall:g})"
    return f"{note}{' without a filter' if filtered else ''}. For all: --exact"
