"""Datasets and lists of words, joined with the items of a store."""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.case import Case
from embstore.errors import NotStoredError, QueryError, UnknownNameError, UsageError
from embstore.metrics import Metric
from embstore.metrics.data import Ids, Lexicon, Pairs, Words
from embstore.space import Pooling, Unit
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.text import item_id

PAIR_KINDS = ("word pairs", "sentence pairs")
# The parameters that are lists of words, or files of them, and what messages call them.
SETS = {
    "x": "words of X", "y": "words of Y", "a": "words of A", "b": "words of B", "words": "target words",
    "pleasant": "pleasant words", "unpleasant": "unpleasant words",
}  # fmt: skip
_PLEASANT, _UNPLEASANT = ("a", "pleasant"), ("b", "unpleasant")
_MOST_NAMED = 30

Columns = Mapping[str, NDArray[Any]]


def pairs(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return a case for each dataset of pairs.

    Args:
        metric: what is computed.
        catalog: the store.
        card: of the space.
        values: ``dataset``, the names (none: all of the space's unit); ``missing``, ``skip`` or ``error``.

    Raises:
        QueryError: the store lacks a dataset for the space's unit, or has none.
        NotStoredError: the space lacks a text, and ``missing`` is ``error``.
    """
    names = tuple(dict.fromkeys(values["dataset"]))
    found = {name: catalog.dataset(name, card.unit) for name in names} or _stored_pairs(catalog, card)
    held = catalog.ids(card.space)
    return [_pairs(columns, name, card, held, values["missing"]) for name, columns in found.items()]


def lexicons(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the case of a lexicon and its attribute words.

    Args:
        metric: what is computed.
        catalog: the store.
        card: of the space.
        values: ``lexicon``, its name; ``value``, its column (None: the obvious one); ``pleasant`` and ``unpleasant``,
            files of words or lists of them (None: the paper's); ``missing``, of attribute words: ``skip`` or ``error``.

    Raises:
        QueryError: the store lacks the lexicon for the space's unit, or it is none; or the space lacks all attribute
            words.
        UnknownNameError: the lexicon has no such column.
        NotStoredError: the space lacks an attribute word, and ``missing`` is ``error``.
    """
    name = values["lexicon"]
    columns = catalog.dataset(name, card.unit)
    if "item_id_2" in columns:
        raise QueryError(
            f"{name!r} is a dataset of pairs, not a lexicon. For pairs: embstore query similarity --dataset {name}"
        )
    lexicon = Lexicon(
        Words(columns["item_id"], tuple(columns["text"])),
        _numbers(columns, name, values["value"], ("valence",)),
    )
    held = catalog.ids(card.space)
    lacking = _lacking([lexicon.words], held)
    n = len(np.unique(lexicon.words.ids))
    notes = [_said(card, lacking, f"of the {n} words of {name}")] if lacking else []
    sets = {key: _read_words(values[key], key, card.unit) for key in ("pleasant", "unpleasant")}
    notes += [note for one in sets.values() for note in one.notes]
    notes += _check_held(card, sets.values(), held, values["missing"])
    inputs = {"lexicon": lexicon} | {key: one.words for key, one in sets.items()}
    return [Case(inputs, {"lexicon": name}, tuple(notes))]


def word_sets(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the case of the word sets.

    Args:
        metric: what is computed, with the parameters ``x``, ``y``, ``a``, ``b``, or ``word``, ``words``, ``a``, ``b``.
        catalog: the store.
        card: of the space.
        values: of these: files of words, or lists of them (``a`` and ``b`` None: the paper's attribute words); and
            ``missing``: ``skip`` or ``error``.

    Raises:
        UsageError: target words are not given.
        NotStoredError: the space lacks a word, and ``missing`` is ``error``.
        QueryError: it lacks all of them.
    """
    given = {key: values[key] for key in SETS if key in values}
    if single := values.get("word"):
        given["words"] = [*single, *(_texts(given["words"]) if given["words"] else ())]
    if lacking := [key for key, value in given.items() if not value and key not in _PLEASANT + _UNPLEASANT]:
        options = {"x": "-x FILE and -y FILE", "y": "-x FILE and -y FILE", "words": "--word WORD or --words FILE"}
        raise UsageError(f"{metric.name} needs target words: {options[lacking[0]]}, one word a line.")
    sets = {key: _read_words(value, key, card.unit) for key, value in given.items()}
    notes = [note for one in sets.values() for note in one.notes]
    for first, second in (("x", "y"), ("a", "b")):
        if first in sets and (both := set(sets[first].words.texts) & set(sets[second].words.texts)):
            notes.append(f"{_listed(sorted(both))}: in both {first.upper()} and {second.upper()}.")
    notes += _check_held(card, sets.values(), catalog.ids(card.space), values["missing"])
    return [Case({key: one.words for key, one in sets.items()}, {}, tuple(notes))]


@dataclass(frozen=True, slots=True)
class _Set:
    """A word set, where it is from (None: given word by word), how messages call it, and what must be said of it."""

    words: Words
    source: str | None
    name: str
    notes: tuple[str, ...]


def _stored_pairs(catalog: Catalog, card: Card) -> dict[str, Columns]:
    found: dict[str, Columns] = {}
    for name in catalog.datasets(PAIR_KINDS):
        with suppress(QueryError):  # it is stored for another unit
            found[name] = catalog.dataset(name, card.unit)
    if not found:
        raise QueryError(
            f"the store holds no dataset of pairs for the unit {card.unit.value}. Embed one with: "
            f"{_build(['stsb' if card.unit is Unit.SENTENCE else 'rg65'], card)}"
        )
    return found


def _pairs(columns: Columns, name: str, card: Card, held: Ids, missing: str) -> Case:
    if "item_id_2" not in columns:
        raise QueryError(
            f"{name!r} is not a dataset of pairs. Those have two texts and a score in each row. For a lexicon: "
            f"embstore query valnorm --lexicon {name}"
        )
    found = Pairs(
        columns["item_id"], columns["item_id_2"], _numbers(columns, name, None, ("score",)),
        tuple(columns["text"]), tuple(columns["text_2"]), _score_texts(columns),
    )  # fmt: skip
    lacking = _lacking([Words(found.left, found.left_texts), Words(found.right, found.right_texts)], held)
    if not lacking:
        return Case({"pairs": found}, {"dataset": name})
    n = len(np.union1d(found.left, found.right))
    said = _said(card, lacking, f"of the {n} texts of {name}")
    if missing == "error":
        raise NotStoredError(f"{said} {_remedy([name], lacking, card)}")
    n_used = int((np.isin(found.left, held) & np.isin(found.right, held)).sum())
    return Case({"pairs": found}, {"dataset": name}, (f"{said} {n_used} of {len(found.left)} pairs can be used.",))


def _score_texts(columns: Columns) -> tuple[str, ...] | None:
    """Return the scores as they stand in the dataset's file, empty where there is none."""
    texts = columns.get("score_text")
    return None if texts is None else tuple(text or "" for text in texts)


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


def _read_words(value: Any, key: str, unit: Unit) -> _Set:
    """Return the words of a file, of a list, or the default ones, each once."""
    source = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    texts = _attribute_words(key) if value is None else _texts(value)
    once = tuple(dict.fromkeys(texts))
    name = SETS[key] + (f" ({source})" if source else "")
    repeated = sorted({text for text in once if texts.count(text) > 1})
    notes = (f"{name}: {_listed(repeated)} more than once, which counts once.",) if repeated else ()
    if not once:
        raise UsageError(f"{name}: there is no word. Give at least one.")
    return _Set(Words(np.array([item_id(unit, text) for text in once], np.int64), once), source, name, notes)


def _attribute_words(key: str) -> tuple[str, ...]:
    from embstore.sources.attributes import PLEASANT, UNPLEASANT

    return PLEASANT if key in _PLEASANT else UNPLEASANT


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, str | os.PathLike):
        return tuple(value)
    from embstore.sources import Row, open_source

    return tuple(row.text for row in open_source(os.fspath(value)).rows() if isinstance(row, Row))


def _check_held(card: Card, sets: Iterable[_Set], held: Ids, missing: str) -> list[str]:
    """Return a note for each set of which the space lacks words; or raise NotStoredError that names those of all.

    A space that holds no word of any set raises QueryError: it is left out where another space has some.
    """
    sets = list(sets)
    found = [(one, lacking) for one in sets if (lacking := _lacking([one.words], held))]
    notes = [_said(card, lacking, f"of the {len(one.words.texts)} {one.name}") for one, lacking in found]
    n_lacking = [len(lacking) for _, lacking in found]
    if n_lacking == [len(one.words.texts) for one in sets]:
        command = _build([one.source for one in sets if one.source] or ["FILE"], card)
        raise QueryError(
            f"{card.space} holds none of the {sum(n_lacking)} words of the sets. Embed them: {command}; or choose "
            "other spaces with --space."
        )
    if found and missing == "error":
        lacking = tuple(dict.fromkeys(text for _, texts in found for text in texts))
        sources = [one.source for one, _ in found if one.source]
        raise NotStoredError(" ".join([*notes, _remedy(sources if len(sources) == len(found) else [], lacking, card)]))
    return notes


def _lacking(sides: Sequence[Words], held: Ids) -> tuple[str, ...]:
    """Return the texts that the space does not hold, each once."""
    return tuple(
        dict.fromkeys(one.texts[place] for one in sides for place in np.flatnonzero(~np.isin(one.ids, held)).tolist())
    )


def _said(card: Card, lacking: Sequence[str], of: str) -> str:
    return f"{card.space} lacks {len(lacking)} {of}: {_listed(lacking)}."


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(map(repr, texts[:_MOST_NAMED])) + more


def _remedy(sources: Sequence[str], lacking: Sequence[str], card: Card) -> str:
    command = _build(sources or ["FILE"], card)
    if not sources and len(lacking) <= _MOST_NAMED:
        command = f"printf '%s\\n' {shlex.join(lacking)} | {_build(['-'], card)}"
    return f"Embed what is missing: {command}; go on without it: --missing skip; or choose other spaces with --space."


def _build(sources: Sequence[str], card: Card) -> str:
    """Return the command that embeds sources into a space."""
    parts = ["embstore", "build", *sources, "--model", card.model]
    if card.unit is not Unit.WORD:
        parts += ["--unit", card.unit.value]
    if card.pooling is not Pooling.LAST:
        parts += ["--pooling", card.pooling.value]
    if card.template.pattern != "{text}":
        parts += ["--template", card.template.pattern]
    return shlex.join(parts)
