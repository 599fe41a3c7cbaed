"""Datasets that tests write into synthetic stores."""

import numpy as np

from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.storage.writer import write_dataset


def ids(texts, unit="word"):
    return [item_id(Unit(unit), text) for text in texts]


def write_pairs(made, name="rg65", unit="word", texts=None, n=60, seed=0):
    rng = np.random.default_rng(seed)
    texts = made.texts if texts is None else texts
    left = rng.integers(0, len(texts), n)
    right = (left + rng.integers(1, len(texts), n)) % len(texts)
    first, second = ([texts[place] for place in side] for side in (left, right))
    scores = np.round(rng.uniform(0, 4, n), 1).tolist()
    columns = {
        "item_id": ids(first, unit),
        "text": first,
        "item_id_2": ids(second, unit),
        "text_2": second,
        "score": scores,
    }
    write_dataset(made.files, name, f"{unit} pairs", Unit(unit), columns)
    return first, second, scores


def write_lexicon(made, texts, name="bellezza", **columns):
    values = columns or {"valence": np.random.default_rng(0).uniform(1, 5, len(texts)).tolist()}
    write_dataset(
        made.files,
        name,
        "lexicon",
        Unit.WORD,
        {"item_id": ids(texts), "text": list(texts), **values},
    )


def write_analogies(made, name, questions, sections, answers=None):
    """Write a dataset of analogies of words."""
    columns = {}
    for place, suffix in enumerate(("", "_2", "_3", "_4")):
        texts = [question[place] for question in questions]
        columns |= {f"item_id{suffix}": ids(texts), f"text{suffix}": texts}
    columns |= {"section": list(sections), "answers": list(answers or columns["text_4"])}
    write_dataset(made.files, name, "analogies", Unit.WORD, columns)
