"""Clouds of vectors that hypothesis draws."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from metric_data import Arrays

seeds = st.integers(0, 2**32 - 1)


@st.composite
def clouds(draw: st.DrawFn, min_n: int = 2, min_dim: int = 2) -> np.ndarray:
    """Clouds with axes of different lengths round a mean that may be large; fewer vectors than dimensions or more."""
    rng = np.random.default_rng(draw(seeds))
    n, dim = draw(st.integers(min_n, 40)), draw(st.integers(min_dim, 30))
    x = rng.normal(size=(n, dim)) * rng.uniform(0.1, 3, dim) + draw(st.sampled_from([0.0, 1.0, 30.0]))
    stored = x.astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))
    assume((stored != stored[0]).any())  # a few values of float16 may be equal
    return stored.astype(draw(st.sampled_from([np.float32, np.float64])))


def split(x: np.ndarray, data: st.DataObject) -> Arrays:
    return Arrays(*np.split(x, sorted(data.draw(st.lists(st.integers(0, len(x)), max_size=3)))))
