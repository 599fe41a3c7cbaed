"""Words from their occurrences, and texts from what is in them: each against NumPy, word by word."""

import sys
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sound_stores import problems_of
from store_damage import flip
from synthetic import synthetic_store
from tiny_checkpoint import card

from embstore import Store
from embstore.base.errors import (
    CheckpointError,
    DamagedError,
    NotStoredError,
    QueryError,
    SpaceMismatchError,
    UnknownNameError,
    UsageError,
)
from embstore.interop import pooling
from embstore.metrics.numerics import groups as group_module
from embstore.metrics.numerics.linear_algebra import Moments

SENTENCES = [
    "the bank of the river flooded",
    "the central bank raised rates",
    "a dog and a cat met the dog",
    "The dog ran to the river",
    "a cat sat by the bank",
]
MORE = ["a cat met a dog at the bank", "the sun set"]


@pytest.fixture
def occurrences(tmp_path):
    return synthetic_store(
        tmp_path / "store", unit="occurrence", texts=SENTENCES, index=False, seed=3
    )


def members(made, by):
    """Rows of the occurrences of each word, or in each sentence."""
    found = defaultdict(list)
    for row, item in enumerate(made.items):
        found[item.text if by == "word" else item.context].append(row)
    return found


def by_svd(x):
    """The first right singular vector, as scikit-learn's TruncatedSVD has it, towards the mean."""
    vector = np.linalg.svd(x, full_matrices=False)[2][0]
    return vector * np.sign(vector @ x.sum(axis=0))


WITNESSES = {"mean": lambda x: np.sum(x, axis=0) / len(x), "first-pc": by_svd}


@pytest.mark.slow
@pytest.mark.parametrize("how", WITNESSES)
@pytest.mark.parametrize("by", ["word", "context"])
@pytest.mark.parametrize(
    ("dtype", "budget"), [("float32", 1 << 25), ("float16", 400), ("float32", 64)]
)
def test_each_vector_is_that_of_numpy(tmp_path, monkeypatch, how, by, dtype, budget):
    monkeypatch.setattr(group_module, "BATCH_BYTES", budget)
    monkeypatch.setattr(pooling, "rows_per_block", lambda *_: 3)
    made = synthetic_store(
        tmp_path / "store", unit="occurrence", texts=SENTENCES, index=False, dtype=dtype, dim=5,
        n_shards=3,
    )  # fmt: skip
    report = made.store.pool(made.space, name="pooled", by=by, how=how, min=2)
    wanted = {name: rows for name, rows in members(made, by).items() if len(rows) >= 2}
    sizes = {name: len(rows) for name, rows in wanted.items()}
    assert (report.n, report.n_vectors) == (len(wanted), sum(sizes.values()))
    assert report.n_left_out == len(members(made, by)) - len(wanted)
    for layer in made.card.layers:
        _, texts, vectors = made.store.vectors("pooled", layer.name)
        assert sorted(texts) == sorted(wanted)
        for text, vector in zip(texts, vectors, strict=True):
            x = made.layer(layer.id)[wanted[text]].astype(np.float64)
            error = np.abs(vector - WITNESSES[how](x)).max() / np.linalg.norm(x, axis=1).max()
            assert error <= (1e-6 if dtype == "float32" else 1e-3)
    rows = made.store.sql(
        'SELECT text, "n_pooled.pooled" FROM items WHERE "n_pooled.pooled" IS NOT NULL'
    )
    assert dict(rows.fetchall()) == sizes
    assert problems_of(made.store) == []


@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), dim=st.integers(1, 6))
def test_the_first_component_turns_with_the_vectors_and_ignores_their_order_and_scale(seed, n, dim):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim)) * np.geomspace(1, 0.2, dim) + rng.standard_normal(dim)
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    found = pooling.first_component(x)
    values = np.linalg.svd(x, compute_uv=False)
    gap = 1 - (values[1] / values[0] if len(values) > 1 else 0)
    tolerance = 1e-12 / gap
    assert np.linalg.norm(found) == pytest.approx(1)
    assert found @ x.mean(axis=0) >= 0
    assert np.linalg.norm(x @ found) == pytest.approx(values[0])
    for other, expected in (
        (rng.permutation(x), found),
        (7 * x, found),
        (x @ rotation, found @ rotation),
        (Moments.of(x), found),
    ):
        assert np.abs(pooling.first_component(other) - expected).max() <= max(1e-7, tolerance)


def test_vectors_of_zeros_have_no_direction():
    assert not pooling.first_component(np.zeros((3, 5))).any()
    assert not pooling.first_component(np.zeros((9, 5))).any()


def test_the_card_names_the_parent(occurrences):
    store = occurrences.store
    store.pool(occurrences.space, name="static", min=2, how="first-pc")
    parent, own = card(store.path, occurrences.space), card(store.path, "static")
    pooled = own.pop("pooled")
    assert pooled == {
        "space": "toy.occurrence.last",
        "by": "word",
        "as": "first-pc",
        "min": 2,
        "sha256": occurrences.catalog.state(occurrences.space),
    }
    changed = {"space", "unit", "word_boundaries", "versions", "created"}
    assert {name for name in own if own[name] != parent[name]} == changed
    assert (own["unit"], own["word_boundaries"]) == ("word", None)
    assert "toy/checkpoint" in str(store.cite("static"))


def test_a_pooled_space_is_a_space_like_any_other(occurrences):
    store = occurrences.store
    store.pool(occurrences.space, name="words")
    n = len(members(occurrences, "word"))
    rows = {row["space"]: row for row in store.info()}
    assert (rows["words"]["items"], rows["words"]["index"]) == (n, "flat")
    first = store.neighbours("dog", spaces="words", layers=1, k=3)
    exact = store.neighbours("dog", spaces="words", layers=1, k=3, exact=True)
    assert first["text"] == exact["text"]
    assert store.query("anisotropy", spaces="words", layers=1)["n"] == [n]
    frequent = store.query("norms", spaces="words", layers=1, where="n_pooled >= 3")
    assert frequent["n"] == [sum(len(rows) >= 3 for rows in members(occurrences, "word").values())]
    groups = store.query("norms", spaces="words", layers=1, by="n_pooled")
    assert sum(groups["n"]) == n
    names = store.columns()["column"]
    assert "n_pooled.words" in names
    store.remove("words")
    assert "n_pooled.words" not in store.columns()["column"]


def test_no_text_is_encoded_for_it(occurrences):
    store = occurrences.store
    store.pool(occurrences.space, name="words")
    with pytest.raises(NotStoredError, match=r"were pooled from toy.occurrence.last, so that no"):
        store.neighbours("zebra", spaces="words")
    with pytest.raises(CheckpointError, match=r"were pooled from toy.occurrence.last"):
        store.neighbours("zebra", spaces="words", embed=True)


def add(made, texts):
    synthetic_store(
        made.root, unit="occurrence", texts=[*SENTENCES, *texts], index=False, seed=3,
        new_only=True,
    )  # fmt: skip


@pytest.mark.slow
def test_it_is_stale_when_the_parent_changed_and_is_made_again(occurrences):
    store = occurrences.store
    store.pool(occurrences.space, name="words", min=2)
    assert not store.info().notes
    store.compact()
    assert not store.info().notes  # the same vectors in other files
    before = store.catalog.manifest
    again = store.pool(occurrences.space, name="words", min=2)
    assert (again.n_bytes, store.catalog.manifest) == (0, before)
    assert "nothing was written" in str(again)

    add(occurrences, MORE)
    note = (
        "words is stale: toy.occurrence.last, from which it was pooled, has changed since. Make it"
        " again: embstore pool toy.occurrence.last --by word --min 2 --as mean --name words"
    )
    assert note in store.info().notes
    assert note in store.verify().lines()
    assert note in store.query("anisotropy", spaces="words").notes
    assert note in store.query("cka", spaces="words").notes
    assert note in store.neighbours("bank", spaces="words", layers=1).notes
    assert note not in store.query("anisotropy", spaces=occurrences.space).notes

    number = store.catalog.manifest.number
    report = store.pool(occurrences.space, name="words", min=2)
    assert report.n_bytes > 0
    assert store.catalog.manifest.number == number + 2  # the space, and then its indexes
    assert not store.info().notes
    assert len(store.verify().lines()) == 1
    fresh = Store(store.path)
    fresh.pool(occurrences.space, name="other", min=2)
    for layer in occurrences.card.layers.names:
        (_, texts, vectors), (_, others, wanted) = (
            fresh.vectors(name, layer) for name in ("words", "other")
        )
        assert texts == others
        assert np.array_equal(vectors, wanted)
    counts = fresh.sql('SELECT "n_pooled.words", "n_pooled.other" FROM columns').fetchall()
    assert {(a, a) for a, _ in counts} >= {*counts} - {(None, None)}
    assert problems_of(fresh) == []


def test_what_fails_leaves_the_space_as_it_was(occurrences, monkeypatch):
    store = occurrences.store
    store.pool(occurrences.space, name="words")
    add(occurrences, MORE)
    _, texts, vectors = store.vectors("words", 1)
    monkeypatch.setattr(pooling, "rows_per_block", lambda *_: 3)
    monkeypatch.setattr(
        pooling, "POOLED_AS", {"mean": lambda x: x.mean(axis=0) * (np.inf if len(x) > 4 else 1)}
    )
    with pytest.raises(Exception, match="not finite"):
        store.pool(occurrences.space, name="words")
    _, found, kept = Store(store.path).vectors("words", 1)
    assert (found, kept.tolist()) == (texts, vectors.tolist())
    assert problems_of(store) == []


def test_altered_vectors_are_not_pooled_into_sound_files(occurrences):
    [shard, *_] = occurrences.shard_files
    entry = occurrences.files.manifest().files[shard.relative_to(occurrences.root).as_posix()]
    flip(shard, entry["offsets"][1])
    with pytest.raises(DamagedError, match=rf"{shard.name} is damaged.*embstore repair"):
        occurrences.store.pool(occurrences.space, name="pooled")
    assert "pooled" not in occurrences.store.info()["space"]


def test_a_copy_without_the_parent_is_not_called_stale(occurrences, tmp_path):
    store = occurrences.store
    store.pool(occurrences.space, name="words")
    store.push(tmp_path / "copy", spaces="words")
    copy = Store(tmp_path / "copy")
    assert [*copy.catalog.cards] == ["words"]
    assert not copy.info().notes
    assert copy.query("norms", layers=1, where="n_pooled > 1")["n"] == [
        sum(len(rows) > 1 for rows in members(occurrences, "word").values())
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"space": "toy.word.last"}, QueryError, "is of words, each by itself"),
        ({"min": 100}, QueryError, r"no word of toy.occurrence.last has 100 .*the most are 6"),
        ({"min": 100, "by": "context"}, QueryError, "no context of .* has 100 vectors or more"),
        ({"min": 0}, UsageError, "`min` must be at least 1"),
        ({"space": "toy.ocurrence.last"}, UnknownNameError, "Did you mean 'toy.occurrence.last'"),
        ({"by": "sentence"}, UnknownNameError, "unknown value of `by`"),
        ({"how": "max"}, UnknownNameError, "mean, first-pc"),
        ({"name": "a/b"}, UsageError, "cannot name a space"),
        ({"name": "toy.word.last"}, SpaceMismatchError, "pooled.as is null, not"),
        ({"name": "toy.occurrence.last"}, SpaceMismatchError, "is another one"),
        ({"name": "old", "min": 2}, SpaceMismatchError, "its pooled.min is 1, not 2"),
    ],
)
def test_what_cannot_be_pooled_is_refused_and_nothing_is_written(
    occurrences, arguments, error, message
):
    synthetic_store(occurrences.root, texts=["dog", "cat"], index=False)
    store = occurrences.store
    store.pool(occurrences.space, name="old")
    before = store.catalog.manifest
    with pytest.raises(error, match=message):
        store.pool(**{"space": occurrences.space, "name": "new", **arguments})
    assert Store(store.path).catalog.manifest == before


def test_the_mean_of_the_tokens_of_a_text_is_the_pooling_mean_all(tmp_path, checkpoint):
    store, model = Store(tmp_path / "store"), f"tiny={checkpoint}"
    options = {"texts": SENTENCES, "models": model, "index": "none"}
    store.build(unit="token", special=True, name="tokens", **options)
    store.build(unit="sentence", poolings="mean-all", name="whole", **options)
    store.pool("tokens", name="pooled", by="context", index="none")
    for layer in store.catalog.cards["whole"].layers.names:
        (_, texts, pooled), (_, others, wanted) = (
            store.vectors(space, layer) for space in ("pooled", "whole")
        )
        assert texts == others
        assert np.abs(pooled - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("n_bytes", [10, 300, 20_000])
def test_on_a_full_disk_no_temporary_file_is_left(tmp_path, n_bytes):
    """Files may not grow beyond a size, as on a disk that is full then."""
    import resource

    texts = [f"word{number} and others of sentence {number}" for number in range(40)]
    made = synthetic_store(
        tmp_path / "store", unit="occurrence", texts=texts, index=False, dim=256, seed=3
    )
    before = {*made.root.rglob("*")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            made.store.pool(made.space, name="pooled")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    left = {*made.root.rglob("*")} - before
    assert not [path for path in left if path.name.endswith(".tmp") or not path.is_dir()]
    assert made.store.pool(made.space, name="pooled").n == 84
