"""Neighbours of sums and differences of words, and of given vectors, against gensim and brute
force.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import NotStoredError, UnknownNameError, UsageError

LAYER = 1


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of words without an index."""
    return synthetic_store(
        tmp_path_factory.mktemp("words") / "store", n=300, dim=16, index=False, seed=5
    )


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """The same store with indexes of each kind."""
    found = {}
    for kind in ("flat", "hnsw"):
        found[kind] = synthetic_store(
            tmp_path_factory.mktemp(kind) / "store", n=300, dim=16, index=False, seed=5
        )
        found[kind].store.index(kind=kind)
    return found


def scores(x, positive, negative, method):
    """Score every row by the definitions, in float64."""
    units = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    if method == "3cosadd":
        mean = units[list(positive)].sum(0) - units[list(negative)].sum(0)
        return units @ (mean / np.linalg.norm(mean))
    shifted = (1 + units @ units.T) / 2
    over = shifted[list(negative)].prod(0) + 1e-6
    return shifted[list(positive)].prod(0) / over


words = st.lists(st.integers(0, 299), max_size=4)


@settings(deadline=None, max_examples=25)
@given(
    positive=words,
    negative=words,
    k=st.integers(1, 40),
    method=st.sampled_from(["3cosadd", "3cosmul"]),
    filtered=st.booleans(),
)
@pytest.mark.slow
def test_combinations_are_brute_force(made, positive, negative, k, method, filtered):
    if sorted(positive) == sorted(negative):
        return
    found = made.store.neighbours(
        positive=[f"text{i}" for i in positive],
        negative=[f"text{i}" for i in negative],
        method=method,
        layers=LAYER,
        k=k,
        where="text LIKE '%7%'" if filtered else None,
    )
    right = scores(made.layer(LAYER), positive, negative, method)
    allowed = [
        i for i in range(300) if i not in positive + negative and (not filtered or "7" in str(i))
    ]
    best = sorted(allowed, key=lambda i: -right[i])[:k]
    assert found["text"] == [f"text{i}" for i in best]
    value = "cosine" if method == "3cosadd" else "score"
    assert found[value] == pytest.approx(right[best].tolist(), rel=2e-6, abs=2e-6)
    assert {*found["method"]} == {method}


@pytest.mark.filterwarnings("ignore:Call to deprecated")
@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
@pytest.mark.parametrize(
    ("positive", "negative"),
    [([1, 2], [3]), ([1], []), ([], [4, 5]), ([7, 7, 8], [9]), ([5, 6, 7], [8, 9])],
)
def test_combinations_are_those_of_gensim(made, positive, negative, method):
    keyed = pytest.importorskip("gensim.models").KeyedVectors(16)
    keyed.add_vectors(made.texts, made.layer(LAYER))
    signed = {
        "positive": [f"text{i}" for i in positive],
        "negative": [f"text{i}" for i in negative],
    }
    if method == "3cosmul" and not positive:
        pytest.skip("gensim refuses this")
    theirs = (keyed.most_similar if method == "3cosadd" else keyed.most_similar_cosmul)(
        **signed, topn=20
    )
    ours = made.store.neighbours(**signed, method=method, layers=LAYER, k=20)
    assert ours["text"] == [text for text, _ in theirs]
    value = "cosine" if method == "3cosadd" else "score"
    assert ours[value] == pytest.approx([score for _, score in theirs], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("where", [None, "text LIKE '%7%'"])
def test_an_index_gives_what_a_scan_gives(made, indexed, kind, where):
    call = {
        "positive": ["text1", "text2"], "negative": ["text77"], "layers": LAYER, "k": 12,
        "where": where
    }  # fmt: skip
    scan, found = made.store.neighbours(**call), indexed[kind].store.neighbours(**call)
    assert indexed[kind].store.neighbours(**call, exact=True).to_pylist() == scan.to_pylist()
    if kind == "flat":
        assert found.to_pylist() == scan.to_pylist()
    assert found["text"] == scan["text"]
    assert found["cosine"] == pytest.approx(scan["cosine"], abs=1e-6)
    assert any("recall" in note for note in found.notes) == (kind != "flat" and where is None)
    product = indexed[kind].store.neighbours(**call, method="3cosmul")
    assert product.to_pylist() == made.store.neighbours(**call, method="3cosmul").to_pylist()


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_ties_are_in_the_order_of_the_ids(tmp_path, method):
    x = np.random.default_rng(0).normal(size=(1, 10, 8)).astype(np.float32)
    # Of other lengths, and the same directions.
    copies = np.concatenate([x, x[:, 3:6], 2 * x[:, 3:6]], axis=1)
    made = synthetic_store(tmp_path / "store", n=16, vectors=np.repeat(copies, 5, axis=0))
    found = made.store.neighbours(
        positive=["text0"], negative=["text1"], method=method, layers=0, k=16
    )
    for first in (3, 4, 5):
        same = {f"text{first}", f"text{first + 7}", f"text{first + 10}"}
        ids = [row["item_id"] for row in found if row["text"] in same]
        assert ids == sorted(ids)
        assert (
            len(
                {
                    row["score" if method == "3cosmul" else "cosine"]
                    for row in found
                    if row["text"] in same
                }
            )
            == 1
        )


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_words_are_transformed_before_they_are_combined(made, method):
    x = made.layer(LAYER).astype(np.float64)
    right = scores(x - x.mean(axis=0), [1, 2], [3], method)
    best = sorted((i for i in range(300) if i not in (1, 2, 3)), key=lambda i: -right[i])[:5]
    found = made.store.neighbours(
        positive=["text1", "text2"],
        negative=["text3"],
        method=method,
        layers=LAYER,
        k=5,
        transforms="center",
    )
    assert found["text"] == [f"text{i}" for i in best]


def test_every_layer_and_space_answers_that_has_all_of_the_words(tmp_path):
    synthetic_store(tmp_path, n=20)
    synthetic_store(tmp_path, n=2, model="other")
    found = Store(tmp_path).neighbours(
        positive=["text0", "text1"], negative=["text5"], layers="all", k=3
    )
    assert [*dict.fromkeys(zip(found["space"], found["layer"], strict=True))] == [
        ("toy.word.last", layer) for layer in range(5)
    ]
    assert {*found["query"]} == {"text0 + text1 - text5"}
    with pytest.raises(NotStoredError, match=r"'texd5' is not in .*Nearest stored texts: 'text5'"):
        Store(tmp_path).neighbours(positive="text0", negative="texd5")
    synthetic_store(tmp_path, texts=["new"], model="other")
    with pytest.raises(
        NotStoredError,
        match=r"no space has all words of 'text9 \+ new': other.word.last lacks 'text9'",
    ):
        Store(tmp_path).neighbours(positive=["text9", "new"])


def test_occurrences_are_combined(tmp_path):
    made = synthetic_store(
        tmp_path, unit="occurrence", texts=["the bank of the river", "a bank lends money"]
    )
    found = made.store.neighbours(
        positive=["the [bank] of the river", "money"],
        negative="a [bank] lends money",
        layers=0,
        k=3,
    )
    assert found["query"][0] == "the [bank] of the river + money - a [bank] lends money"
    with pytest.raises(UsageError, match="occurs in 2 sentences"):
        made.store.neighbours(positive=["bank", "money"])


def test_a_combination_without_direction_has_no_neighbours(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 4, 8)).astype(np.float32)
    x[:, 3] = 0
    made = synthetic_store(tmp_path, n=4, vectors=x)
    found = made.store.neighbours(positive="text0", negative="text0")
    assert len(found) == 0
    assert "the vectors of 'text0 - text0' cancel out" in found.notes[0]
    found = made.store.neighbours(positive=["text0", "text3"], method="3cosmul")
    assert len(found) == 0
    assert "'text3' is the zero vector" in found.notes[0]


def test_wrong_combinations_are_refused(made):
    store = made.store
    with pytest.raises(UsageError, match="either texts or positive and negative words, not both"):
        store.neighbours("text0", positive="text1")
    with pytest.raises(UnknownNameError, match="3cosmul"):
        store.neighbours(positive="text1", method="cosmul")
    with pytest.raises(UsageError, match=r"method='?\"?3cosmul'?\"? is for words"):
        store.neighbours("text1", method="3cosmul")


def test_given_vectors_are_queries(made, indexed):
    x = made.layer(LAYER)
    for store in (made.store, indexed["flat"].store):
        found = store.neighbours(vector=x[3] * 7, layers=LAYER, k=5)
        assert found["text"][0] == "text3"
        assert found["text"][1:] == store.neighbours("text3", layers=LAYER, k=4)["text"]
        assert {*found["query"]} == {"vector"}
    several = made.store.neighbours(
        vector=x[:2].tolist(), layers=[0, LAYER], k=2, where="text LIKE '%7%'"
    )
    assert [*dict.fromkeys(several["query"])] == ["vector[0]", "vector[1]"]
    assert [*dict.fromkeys(several["layer"])] == [0, LAYER]
    centred = made.store.neighbours(vector=x[3], layers=LAYER, k=4, transforms="center")
    assert (
        centred["text"][1:]
        == made.store.neighbours("text3", layers=LAYER, k=3, transforms="center")["text"]
    )


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.ones(8), r"vector has 8 dimensions, and toy.word.last has 16"),
        (np.ones((2, 2, 2)), r"vector has the shape \(2, 2, 2\): give one vector"),
        (3.0, r"vector has the shape \(\)"),
        ([], r"vector has the shape \(0,\)"),
        (np.full(16, np.nan), r"vector has the number nan in it"),
        ([[1] * 16, [0] * 16], r"vector\[1\] is zero"),
        (np.full(16, 1e200), r"numbers too large"),
        (["a"] * 16, r"not of real numbers"),
        (np.ones(16) * 1j, r"not of real numbers"),
        ([[1, 2], [3]], r"not an array of numbers"),
    ],
)
def test_wrong_vectors_are_refused(made, vector, message):
    with pytest.raises(UsageError, match=message):
        made.store.neighbours(vector=vector)


def test_a_vector_that_some_spaces_do_not_fit_names_those_that_fit(tmp_path):
    synthetic_store(tmp_path, n=4, dim=8)
    synthetic_store(tmp_path, n=4, dim=6, model="other")
    with pytest.raises(
        UsageError,
        match=r"and other.word.last has 6. Choose .* that fit: spaces=\['toy.word.last'\]",
    ):
        Store(tmp_path).neighbours(vector=np.ones(8))
    assert len(Store(tmp_path).neighbours(vector=np.ones(8), spaces="toy.word.last", k=2)) == 2
