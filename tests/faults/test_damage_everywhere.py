"""A flipped bit and a truncation in each kind of file: verify names the file, and no question gets
a wrong answer.

But a vector that has one bit turned over is read as it is, as in any file of vectors: its hash is
compared by verify.
"""

from functools import partial

import numpy as np
import pytest
from fault_figures import WRONG, share
from fault_stores import MORE, TRUTH, WORDS, build, words, wrong_answers
from kept_columns import write_columns
from sound_stores import problems_of
from store_damage import KINDS, bits, damaged, flipped, the

from embstore import Store
from embstore.base.errors import EmbstoreError

pytestmark = pytest.mark.fault

SPACE = "toy.word.last"
TEXTS = [*dict.fromkeys([*WORDS, *MORE])]
LAYER = 0  # the first file of each kind is of it

# Whole answers, not their best rows alone.
QUESTIONS = {
    "texts": lambda store: store.vectors(SPACE, LAYER)[1],
    "some texts": lambda store: store.vectors(SPACE, LAYER, where="text LIKE '%3%'")[1],
    "vectors": lambda store: store.vectors(SPACE, LAYER)[2].tolist(),
    "neighbours": lambda store: _cosines(store, TEXTS[::7]),
    "neighbours of one": lambda store: _cosines(store, TEXTS[:1]),
    "partition": lambda store: store.query("partition", spaces=SPACE).rows,
    "map": lambda store: store.map_points(SPACE, LAYER, layers=LAYER)[1].tolist(),
    "columns": lambda store: sorted(store.sql("SELECT * FROM columns").fetchall()),
    "some columns": lambda store: store.vectors(SPACE, LAYER, where="freq > 3 AND note = 'é'")[1],
    "skipped": lambda store: store.skipped().rows,
    "in a sentence": lambda store: (
        store.neighbours(marked="a bank [lends]", layers=LAYER, k=9).rows
    ),
    "items": lambda store: sorted(
        store.sql('SELECT * FROM main."ITEMS" AS other').fetchall(), key=str
    ),
    "summaries": lambda store: sorted(store.sql("SELECT * FROM summaries").fetchall(), key=str),
    "dataset": lambda store: sorted(store.sql("SELECT * FROM datasets.ranks").fetchall(), key=str),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("damage") / "store"
    build(root)
    Store(root).compact()
    made = words(root, MORE)
    write_columns(
        made, {"freq": [item % 7 for item in made.ids.tolist()], "note": ["é"] * len(made.ids)}
    )
    Store(root).query("partition", spaces=SPACE)
    Store(root).map(spaces=SPACE, layers=LAYER)
    assert TRUTH.texts
    return root


@pytest.fixture(scope="module")
def right(store):
    return {name: ask(Store(store)) for name, ask in QUESTIONS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_or_a_cut(store, right, kind, tally):
    path = the(store, kind)
    data = path.read_bytes()
    others = [flipped(data, bit) for bit in bits(data, share(10), seed=len(data))]
    for after in (
        *others,
        b"",
        data[:20],
        data[:-1],
        data[: len(data) // 3],
        data + b"\n",
        bytes(len(data)),
    ):
        counts = tally("flipped bit" if after in others else "cut", kind)
        counts["faults"] += 1
        with damaged(path, after):
            named = [problem.file for problem in Store(store).verify().problems]
            is_derived = kind in ("answer", "map")  # which may be deleted
            assert named == ([] if is_derived else [path.resolve()])
            recorder, opened = ErrorRecorder(), Store(store)
            wrong = wrong_answers(opened, recorder)
            found = {
                name: recorder(partial(question, opened)) for name, question in QUESTIONS.items()
            }
            wrong += [
                name
                for name, value in found.items()
                if value is not None and not _is_same(value, right[name])
            ]
            if kind != "shard" or after not in others:
                counts[WRONG] += len(wrong)
                assert wrong == []
            assert [
                text
                for text in recorder.messages
                if path.name not in text and path.parent.name not in text
            ] == []
    assert problems_of(Store(store)) == []


class ErrorRecorder:
    """Call questions, and record the messages of embstore's own errors; any other fails the
    test.
    """

    def __init__(self):
        self.messages = []

    def __call__(self, question):
        try:
            return question()
        except EmbstoreError as error:
            self.messages.append(str(error))
            return None


def _cosines(store, texts):
    rows = store.neighbours(texts, spaces=SPACE, layers=LAYER, k=len(TEXTS)).rows
    assert len(rows) == len(texts) * (len(TEXTS) - 1)
    return {(row["query"], row["text"]): row["cosine"] for row in rows}


def _is_same(found, right):
    if not isinstance(found, dict) or not isinstance(right, dict):
        return found == right
    return found.keys() == right.keys() and np.allclose(
        [found[key] for key in right], [*right.values()], atol=1e-5
    )
