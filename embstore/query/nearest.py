"""Search the nearest items of vectors in one layer, in its index or by an exact scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.base.errors import DamagedError
from embstore.base.space import Layer
from embstore.index import IndexCard
from embstore.query.layer_data import StoredLayer, TransformedLayer
from embstore.query.lookup import FoundQueries, Query
from embstore.query.revision_columns import revision_of
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.card import Card

if TYPE_CHECKING:
    from embstore.metrics import LayerData

_SELF_COSINE_ERROR = 1e-4  # tolerance of the cosine of an item with itself, which is 1

Vectors = NDArray[np.floating]
Neighbours = tuple[Ids, NDArray[np.float64]]  # ids and cosines (queries, k)


@dataclass(frozen=True)
class LayerSearch:
    """Parameters of a search for the nearest items of queries, which runs layer by layer.

    Attributes:
        catalog: Store to read.
        k: Number of neighbours.
        only: Ids of the items that may be neighbours, ascending; None for all.
        exact: Whether to scan the vectors even if there is an index.
        excludes_all: Whether each query leaves out the items of all queries, not only its own.
    """

    catalog: Catalog
    k: int
    only: Ids | None = None
    exact: bool = False
    excludes_all: ClassVar[bool] = False

    def rows(
        self, found: FoundQueries, layer: Layer, transformed: TransformedLayer | None
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Search the neighbours of queries in one layer of a space; return them as rows, and notes.

        Args:
            found: Items and vectors of the queries in the space.
            layer: Layer to search.
            transformed: Vectors of the layer after a transform; None for the stored ones.
        """
        queries, vectors, notes = self.with_direction(found, layer, transformed)
        if not queries:
            return [], notes
        query_ids = np.array(sorted({found.stored[query] for query in queries if query in found.stored}), np.int64)
        cosines: NDArray[np.floating]
        if transformed is not None:
            ids, cosines = scan(transformed, vectors, self.k + 1)
        else:
            ids, cosines, search_notes = self.search(found.card, layer, vectors, query_ids)
            notes += search_notes
        rows = []
        for query, vector, near, near_cosines in zip(queries, vectors, ids, cosines, strict=True):
            hits = [(int(item), float(cosine)) for item, cosine in zip(near, near_cosines, strict=True) if item >= 0]
            if transformed is None:
                self.check_hits(found, query, layer, vector, hits)
            others = [hit for hit in hits if hit[0] != found.stored.get(query) and self.is_candidate(hit[0])]
            rows += self.as_rows(found.card, layer, query.shown, others)
        if not rows and self.only is not None:
            notes.append(f"{found.card.space} layer {layer.name}: the filter keeps no neighbour (n = 0).")
        return rows, notes

    @property
    def value(self) -> str:
        """Name of the column by which neighbours are ordered."""
        return "cosine"

    def as_rows(self, card: Card, layer: Layer, query: str, hits: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
        """Return the first k of the hits, pairs of item id and value, as rows."""
        return [
            {
                "space": card.space, "model": card.model, "layer": layer.id, "layer_name": layer.name, "query": query,
                "rank": rank, "item_id": item, self.value: number, **revision_of(card),
            }
            for rank, (item, number) in enumerate(hits[: self.k], 1)
        ]  # fmt: skip

    def with_direction(
        self, found: FoundQueries, layer: Layer, transformed: TransformedLayer | None
    ) -> tuple[list[Query], Vectors, list[str]]:
        """Return the queries with a non-zero vector in the layer, these vectors, and a note for each zero vector."""
        queries = [query for query in found.vectors if layer.id in found.vectors[query]]
        if not queries:
            return [], np.empty((0, 0), np.float32), []
        vectors: Vectors = np.stack([found.vectors[query][layer.id] for query in queries])
        if transformed is not None:
            vectors = transformed.transform(vectors)
        after = "" if transformed is None else ", transformed"
        has_direction = (vectors != 0).any(axis=1)
        notes = [
            f"{query.shown!r} is the zero vector in {found.card.space} layer {layer.name}{after}: no direction."
            for query, is_nonzero in zip(queries, has_direction, strict=True)
            if not is_nonzero
        ]
        kept = [query for query, is_nonzero in zip(queries, has_direction, strict=True) if is_nonzero]
        return kept, vectors[has_direction], notes

    def search(
        self, card: Card, layer: Layer, vectors: Vectors, query_ids: Ids
    ) -> tuple[Ids, NDArray[np.floating], list[str]]:
        """Search stored vectors; return ids, cosines and notes.

        The queries' own items, whose cosine must be 1, are among the results, so that damage is detected.
        """
        where, only = f"{card.space} layer {layer.name}", self.only
        k = self.k + (max(1, len(query_ids)) if only is not None or self.excludes_all else 1)
        if only is not None:
            only = np.union1d(only, query_ids)
        data = StoredLayer(self.catalog, card, layer, only)
        if self.exact:
            return *scan(data, vectors, k), []
        path = self.catalog.paths.index(card.space, layer)
        opened = index.open_index(path, self.catalog.shard_names(card.space))
        if opened is None:
            state = "has no index" if IndexCard.read(path) is None else "has an index of other shards (it is behind)"
            return *scan(data, vectors, k), [f"{where} {state}: answered by an exact scan."]
        index_card, layer_index = opened
        members = None
        if only is not None:
            members = layer_index.members(only)
            if not index_card.is_exact and index.is_few(int(members.sum()), card.dim):
                n = self._n_candidates(layer_index, query_ids)
                notes = [f"{where}: n = {n} after the filter: answered by an exact scan of just those."] if n else []
                if index_card.kind == "ivf":
                    return *scan(data, vectors, k), notes
                return *layer_index.search(vectors, k, members=members, gather=data.gather), notes
        notes = [] if index_card.is_exact else [f"{where}: {_approximate(index_card, filtered=only is not None)}"]
        return *layer_index.search(vectors, k, members=members, gather=data.gather), notes

    def _n_candidates(self, layer_index: index.Index, query_ids: Ids) -> int:
        """Return the number of items that satisfy the filter, without those that every query leaves out."""
        assert self.only is not None
        is_left_out = self.excludes_all or len(query_ids) == 1
        candidates = np.setdiff1d(self.only, query_ids) if is_left_out else self.only
        return int(layer_index.members(candidates).sum())

    def is_candidate(self, item: int) -> bool:
        """Return whether an item may be a neighbour, that is, satisfies the filter."""
        if self.only is None:
            return True
        at = int(np.searchsorted(self.only, item))
        return at < len(self.only) and int(self.only[at]) == item

    def check_hits(
        self, found: FoundQueries, query: Query, layer: Layer, vector: Vectors, hits: list[tuple[int, float]]
    ) -> None:
        """Raise DamagedError if the index disagrees with the query's stored vector.

        The query's own item must be among the hits with cosine 1, unless k other items have cosine 1 too, or an
        approximate index missed it.
        """
        path = self.catalog.paths.index(found.card.space, layer)
        if query not in found.stored:
            return
        item = found.stored[query]
        cosine = dict(hits).get(item, hits[-1][1] if hits else 0.0)
        is_missed = item not in dict(hits) and self._is_in_index(found.card, layer, item, vector)
        if is_missed or abs(cosine - 1) <= _SELF_COSINE_ERROR:
            return
        raise DamagedError(
            f"the vector of {query.shown!r} in {self.catalog.paths.embeddings(found.card.space)} and the index {path} "
            f"disagree about layer {layer.name}: one of them is damaged. Run: embstore verify"
        )

    def _is_in_index(self, card: Card, layer: Layer, item: int, vector: Vectors) -> bool:
        """Return whether an approximate index has this vector for an item; True if a scan was used instead."""
        path = self.catalog.paths.index(card.space, layer)
        opened = None if self.exact else index.open_index(path, self.catalog.shard_names(card.space))
        return opened is None or (not opened[0].is_exact and opened[1].agrees(item, vector))


def scan(data: "LayerData", vectors: Vectors, k: int) -> Neighbours:
    """Search the k nearest items of vectors (n, dim) by a scan; return ids and cosines (n, k), best first."""
    return index.search_exact(data.map_with_ids(lambda ids, block: (ids, block)), vectors, k)


def _approximate(card: IndexCard, *, filtered: bool) -> str:
    """Return a note that an approximate index was used, with its recall."""
    note = f"an {card.kind} index answered, whose recall@10 is {card.recall:.3f}"
    if card.is_below_target:
        note += f" (wanted: {card.wanted_recall:g})"
    return f"{note}{' without a filter' if filtered else ''}. For all: ⦃exact=True⦄"
