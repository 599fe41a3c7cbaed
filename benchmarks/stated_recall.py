"""Compare the recall that an index states with its recall of vectors that are not stored, where a
dimension dominates.

python benchmarks/stated_recall.py [--kind hnsw] [--n 20000] [--dims 24 256 768] [--offsets 0 10 100
1000 3000 10000]

The components are N(0, 1), and the offset is added to one of them. The true recall@10 is of vectors
drawn like the stored ones. A found item counts if its cosine, in float64, is at least that of the
tenth nearest minus a bound on the rounding errors of both.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
from index_search import VectorsInMemory
from numpy.typing import NDArray

from embstore.index import IndexCard

K = 10

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]


class Dominated(VectorsInMemory):
    """Stored vectors (n, dim) with the ids 0 … n − 1, and queries (n_queries, dim) that are drawn
    like them.
    """

    def __init__(
        self, n: int, dim: int, offset: float, *, n_queries: int = 1000, seed: int = 0
    ) -> None:
        vectors = np.random.default_rng(seed).standard_normal(
            (n + n_queries, dim), dtype=np.float32
        )
        vectors[:, dim // 3] += np.float32(offset)
        self.vectors, self.queries, self.ids = vectors[:n], vectors[n:], np.arange(n)

    def recall(self, ids: Ids) -> float:
        """Return the recall@10 of the ids (n_queries, 10) that were found, by brute force in
        float64.
        """
        cosines = normalized(self.queries) @ normalized(self.vectors).T
        tenth = np.partition(cosines, -K, axis=1)[:, -K]
        found = np.take_along_axis(cosines, ids, axis=1)
        rounding = 2 * (self.vectors.shape[1] + 4) * np.finfo(np.float64).eps
        return float(((ids >= 0) & (found >= tenth[:, None] - rounding)).mean())


def normalized(vectors: Vectors) -> NDArray[np.float64]:
    """Return unit vectors in float64."""
    wide = vectors.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def stated_and_true(
    folder: Path, kind: str, n: int, dim: int, offset: float
) -> tuple[float, float, str, float]:
    """Return the stated recall of an index, its true one, its search parameters and the seconds to
    build it.
    """
    data = Dominated(n, dim, offset)
    file = data.build(folder, kind)
    card = IndexCard.from_entry(file.entry)
    ids, _ = data.search(file, data.queries, K)
    effort = ", ".join(f"{name} {value}" for name, value in card.effort.items())
    return card.recall, data.recall(ids), effort, card.build_seconds or 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", default="hnsw")
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[24, 256, 768])
    parser.add_argument(
        "--offsets", type=float, nargs="+", default=[0, 10, 100, 1000, 3000, 10_000]
    )
    arguments = parser.parse_args()
    print("| dim | offset | stated | true | effort | build |\n|---|---|---|---|---|---|")
    for dim in arguments.dims:
        for offset in arguments.offsets:
            with tempfile.TemporaryDirectory() as folder:
                stated, true, effort, seconds = stated_and_true(
                    Path(folder), arguments.kind, arguments.n, dim, offset
                )
            print(
                f"| {dim} | {offset:,.0f} | {stated:.4f} | {true:.4f} | {effort} |"
                f" {seconds:.0f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
