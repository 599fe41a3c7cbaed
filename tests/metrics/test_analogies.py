"""Accuracy in analogies, against gensim, brute force and scipy."""

from itertools import permutations

import numpy as np
import pytest
from datasets_written import write_analogies
from metric_data import Arrays
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import NotStoredError, QueryError
from embstore.metrics.data import Analogies, Words
from embstore.metrics.judgements import analogies

STEMS = [f"no{number}" for number in range(24)]
TEXTS = [text for stem in STEMS for text in (stem, f"{stem}s")]
LAYER = 1


def vectors(texts, noise=0.6, seed=3):
    """Vectors of five layers in which a plural is its stem and a common difference, and noise."""
    rng = np.random.default_rng(seed)
    stems = {stem: rng.normal(size=16) for stem in STEMS}
    difference = rng.normal(size=16)
    x = [
        stems[text.lower().rstrip("s")] + difference * text.lower().endswith("s") for text in texts
    ]
    layers = [np.array(x) + noise * rng.normal(size=(len(texts), 16)) for _ in range(5)]
    return np.stack(layers).astype(np.float32)


def questions(n=60):
    """Questions in both directions, of which some have a word that is not stored."""
    rng = np.random.default_rng(0)
    pairs = [tuple(rng.choice([*STEMS, "missing"], 2, replace=False)) for _ in range(n)]
    return [
        (a, f"{a}s", c, f"{c}s") if i % 3 else (f"{a}s", a, f"{c}s", c)
        for i, (a, c) in enumerate(pairs)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("words") / "store"
    result = synthetic_store(root, texts=TEXTS, dim=16, vectors=vectors(TEXTS), n_shards=3)
    quadruples = questions()
    write_analogies(
        result,
        "plurals",
        quadruples,
        ["forward" if i % 3 else "back" for i in range(len(quadruples))],
    )
    return result


def answers(x, texts, question, method):
    """Answer a question by the definitions, one cosine at a time: all texts with the highest score,
    up to rounding.
    """
    found = {}
    units = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    a, b, c = (units[list(texts).index(text)] for text in question[:3])
    for text, unit in zip(texts, units, strict=True):
        if text not in question[:3]:
            product = (1 + unit @ b) / 2 * (1 + unit @ c) / 2 / ((1 + unit @ a) / 2 + 1e-6)
            found[text] = float(unit @ (b - a + c)) if method == "3cosadd" else float(product)
    best = max(found.values())
    return {text for text, score in found.items() if score >= best - 1e-12 * max(1, abs(best))}


@pytest.mark.parametrize("case", ["ignore", "exact"])
@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_accuracy_is_that_of_brute_force(made, method, case):
    quadruples = [
        question
        for question in questions()
        if "missing" not in question and "missings" not in question
    ]
    found = made.store.query("analogies", method=method, case=case, cache=False)
    for row, layer in zip(found, made.card.layers, strict=True):
        right = sum(
            answers(made.layer(layer.id), made.texts, q, method) == {q[3]} for q in quadruples
        )
        assert (row["n"], row["n_correct"], row["total"]) == (len(quadruples), right, 60)
        assert 0 < right < len(quadruples)
        assert row["accuracy"] == right / len(quadruples)
        assert row["coverage"] == pytest.approx(len(quadruples) / 60)
        assert (row["n_items"], row["n_zero"], row["section"], row["dataset"]) == (
            48,
            0,
            "total",
            "plurals",
        )


@pytest.mark.parametrize("ignore_case", [True, False])
@pytest.mark.parametrize("mixed", [True, False])
def test_accuracy_is_that_of_gensim(tmp_path, ignore_case, mixed):
    models = pytest.importorskip("gensim.models")
    texts = [*TEXTS, *(text.capitalize() for text in TEXTS[::3] if mixed)]
    made = synthetic_store(
        tmp_path / "store", texts=texts, dim=16, vectors=vectors(texts), index=False
    )
    # Of several spellings gensim takes the first; embstore that of the question, which here is none
    # of them, else the one with the lowest id.
    spelled = str.upper if ignore_case else str
    quadruples = [tuple(map(spelled, question)) for question in questions()]
    sections = ["first"] * 20 + ["second"] * 40
    write_analogies(made, "plurals", quadruples, sections)
    lines = [" ".join(question) for question in quadruples]
    (tmp_path / "questions.txt").write_text(
        "\n".join([": first", *lines[:20], ": second", *lines[20:]])
    )
    keyed = models.KeyedVectors(16)
    order = np.argsort(made.ids)
    keyed.add_vectors([made.texts[i] for i in order], made.layer(LAYER)[order])
    total, theirs = keyed.evaluate_word_analogies(
        tmp_path / "questions.txt", case_insensitive=ignore_case
    )
    ours = made.store.query(
        "analogies", case="ignore" if ignore_case else "exact", per_section=True, layers=LAYER
    )
    assert ours["section"] == ["total", "first", "second"]
    assert ours["n_correct"] == [len(section["correct"]) for section in (theirs[-1], *theirs[:-1])]
    assert ours["n"] == [
        len(part["correct"]) + len(part["incorrect"]) for part in (theirs[-1], *theirs[:-1])
    ]
    assert ours["accuracy"][0] == pytest.approx(total)
    assert 0 < ours["accuracy"][0] < 1


def accuracy(blocks, ids, method):
    """The accuracy in one question, a : b = c : d, of items whose ids 10, 11, 12 and 5 are a, b, c
    and d.
    """
    words = Words(np.array([10, 11, 12, 5]), ("a", "b", "c", "d"))
    question = Analogies(
        words,
        groups=np.arange(4),
        spelled_ids=np.array([5, 10, 11, 12]),
        spelled_groups=np.array([3, 0, 1, 2]),
        questions=np.array([[0, 1, 2]]),
        answers=np.array([3]),
        answer_starts=np.array([0, 1]),
        sections=np.array([0]),
        section_names=("all",),
    )
    row = analogies(Arrays(*blocks, ids=ids), analogies=question, method=method)
    value = (row if isinstance(row, dict) else row[0])["accuracy"]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
@pytest.mark.parametrize("is_first", [True, False])
def test_near_ties_between_blocks_are_decided_in_float64(method, is_first):
    """d is the better answer by some 1e-9, which no float32 shows, in the block before or after the
    other's.
    """
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b, c = (each / np.linalg.norm(each) for each in rng.normal(size=(3, 8)) + 1)
        target = b - a + c
        worse = target + 0.3 * rng.normal(size=8)
        better = worse + 3e-9 * target
        blocks, ids = [np.stack([a, b, c, worse]), better[None]], [10, 11, 12, 1, 5]
        if is_first:
            blocks, ids = [np.stack([a, b, c, better]), worse[None]], [10, 11, 12, 5, 1]
        assert accuracy(blocks, ids, method) == 1
        swapped = [1 if each == 5 else 5 if each == 1 else each for each in ids]
        assert accuracy(blocks, swapped, method) == 0


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
@pytest.mark.parametrize("other", [4, 6])
@pytest.mark.parametrize("is_first", [True, False])
def test_ties_between_blocks_go_to_the_lower_id(method, other, is_first):
    """Two items as near as can be: with a opposite to b and c, the product of cosines is a
    million.
    """
    b = np.array([1.0, 0, 0, 0])
    blocks, ids = [np.stack([-b, b, b, 2 * b]), 4 * b[None]], [10, 11, 12, other, 5]
    if is_first:
        ids = [10, 11, 12, 5, other]
    assert accuracy(blocks, ids, method) == (other > 5)


def test_missing_words_are_named_and_counted(made):
    found = made.store.query("analogies", layers=LAYER)
    notes = " ".join(found.notes)
    assert "lacks 2 of the 50 words of plurals: 'missing', 'missings'." in notes
    assert f"{found['n'][0]} of 60" in notes
    with pytest.raises(NotStoredError, match="go on without it: missing="):
        made.store.query("analogies", layers=LAYER, missing="error")


def test_case_is_ignored_as_gensim_ignores_it(tmp_path):
    texts = ["man", "king", "woman", "Queen", "KING", "queen"]
    x = np.zeros((5, 6, 8), np.float32)
    x[:, :, :3] = [[1, 0, 0.1], [1, 1, 0.1], [0.1, 0, 1], [0.1, 1, 1], [0.1, 1, 1], [1, 0, 0]]
    made = synthetic_store(tmp_path / "store", texts=texts, vectors=x, index=False)
    write_analogies(
        made,
        "royal",
        [("man", "king", "woman", "queen"), ("Man", "King", "Woman", "QUEEN")],
        ["a", "b"],
    )
    ignored = made.store.query("analogies", layers=0, per_section=True)
    assert ignored["n_correct"] == [2, 1, 1], "KING is no answer, and Queen is a right one"
    exact = made.store.query("analogies", layers=0, case="exact", per_section=True).to_pylist()
    assert [(row["n"], row["n_correct"]) for row in exact] == [(1, 0), (1, 0), (0, 0)]
    assert exact[2]["accuracy"] is None
    assert exact[2]["reason"] == "no question has vectors of all of its words"


def test_other_datasets_are_refused(tmp_path):
    made = synthetic_store(
        tmp_path / "store", texts=TEXTS, dim=16, vectors=vectors(TEXTS), index=False
    )
    with pytest.raises(QueryError, match="no dataset of analogies"):
        made.store.query("analogies")
    from datasets_written import write_pairs

    write_pairs(made, "pairs", texts=TEXTS[:10])
    with pytest.raises(
        QueryError, match=r"'pairs' is a dataset of pairs.*, not a dataset of analogies"
    ):
        made.store.query("analogies", dataset="pairs")
    write_analogies(
        made,
        "plurals",
        [(a, f"{a}s", c, f"{c}s") for a, c in permutations(STEMS[:4], 2)],
        ["a"] * 12,
    )
    with pytest.raises(QueryError, match="'plurals' is a dataset of analogies"):
        made.store.query("similarity", dataset="plurals")
    assert len(made.store.query("similarity", layers=0)) == 1
    assert Store(made.root).query("analogies", layers=0)["total"] == [12]
