"""Stores for the fault tests: what they hold is known, so that any answer of theirs can be
checked.
"""

import shutil
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from store_damage import flip, the
from store_writing import SkippedText, write_skipped
from synthetic import synthetic_store

from embstore import Store
from embstore.base import atomic
from embstore.base.errors import EmbstoreError
from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.metrics.isotropy import partition  # noqa: F401  # loads what the queries load, before any fork
from embstore.storage.writer import write_dataset

DIM, N_BLOCKS = 4, 1
WORDS = [f"word{place}" for place in range(40)]
MORE = [f"word{place}" for place in range(30, 70)]
IMPORTED, N_IMPORTED_LAYERS = "mine", 2
SENTENCES = ["the bank of the river", "a bank lends", "rivers run"]

SIZES = {"dim": DIM, "n_blocks": N_BLOCKS}


@dataclass
class Truth:
    """What a store may hold.

    Attributes:
        vectors: space → item id → (layers, dim).
        texts: item id → text.
    """

    vectors: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)

    def add(self, made):
        """Learn what was written."""
        of_space = self.vectors.setdefault(made.space, {})
        for place, item in enumerate(made.items):
            of_space[item.id] = made.vectors[:, place]
            self.texts[item.id] = item.text
        return made

    def learn(self, other):
        """Learn what another process knows."""
        self.vectors |= other.vectors
        self.texts |= other.texts


TRUTH = Truth()


def words(root, texts=WORDS, *, n_shards=4, index=True):
    """Build a space of words: what it lacks of these texts. A word has the same vectors in every
    store.
    """
    vectors = np.stack([vectors_of(text) for text in texts], axis=1)
    return TRUTH.add(
        synthetic_store(
            root,
            texts=texts,
            vectors=vectors,
            n_shards=n_shards,
            index=index,
            new_only=True,
            **SIZES,
        )
    )


def occurrences(root):
    """Build a space of words in sentences."""
    return TRUTH.add(
        synthetic_store(
            root, unit="occurrence", texts=SENTENCES, n_shards=2, new_only=True, **SIZES
        )
    )


def vectors_of(text):
    """Return the vectors of a word, the same in every store (layers, dim)."""
    seed = crc32(text.encode())
    return np.random.default_rng(seed).normal(size=(N_BLOCKS + 2, DIM)).astype(np.float32) + 0.5


def write_vectors(folder, texts=WORDS):
    """Write an array of the vectors of two layers of words, and its texts, to import as the space
    ``IMPORTED``.
    """
    vectors = np.stack([vectors_of(text)[:N_IMPORTED_LAYERS] for text in texts], axis=1)
    np.save(folder / "vectors.npy", vectors)
    (folder / "vectors.txt").write_text("\n".join(texts))
    ids = [item_id(Unit.WORD, text) for text in texts]
    TRUTH.vectors[IMPORTED] = {item: vectors[:, place] for place, item in enumerate(ids)}
    TRUTH.texts |= dict(zip(ids, texts, strict=True))


def build(root):
    """An ordinary build of all of this: it embeds what is missing, writes texts that are lost, and
    indexes.
    """
    made = words(root)
    occurrences(root)
    rows = {"item_id": made.ids.tolist(), "text": made.texts, "rank": [*range(len(WORDS))]}
    write_dataset(made.files, "ranks", "word list", Unit.WORD, rows)
    if not len(Store(root).skipped()):
        write_skipped(
            root, [SkippedText("x" * 9, "skipped", "no tokens", made.space, 7, "words.txt:3")]
        )


def build_other(root):
    """Another store, with some of the same words, and a space of its own."""
    words(root, MORE, n_shards=3)
    TRUTH.add(synthetic_store(root, texts=WORDS[:9], n_shards=2, **SIZES, space="theirs"))


DEAD = (1 << 22) + 1
"""Number that no process has."""
LEFT_BEHIND = f".{DEAD}-{atomic._machine()}0badcafe.tmp"
"""Name of a temporary file of a writer that was killed."""


def build_damaged(root):
    """The store with most of what a repair mends."""
    build(root)
    for kind in ("shard", "sums", "index"):
        flip(the(root, kind), bits=8)
    (root / LEFT_BEHIND).write_bytes(b"left")


def compact(root):
    Store(root).compact()


def merge(root):
    Store(root).merge(root.parent / "other")


def repair(root):
    Store(root).repair()


def copy(source, target):
    """Copy a store."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def stored_ids(root):
    """Space → the ids of its items, as a reader sees them."""
    return Store(root)._ask(
        lambda catalog: {space: set(catalog.ids(space).tolist()) for space in catalog.cards}
    )


def at_once(question):
    """Ask; an error is one."""
    return question()


def wrong_answers(store, ask=at_once, layers=(0, N_BLOCKS)):
    """Ask a store about all of its spaces, and return what is not so.

    Args:
        store: the store.
        ask: asks a question, and may return None where the answer was an error that names a file.
        layers: which are asked about.
    """
    spaces = ask(lambda: list(store.catalog.cards)) or []
    return [
        wrong
        for space in spaces
        for place in layers
        for wrong in _wrong_in_layer(store, ask, space, place)
    ]


def _wrong_in_layer(store, ask, space, place):
    while True:
        found = ask(lambda: store.vectors(space, place))
        wrong = [] if found is None else _wrong_beside(store, ask, space, place, found)
        again = ask(lambda: store.vectors(space, place)) if wrong else None
        if again is None or again[0].tolist() == found[0].tolist():
            return wrong
        # The files that the store knew had given way between the questions, and it has looked
        # again.


def _wrong_beside(store, ask, space, place, found):
    ids, texts, vectors = found
    truth = TRUTH.vectors[space]
    if not set(ids.tolist()) <= truth.keys():
        return [f"{space}: items that nobody wrote"]
    wrong = []
    right = np.array([truth[item][place] for item in ids.tolist()]).reshape(len(ids), DIM)
    if not np.array_equal(vectors, right) or len(set(ids.tolist())) != len(ids):
        wrong.append(f"{space} layer {place}: other vectors")
    if texts != [TRUTH.texts[item] for item in ids.tolist()]:
        wrong.append(f"{space}: other texts")
    answer = ask(lambda: store.query("anisotropy", spaces=space, layers=place))
    if answer is not None and not is_anisotropy(answer.rows[0], right):
        wrong.append(f"{space} layer {place}: anisotropy {answer.rows[0]}")
    if len(ids) > 1 and "occurrence" not in space:
        near = ask(lambda: store.neighbours(texts[0], spaces=space, layers=place, k=1).to_pylist())
        if near and not is_nearest(near[0], texts, right):
            wrong.append(f"{space} layer {place}: nearest is {near[0]}")
    return wrong


def is_anisotropy(row, vectors, tolerance=1e-9):
    n = len(vectors)
    if row["n"] != n:
        return False
    if n < 2:
        return row["anisotropy"] is None
    expected = (np.square(_units(vectors).sum(axis=0)).sum() - n) / (n * (n - 1))
    return abs(row["anisotropy"] - expected) < tolerance


def is_nearest(near, texts, vectors, *, is_exact=True):
    """Whether a neighbour of the first text has the cosine that is said, and no other has more.

    Of an index that is not exact, what is found may be short of the best: recall is no promise.
    """
    units = _units(vectors)
    cosines = dict(zip(texts[1:], units[1:] @ units[0], strict=True))
    is_right = abs(near["cosine"] - cosines.get(near["text"], 9.0)) < 1e-5
    return is_right and (near["cosine"] > max(cosines.values()) - 1e-5 or not is_exact)


def _units(vectors):
    return vectors.astype(np.float64) / np.linalg.norm(
        vectors.astype(np.float64), axis=1, keepdims=True
    )


def naming(question):
    """Ask; an error of embstore's own, which names a file or says that something is gone, is no
    answer.
    """
    try:
        return question()
    except EmbstoreError:
        return None
