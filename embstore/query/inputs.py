"""Load the inputs of a metric other than vectors, and name the texts that a space lacks."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Mask
from embstore.base.errors import (
    NotStoredError,
    QueryError,
    SourceError,
    UnknownNameError,
    UsageError,
)
from embstore.base.messages import first_of
from embstore.base.space import Unit
from embstore.base.text import Item, item_id
from embstore.metrics.data import (
    Analogies,
    Contexts,
    Ids,
    ItemColumn,
    ItemLabels,
    Lexicon,
    Pairs,
    TokenOrder,
    Words,
)
from embstore.query.compute import MetricInputs
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
    remedy,
)
from embstore.query.request import MetricRequest
from embstore.query.words import WordList
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.item_lookup import GroupBy, group_occurrences, spellings, token_order

if TYPE_CHECKING:
    from embstore.sources.own import DatasetFile

_PAIR_KINDS = ("word pairs", "sentence pairs", "occurrence pairs")
# Kind of a dataset → what it is, and the command that queries it.
_KINDS = {
    "pairs": ("a dataset of pairs", "embstore query similarity --dataset"),
    "analogies": ("a dataset of analogies", "embstore query analogies --dataset"),
    "lexicon": ("a lexicon", "embstore query valnorm --lexicon"),
    "list": ("a list of words", "embstore query METRIC --words"),
}
_SEPARATOR = "\t"  # of the column ``answers``; see :mod:`embstore.sources.own`

Columns = Mapping[str, NDArray[Any]]


def pairs(catalog: Catalog, request: MetricRequest, card: Card) -> list[MetricInputs]:
    """Return a set of inputs for each dataset of pairs."""
    named = tuple(dict.fromkeys(request.parameters["dataset"]))
    names = named or catalog.datasets(_PAIR_KINDS)
    datasets, errors = _pair_datasets(catalog, card.unit, names)
    if not datasets:
        if named:
            raise errors[0]
        if card.unit is Unit.OCCURRENCE:
            raise QueryError(
                "the store holds no dataset of pairs of occurrences. Give a file with two columns"
                " of sentences, each with one word in brackets, and a number: dataset='pairs.csv'"
            )
        name = "stsb" if card.unit is Unit.SENTENCE else "rg65"
        remedy = f"Embed one with: {build_command([name], card)}"
        if card.made_otherwise is not None:
            remedy = f"Store one with: embstore datasets store {name}"
        remedy += ". Pairs of your own, with a score: embstore datasets add NAME FILE"
        raise QueryError(
            f"the store holds no dataset of pairs for the unit {card.unit.value}. {remedy}"
        )
    stored = catalog.ids(card.space)
    cases = [_pairs(request, columns, name, card, stored) for name, columns in datasets.items()]
    if not any(_are_stored(case.inputs["pairs"], stored).any() for case in cases):
        raise QueryError(
            f"{card.space} has no pair of {', '.join(datasets)}. Embed them:"
            f" {build_command([*datasets], card)}"
        )
    return cases


def check_datasets(catalog: Catalog, cards: Sequence[Card], names: Iterable[str]) -> None:
    """Raise QueryError if a dataset of pairs is for the unit of none of the spaces."""
    units = dict.fromkeys(card.unit for card in cards)
    for name in names:
        errors: list[QueryError] = []
        for unit in units:
            errors += _pair_datasets(catalog, unit, [name])[1]
        if len(errors) == len(units):
            raise errors[0]


def _pair_datasets(
    catalog: Catalog, unit: Unit, names: Iterable[str]
) -> tuple[dict[str, Columns], list[QueryError]]:
    """Return the columns of datasets of pairs, and an error for each that is for other units."""
    datasets: dict[str, Columns] = {}
    errors: list[QueryError] = []
    for name in names:
        try:
            datasets[name] = _dataset(catalog, unit, name, "pairs")
        except _OtherUnitError as error:
            errors.append(error)
    return datasets, errors


class _OtherUnitError(QueryError):
    """A dataset is stored for other units than that of a space."""


def _dataset(catalog: Catalog, unit: Unit, name: str, wanted: str) -> Columns:
    """Return the columns of a dataset for a unit.

    Raises:
        UnknownNameError: The dataset is neither stored nor known by name.
        QueryError: It is of another kind, or stored for other units. The kind is checked first.
    """
    from embstore.sources.datasets import DATASETS, find_dataset
    from embstore.sources.opening import missing_file
    from embstore.sources.own import find_file

    known = find_dataset(name)
    is_stored = name in catalog.dataset_names
    if not is_stored and known is None and (file := find_file(name)) is not None:
        try:
            return _columns_of_file(file, unit, wanted)
        except SourceError as error:
            if unit is Unit.OCCURRENCE:  # its texts have no marked words
                raise _OtherUnitError(str(error)) from error
            raise
    if not is_stored and known is None:
        if Path(path := name.partition(":")[0]).suffix:
            raise missing_file(path)
        hint = "A file of your own is given by its path, as in pairs.csv."
        names = dict.fromkeys([*catalog.dataset_names, *DATASETS])
        raise UnknownNameError("dataset", name, names, hint)
    columns, refused = None, None
    for stored_unit in (unit, *Unit):
        try:
            columns = catalog.dataset(name, stored_unit)
            break
        except QueryError as error:
            refused = refused or error
    kind = known.kind.split()[-1] if known is not None else wanted
    if columns is not None:
        kind = "pairs" if "item_id_2" in columns else "lexicon"
        if {"item_id_4", "answers"} <= columns.keys():
            kind = "analogies"
    if kind != wanted:
        description, command = _KINDS[kind]
        raise QueryError(
            f"{name!r} is {description}, not {_KINDS[wanted][0]}. Query it with: {command} {name}"
        )
    if refused is not None:
        raise _OtherUnitError(str(refused))
    assert columns is not None
    return columns


def _columns_of_file(file: "DatasetFile", unit: Unit, kind: str) -> Columns:
    """Return the rows of a user's file as columns, as those of a stored dataset."""
    records: list[dict[str, Any]] = []
    for row in file.rows(unit, kind):
        if unit is Unit.OCCURRENCE:
            items = [*map(Item.occurrence, row.texts, row.spans)]
        else:
            items = [Item.whole(unit, text) for text in row.texts[:4]]
        values = dict(row.values)
        for item, suffix in zip(items, ("", "_2", "_3", "_4"), strict=False):
            values |= {f"item_id{suffix}": item.id, f"text{suffix}": item.shown}
        records.append(values)
    if not records:
        raise QueryError(f"{file.path} has no rows. Give a file with at least one.")
    return {
        name: np.array(
            [record[name] for record in records], object if isinstance(value, str) else None
        )
        for name, value in records[0].items()
    }


def _are_stored(dataset: Pairs, stored: Ids) -> Mask:
    """Return which pairs have both vectors, bool (n,)."""
    return np.isin(dataset.left, stored) & np.isin(dataset.right, stored)


def _missing_texts(
    card: Card, missing: Sequence[str], total: str, source: str, *, is_error: bool, used: str
) -> tuple[str, ...]:
    """Return a note on the texts of a source that a space lacks, and how much of it can be used;
    none if it lacks none.

    Raises:
        NotStoredError: None may be missing.
    """
    if not missing:
        return ()
    note = missing_note(card, missing, f"of the {total} of {source}")
    if is_error:
        raise NotStoredError(f"{note} {remedy([source], missing, card)}")
    return (f"{note} {used} can be used.",)


def _pairs(
    request: MetricRequest, columns: Columns, name: str, card: Card, stored: Ids
) -> MetricInputs:
    """Return the inputs from one dataset of pairs; ``stored`` are the item ids of the space."""
    dataset = Pairs(
        columns["item_id"],
        columns["item_id_2"],
        columns[_column_of_numbers(columns, name, "score")].astype(np.float64),
        tuple(columns["text"]),
        tuple(columns["text_2"]),
    )
    left, right = Words(dataset.left, dataset.left_texts), Words(dataset.right, dataset.right_texts)
    notes = _missing_texts(
        card,
        find_missing([left, right], stored),
        f"{len(np.union1d(left.ids, right.ids))} texts",
        name,
        is_error=request.parameters.get("missing") == "error",
        used=f"{_are_stored(dataset, stored).sum()} of {len(left.ids)} pairs",
    )
    return MetricInputs({"pairs": dataset}, {"dataset": name}, notes)


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
        known = f"several: {', '.join(numeric)}. Choose with `value`" if numeric else "none"
        raise QueryError(f"{name!r} must have a column of numbers, and has {known}.")
    return chosen or numeric[0]


def lexicons(catalog: Catalog, request: MetricRequest, card: Card) -> list[MetricInputs]:
    """Return the inputs from a lexicon and attribute words."""
    values = request.parameters
    name = values["lexicon"]
    columns = _dataset(catalog, card.unit, name, "lexicon")
    words = Words(columns["item_id"], tuple(columns["text"]))
    value = _column_of_numbers(columns, name, "valence", values["value"])
    lexicon = Lexicon(words, columns[value].astype(np.float64))
    notes = []
    if missing := find_missing([words], catalog.ids(card.space)):
        n = len(np.unique(words.ids))
        notes.append(missing_note(card, missing, f"of the {n} {card.unit}s of {name}"))
    sets, more = _word_sets(catalog, request, card)
    inputs = {"lexicon": lexicon, **sets}
    return [MetricInputs(inputs, {"lexicon": name}, (*notes, *more), used={"value": value})]


def analogies(catalog: Catalog, request: MetricRequest, card: Card) -> list[MetricInputs]:
    """Return a set of inputs for each dataset of analogies."""
    names = tuple(dict.fromkeys(request.parameters["dataset"])) or catalog.datasets(("analogies",))
    if not names:
        raise QueryError(
            "the store holds no dataset of analogies. Give Google's questions-words.txt, or the"
            " folder of BATS, by its path."
        )
    if request.parameters.get("case") == "ignore":
        catalog.check_texts(card.space)  # a word without its text would be left out silently
    return [_analogies(catalog, card, name, request.parameters) for name in names]


def _analogies(catalog: Catalog, card: Card, name: str, values: Mapping[str, Any]) -> MetricInputs:
    """Return the inputs from one dataset of analogies."""
    columns = _dataset(catalog, card.unit, name, "analogies")
    loaded = _load(catalog, card, columns, ignore_case=values.get("case") == "ignore")
    is_spelled = np.isin(loaded.spelled_ids, catalog.ids(card.space))
    has_word = np.isin(loaded.groups, loaded.spelled_groups[is_spelled])
    has_answer = np.logical_or.reduceat(has_word[loaded.answers], loaded.answer_starts[:-1])
    n_used = int((has_word[loaded.questions].all(axis=1) & has_answer).sum())
    notes = _missing_texts(
        card,
        [loaded.words.texts[place] for place in np.flatnonzero(~has_word).tolist()],
        f"{len(has_word)} words",
        name,
        is_error=values.get("missing") == "error" and n_used < len(has_answer),
        used=f"{n_used:,} of {len(has_answer):,} questions",
    )
    return MetricInputs({"analogies": loaded}, {"dataset": name}, notes)


def _load(catalog: Catalog, card: Card, columns: Columns, *, ignore_case: bool) -> Analogies:
    """Return the questions of a dataset, with the stored items of its words, of any case if
    requested.
    """
    places: dict[str, int] = {}
    sections: dict[str, int] = {}

    def place(text: str) -> int:
        return places.setdefault(text, len(places))

    sides = [list(map(place, columns[f"text{side}"].tolist())) for side in ("", "_2", "_3")]
    answers = [str(cell).split(_SEPARATOR) for cell in columns["answers"].tolist()]
    answer_places = [place(text) for texts in answers for text in texts]
    names = map(str, columns["section"].tolist())
    numbers = [sections.setdefault(name, len(sections)) for name in names]
    words = _as_words(card.unit, places)
    groups = np.arange(len(places))
    spelled, spelled_groups = words.ids, groups
    if ignore_case:
        lowered, spelled, spelled_keys = spellings(catalog, words.texts)
        group_of = {text: number for number, text in enumerate(dict.fromkeys(lowered))}
        groups = np.array([group_of[text] for text in lowered], np.int64)
        spelled_groups = np.array([group_of[key] for key in spelled_keys], np.int64)
    order = np.argsort(spelled)
    return Analogies(
        words,
        groups,
        spelled[order],
        spelled_groups[order],
        np.array(sides, np.int64).T,
        np.array(answer_places, np.int64),
        np.cumsum([0, *map(len, answers)]),
        np.array(numbers, np.int64),
        tuple(sections),
    )


def _as_words(unit: Unit, texts: Iterable[str]) -> Words:
    """Return words with the ids of their items."""
    texts = tuple(texts)
    return Words(np.array([item_id(unit, text) for text in texts], np.int64), texts)


def word_sets(catalog: Catalog, request: MetricRequest, card: Card) -> list[MetricInputs]:
    """Return the inputs from word sets."""
    inputs, notes = _word_sets(catalog, request, card)
    return [MetricInputs(inputs, {}, tuple(notes))]


def _word_sets(
    catalog: Catalog, request: MetricRequest, card: Card
) -> tuple[dict[str, Any], list[str]]:
    """Return the word sets of a request as inputs, with what a space lacks of them."""
    has_contexts = request.metric.needs == "word contexts"
    if card.unit.has_context and not has_contexts:
        raise QueryError(
            f"{card.space}: a word has many vectors there. Choose a space of words: unit='word'"
        )
    sets = {name: _as_words(card.unit, words.texts) for name, words in request.sets.items()}
    notes = [
        f"{first_of(map(repr, sorted(both)))}: in both {first.upper()} and {second.upper()}."
        for first, second in (("x", "y"), ("a", "b"))
        if first in sets and (both := {*sets[first].texts} & {*sets[second].texts})
    ]
    inputs: dict[str, Any] = dict(sets)
    stored = catalog.ids(card.space)
    if has_contexts:
        texts = dict.fromkeys(text for words in sets.values() for text in words.texts)
        contexts = Contexts(*group_occurrences(catalog, card.space, "word", [*texts]))
        inputs["contexts"] = contexts
        names = [contexts.names[group] for group in np.unique(contexts.groups)]
        stored = _as_words(card.unit, names).ids
    lists = [
        (request.sets[name], missing)
        for name, words in sets.items()
        if (missing := find_missing([words], stored))
    ]
    return inputs, notes + _check_missing(request, card, lists)


def _check_missing(
    request: MetricRequest, card: Card, missing: Sequence[tuple[WordList, tuple[str, ...]]]
) -> list[str]:
    """Return what a space lacks of word sets; raise if it has none of the words, or may lack
    none.
    """
    notes = [
        missing_note(card, texts, f"of the {len(word_set.texts)} {word_set.name}")
        for word_set, texts in missing
    ]
    sources = [word_set.source for word_set, _ in missing if word_set.source]
    if len(sources) < len(missing):
        sources = []
    words = list(dict.fromkeys(text for _, texts in missing for text in texts))
    n_missing = sum(len(texts) for _, texts in missing)
    if n_missing == sum(len(word_set.texts) for word_set in request.sets.values()):
        raise QueryError(
            f"{card.space} holds none of the {n_missing} words of the sets. Embed them:"
            f" {embed_command(sources, words, card)}; or choose other spaces with `spaces`."
        )
    if missing and request.parameters.get("missing", "error") == "error":
        may_skip = "missing" in request.parameters
        raise NotStoredError(" ".join([*notes, remedy(sources, words, card, may_skip=may_skip)]))
    return notes


def item_column(catalog: Catalog, request: MetricRequest, card: Card) -> list[MetricInputs]:
    """Return the inputs from a column of numbers of a space's items."""
    values, ids = request.parameters, catalog.ids(card.space)
    name = values["column"]
    column = read_column(catalog, card.space, name, ids)
    if column.kind not in NUMBERS:
        types = item_column_types(catalog, card.space)
        known = [column_name for column_name, kind in types.items() if kind in NUMBERS]
        raise UsageError(
            f"{request.metric.name} needs a column of numbers, and {name!r} has none. Columns of"
            f" numbers: {', '.join(known) or 'none'}."
        )
    numbers = ItemColumn(ids[~column.is_null], column.values[~column.is_null].astype(np.float64))
    _check_any(card, name, ids, numbers.ids)
    inputs: dict[str, Any] = {"column": numbers}
    if values.get("value") == "self-similarity":
        if not card.unit.has_context:
            raise QueryError(
                f"self-similarity is of the occurrences of a word, and {card.space} is a space of"
                f" {card.unit}s. Choose another `value`, or a space of occurrences."
            )
        inputs["contexts"] = Contexts(*group_occurrences(catalog, card.space, "word"))
    poles = [name for name in ("positive", "negative") if values.get(name) is not None]
    if values.get("value") == "axis":
        inputs |= _word_sets(catalog, request, card)[0]
    elif poles:
        raise UsageError(f"`{poles[0]}` is a pole of an axis: add value='axis', or leave it out.")
    return [MetricInputs(inputs, {"column": name})]


def _check_any(card: Card, column: str, ids: Ids, with_value: Ids) -> None:
    """Raise QueryError if no item of a space has a value in a column."""
    if len(ids) and not len(with_value):
        raise QueryError(f"no item of {card.space} has a value in the column {column!r}.")


def item_labels(catalog: Catalog, request: MetricRequest, card: Card) -> list[MetricInputs]:
    """Return the inputs from a column of a space's items whose values, or intervals of them, are
    classes.
    """
    values, ids = request.parameters, catalog.ids(card.space)
    name, bins = values["label"], values["label_bins"]
    has_numbers = item_column_types(catalog, card.space).get(name) in NUMBERS
    if bins is not None and not has_numbers:
        raise UsageError(
            f"`label_bins` is for columns of numbers, and {name!r} has none: leave it out."
        )
    if bins is None and has_numbers and not request.metric.predicts_numbers:
        raise UsageError(
            f"{request.metric.name} needs classes, and {name!r} has numbers. Cut it: label_bins=4"
        )
    if bins is None and has_numbers:
        column = read_column(catalog, card.space, name, ids)
        is_given = ~column.is_null & np.isfinite(column.values)
        numbers = column.values[is_given].astype(np.float64)
        labels = ItemLabels(ids[is_given], np.zeros(len(numbers), np.int64), (), numbers)
    else:
        grouping = parse_grouping(name, bins, "label_bins") or Grouping(name)
        groups = divide(catalog, card.space, grouping, ids)
        classes = [group for group in groups.members if group.name is not None]
        numbers = np.repeat(np.arange(len(classes)), [len(group.ids) for group in classes])
        labelled = np.concatenate([np.empty(0, np.int64), *(group.ids for group in classes)])
        order = np.argsort(labelled)
        names = tuple(str(group.name) for group in classes)
        labels = ItemLabels(labelled[order], numbers[order], names)
    _check_any(card, name, ids, labels.ids)
    columns = {"label": name}
    if "group" in values:
        types = item_groups(catalog, card, labels.ids, None, "folded word")
        kept_whole = item_groups(catalog, card, labels.ids, values["group"])
        labels = replace(labels, groups=kept_whole, types=types)
        usual = "sentence" if card.unit.has_context else None
        columns["grouped_by"] = values["group"] or usual
    return [MetricInputs({"labels": labels}, columns)]


def contexts(catalog: Catalog, request: MetricRequest, card: Card) -> list[MetricInputs]:
    """Return the inputs from a space of occurrences, grouped by word or sentence."""
    values = request.parameters
    by: GroupBy = "folded word" if values.get("fold_case") else "word"
    if "per_sentence" in values:
        by = "sentence"
    words = values.get("word", ())
    occurrences = Contexts(*group_occurrences(catalog, card.space, by, words))
    missing = np.flatnonzero(np.bincount(occurrences.groups, minlength=len(occurrences.names)) == 0)
    if len(missing):
        word = occurrences.names[missing[0]]
        near = catalog.nearest_texts(word, [card.space])
        nearest = f" Nearest stored words: {', '.join(map(repr, near))}." if near else ""
        raise NotStoredError(
            f"{word!r} has no occurrence in {card.space}.{nearest} To add it, build a source that"
            f" has it in its sentences: embstore build SOURCE --unit {card.unit.value}"
        )
    if (name := values.get("sentence_space")) is not None:
        return [_with_sentences(occurrences, catalog, card, _sentence_space(catalog, card, name))]
    requested = {"word": tuple(words)} if request.metric.compares_groups else {}
    return [MetricInputs({"contexts": occurrences, **requested})]


def order(catalog: Catalog, request: MetricRequest, card: Card) -> list[MetricInputs]:
    """Return the input that says in which text items are, and where."""
    return [MetricInputs({"order": TokenOrder(*token_order(catalog, card.space))})]


def _sentence_space(catalog: Catalog, card: Card, name: str) -> Card:
    """Return the card of a space of sentences; raise unless its vectors are comparable with those
    of ``card``.
    """
    model = shlex.quote(model_argument(card))
    command = f"embstore build SOURCE --unit sentence --pooling mean --model {model}"
    if name not in catalog.cards:
        known = [other.space for other in catalog.cards.values() if other.unit is Unit.SENTENCE]
        raise UnknownNameError("space", name, known, f"Make one with: {command}")
    sentences = catalog.cards[name]
    problem = None
    if sentences.unit is not Unit.SENTENCE:
        problem = f"is a space of {sentences.unit}s, not of sentences"
    elif sentences.fingerprint != card.fingerprint:
        problem = (
            f"is of another checkpoint ({sentences.checkpoint_at_revision}) than {card.space}"
            f" ({card.checkpoint_at_revision})"
        )
    elif sentences.dim != card.dim:
        problem = (
            f"has {sentences.dim} dimensions (pooling {sentences.pooling}), and {card.space} has"
            f" {card.dim}"
        )
    if problem is not None:
        raise QueryError(f"{name} {problem}. Make a space of sentences with: {command}")
    return sentences


def _with_sentences(
    occurrences: Contexts, catalog: Catalog, card: Card, sentences: Card
) -> MetricInputs:
    """Return the inputs from occurrences grouped by sentence, with the sentences' vectors of
    another space.
    """
    ids = _as_words(Unit.SENTENCE, occurrences.names).ids
    n_missing = int(np.count_nonzero(~np.isin(ids, catalog.ids(sentences.space))))
    notes: tuple[str, ...] = ()
    if n_missing:
        note = (
            f"{sentences.space} lacks {n_missing} of the {len(ids)} sentences of {card.space}."
            f" Embed them: {build_command(['SOURCE'], sentences)}"
        )
        if n_missing == len(ids):
            raise QueryError(note)
        notes = (note,)
    inputs = {"contexts": replace(occurrences, group_ids=ids)}
    return MetricInputs(inputs, notes=notes, sentence_space=sentences.space)


Loader = Callable[[Catalog, MetricRequest, Card], list[MetricInputs]]
LOADERS: Mapping[str, Loader] = {
    "pairs": pairs,
    "lexicon": lexicons,
    "analogies": analogies,
    "word sets": word_sets,
    "word contexts": word_sets,
    "contexts": contexts,
    "order": order,
    "column": item_column,
    "labels": item_labels,
}
"""What a metric needs → the function that returns its sets of inputs for a space."""
