"""Load datasets of pairs and lexicons as inputs of a metric, and report their texts that a space is missing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import NotStoredError, QueryError, UnknownNameError
from embstore.base.space import Unit
from embstore.metrics import Metric
from embstore.metrics.data import Ids, Lexicon, Pairs, Words
from embstore.query.inputs.case import Case
from embstore.query.inputs.missing_texts import build_command, find_missing, missing_note, remedy
from embstore.query.inputs.word_sets import check_stored, read_words
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card

PAIR_KINDS = ("word pairs", "sentence pairs", "occurrence pairs")

Columns = Mapping[str, NDArray[Any]]


def pairs(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return a set of inputs for each dataset of pairs.

    Args:
        metric: Metric to compute.
        catalog: Store to read.
        card: Card of the space.
        values: ``dataset``, the names, of which those of the space's unit are used (none for all of its unit);
            and ``missing``, the treatment of missing texts: ``skip`` or ``error``.

    Raises:
        QueryError: No dataset is stored for the space's unit, or one is not a dataset of pairs.
        NotStoredError: A text is missing from the space, and ``missing`` is ``error``.
    """
    names = tuple(dict.fromkeys(values["dataset"]))
    datasets = _named_pairs(catalog, card, names) if names else _stored_pairs(catalog, card)
    stored = catalog.ids(card.space)
    return [_pairs(columns, name, card, stored, values["missing"]) for name, columns in datasets.items()]


def lexicons(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the inputs from a lexicon and attribute words.

    Args:
        metric: Metric to compute.
        catalog: Store to read.
        card: Card of the space.
        values: ``lexicon``, its name; ``value``, its column (None for the only or usual one); ``pleasant`` and
            ``unpleasant``, word files or lists of words (None for those of the paper); and ``missing``, the treatment
            of missing attribute words: ``skip`` or ``error``.

    Raises:
        QueryError: The lexicon is not stored for the space's unit, or is a dataset of pairs; or all attribute words are
            missing from the space.
        UnknownNameError: The lexicon has no such column.
        NotStoredError: An attribute word is missing from the space, and ``missing`` is ``error``.
    """
    name = values["lexicon"]
    columns = _lexicon(catalog, card, name)
    lexicon = Lexicon(
        Words(columns["item_id"], tuple(columns["text"])),
        _numbers(columns, name, values["value"], ("valence",)),
    )
    stored = catalog.ids(card.space)
    missing = find_missing([lexicon.words], stored)
    n = len(np.unique(lexicon.words.ids))
    notes = [missing_note(card, missing, f"of the {n} {card.unit}s of {name}", name)] if missing else []
    sets = {key: read_words(values[key], key, card.unit) for key in ("pleasant", "unpleasant")}
    notes += [note for word_set in sets.values() for note in word_set.notes]
    notes += check_stored(card, sets.values(), stored, values["missing"])
    inputs = {"lexicon": lexicon} | {key: word_set.words for key, word_set in sets.items()}
    return [Case(inputs, {"lexicon": name}, tuple(notes))]


def check_all_used(catalog: Catalog, cards: Sequence[Card], names: Iterable[str], used: Collection[str]) -> None:
    """Raise QueryError if a requested dataset was used for none of the spaces, with the reason for the first one."""
    for name in names:
        if name not in used:
            for card in cards:
                _named_pairs(catalog, card, [name])


def _named_pairs(catalog: Catalog, card: Card, names: Sequence[str]) -> dict[str, Columns]:
    """Return name → columns of the named datasets that are stored for a space's unit; raise QueryError if none is."""
    datasets: dict[str, Columns] = {}
    refused: list[QueryError] = []
    for name in names:
        check_known(catalog, name)
        try:
            datasets[name] = catalog.dataset(name, card.unit)
        except QueryError as error:
            refused.append(error)
        # The kind is checked before the unit: a lexicon of another unit is refused as a lexicon.
        _check_pairs(name, datasets.get(name) or _of_any_unit(catalog, name))
    if not datasets:
        raise refused[0]
    return datasets


def check_known(catalog: Catalog, name: str) -> None:
    """Raise UnknownNameError for a dataset that is neither stored nor known by name, which no build can add."""
    from embstore.sources.datasets import find_dataset, known_datasets

    stored = catalog.dataset_names
    if name.replace(":", "_") not in stored and find_dataset(name) is None:
        hint = "A table of your own becomes a dataset with: embstore datasets add NAME FILE --kind pairs"
        raise UnknownNameError("dataset", name, dict.fromkeys([*stored, *known_datasets()]), hint)


def _check_pairs(name: str, columns: Columns) -> None:
    """Raise QueryError unless a dataset has pairs with scores."""
    if "item_id_4" in columns:
        raise QueryError(f"{name!r} is a dataset of analogies, not of pairs: embstore query analogies --dataset {name}")
    if "item_id_2" not in columns:
        raise QueryError(
            f"{name!r} is not a dataset of pairs. Those have two texts and a score in each row. For a lexicon: "
            f"embstore query valnorm --lexicon {name}"
        )
    _scores(columns, name)


def _lexicon(catalog: Catalog, card: Card, name: str) -> Columns:
    """Return the columns of a lexicon that is stored for a space's unit."""
    check_known(catalog, name)
    try:
        columns = catalog.dataset(name, card.unit)
    except QueryError:
        _check_lexicon(name, _of_any_unit(catalog, name))
        raise
    _check_lexicon(name, columns)
    return columns


def _check_lexicon(name: str, columns: Columns) -> None:
    """Raise QueryError if a dataset has pairs or analogies."""
    if "item_id_4" in columns:
        raise QueryError(
            f"{name!r} is a dataset of analogies, not a lexicon: embstore query analogies --dataset {name}"
        )
    if "item_id_2" in columns:
        raise QueryError(
            f"{name!r} is a dataset of pairs, not a lexicon. For pairs: embstore query similarity --dataset {name}"
        )


def _of_any_unit(catalog: Catalog, name: str) -> Columns:
    """Return the columns of a dataset for the first unit that it is stored for."""
    for unit in (Unit.WORD, Unit.SENTENCE):
        with suppress(QueryError):
            return catalog.dataset(name, unit)
    return catalog.dataset(name, Unit.OCCURRENCE)


def _stored_pairs(catalog: Catalog, card: Card) -> dict[str, Columns]:
    """Return name → columns of all datasets of pairs that are stored for a space's unit; QueryError if none."""
    datasets: dict[str, Columns] = {}
    for name in catalog.datasets(PAIR_KINDS):
        with suppress(QueryError):  # it is stored for another unit
            datasets[name] = catalog.dataset(name, card.unit)
    if not datasets and card.unit is Unit.OCCURRENCE:
        raise QueryError(
            "the store holds no dataset of pairs of occurrences. Add one and embed it: embstore datasets add NAME FILE "
            "--kind pairs --unit occurrence --columns text1,start1,end1,text2,start2,end2,score"
        )
    if not datasets:
        name = "stsb" if card.unit is Unit.SENTENCE else "rg65"
        remedy = f"Embed one with: {build_command([name], card)}"
        if card.imported is not None:
            remedy = f"Store one with: embstore datasets store {name}"
        raise QueryError(f"the store holds no dataset of pairs for the unit {card.unit.value}. {remedy}")
    return datasets


def _pairs(columns: Columns, name: str, card: Card, stored: Ids, if_missing: str) -> Case:
    """Return the inputs from one dataset of pairs; ``stored`` are the item ids of the space."""
    dataset = Pairs(
        columns["item_id"], columns["item_id_2"], _scores(columns, name),
        tuple(columns["text"]), tuple(columns["text_2"]), _score_texts(columns),
    )  # fmt: skip
    left, right = Words(dataset.left, dataset.left_texts), Words(dataset.right, dataset.right_texts)
    missing = find_missing([left, right], stored)
    if not missing:
        return Case({"pairs": dataset}, {"dataset": name})
    n = len(np.union1d(left.ids, right.ids))
    note = missing_note(card, missing, f"of the {n} texts of {name}", name)
    if if_missing == "error":
        raise NotStoredError(f"{note} {remedy([name], missing, card)}")
    n_used = int((np.isin(left.ids, stored) & np.isin(right.ids, stored)).sum())
    return Case({"pairs": dataset}, {"dataset": name}, (f"{note} {n_used} of {len(left.ids)} pairs can be used.",))


def _score_texts(columns: Columns) -> tuple[str, ...] | None:
    """Return the scores as the strings of the dataset's file; None if the dataset does not store them."""
    texts = columns.get("score_text")
    return None if texts is None else tuple(text or "" for text in texts)


def _scores(columns: Columns, name: str) -> NDArray[np.float64]:
    return _numbers(columns, name, None, ("score",))


def _numbers(columns: Columns, name: str, requested: str | None, usual: Sequence[str]) -> NDArray[np.float64]:
    """Return a column as float64: the requested one, else the first of the usual ones, else the only numeric one."""
    numeric = [key for key, column in columns.items() if column.dtype.kind in "if" and not key.startswith("item_id")]
    if requested is not None and requested not in numeric:
        raise UnknownNameError(f"column of numbers of {name}", requested, numeric)
    chosen = requested or next((key for key in usual if key in numeric), None)
    if chosen is None and len(numeric) != 1:
        numbers = f"several columns of numbers: {', '.join(numeric)}. Say which with ⦃value⦄" if numeric else "none"
        raise QueryError(f"{name!r} must have a column of numbers, and has {numbers}.")
    return columns[chosen or numeric[0]].astype(np.float64)
