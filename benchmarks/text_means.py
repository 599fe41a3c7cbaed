"""Compare a mean over texts with a loop in numpy over the same texts.

python benchmarks/text_means.py [TEXTS] [LAYERS] [DIM]    # 10,000 texts, 13 layers, 256 dimensions
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
from numpy.typing import NDArray
from synthetic import synthetic_store


def effective_rank(x: NDArray[np.float32]) -> float:
    """Return exp of the entropy of the squared singular values of centred, normalised tokens."""
    z = x.astype(np.float64)
    z -= z.mean(axis=0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    shares = np.linalg.svd(z, compute_uv=False) ** 2
    shares = shares[shares > 1e-12] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def main(n_texts: int = 10_000, n_layers: int = 13, dim: int = 256) -> None:
    """Print the CPU time of both, in one process, and their ratio."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 24, n_texts)
    texts = [" ".join(f"t{text}w{word}" for word in range(n)) for text, n in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        vectors = rng.normal(size=(n_layers, int(sizes.sum()), dim)).astype(np.float32)
        arrays = Path(folder) / "vectors.npy"
        np.save(arrays, vectors)
        made = synthetic_store(
            Path(folder) / "store",
            unit="occurrence",
            texts=texts,
            dim=dim,
            n_blocks=n_layers - 1,
            top_form=None,
            vectors=vectors,
            index=False,
        )
        del vectors
        ends = np.cumsum(sizes)
        start = time.process_time()
        expected = [
            np.mean([effective_rank(x) for x in np.split(layer, ends[:-1])])
            for layer in np.load(arrays, mmap_mode="r")
        ]
        loop = time.process_time() - start
        start = time.process_time()
        found = made.store.query(
            "effective-rank",
            variant="uncentred-eigenvalues",
            transforms=["center", "normalize"],
            by="context",
            average=True,
            cache=False,
        )
        own = time.process_time() - start
    np.testing.assert_allclose(found["effective_rank"], expected, rtol=1e-6)
    print(f"{n_texts:,} texts of 2 to 23 tokens, {n_layers} layers, {dim} dimensions:")
    print(f"CPU time: numpy {loop:.1f} s, embstore {own:.1f} s, ratio {own / loop:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
