"""Datasets that tests write into synthetic stores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from synthetic import Synthetic

from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.storage.writer import write_dataset


def ids(texts: Sequence[str], unit: str = "word") -> list[int]:
    return [item_id(Unit(unit), text) for text in texts]


def write_pairs(
    made: Synthetic,
    name: str = "rg65",
    unit: str = "word",
    texts: Sequence[str] | None = None,
    n: int = 60,
    seed: int = 0,
) -> tuple[list[str], list[str], list[float]]:
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


def write_lexicon(
    made: Synthetic, texts: Sequence[str], name: str = "bellezza", **columns: Sequence[object]
) -> None:
    values = columns or {"valence": np.random.default_rng(0).uniform(1, 5, len(texts)).tolist()}
    write_dataset(
        made.files,
        name,
        "lexicon",
        Unit.WORD,
        {"item_id": ids(texts), "text": list(texts), **values},
    )


def write_analogies(
    made: Synthetic,
    name: str,
    questions: Sequence[Sequence[str]],
    sections: Sequence[str],
    answers: Sequence[str] | None = None,
) -> None:
    """Write a dataset of analogies of words."""
    columns: dict[str, list[Any]] = {}
    for place, suffix in enumerate(("", "_2", "_3", "_4")):
        texts = [question[place] for question in questions]
        columns |= {f"item_id{suffix}": ids(texts), f"text{suffix}": texts}
    columns |= {"section": list(sections), "answers": list(answers or columns["text_4"])}
    write_dataset(made.files, name, "analogies", Unit.WORD, columns)
