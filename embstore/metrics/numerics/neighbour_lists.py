"""Compare lists of nearest neighbours."""

import numpy as np
from numpy.typing import NDArray


def n_shared(left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the number of elements that two sets share, row by row, (n,); each row (n, k) is a set."""
    elements = np.sort(np.concatenate([left, right], axis=1), axis=1)
    return np.asarray(np.count_nonzero(elements[:, 1:] == elements[:, :-1], axis=1))
