"""Load the inputs of a metric other than vectors, and report the texts missing from a space."""

import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import NotStoredError, QueryError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.base.text import Item, item_id
from embstore.metrics import Metric
from embstore.metrics.data import (
    Analogies,
    Contexts,
    Ids,
    ItemColumn,
    ItemLabels,
    Lexicon,
    Pairs,
    Words,
)
from embstore.query.grouping import (
    NUMBERS,
    Grouping,
    divide,
    item_column_types,
    item_groups,
    parse_grouping,
    read_column,
)
from embstore.query.missing import (
    build_command,
    embed_command,
    find_missing,
    missing_note,
    model_argument,
    quoted_list,
    remedy,
)
from embstore.query.request import SETS, STDIN, Case, as_given, is_file, read_texts
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.item_lookup import GroupBy, group_occurrences, spellings

PAIR_KINDS = ("word pairs", "sentence pairs", "occurrence pairs")

# Kind of a dataset → the metric that it is for, with its option; and what it is.
_METRICS = {
    "pairs": "embstore query similarity --dataset {}",
    "analogies": "embstore query analogies --dataset {}",
    "lexicon": "embstore query valnorm --lexicon {}",
}
_KINDS = {
    "pairs": "a dataset of pairs (two texts and a score in each row)",
    "analogies": "a dataset of analogies (four words in each row)",
    "lexicon": "a lexicon",
    "list": "a list of words",
}
_MANY_MISSING = (
    0.2  # share of the words of a set above which WEFE (Badilla et al. 2020) gives no value
)

if TYPE_CHECKING:
    from embstore.sources.own import DatasetFile

Columns = Mapping[str, NDArray[Any]]


def pairs(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return a set of inputs for each dataset of pairs."""
    names = tuple(dict.fromkeys(values["dataset"]))
    datasets = _named_pairs(catalog, card, names) if names else _stored_pairs(catalog, card)
    stored = catalog.ids(card.space)
    cases = [
        _pairs(columns, name, card, stored, values.get("missing", "skip"))
        for name, columns in datasets.items()
    ]
    sides = [
        [np.isin(each[key], stored) for key in ("item_id", "item_id_2")]
        for each in datasets.values()
    ]
    if not any((left & right).any() for left, right in sides):
        command = build_command([*datasets], card)
        raise QueryError(
            f"{card.space} has no pair of {', '.join(datasets)}. Embed them: {command}"
        )
    return cases


def lexicons(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the inputs from a lexicon and attribute words."""
    name = values["lexicon"]
    columns = _of_unit(catalog, card, name, "lexicon")
    if isinstance(columns, QueryError):
        raise columns
    words = Words(columns["item_id"], tuple(columns["text"]))
    value = _column_of_numbers(columns, name, "valence", values["value"])
    lexicon = Lexicon(words, columns[value].astype(np.float64))
    stored = catalog.ids(card.space)
    missing = find_missing([lexicon.words], stored)
    n = len(np.unique(lexicon.words.ids))
    notes = (
        [missing_note(card, missing, f"of the {n} {card.unit}s of {name}", name)] if missing else []
    )
    sets = {
        key: read_words(values[key], key, card.unit)
        for key in ("pleasant", "unpleasant")
        if key in values
    }
    notes += [note for word_set in sets.values() for note in word_set.notes]
    notes += check_stored(card, sets.values(), stored, values.get("missing", "error"))
    inputs = {"lexicon": lexicon} | {key: word_set.words for key, word_set in sets.items()}
    return [Case(inputs, {"lexicon": name}, tuple(notes), used={"value": value})]


def check_all_used(
    catalog: Catalog, cards: Sequence[Card], names: Iterable[str], used: Collection[str]
) -> None:
    """Raise QueryError if a requested dataset was used for none of the spaces, with the reason for
    the first one.
    """
    for name in names:
        if name not in used:
            for card in cards:
                _named_pairs(catalog, card, [name])


def _named_pairs(catalog: Catalog, card: Card, names: Sequence[str]) -> dict[str, Columns]:
    """Return name → columns of the named datasets that are stored for a space's unit; raise
    QueryError if none is.
    """
    found = {name: _of_unit(catalog, card, name, "pairs") for name in names}
    datasets = {
        name: columns for name, columns in found.items() if not isinstance(columns, QueryError)
    }
    refused = [error for error in found.values() if isinstance(error, QueryError)]
    if not datasets:
        raise refused[0]
    return datasets


def _of_unit(catalog: Catalog, card: Card, name: str, wanted: str) -> Columns | QueryError:
    """Return the columns of a dataset for a space's unit, or why there are none; raise if it is of
    another kind.

    The kind is checked before the unit: a lexicon of another unit is refused as a lexicon.
    """
    from embstore.sources.datasets import find_dataset
    from embstore.sources.own import find_file

    file = None
    if name not in catalog.dataset_names and find_dataset(name) is None:
        file = find_file(name)
    if file is not None:
        return _columns_of_file(file, card.unit, wanted)
    check_known(catalog, name)
    refused: list[QueryError] = []
    for unit in (card.unit, *Unit):
        try:
            columns = catalog.dataset(name, unit)
            break
        except QueryError as error:
            refused.append(error)
    else:
        if (known := find_dataset(name)) is not None:
            _check_kind(name, known.kind.split()[-1], wanted)
        raise refused[0]
    is_analogies = {"item_id_4", "answers"} <= columns.keys()
    _check_kind(
        name,
        "analogies" if is_analogies else "pairs" if "item_id_2" in columns else "lexicon",
        wanted,
    )
    return refused[0] if refused else columns


def _columns_of_file(file: "DatasetFile", unit: Unit, kind: str) -> Columns:
    """Return the rows of a user's file as columns, as those of a stored dataset."""
    columns: dict[str, list[Any]] = {}
    for row in file.rows(unit, kind):
        items = [(item_id(unit, text), text) for text in row.texts[:4]]
        if unit is Unit.OCCURRENCE:
            found = map(Item.occurrence, row.texts, row.spans)
            items = [(item.id, item.shown) for item in found]
        values = dict(row.values)
        for (item, text), suffix in zip(items, ("", "_2", "_3", "_4"), strict=False):
            values |= {f"item_id{suffix}": item, f"text{suffix}": text}
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    if not columns:
        raise QueryError(f"{file.path} has no rows. Give a file with at least one.")
    return {
        name: np.array(values, object if isinstance(values[0], str) else None)
        for name, values in columns.items()
    }


def _check_kind(name: str, kind: str, wanted: str) -> None:
    """Raise QueryError for a dataset of another kind than the wanted one, with the metric that it
    is for.
    """
    if kind != wanted:
        metric = _METRICS.get(kind, "").format(name)
        remedy = f"Query it with: {metric}" if metric else "Datasets by kind: embstore datasets"
        raise QueryError(f"{name!r} is {_KINDS[kind]}, not {_KINDS[wanted]}. {remedy}")


def check_known(catalog: Catalog, name: str) -> None:
    """Raise UnknownNameError for a dataset that is neither stored nor known by name, which no build
    can add.
    """
    from embstore.sources.datasets import find_dataset, known_datasets

    stored = catalog.dataset_names
    if name not in stored and find_dataset(name) is None:
        hint = "A file of your own is given by its path, as in pairs.csv."
        raise UnknownNameError("dataset", name, dict.fromkeys([*stored, *known_datasets()]), hint)


def _stored_pairs(catalog: Catalog, card: Card) -> dict[str, Columns]:
    """Return name → columns of all datasets of pairs that are stored for a space's unit; QueryError
    if none.
    """
    datasets: dict[str, Columns] = {}
    for name in catalog.datasets(PAIR_KINDS):
        with suppress(QueryError):  # it is stored for another unit
            datasets[name] = catalog.dataset(name, card.unit)
    if not datasets and card.unit is Unit.OCCURRENCE:
        raise QueryError(
            "the store holds no dataset of pairs of occurrences. Give a file of sentences with"
            " their targets in brackets and the score, as in pairs.csv."
        )
    if not datasets:
        name = "stsb" if card.unit is Unit.SENTENCE else "rg65"
        remedy = f"Embed one with: {build_command([name], card)}"
        if card.imported is not None:
            remedy = f"Store one with: embstore datasets store {name}"
        raise QueryError(
            f"the store holds no dataset of pairs for the unit {card.unit.value}. {remedy}"
        )
    return datasets


def _pairs(columns: Columns, name: str, card: Card, stored: Ids, if_missing: str) -> Case:
    """Return the inputs from one dataset of pairs; ``stored`` are the item ids of the space."""
    dataset = Pairs(
        columns["item_id"],
        columns["item_id_2"],
        _numbers(columns, name, "score"),
        tuple(columns["text"]),
        tuple(columns["text_2"]),
    )
    left, right = Words(dataset.left, dataset.left_texts), Words(dataset.right, dataset.right_texts)
    missing = find_missing([left, right], stored)
    if not missing:
        return Case({"pairs": dataset}, {"dataset": name})
    n = len(np.union1d(left.ids, right.ids))
    note = missing_note(card, missing, f"of the {n} texts of {name}", name)
    if if_missing == "error":
        raise NotStoredError(f"{note} {remedy([name], missing, card)}")
    n_used = int((np.isin(left.ids, stored) & np.isin(right.ids, stored)).sum())
    return Case(
        {"pairs": dataset},
        {"dataset": name},
        (f"{note} {n_used} of {len(left.ids)} pairs can be used.",),
    )


def _numbers(columns: Columns, name: str, usual: str) -> NDArray[np.float64]:
    """Return the usual column as float64, else the only numeric one."""
    return columns[_column_of_numbers(columns, name, usual)].astype(np.float64)


def _column_of_numbers(
    columns: Columns, name: str, usual: str, requested: str | None = None
) -> str:
    """Return the name of a column of numbers: the requested one, else the usual one, else the only
    numeric one.
    """
    numeric = [
        key
        for key, column in columns.items()
        if column.dtype.kind in "if" and not key.startswith("item_id")
    ]
    if requested is not None and requested not in numeric:
        raise UnknownNameError(f"column of numbers of {name}", requested, numeric)
    chosen = requested or (usual if usual in numeric else None)
    if chosen is None and len(numeric) != 1:
        numbers = (
            f"several columns of numbers: {', '.join(numeric)}. Say which with `value`"
            if numeric
            else "none"
        )
        raise QueryError(f"{name!r} must have a column of numbers, and has {numbers}.")
    return chosen or numeric[0]


_SEPARATOR = "\t"  # of the column ``answers``; see :mod:`embstore.sources.own`


def analogies(
    metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]
) -> list[Case]:
    """Return a set of inputs for each dataset of analogies."""
    names = tuple(dict.fromkeys(values["dataset"])) or tuple(catalog.datasets(("analogies",)))
    if not names:
        raise QueryError(
            "the store holds no dataset of analogies. Give Google's questions-words.txt, or the"
            " folder of BATS, by its path."
        )
    if values["case"] == "ignore":
        catalog.check_texts(card.space)  # a word without its text would be left out silently
    return [_case(catalog, card, name, values) for name in names]


def _case(catalog: Catalog, card: Card, name: str, values: Mapping[str, Any]) -> Case:
    """Return the inputs from one dataset."""
    columns = _of_unit(catalog, card, name, "analogies")
    if isinstance(columns, QueryError):
        raise columns
    loaded = _load(catalog, card, columns, ignore_case=values["case"] == "ignore")
    stored_groups = loaded.spelled_groups[np.isin(loaded.spelled_ids, catalog.ids(card.space))]
    stored = np.isin(np.arange(int(loaded.groups.max()) + 1), stored_groups)
    has_word = stored[loaded.groups]
    inputs, keys = {"analogies": loaded}, {"dataset": name}
    missing = [
        text
        for text, is_there in zip(loaded.words.texts, has_word.tolist(), strict=True)
        if not is_there
    ]
    if not missing:
        return Case(inputs, keys)
    note = missing_note(card, missing, f"of the {len(has_word)} words of {name}", name)
    has_answer = np.logical_or.reduceat(has_word[loaded.answers], loaded.answer_starts[:-1])
    n_used = int((has_word[loaded.questions].all(axis=1) & has_answer).sum())
    if values.get("missing") == "error" and n_used < len(has_answer):
        raise NotStoredError(f"{note} {remedy([name], missing, card)}")
    return Case(inputs, keys, (f"{note} {n_used:,} of {len(has_answer):,} questions can be used.",))


def _load(
    catalog: Catalog, card: Card, columns: Mapping[str, NDArray[Any]], *, ignore_case: bool
) -> Analogies:
    """Return the questions of a dataset, with the stored items of its words, of any case if
    requested.
    """
    places: dict[str, int] = {}
    sides = [columns[f"text{suffix}"].tolist() for suffix in ("", "_2", "_3")]
    questions = np.array(
        [[places.setdefault(text, len(places)) for text in side] for side in sides], np.int64
    ).T
    answers = [str(cell).split(_SEPARATOR) for cell in columns["answers"].tolist()]
    answer_places = [places.setdefault(text, len(places)) for texts in answers for text in texts]
    sections: dict[str, int] = {}
    numbers = [
        sections.setdefault(str(name), len(sections)) for name in columns["section"].tolist()
    ]
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
        words,
        groups,
        spelled[order],
        spelled_groups[order],
        questions,
        np.array(answer_places, np.int64),
        np.cumsum([0, *map(len, answers)]),
        np.array(numbers, np.int64),
        tuple(sections),
    )


_PLEASANT, _UNPLEASANT = ("a", "pleasant"), ("b", "unpleasant")


class WordSet(NamedTuple):
    """A set of words."""

    words: Words
    source: str | None
    name: str
    notes: tuple[str, ...]


def word_sets(
    metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]
) -> list[Case]:
    """Return the inputs from word sets."""
    set_values = {key: as_given(values[key]) for key in SETS if key in values}
    if single := values.get("word"):
        set_values["words"] = [
            *single,
            *(read_texts(given, SETS["words"]) if (given := set_values["words"]) else ()),
        ]
    if empty := [
        key for key, value in set_values.items() if not value and key not in _PLEASANT + _UNPLEASANT
    ]:
        wanted = {
            "words": "target words: word='WORD' or words='WORDS'",
            "x": "target words: x='WORDS' and y='WORDS'",
        }
        needed = wanted.get(
            empty[0].replace("y", "x"), "words: positive='WORDS' and negative='WORDS'"
        )
        raise UsageError(
            f"{metric.name} needs {needed}, with commas, as in rose,tulip, or a file with one a"
            " line."
        )
    if card.unit is Unit.OCCURRENCE and metric.needs != "word contexts":
        raise QueryError(
            f"{card.space}: a word has many vectors there. Choose a space of words: unit='word'"
        )
    if sum(isinstance(value, str) and value == STDIN for value in set_values.values()) > 1:
        raise UsageError(
            f"{metric.name}: standard input (-) is one set of words. Give the others as files or"
            " words."
        )
    sets = {key: read_words(value, key, card.unit) for key, value in set_values.items()}
    notes = [note for word_set in sets.values() for note in word_set.notes]
    for first, second in (("x", "y"), ("a", "b")):
        if first in sets and (both := set(sets[first].words.texts) & set(sets[second].words.texts)):
            notes.append(
                f"{quoted_list(sorted(both))}: in both {first.upper()} and {second.upper()}."
            )
    inputs: dict[str, Any] = {key: word_set.words for key, word_set in sets.items()}
    stored = catalog.ids(card.space)
    if metric.needs == "word contexts":
        ids = {
            text: item
            for words in inputs.values()
            for text, item in zip(words.texts, words.ids, strict=True)
        }
        inputs["contexts"] = found = Contexts(
            *group_occurrences(catalog, card.space, "word", [*ids])
        )
        stored = np.array([ids[found.names[group]] for group in np.unique(found.groups)], np.int64)
    notes += check_stored(card, sets.values(), stored, values.get("missing", "error"))
    return [Case(inputs, {}, tuple(notes))]


def read_words(value: Any, key: str, unit: Unit) -> WordSet:
    """Return a set of words, each once."""
    source = os.fspath(value) if is_file(value) else None
    if value is not None:
        texts = read_texts(value, SETS[key])
    else:
        from embstore.sources.datasets import PLEASANT, UNPLEASANT

        texts = PLEASANT if key in _PLEASANT else UNPLEASANT
    distinct = tuple(dict.fromkeys(texts))
    name = SETS[key] + (f" ({source})" if source else "")
    repeated = sorted({text for text in distinct if texts.count(text) > 1})
    notes = (
        (f"{name}: {quoted_list(repeated)} more than once, which counts once.",) if repeated else ()
    )
    if not distinct:
        raise UsageError(f"{name}: there is no word. Give at least one.")
    return WordSet(
        Words(np.array([item_id(unit, text) for text in distinct], np.int64), distinct),
        source,
        name,
        notes,
    )


def check_stored(card: Card, sets: Iterable[WordSet], stored: Ids, if_missing: str) -> list[str]:
    """Return a note for each set of which a space is missing words."""
    sets = list(sets)
    incomplete = [
        (word_set, missing)
        for word_set in sets
        if (missing := find_missing([word_set.words], stored))
    ]
    notes = [
        missing_note(card, missing, f"of the {len(each.words.texts)} {each.name}", each.source)
        for each, missing in incomplete
    ]
    n_missing = [len(missing) for _, missing in incomplete]
    if n_missing == [len(word_set.words.texts) for word_set in sets]:
        raise QueryError(
            f"{card.space} holds none of the {sum(n_missing)} words of the sets. Embed them: "
            f"{embed_command(*_sources(incomplete), card)}; or choose other spaces."
        )
    if incomplete and if_missing == "error":
        raise NotStoredError(" ".join([*notes, remedy(*_sources(incomplete), card)]))
    few = [
        each.name
        for each, missing in incomplete
        if len(missing) > _MANY_MISSING * len(each.words.texts)
    ]
    many = "are missing: WEFE gives no value then."
    return notes + [f"{card.space}: more than 20 % of the {name} {many}" for name in few]


def _sources(
    incomplete: Sequence[tuple[WordSet, tuple[str, ...]]],
) -> tuple[list[str], tuple[str, ...]]:
    """Return the files of the sets with missing words, empty unless all are from files; and the
    missing words.
    """
    sources = [word_set.source for word_set, _ in incomplete if word_set.source]
    missing = tuple(dict.fromkeys(text for _, texts in incomplete for text in texts))
    return sources if len(sources) == len(incomplete) else [], missing


def item_column(
    metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]
) -> list[Case]:
    """Return the inputs from a column of numbers of a space's items."""
    name = values["column"]
    column = read_column(catalog, card.space, name, catalog.ids(card.space))
    if column.kind not in NUMBERS:
        known = [
            each for each, kind in item_column_types(catalog, card.space).items() if kind in NUMBERS
        ]
        numeric = (
            f"Columns of numbers: {', '.join(known)}."
            if known
            else "The items have no column of numbers."
        )
        kind = "text" if column.kind == "string" else "true and false"
        raise UsageError(
            f"{metric.name} needs a column of numbers, and {name!r} has {kind}. {numeric}"
        )
    ids = catalog.ids(card.space)[~column.is_null]
    inputs: dict[str, Any] = {
        "column": ItemColumn(ids, column.values[~column.is_null].astype(np.float64))
    }
    if values.get("value") == "self-similarity":
        if card.unit is not Unit.OCCURRENCE:
            raise QueryError(
                f"self-similarity is of the occurrences of a word, and {card.space} is a space of"
                f" {card.unit}s. Choose another `value`, or make occurrences with: embstore build"
                " SOURCE --unit occurrence"
            )
        inputs["contexts"] = Contexts(*group_occurrences(catalog, card.space, "word"))
    poles = [name for name in ("positive", "negative") if values.get(name) is not None]
    if poles and values["value"] != "axis":
        raise UsageError(f"`{poles[0]}` is a pole of an axis: add value='axis', or leave it out.")
    if values.get("value") == "axis":
        [case] = word_sets(metric, catalog, card, {**values, "missing": "error"})
        inputs |= case.inputs
    return [Case(inputs, {"column": name})]


def item_labels(
    metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]
) -> list[Case]:
    """Return the inputs from a column of a space's items whose values, or intervals of them, are
    classes.
    """
    name, bins, ids = values["label"], values["label_bins"], catalog.ids(card.space)
    is_probe, kind = metric.name == "probe", item_column_types(catalog, card.space).get(name)
    if bins is not None and kind is not None and kind not in NUMBERS:
        raise UsageError(
            f"`label_bins` is for columns of numbers, and {name!r} has none: leave it out."
        )
    if bins is None and kind in NUMBERS:
        if not is_probe:
            raise UsageError(
                f"{metric.name} needs classes, and {name!r} has numbers. Cut it: label_bins=4"
            )
        column = read_column(catalog, card.space, name, ids)
        is_given = ~column.is_null & np.isfinite(column.values)
        kept = ids[is_given]
        labels = ItemLabels(
            kept, np.zeros(len(kept), np.int64), (), column.values[is_given].astype(np.float64)
        )
    else:
        groups = divide(
            catalog, card.space, parse_grouping(name, bins, "label_bins") or Grouping(name), ids
        )
        classes = [group for group in groups.members if group.name is not None]
        numbers = np.repeat(np.arange(len(classes)), [len(group.ids) for group in classes])
        labelled = np.concatenate([np.empty(0, np.int64), *(group.ids for group in classes)])
        order = np.argsort(labelled)
        labels = ItemLabels(
            labelled[order], numbers[order], tuple(str(group.name) for group in classes)
        )
    columns = {"label": name}
    if is_probe:
        types = item_groups(catalog, card, labels.ids, None, "folded word")
        labels = replace(
            labels, groups=item_groups(catalog, card, labels.ids, values["group"]), types=types
        )
        columns["grouped_by"] = values["group"] or (
            "sentence" if card.unit is Unit.OCCURRENCE else None
        )
    return [Case({"labels": labels}, columns)]


def contexts(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the inputs from a space of occurrences, grouped by word or sentence."""
    by: GroupBy = "folded word" if values.get("fold_case") else "word"
    if "per_sentence" in values:
        by = "sentence"
    words = values.get("word", ())
    occurrences = Contexts(*group_occurrences(catalog, card.space, by, words))
    missing = np.flatnonzero(np.bincount(occurrences.groups, minlength=len(occurrences.names)) == 0)
    if len(missing):
        raise _not_stored(
            catalog, card.space, occurrences.names[missing[0]], folded=by == "folded word"
        )
    if (name := values.get("sentence_space")) is None:
        requested = {"word": tuple(words)} if metric.compares_groups else {}
        return [Case({"contexts": occurrences, **requested})]
    return [_with_sentences(occurrences, catalog, card, _sentence_space(catalog, card, name))]


def _sentence_space(catalog: Catalog, card: Card, name: str) -> Card:
    """Return the card of a space of sentences; raise unless its vectors are comparable with those
    of ``card``.
    """
    words = [
        "embstore",
        "build",
        "SOURCE",
        "--unit",
        "sentence",
        "--pooling",
        "mean",
        "--model",
        model_argument(card),
    ]
    command = shlex.join(words)
    if name not in catalog.cards:
        known = [each.space for each in catalog.cards.values() if each.unit is Unit.SENTENCE]
        raise UnknownNameError("space", name, known, f"Make one with: {command}")
    sentences = catalog.cards[name]
    if sentences.unit is not Unit.SENTENCE:
        raise QueryError(
            f"{name} is a space of {sentences.unit}s, not of sentences. Make one with: {command}"
        )
    if sentences.fingerprint != card.fingerprint:
        raise QueryError(
            f"{name} is of another checkpoint ({sentences.checkpoint_at_revision}) than"
            f" {card.space} ({card.checkpoint_at_revision}): a cosine between their vectors says"
            f" nothing. Make a space of sentences with: {command}; or choose other occurrences with"
            " `spaces`."
        )
    if sentences.dim != card.dim:
        raise QueryError(
            f"the vectors of {name} (pooling {sentences.pooling}) have {sentences.dim} dimensions,"
            f" and those of {card.space} {card.dim}. Make a space of sentences with: {command}"
        )
    return sentences


def _with_sentences(occurrences: Contexts, catalog: Catalog, card: Card, sentences: Card) -> Case:
    """Return the inputs from occurrences grouped by sentence, with the sentences' vectors of
    another space.
    """
    ids = np.array([item_id(Unit.SENTENCE, name) for name in occurrences.names], np.int64)
    n_missing = int(np.count_nonzero(~np.isin(ids, catalog.ids(sentences.space))))
    missing_note = (
        f"{sentences.space} lacks {n_missing} of the {len(ids)} sentences of {card.space}. Embed"
        " them: "
    )
    missing_note += build_command(["SOURCE"], sentences)
    if n_missing and n_missing == len(ids):
        raise QueryError(missing_note)
    note = f"{card.space}: the vectors of its sentences are those of {sentences.space}."
    notes = (note, missing_note) if n_missing else (note,)
    return Case(
        {"contexts": replace(occurrences, group_ids=ids)},
        notes=notes,
        sentence_space=sentences.space,
    )


def _not_stored(catalog: Catalog, space: str, word: str, *, folded: bool) -> NotStoredError:
    """Return the error for a word without occurrences, with the nearest stored words."""
    near = catalog.nearest_texts(word, [space])
    nearest = f" Nearest stored words: {', '.join(map(repr, near))}." if near else ""
    case = "" if folded else " To take words that differ only in case for one: fold_case=True."
    return NotStoredError(
        f"{word!r} has no occurrence in {space}.{nearest}{case} To add it, build a source that has"
        " it in its sentences: embstore build SOURCE --unit occurrence"
    )


LOADERS: Mapping[str, Callable[[Metric, Catalog, Card, Mapping[str, Any]], list[Case]]] = {
    "pairs": pairs, "lexicon": lexicons, "analogies": analogies, "word sets": word_sets,
    "word contexts": word_sets,
    "contexts": contexts, "column": item_column, "labels": item_labels,
}  # fmt: skip
"""What a metric needs → the function that returns its sets of inputs for a space."""
