"""Datasets of pairs and lexicons, joined with the items of a store."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.errors import NotStoredError, QueryError, UnknownNameError
from embstore.metrics import Metric
from embstore.metrics.data import Ids, Lexicon, Pairs, Words
from embstore.query.inputs.case import Case
from embstore.query.inputs.missing_texts import build_command, lacking_said, lacking_texts, remedy
from embstore.query.inputs.word_sets import check_held, read_words
from embstore.space import Unit
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card

PAIR_KINDS = ("word pairs", "sentence pairs")

Columns = Mapping[str, NDArray[Any]]


def pairs(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return a case for each dataset of pairs.

    Args:
        metric: Metric to compute.
        catalog: Store to read.
        card: Card of the space.
        values: ``dataset``, the names, of which those of the space's unit are taken (none: all of its unit);
            ``missing``, ``skip`` or ``error``.

    Raises:
        QueryError: If no dataset is stored for the space's unit, or one is not a dataset of pairs.
        NotStoredError: If a text is missing from the space, and ``missing`` is ``error``.
    """
    names = tuple(dict.fromkeys(values["dataset"]))
    found = _named_pairs(catalog, card, names) if names else _stored_pairs(catalog, card)
    held = catalog.ids(card.space)
    return [_pairs(columns, name, card, held, values["missing"]) for name, columns in found.items()]


def lexicons(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the case of a lexicon and its attribute words.

    Args:
        metric: Metric to compute.
        catalog: Store to read.
        card: Card of the space.
        values: ``lexicon``, its name; ``value``, its column (None: the obvious one); ``pleasant`` and ``unpleasant``,
            files of words or lists of them (None: the paper's); ``missing``, of attribute words: ``skip`` or ``error``.

    Raises:
        QueryError: If the store lacks the lexicon for the space's unit, or it is none; or the space lacks all attribute
            words.
        UnknownNameError: If the lexicon has no such column.
        NotStoredError: If an attribute word is missing from the space, and ``missing`` is ``error``.
    """
    name = values["lexicon"]
    columns = _lexicon(catalog, card, name)
    lexicon = Lexicon(
        Words(columns["item_id"], tuple(columns["text"])),
        _numbers(columns, name, values["value"], ("valence",)),
    )
    held = catalog.ids(card.space)
    lacking = lacking_texts([lexicon.words], held)
    n = len(np.unique(lexicon.words.ids))
    notes = [lacking_said(card, lacking, f"of the {n} {card.unit}s of {name}", name)] if lacking else []
    sets = {key: read_words(values[key], key, card.unit) for key in ("pleasant", "unpleasant")}
    notes += [note for one in sets.values() for note in one.notes]
    notes += check_held(card, sets.values(), held, values["missing"])
    inputs = {"lexicon": lexicon} | {key: one.words for key, one in sets.items()}
    return [Case(inputs, {"lexicon": name}, tuple(notes))]


def check_all_taken(catalog: Catalog, cards: Sequence[Card], names: Iterable[str], taken: Collection[str]) -> None:
    """Raise QueryError for the first dataset of these names that no space has taken, if there is one."""
    for name in names:
        if name not in taken:
            for card in cards:
                _named_pairs(catalog, card, [name])


def _named_pairs(catalog: Catalog, card: Card, names: Sequence[str]) -> dict[str, Columns]:
    """Return those of the named datasets that the store has for the unit of a space: at least one."""
    found: dict[str, Columns] = {}
    refused: list[QueryError] = []
    for name in names:
        try:
            found[name] = catalog.dataset(name, card.unit)
        except QueryError as error:
            refused.append(error)
        # What it is comes before what it is of: a lexicon for another unit would still be none of pairs.
        _check_pairs(name, found.get(name) or _of_any_unit(catalog, name))
    if not found:
        raise refused[0]
    return found


def _check_pairs(name: str, columns: Columns) -> None:
    if "item_id_2" not in columns:
        raise QueryError(
            f"{name!r} is not a dataset of pairs. Those have two texts and a score in each row. For a lexicon: "
            f"embstore query valnorm --lexicon {name}"
        )
    _scores(columns, name)


def _lexicon(catalog: Catalog, card: Card, name: str) -> Columns:
    """Return the rows of a lexicon that the store has for the unit of a space."""
    try:
        columns = catalog.dataset(name, card.unit)
    except QueryError:
        _check_lexicon(name, _of_any_unit(catalog, name))
        raise
    _check_lexicon(name, columns)
    return columns


def _check_lexicon(name: str, columns: Columns) -> None:
    if "item_id_2" in columns:
        raise QueryError(
            f"{name!r} is a dataset of pairs, not a lexicon. For pairs: embstore query similarity --dataset {name}"
        )


def _of_any_unit(catalog: Catalog, name: str) -> Columns:
    """Return the rows of a dataset for a unit that the store has it for."""
    try:
        return catalog.dataset(name, Unit.WORD)
    except QueryError:
        return catalog.dataset(name, Unit.SENTENCE)


def _stored_pairs(catalog: Catalog, card: Card) -> dict[str, Columns]:
    found: dict[str, Columns] = {}
    for name in catalog.datasets(PAIR_KINDS):
        with suppress(QueryError):  # it is stored for another unit
            found[name] = catalog.dataset(name, card.unit)
    if not found:
        raise QueryError(
            f"the store holds no dataset of pairs for the unit {card.unit.value}. Embed one with: "
            f"{build_command(['stsb' if card.unit is Unit.SENTENCE else 'rg65'], card)}"
        )
    return found


def _pairs(columns: Columns, name: str, card: Card, held: Ids, missing: str) -> Case:
    found = Pairs(
        columns["item_id"], columns["item_id_2"], _scores(columns, name),
        tuple(columns["text"]), tuple(columns["text_2"]), _score_texts(columns),
    )  # fmt: skip
    lacking = lacking_texts([Words(found.left, found.left_texts), Words(found.right, found.right_texts)], held)
    if not lacking:
        return Case({"pairs": found}, {"dataset": name})
    n = len(np.union1d(found.left, found.right))
    said = lacking_said(card, lacking, f"of the {n} texts of {name}", name)
    if missing == "error":
        raise NotStoredError(f"{said} {remedy([name], lacking, card)}")
    n_used = int((np.isin(found.left, held) & np.isin(found.right, held)).sum())
    return Case({"pairs": found}, {"dataset": name}, (f"{said} {n_used} of {len(found.left)} pairs can be used.",))


def _score_texts(columns: Columns) -> tuple[str, ...] | None:
    """Return the scores as the strings of the dataset's file; None if the dataset does not store them."""
    texts = columns.get("score_text")
    return None if texts is None else tuple(text or "" for text in texts)


def _scores(columns: Columns, name: str) -> NDArray[np.float64]:
    return _numbers(columns, name, None, ("score",))


def _numbers(columns: Columns, name: str, wanted: str | None, usual: Sequence[str]) -> NDArray[np.float64]:
    """Return a column as float64: the wanted one, else the first usual one that is there, else the only numeric one."""
    numeric = [key for key, column in columns.items() if column.dtype.kind in "if" and not key.startswith("item_id")]
    if wanted is not None and wanted not in numeric:
        raise UnknownNameError(f"column of numbers of {name}", wanted, numeric)
    chosen = wanted or next((key for key in usual if key in numeric), None)
    if chosen is None and len(numeric) != 1:
        held = f"several columns of numbers: {', '.join(numeric)}. Say which with --value" if numeric else "none"
        raise QueryError(f"{name!r} must have a column of numbers, and has {held}.")
    return columns[chosen or numeric[0]].astype(np.float64)
