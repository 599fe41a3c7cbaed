"""In-process searches of the same vectors, each with the settings that trade its time for its
recall.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from benchmark_peers import DuckDB, K, key, lance_table
from benchmark_stores import Clustered, Workspace
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from embstore import Store
from embstore.index import open_index, readable_card, search_exact

CORES = os.cpu_count() or 1
_WIDTHS = tuple(dict.fromkeys(int(10 * 1.2**step) for step in range(27)))  # 10 … 1144
_ADDED = 50_000  # vectors at once, so that a memory-mapped file is not read into memory as a whole

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]


class Searcher(ABC):
    """Finds the K nearest of clustered vectors.

    Attributes:
        name: in the table.
        package: what must be installed.
        settings: from the fastest to the one with the best recall; a setting stands for itself in
            the table.
        how: what the settings are.
        building: seconds that the index took, where there is one and embstore's own writer did not
            make it.
    """

    name: str
    package: str
    settings: Sequence[Any] = (None,)
    how = "exact"
    setting: Any = None
    building: float | None = None

    @abstractmethod
    def __init__(self, space: Workspace, made: Clustered) -> None: ...

    @abstractmethod
    def search(self, queries: Vectors) -> Any:
        """Search (n, dim) queries in one call, and return what the library returns."""

    @abstractmethod
    def rows(self, found: Any) -> Rows:
        """Return what was found as rows of the vectors, (n, K)."""

    def use(self, setting: Any) -> None:
        """Search with this setting from now on."""
        self.setting = setting

    @contextmanager
    def threads(self, n: int) -> Iterator[None]:
        """Search with so many threads."""
        with threadpool_limits(n):
            yield


class Embstore(Searcher):
    """The index that embstore chose and tuned when it was built."""

    name = package = "embstore"

    def __init__(self, space: Workspace, made: Clustered) -> None:
        catalog = Store(made.store).catalog
        [card] = catalog.cards.values()
        layer = card.layers.ids[0]
        self._read = partial(catalog.vectors, card.space, layer)
        file = catalog.index(card.space, layer)
        facts = readable_card(catalog.manifest, card.space, layer)
        self.how = f"{facts.kind} index" if facts else "no index"
        self._index = open_index(file) if file else None
        self._is_exact = facts is None or facts.is_exact
        self._by_id = np.argsort(made.ids)
        self._ids = made.ids[self._by_id]

    def search(self, queries: Vectors) -> Any:
        found = None
        if self._index is not None:
            found = self._index.search(
                queries, K, lambda ids: self._read(ids).gather(), exact=self._is_exact
            )
        return found or search_exact(self._read().with_squares(), queries, K)

    def rows(self, found: Any) -> Rows:
        return self._by_id[np.searchsorted(self._ids, found[0]).clip(max=len(self._ids) - 1)]


class Usearch(Searcher):
    """A graph in memory, with unum's defaults for building it."""

    name = package = "usearch"
    settings, how = _WIDTHS, "expansion"

    def __init__(self, space: Workspace, made: Clustered) -> None:
        from usearch.index import Index

        n, dim = made.vectors.shape

        def make(path: Any) -> None:
            graph = Index(ndim=dim, metric="cos", dtype="f32")
            for start in range(0, n, _ADDED):
                block = np.array(made.vectors[start : start + _ADDED])
                graph.add(np.arange(start, start + len(block)), block, threads=CORES)
            graph.save(str(path))

        kept = space.made(f"usearch-{key(self.package, made)}", make)
        self._graph, self._threads = Index.restore(str(kept.path)), CORES
        self.building = kept.seconds["all"]

    def search(self, queries: Vectors) -> Any:
        return self._graph.search(
            queries if len(queries) > 1 else queries[0], K, threads=self._threads
        )

    def rows(self, found: Any) -> Rows:
        return np.atleast_2d(found.keys).astype(np.int64)

    def use(self, setting: Any) -> None:
        self._graph.expansion_search = setting

    @contextmanager
    def threads(self, n: int) -> Iterator[None]:
        self._threads = n
        yield


class Hnswlib(Searcher):
    """A graph in memory: M = 16 and ef_construction = 200, as in its documentation."""

    name = package = "hnswlib"
    settings, how = _WIDTHS, "ef"

    def __init__(self, space: Workspace, made: Clustered) -> None:
        import hnswlib

        n, dim = made.vectors.shape

        def make(path: Any) -> None:
            graph = hnswlib.Index("cosine", dim)
            graph.init_index(max_elements=n, ef_construction=200, M=16)
            for start in range(0, n, _ADDED):
                block = np.array(made.vectors[start : start + _ADDED])
                graph.add_items(block, np.arange(start, start + len(block)), num_threads=CORES)
            graph.save_index(str(path))

        kept = space.made(f"hnswlib-{key(self.package, made)}", make)
        self._graph, self._threads = hnswlib.Index("cosine", dim), CORES
        self._graph.load_index(str(kept.path), max_elements=n)
        self.building = kept.seconds["all"]

    def search(self, queries: Vectors) -> Any:
        return self._graph.knn_query(queries, K, num_threads=self._threads)

    def rows(self, found: Any) -> Rows:
        return found[0].astype(np.int64)

    def use(self, setting: Any) -> None:
        self._graph.set_ef(setting)

    @contextmanager
    def threads(self, n: int) -> Iterator[None]:
        self._threads = n
        yield


class LanceDB(Searcher):
    """A table on disk: scanned while it is small, else IVF_HNSW_SQ, whose hits are ranked by the
    exact vectors.

    It has threads of its own, whose number cannot be changed in a running process: one query may
    use all cores.
    """

    name, package = "LanceDB", "lancedb"

    def __init__(self, space: Workspace, made: Clustered) -> None:
        import lancedb

        kept = lance_table(space, made)
        self._table = lancedb.connect(kept.path).open_table("vectors")
        self._n = len(made.texts)
        if any("vector" in each.columns for each in self._table.list_indices()):
            self.settings, self.how = (
                [width for width in _WIDTHS if width >= 3 * K],
                "IVF_HNSW_SQ, refined, ef",
            )
        self.building = kept.seconds.get("indexing")

    def search(self, queries: Vectors) -> Any:
        query = self._table.search(queries if len(queries) > 1 else queries[0])
        # Ids, as the others.
        query = query.distance_type("cosine").with_row_id(True).select(["_distance"]).limit(K)
        if self.setting is not None:
            query = query.ef(self.setting).refine_factor(3)
        return query.to_arrow()

    def rows(self, found: Any) -> Rows:
        # Positions, since the table was written as one fragment.
        rows = found["_rowid"].to_numpy().astype(np.int64)
        if rows.max() >= self._n:
            raise AssertionError("LanceDB has split the table")
        if "query_index" in found.column_names:
            rows = rows[np.argsort(found["query_index"].to_numpy(), kind="stable")]
        return rows.reshape(-1, K)

    @contextmanager
    def threads(self, n: int) -> Iterator[None]:
        yield


class ScikitLearn(Searcher):
    """NearestNeighbors by brute force."""

    name, package = "scikit-learn", "scikit-learn"

    def __init__(self, space: Workspace, made: Clustered) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._model = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute").fit(
            np.array(made.vectors)
        )

    def search(self, queries: Vectors) -> Any:
        return self._model.kneighbors(queries, return_distance=False)

    def rows(self, found: Any) -> Rows:
        return np.asarray(found, np.int64)


class DuckDBScan(Searcher):
    """A table on disk, scanned by ``array_cosine_similarity``, a query at a time."""

    name, package = "DuckDB", "duckdb"

    def __init__(self, space: Workspace, made: Clustered) -> None:
        import duckdb

        self._connection = duckdb.connect(DuckDB().database(space, made), read_only=True)
        self._select = (
            "SELECT text FROM vectors ORDER BY array_cosine_similarity(vector,"
            f" ?::FLOAT[{made.vectors.shape[1]}]) DESC LIMIT {K}"
        )
        self._rows = {text: row for row, text in enumerate(made.texts)}

    def search(self, queries: Vectors) -> Any:
        return [
            self._connection.execute(self._select, [query]).fetchall() for query in queries.tolist()
        ]

    def rows(self, found: Any) -> Rows:
        return np.array([[self._rows[text] for (text,) in hits] for hits in found])

    @contextmanager
    def threads(self, n: int) -> Iterator[None]:
        self._connection.execute(f"SET threads = {n}")
        yield


SEARCHERS: tuple[type[Searcher], ...] = (
    Embstore,
    Usearch,
    Hnswlib,
    LanceDB,
    ScikitLearn,
    DuckDBScan,
)
EXACT = ("scikit-learn", "DuckDB")
