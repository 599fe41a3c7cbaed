"""Recompute stored answers to detect altered ones; a SHA-256 does not suffice, since it can be recomputed too."""

import math
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embstore.errors import EmbstoreError, FileAccessError, UsageError
from embstore.metrics import get_metric
from embstore.query.cache import Answers
from embstore.query.compute import compute_layers
from embstore.query.grouping import parse_grouping
from embstore.query.inputs.case import SETS
from embstore.query.inputs.dispatch import cases
from embstore.query.inputs.word_files import is_file
from embstore.query.layer_pairs import answer_of_layers
from embstore.query.request import MetricRequest, Selection
from embstore.space import Layer
from embstore.storage.catalog import Catalog
from embstore.storage.files.answers import Answer, is_same_question, read_answer_file
from embstore.storage.files.card import Card
from embstore.storage.maintenance.problems import AnswerCheck, Problem
from embstore.storage.sql.limits import Limits

ALL = "all"
SAMPLE = 20
SECONDS = 60.0
_SQL_SECONDS = 30.0  # the SQL in an answer is not the user's own
_RELATIVE, _ABSOLUTE = 1e-6, 1e-8  # tolerances, since other processors and libraries may round differently


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored answer that a query would return now, with a function that recomputes it."""

    path: Path
    answer: Answer
    compute: Callable[[], Answer]


def sample_size(answers: int | str) -> int | None:
    """Return the number of answers to recompute; None for all.

    Raises:
        UsageError: ``answers`` is neither a whole number nor ``all``.
    """
    if answers == ALL:
        return None
    if not str(answers).isdecimal():
        raise UsageError(f"answers must be a number, or all, not {answers!r}.")
    return int(answers)


def check_answers(catalog: Catalog, answers: int | str, seed: int | None) -> tuple[AnswerCheck, tuple[Problem, ...]]:
    """Recompute a random sample of the stored answers; after 60 s no further one is begun, unless all are requested.

    Args:
        catalog: Store to check.
        answers: Number of answers to recompute, or ``all``.
        seed: Random seed of the sample; None for a random one, so that the sample cannot be predicted.

    Returns:
        Counts of the stored, recomputed and skipped answers, and a problem for each answer that differs.
    """
    n_wanted = sample_size(answers)
    seed = secrets.randbits(32) if seed is None else seed
    skipped: Counter[str] = Counter()
    stored = _all_stored(catalog, skipped)
    chosen = stored if n_wanted is None else random.Random(seed).sample(stored, min(n_wanted, len(stored)))
    problems, n_computed, began = [], 0, time.monotonic()
    for stored_answer in chosen:
        if n_wanted is not None and time.monotonic() - began > SECONDS:
            break
        n_computed += 1
        if difference := _difference(stored_answer):
            problems.append(Problem(stored_answer.path, f"{difference}. Delete it, or run: embstore repair --deep"))
    return AnswerCheck(len(stored), n_computed, seed, tuple(skipped.items())), tuple(problems)


def altered_answers(catalog: Catalog) -> Iterator[tuple[Path, str]]:
    """Recompute all stored answers; yield the file of each that differs, with a description of the difference."""
    for answer in _all_stored(catalog, Counter()):
        if difference := _difference(answer):
            yield answer.path, difference


def _all_stored(catalog: Catalog, skipped: Counter[str]) -> list[_Stored]:
    answers = (_stored(catalog, path, skipped) for path in sorted(catalog.paths.answer_files()))
    return [answer for answer in answers if answer is not None]


def _difference(stored: _Stored) -> str | None:
    """Recompute a stored answer and describe the difference; None if they agree."""
    try:
        computed = stored.compute()
    except FileAccessError:
        raise
    except EmbstoreError as error:
        difference: str | None = f"its question has no answer ({error})"
    else:
        difference = _first_difference(stored.answer, computed)
    return difference and f"it is not what its metric computes: {difference}"


def _first_difference(stored: Answer, computed: Answer) -> str | None:
    """Describe the first difference between two answers; None if they agree."""
    if len(stored.rows) != len(computed.rows):
        return f"it has {len(stored.rows)} rows, not {len(computed.rows)}"
    for row, expected in zip(stored.rows, computed.rows, strict=True):
        for name in dict.fromkeys([*expected, *row]):
            if not _is_close(row.get(name), expected.get(name)):
                return f"{name} is {row.get(name)!r} in it, and {expected.get(name)!r}"
    if (stored.notes, stored.across) != (computed.notes, computed.across):
        return "its notes are others"
    return None


def _is_close(stored: Any, computed: Any) -> bool:
    """Return whether two values of a row are equal up to rounding."""
    if isinstance(computed, list | tuple):
        return (
            isinstance(stored, list | tuple) and len(stored) == len(computed) and all(map(_is_close, stored, computed))
        )
    if isinstance(computed, float) and isinstance(stored, int | float) and not isinstance(stored, bool):
        return math.isclose(stored, computed, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return type(stored) is type(computed) and bool(stored == computed)


def _stored(catalog: Catalog, path: Path, skipped: Counter[str]) -> _Stored | None:
    """Return a stored answer with its computation; if no query would use it now, count the reason and return None."""
    read = read_answer_file(catalog.paths, path)
    if read is None:
        return None  # damaged, or removed in the meantime
    question, answer = read
    try:
        request = _request(question)
        if _reads_files(request) or "selected words" in question["inputs"]:  # of a list that only its hash is left of
            skipped["depend on files outside the store"] += 1
            return None
        answers = Answers(catalog, request)
        if len(question["of"]) == 2:
            card, layer = _layer(catalog, *question["of"])
            if is_same_question(answers.layer_question(card, layer), question):
                return _Stored(path, answer, lambda: _answer_of_layer(catalog, request, card, layer, answers))
        else:
            sides = _layers(catalog, *question["of"])
            if is_same_question(answers.layer_pairs_question(*sides), question):
                return _Stored(
                    path, answer, lambda: answer_of_layers(catalog, request, *sides, answers.groups(*sides[::2]))
                )
    except FileAccessError:
        raise
    except (EmbstoreError, LookupError, TypeError, ValueError):
        pass  # its metric, space, layer or parameter no longer exists
    skipped["are of an earlier state, another version or a package that is not installed"] += 1
    return None


def _request(question: Mapping[str, Any]) -> MetricRequest:
    """Return the request of a stored question: the key of an answer in the cache."""
    metric, rows = get_metric(question["metric"]["name"]), question["rows"]
    selection = Selection(
        rows["where"], rows["sample"], question["seed"] or 0, tuple(rows["transforms"]), Limits(timeout=_SQL_SECONDS),
        by=parse_grouping(rows.get("by"), rows.get("bins")),
    )  # fmt: skip
    return MetricRequest(metric, metric.check(question["parameters"]), selection)


def _reads_files(request: MetricRequest) -> bool:
    """Return whether a request names files of words, which are never read: the store may come from somebody else."""
    is_of_words = request.metric.needs in ("lexicon", "word sets")
    return is_of_words and any(is_file(request.parameters.get(name)) for name in SETS)


def _answer_of_layer(catalog: Catalog, request: MetricRequest, card: Card, layer: Layer, answers: Answers) -> Answer:
    """Compute the answer for one layer of a space."""
    inputs = cases(request.metric, catalog, card, request.parameters)
    [(_, answer)] = compute_layers(catalog, request, card, [layer], inputs, answers.groups(card))
    return answer


def _layer(catalog: Catalog, space: list[str], layer: str) -> tuple[Card, Layer]:
    """Return the card and layer that a question names."""
    card, layers = _side(catalog, space, [layer])
    return card, layers[0]


def _layers(
    catalog: Catalog, space: list[str], layers: list[str], other: list[str], others: list[str]
) -> tuple[Card, tuple[Layer, ...], Card, tuple[Layer, ...]]:
    """Return the cards and layers of the two sides that a question names."""
    return *_side(catalog, space, layers), *_side(catalog, other, others)


def _side(catalog: Catalog, space: list[str], layers: list[str]) -> tuple[Card, tuple[Layer, ...]]:
    """Return the card and layers that one side of a question names.

    Args:
        catalog: Catalog of the store.
        space: Name of the space, and the hash of its shards, which is not used here.
        layers: Id and name of each layer: ``8 8``, ``13 raw``.

    Raises:
        KeyError: The space or a layer does not exist.
    """
    card = catalog.cards[space[0]]
    by_name = {f"{layer.id} {layer.name}": layer for layer in card.layers}
    return card, tuple(by_name[name] for name in layers)
