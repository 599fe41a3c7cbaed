"""Load datasets of analogies as inputs of a metric, and report their words that a space is missing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import NotStoredError, QueryError
from embstore.base.text import item_id
from embstore.metrics import Metric
from embstore.metrics.data import Analogies, Ids, Words
from embstore.query.inputs.case import Case
from embstore.query.inputs.datasets import check_known
from embstore.query.inputs.missing_texts import missing_note, remedy
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card
from embstore.storage.spellings import spellings

KIND = "analogies"
_SEPARATOR = "\t"  # of the column ``answers``; see :mod:`embstore.sources.own`


def analogies(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return a set of inputs for each dataset of analogies.

    Args:
        metric: Metric to compute.
        catalog: Store to read.
        card: Card of the space.
        values: ``dataset``, the names (none for all); ``missing``, the treatment of missing words: ``skip`` or
            ``error``; and ``case``: ``ignore`` or ``exact``.

    Raises:
        QueryError: No dataset of analogies is stored, or one is of another kind.
        NotStoredError: A word is missing from the space, and ``missing`` is ``error``.
    """
    names = tuple(dict.fromkeys(values["dataset"])) or tuple(catalog.datasets((KIND,)))
    if not names:
        raise QueryError(
            "the store holds no dataset of analogies. Add one (Google's questions-words.txt, or the folder of BATS) "
            "with: embstore datasets add NAME FILE --kind analogies; and embed it with: embstore build NAME; or, if "
            "its words have vectors, as imported ones, store it with: embstore datasets store NAME"
        )
    if values["case"] == "ignore":
        catalog.check_texts(card.space)  # a word without its text would be left out silently
    return [_case(catalog, card, name, values) for name in names]


def _case(catalog: Catalog, card: Card, name: str, values: Mapping[str, Any]) -> Case:
    """Return the inputs from one dataset."""
    check_known(catalog, name)
    columns = catalog.dataset(name, card.unit)
    if "item_id_4" not in columns or "answers" not in columns:
        raise QueryError(
            f"{name!r} is not a dataset of analogies. Those have four words in each row: embstore datasets add NAME "
            "FILE --kind analogies"
        )
    loaded = _load(catalog, card, columns, ignore_case=values["case"] == "ignore")
    stored = np.isin(np.arange(int(loaded.groups.max()) + 1), _stored_groups(loaded, catalog.ids(card.space)))
    has_word = stored[loaded.groups]
    inputs, keys = {"analogies": loaded}, {"dataset": name}
    missing = [text for text, is_there in zip(loaded.words.texts, has_word.tolist(), strict=True) if not is_there]
    if not missing:
        return Case(inputs, keys)
    note = missing_note(card, missing, f"of the {len(has_word)} words of {name}", name)
    has_answer = np.logical_or.reduceat(has_word[loaded.answers], loaded.answer_starts[:-1])
    n_used = int((has_word[loaded.questions].all(axis=1) & has_answer).sum())
    if values["missing"] == "error" and n_used < len(has_answer):
        raise NotStoredError(f"{note} {remedy([name], missing, card)}")
    return Case(inputs, keys, (f"{note} {n_used:,} of {len(has_answer):,} questions can be used.",))


def _stored_groups(loaded: Analogies, stored: Ids) -> NDArray[np.int64]:
    """Return the groups of which a space has an item."""
    return loaded.spelled_groups[np.isin(loaded.spelled_ids, stored)]


def _load(catalog: Catalog, card: Card, columns: Mapping[str, NDArray[Any]], *, ignore_case: bool) -> Analogies:
    """Return the questions of a dataset, with the stored items of its words, of any case if requested."""
    places: dict[str, int] = {}
    sides = [columns[f"text{suffix}"].tolist() for suffix in ("", "_2", "_3")]
    questions = np.array([[places.setdefault(text, len(places)) for text in side] for side in sides], np.int64).T
    answers = [str(cell).split(_SEPARATOR) for cell in columns["answers"].tolist()]
    answer_places = [places.setdefault(text, len(places)) for texts in answers for text in texts]
    sections: dict[str, int] = {}
    numbers = [sections.setdefault(str(name), len(sections)) for name in columns["section"].tolist()]
    words = Words(np.array([item_id(card.unit, text) for text in places], np.int64), tuple(places))
    groups = np.arange(len(places))
    spelled, spelled_groups = words.ids, groups
    if ignore_case:
        lowered, spelled, spelled_keys = spellings(catalog, words.texts)
        group_of: dict[str, int] = {}
        groups = np.array([group_of.setdefault(text, len(group_of)) for text in lowered], np.int64)
        spelled_groups = np.array([group_of[key] for key in spelled_keys], np.int64)
    order = np.argsort(spelled)
    return Analogies(
        words, groups, spelled[order], spelled_groups[order], questions,
        np.array(answer_places, np.int64), np.cumsum([0, *map(len, answers)]), np.array(numbers, np.int64),
        tuple(sections),
    )  # fmt: skip
