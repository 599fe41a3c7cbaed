"""Vectors in clusters, as embeddings are, and their neighbours by an index and by numpy."""

import numpy as np

from embstore.index import choose, faiss_index, open_index, searching
from embstore.index.building import IndexOptions, build_index
from embstore.index.card import IndexCard
from embstore.index.exact_search import Ids, Vectors
from embstore.storage import keys
from embstore.storage.cache import StoreFiles, entry_of
from embstore.storage.vectors import items_with

_BLOCK = 1024
LARGE = 1 << 40


class LayerInMemory:
    """Vectors (n, dim) of a layer by item id, read as those of a store are, in the order in which
    they are given.
    """

    def __init__(self, ids, vectors, only=None):
        kept = slice(None) if only is None else np.isin(ids, only)
        self._ids, self._vectors = ids[kept], vectors[kept]

    def __iter__(self):
        for start in range(0, len(self._ids), _BLOCK):
            yield self._ids[start : start + _BLOCK], self._vectors[start : start + _BLOCK]

    def ids(self):
        return np.sort(self._ids)

    def gather(self):
        order = np.argsort(self._ids)
        return self._ids[order], self._vectors[order]


class VectorsInMemory:
    """n vectors (n, dim) under any ids, of which the first are a layer that indexes are built
    of.
    """

    ids: Ids
    vectors: Vectors

    def read(self, only=None, stop=None):
        """Return the vectors of the first items, or of those of them with some ids."""
        return LayerInMemory(self.ids[:stop], self.vectors[:stop], only)

    def gather(self, ids):
        return self.read(ids).gather()

    def build(self, folder, kind, *, stop=None, recall=0.99, old=None):
        """Write an index of the first vectors, or add them to an old one."""
        items, dim = items_with(self.ids[:stop]), self.vectors.shape[1]
        options = IndexOptions(choose(kind, items.n, dim, LARGE), kind, recall)
        known = None
        if old is not None:
            card = IndexCard.from_entry(old.entry)
            known = faiss_index.load(old, card, mapped=False), card
        index, card = build_index(lambda only: self.read(only, stop), items, options, known)
        return write(folder, index, card)

    def search(self, file, queries, k, only=None):
        """Return ids and cosines, each of shape (n, k), that the index in a file finds."""
        opened = open_index(file)
        is_flat = IndexCard.from_entry(file.entry).is_exact
        members = None if only is None else np.isin(opened.ids, only)
        found = opened.search(queries, k, self.gather, members, exact=is_flat)
        assert found is not None
        return found


def write(folder, index, card):
    """Write an index as that of a layer of a store, which no manifest names."""
    files = StoreFiles.of_folder(folder)
    with files.temporary() as temp:
        faiss_index.save(index, temp)
        entry = entry_of(temp, **card.to_facts())
        key = keys.make(keys.INDEXES, entry["sha256"], name="toy", layer=3)
        files.objects.put({key: temp})
    return files.file(key, entry)


def close_indexes():
    """Let the next search open its file anew, as a new process does."""
    searching._open.clear()


class Clustered(VectorsInMemory):
    """n vectors (n, dim) of any length under ids that are no positions; and queries of their kind.

    The queries are not among the vectors.
    """

    def __init__(self, n, dim, *, n_queries=300, seed=0):
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(max(1, n // 50), dim))
        spread = (1 + np.arange(dim)) ** -0.5
        drawn = centres[rng.integers(len(centres), size=n + n_queries)] + 0.7 * rng.normal(
            size=(n + n_queries, dim)
        )
        drawn = (drawn * spread * rng.uniform(0.5, 5, size=(n + n_queries, 1))).astype(np.float32)
        self.vectors, self.queries = drawn[:n], drawn[n:]
        self.ids = rng.permutation(2**40 + 7919 * np.arange(n))
        self.dim = dim

    def cosines(self, queries):
        """Of each query with each vector, in float64."""
        left, right = queries.astype(np.float64), self.vectors.astype(np.float64)
        lengths = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
        return np.divide(left @ right.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)

    def exact(self, queries, k, keep=None):
        """The nearest of each query among all, or among those of ``keep`` (n,)."""
        for row in self.cosines(queries):
            kept = row if keep is None else np.where(keep, row, -np.inf)
            best = np.argsort(-kept)[:k]
            yield [
                (int(self.ids[place]), float(kept[place]))
                for place in best
                if np.isfinite(kept[place])
            ]


def recall(found, wanted):
    """The share of the wanted ids that was found."""
    hits = [
        len({*row.tolist()} & {item for item, _ in answer})
        for row, answer in zip(found, wanted, strict=True)
    ]
    return sum(hits) / sum(map(len, wanted))
