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
from embstore.query.inputs.dispatch import cases
from embstore.query.inputs.word_sets import SETS
from embstore.query.layer_pairs import answer_of_layers
from embstore.query.request import MetricRequest, Selection
from embstore.space import Layer
from embstore.storage.catalog import Catalog
from embstore.storage.files.answers import Answer, is_same_question, read_stored
from embstore.storage.files.card import Card
from embstore.storage.maintenance.problems import AnswerCheck, Problem
from embstore.storage.views.sandbox import Limits

ALL = "all"
SAMPLE = 20
SECONDS = 60.0
_SQL_SECONDS = 30.0  # the SQL in an answer is not the user's own
_RELATIVE, _ABSOLUTE = 1e-6, 1e-8  # of numbers that other processors or libraries may round otherwise


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored answer that a query would return now, with a function that recomputes it."""

    path: Path
    answer: Answer
    compute: Callable[[], Answer]


def sample_size(answers: int | str) -> int | None:
    """Return how many answers to compute anew; None for all.

    Raises:
        UsageError: It is neither a whole number nor ``all``.
    """
    if answers == ALL:
        return None
    if not str(answers).isdecimal():
        raise UsageError(f"answers must be a number, or all, not {answers!r}.")
    return int(answers)


def check_answers(catalog: Catalog, answers: int | str, seed: int | None) -> tuple[AnswerCheck, tuple[Problem, ...]]:
    """Compute a sample of the stored answers anew; of a sample no computation begins after 60 s.

    Args:
        catalog: The store.
        answers: How many to compute, or ``all``.
        seed: Random seed of the sample; None draws one, so that nobody can know which answers are computed.

    Returns:
        Which answers were computed, and a problem for each that differs from what is stored.
    """
    n_wanted = sample_size(answers)
    seed = secrets.randbits(32) if seed is None else seed
    skipped: Counter[str] = Counter()
    stored = _all_stored(catalog, skipped)
    chosen = stored if n_wanted is None else random.Random(seed).sample(stored, min(n_wanted, len(stored)))
    problems, n_computed, began = [], 0, time.monotonic()
    for answer in chosen:
        if n_wanted is not None and time.monotonic() - began > SECONDS:
            break
        n_computed += 1
        if difference := _difference(answer):
            problems.append(Problem(answer.path, f"{difference}. Delete it, or run: embstore repair --deep"))
    return AnswerCheck(len(stored), n_computed, seed, tuple(skipped.items())), tuple(problems)


def altered_answers(catalog: Catalog) -> Iterator[tuple[Path, str]]:
    """Compute all stored answers anew, and yield the file of each that differs, with what differs."""
    for answer in _all_stored(catalog, Counter()):
        if difference := _difference(answer):
            yield answer.path, difference


def _all_stored(catalog: Catalog, skipped: Counter[str]) -> list[_Stored]:
    return [one for path in sorted(catalog.paths.answer_files()) if (one := _stored(catalog, path, skipped))]


def _difference(stored: _Stored) -> str | None:
    """Describe the difference between a stored answer and the recomputed one; None if they agree."""
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
    if len(stored.rows) != len(computed.rows):
        return f"it has {len(stored.rows)} rows, not {len(computed.rows)}"
    for row, wanted in zip(stored.rows, computed.rows, strict=True):
        for name in dict.fromkeys([*wanted, *row]):
            if not _is_close(row.get(name), wanted.get(name)):
                return f"{name} is {row.get(name)!r} in it, and {wanted.get(name)!r}"
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
    """Return an answer with its computation, or None, counted with the reason, if a query would not be given it now."""
    read = read_stored(catalog.paths, path)
    if read is None:
        return None  # under a name that no question has, or removed since
    asked, answer = read
    try:
        request = _request(asked)
        if _reads_files(request):
            skipped["depend on files outside the store"] += 1
            return None
        answers = Answers(catalog, request)
        if len(asked["of"]) == 2:
            card, layer = _layer(catalog, *asked["of"])
            if is_same_question(answers.of_layer(card, layer), asked):
                return _Stored(path, answer, lambda: _of_layer(catalog, request, card, layer))
        else:
            sides = _layers(catalog, *asked["of"])
            if is_same_question(answers.of_layers(*sides), asked):
                return _Stored(path, answer, lambda: answer_of_layers(catalog, request, *sides))
    except FileAccessError:
        raise
    except (EmbstoreError, LookupError, TypeError, ValueError):
        pass  # of a metric, space, layer or parameter that is not there now
    skipped["are of an earlier state, another version or a package that is not installed"] += 1
    return None


def _request(asked: Mapping[str, Any]) -> MetricRequest:
    metric, rows = get_metric(asked["metric"]["name"]), asked["rows"]
    selection = Selection(
        rows["where"], rows["sample"], asked["seed"] or 0, tuple(rows["transforms"]), Limits(timeout=_SQL_SECONDS)
    )
    return MetricRequest(metric, metric.check(asked["parameters"]), selection)


def _reads_files(request: MetricRequest) -> bool:
    """Return whether a request names files of words: those of a received store's answers are not for us to read."""
    is_of_words = request.metric.needs in ("lexicon", "word sets")
    return is_of_words and any(isinstance(request.parameters.get(name), str) for name in SETS)


def _of_layer(catalog: Catalog, request: MetricRequest, card: Card, layer: Layer) -> Answer:
    inputs = cases(request.metric, catalog, card, request.parameters)
    [(_, answer)] = compute_layers(catalog, request, card, [layer], inputs)
    return answer


def _layer(catalog: Catalog, space: list[str], layer: str) -> tuple[Card, Layer]:
    card, [found] = _side(catalog, space, [layer])
    return card, found


def _layers(
    catalog: Catalog, space: list[str], layers: list[str], other: list[str], others: list[str]
) -> tuple[Card, tuple[Layer, ...], Card, tuple[Layer, ...]]:
    return *_side(catalog, space, layers), *_side(catalog, other, others)


def _side(catalog: Catalog, space: list[str], layers: list[str]) -> tuple[Card, tuple[Layer, ...]]:
    card = catalog.cards[space[0]]
    by_name = {f"{layer.id} {layer.name}": layer for layer in card.layers}
    return card, tuple(by_name[name] for name in layers)
