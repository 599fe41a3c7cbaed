"""The recall that an index states, against that of vectors that were never stored, where a
dimension dominates.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from stated_recall import Dominated, stated_and_true

from embstore.index import IndexCard

pytestmark = pytest.mark.slow


@dataclass
class Noisy:
    """How vectors are drawn, and how many: n of dim components, one of which has an offset."""

    n: int
    dim: int
    offset: float


SMALL = [Noisy(4000, 24, 0), Noisy(4000, 24, 3000), Noisy(4000, 24, 10_000)]
LARGE = [Noisy(3000, 768, 0), Noisy(3000, 768, 3000), Noisy(3000, 768, 100_000)]


@pytest.mark.parametrize("drawn", [*SMALL, *LARGE], ids=str)
def test_the_stated_recall_is_the_true_one_and_the_wanted_one(tmp_path, drawn):
    stated, true, effort, _ = stated_and_true(tmp_path, "hnsw", drawn.n, drawn.dim, drawn.offset)
    assert stated == pytest.approx(true, abs=0.012), effort
    assert min(stated, true) >= 0.985


@pytest.mark.parametrize("drawn", SMALL, ids=str)
def test_a_graph_to_which_vectors_are_added_states_its_true_recall(tmp_path, drawn):
    data, n = Dominated(drawn.n, drawn.dim, drawn.offset), drawn.n // 4
    file = data.build(tmp_path, "hnsw", stop=n)
    card = IndexCard.from_entry(file.entry)
    for n_new in (3 * drawn.n // 4 - 50, 50):  # the last are too few to measure the recall with
        old, n = card, n + n_new
        file = data.build(tmp_path, "hnsw", stop=n, old=file)
        card = IndexCard.from_entry(file.entry)
        assert (card.n, card.n_queries) == (n, n // 20 if n < drawn.n else old.n_queries)
        assert card.n_measured == (n if n < drawn.n else old.n_measured)
    ids, _ = data.search(file, data.queries, 10)
    assert card.recall == pytest.approx(data.recall(ids), abs=0.012)
    assert card.recall >= 0.985


def nearest_by_definition(vectors, query):
    wide, asked = vectors.astype(np.longdouble), query.astype(np.longdouble)
    cosines = (
        (wide * asked).sum(axis=1) / np.sqrt((wide**2).sum(axis=1)) / np.sqrt((asked**2).sum())
    )
    return np.argsort(-cosines)[:10]


def test_the_true_recall_is_that_of_cosines_in_extended_precision():
    data = Dominated(500, 24, 3000, n_queries=20)
    nearest = np.array([nearest_by_definition(data.vectors, query) for query in data.queries])
    assert data.recall(nearest) == 1
    nearest[:10, 9] = [(set(range(500)) - set(row.tolist())).pop() for row in nearest[:10]]
    assert data.recall(nearest) == pytest.approx(0.95)
