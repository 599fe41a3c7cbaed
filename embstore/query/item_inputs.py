"""Read a column of items: one that a build stored, a built-in one, or their text."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from embstore.base.errors import NotStoredError, QueryError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.metrics import Metric
from embstore.metrics.data import Contexts, ItemColumn
from embstore.query.grouping import NUMBERS, item_column_types, read_column
from embstore.query.missing import build_command, model_argument
from embstore.query.request import Case
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card
from embstore.storage.item_lookup import GroupBy, group_occurrences


def item_column(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the inputs from a column of numbers of a space's items."""
    name = values["column"]
    column = read_column(catalog, card.space, name, catalog.ids(card.space))
    if column.kind not in NUMBERS:
        known = [each for each, kind in item_column_types(catalog, card.space).items() if kind in NUMBERS]
        numeric = f"Columns of numbers: {', '.join(known)}." if known else "The items have no column of numbers."
        kind = "text" if column.kind == "string" else "true and false"
        raise UsageError(f"{metric.name} needs a column of numbers, and {name!r} has {kind}. {numeric}")
    ids = catalog.ids(card.space)[~column.is_null]
    inputs: dict[str, Any] = {"column": ItemColumn(ids, column.values[~column.is_null].astype(np.float64))}
    if values.get("value") == "self-similarity":
        if card.unit is not Unit.OCCURRENCE:
            raise QueryError(
                f"self-similarity is of the occurrences of a word, and {card.space} is a space of {card.unit}s. Choose "
                "another ⦃value⦄, or make occurrences with: embstore build SOURCE --unit occurrence"
            )
        from embstore.storage.item_lookup import group_occurrences

        with catalog.with_own_connection() as snapshot:
            inputs["contexts"] = Contexts(*group_occurrences(snapshot, card.space, "word"))
    return [Case(inputs, {"column": name})]


def contexts(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the inputs from a space of occurrences, grouped by word or sentence."""
    by: GroupBy = "folded word" if values.get("fold_case") else "word"
    if "per_sentence" in values:
        by = "sentence"
    words = values.get("word", ())
    with catalog.with_own_connection() as snapshot:
        occurrences = Contexts(*group_occurrences(snapshot, card.space, by, words))
    missing = np.flatnonzero(np.bincount(occurrences.groups, minlength=len(occurrences.names)) == 0)
    if len(missing):
        raise _not_stored(catalog, card.space, occurrences.names[missing[0]], folded=by == "folded word")
    if (name := values.get("sentence_space")) is None:
        return [Case({"contexts": occurrences})]
    return [_with_sentences(occurrences, catalog, card, _sentence_space(catalog, card, name))]


def _sentence_space(catalog: Catalog, card: Card, name: str) -> Card:
    """Return the card of a space of sentences; raise unless its vectors are comparable with those of ``card``."""
    command = f"embstore build SOURCE --unit sentence --pooling mean --model {shlex.quote(model_argument(card))}"
    if name not in catalog.cards:
        known = [each.space for each in catalog.cards.values() if each.unit is Unit.SENTENCE]
        raise UnknownNameError("space", name, known, f"Make one with: {command}")
    sentences = catalog.cards[name]
    if sentences.unit is not Unit.SENTENCE:
        raise QueryError(f"{name} is a space of {sentences.unit}s, not of sentences. Make one with: {command}")
    if sentences.fingerprint != card.fingerprint:
        raise QueryError(
            f"{name} is of another checkpoint ({sentences.checkpoint_at_revision}) than {card.space} "
            f"({card.checkpoint_at_revision}): a cosine between their vectors says nothing. Make a space of sentences "
            f"with: {command}; or choose other occurrences with ⦃space⦄."
        )
    if sentences.dim != card.dim:
        raise QueryError(
            f"the vectors of {name} (pooling {sentences.pooling}) have {sentences.dim} dimensions, and those of "
            f"{card.space} {card.dim}. Make a space of sentences with: {command}"
        )
    return sentences


def _with_sentences(occurrences: Contexts, catalog: Catalog, card: Card, sentences: Card) -> Case:
    """Return the inputs from occurrences grouped by sentence, with the sentences' vectors of another space."""
    ids = np.array([item_id(Unit.SENTENCE, name) for name in occurrences.names], np.int64)
    n_missing = int(np.count_nonzero(~np.isin(ids, catalog.ids(sentences.space))))
    missing_note = f"{sentences.space} lacks {n_missing} of the {len(ids)} sentences of {card.space}. Embed them: "
    missing_note += build_command(["SOURCE"], sentences)
    if n_missing and n_missing == len(ids):
        raise QueryError(missing_note)
    note = f"{card.space}: the vectors of its sentences are those of {sentences.space}."
    notes = (note, missing_note) if n_missing else (note,)
    return Case({"contexts": replace(occurrences, group_ids=ids)}, notes=notes, sentence_space=sentences.space)


def _not_stored(catalog: Catalog, space: str, word: str, *, folded: bool) -> NotStoredError:
    """Return the error for a word without occurrences, with the nearest stored words."""
    near = catalog.nearest_texts(word, [space])
    nearest = f" Nearest stored words: {', '.join(map(repr, near))}." if near else ""
    case = "" if folded else " To take words that differ only in case for one: ⦃fold-case=True⦄."
    return NotStoredError(
        f"{word!r} has no occurrence in {space}.{nearest}{case} To add it, build a source that has it in its "
        "sentences: embstore build SOURCE --unit occurrence"
    )
