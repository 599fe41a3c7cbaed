"""Find and store answers to metric requests, keyed by everything that they depend on.

An answer is kept for each layer of a space, or for the layers of two spaces that are compared. It is found again where
all that it depends on is the same: the metric, its version and package, its parameters, the selection, the transforms,
the bytes of the datasets and files of words, and the shards. numpy's version is one of them, since other versions may
draw other samples, and with ``where`` DuckDB's; those of scipy and faiss are not: they change no more than rounding.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from inspect import unwrap
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from embstore.errors import StoreError
from embstore.metrics import Metric
from embstore.query.inputs.word_sets import SETS
from embstore.query.request import MetricRequest
from embstore.space import Layer
from embstore.storage.catalog import Catalog
from embstore.storage.files.answers import Answer, read_answer, trim_answers, write_answer
from embstore.storage.files.card import Card
from embstore.storage.sql.connections import VERSION as DUCKDB
from embstore.storage.sql.connections import changing_part

# Raised when what all metrics share gives other rows or notes: selection, transforms, search, the cases of a space.
SHARED_VERSION = 3

Asked = dict[str, Any]


# The types of the values of a column; arrays are lists.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "number": (int, float), "integer": int, "string": str, "boolean": bool,
}  # fmt: skip


class UncachedError(Exception):
    """An answer cannot be kept, since what it depends on cannot be named; its text says what."""


class Answers:
    """The answers to one request that are in the store.

    Args:
        catalog: The store.
        request: A metric, its parameters and its items.
        use: Whether to look for answers and to store new ones.

    Attributes:
        refused: Reason why no answer to this request can be stored; None if they can.
    """

    def __init__(self, catalog: Catalog, request: MetricRequest, *, use: bool = True) -> None:
        self._catalog, self._request, self._use = catalog, request, use
        self._can_write, self._trimmed = True, False
        self._inputs: dict[str, str] = {}
        self.refused: str | None = None
        if use:
            try:
                self._inputs = _inputs(catalog, request)
            except UncachedError as error:
                self._use, self.refused = False, str(error)

    def find(self, card: Card, layers: Iterable[Layer]) -> dict[Layer, Answer]:
        """Return the stored answers for layers of a space, as far as there are any."""
        found = {layer: self._read(self.of_layer(card, layer)) for layer in layers} if self._use else {}
        return {layer: answer for layer, answer in found.items() if answer is not None}

    def keep(self, card: Card, layer: Layer, answer: Answer) -> None:
        """Store the answer for a layer of a space, unless the summaries gave it."""
        if self._use and not answer.from_sums:
            self._write(self.of_layer(card, layer), answer)

    def find_matrix(self, card: Card, layers: Sequence[Layer], other: Card, others: Sequence[Layer]) -> Answer | None:
        """Return the stored answer for layers of a space compared with layers of the same or another one."""
        answer = self._read(self.of_layers(card, layers, other, others)) if self._use else None
        return answer if answer is not None and len(answer.rows) == len(layers) * len(others) else None

    def keep_matrix(
        self, card: Card, layers: Sequence[Layer], other: Card, others: Sequence[Layer], answer: Answer
    ) -> None:
        """Store the answer for layers of a space compared with layers of the same or another one."""
        if self._use:
            self._write(self.of_layers(card, layers, other, others), answer)

    def _read(self, asked: Asked) -> Answer | None:
        answer = read_answer(self._catalog.paths, asked)
        return answer if answer is not None and _is_of(self._request.metric, answer) else None

    def _write(self, asked: Asked, answer: Answer) -> None:
        """Store an answer, unless a file that it depends on has changed since the request."""
        if not self._can_write or not self._is_unchanged():
            return
        paths = self._catalog.paths
        try:
            write_answer(paths, asked, answer)
            if not self._trimmed:
                trim_answers(paths)
        except (StoreError, ValueError):
            # A store that is read-only, a full disk, a name that is no UTF-8: all that is lost is time, next time.
            self._can_write = False
        self._trimmed = True

    def _is_unchanged(self) -> bool:
        try:
            return self._inputs == _inputs(self._catalog, self._request)
        except UncachedError:
            return False

    def of_layer(self, card: Card, layer: Layer) -> Asked:
        """Return all that the answer for a layer of a space depends on."""
        return {**self._asked, "of": [self._space(card), _named(layer)]}

    def of_layers(self, card: Card, layers: Sequence[Layer], other: Card, others: Sequence[Layer]) -> Asked:
        """Return all that the answer for layers of a space compared with others depends on."""
        named = [[_named(layer) for layer in side] for side in (layers, others)]
        return {**self._asked, "of": [self._space(card), named[0], self._space(other), named[1]]}

    def _space(self, card: Card) -> list[str]:
        return [card.space, _shards(self._catalog, card.space)]

    @cached_property
    def _asked(self) -> Asked:
        """What the answers for all spaces and layers have in common."""
        request = self._request
        metric, selection = request.metric, request.selection
        draws = selection.sample is not None or "seed" in request.arguments
        asked = {
            "metric": {"name": metric.name, "version": [SHARED_VERSION, metric.version], "package": _package(metric)},
            "parameters": {name: _plain(value) for name, value in request.parameters.items()},
            "rows": {
                "where": selection.where,
                "sample": selection.sample,
                "transforms": list(selection.transforms),
            },
            "seed": selection.seed if draws else None,
            "inputs": self._inputs,
            "numpy": _minor(np.__version__),
        }
        return asked if selection.where is None else {**asked, **_items(self._catalog)}


def _is_of(metric: Metric, answer: Answer) -> bool:
    """Return whether the rows of a stored answer have the columns of a metric: others may have written it."""
    types = {column.name: _TYPES.get(column.type, list) for column in metric.columns} | {"n": int, "reason": str}
    return {*answer.across} <= types.keys() and all(
        types.keys() <= row.keys() <= types.keys() | {"seed"}
        and isinstance(row["n"], int)
        and all(value is None or name == "seed" or isinstance(value, types[name]) for name, value in row.items())
        for row in answer.rows
    )


def _inputs(catalog: Catalog, request: MetricRequest) -> dict[str, str]:
    """Return a SHA-256 of all that a metric reads beside its vectors: datasets, lists of words, a second space.

    Raises:
        UncachedError: Words come from elsewhere, a value of a parameter is no plain one, or a selection by SQL may
            not be the same another time.
    """
    metric, values, where = request.metric, request.parameters, request.selection.where
    if where is not None and (word := changing_part(where)):
        raise UncachedError(f"what --where selects may change from one time to the next ({word})")
    found: dict[str, str] = {}
    if (space := values.get("sentence_space")) in catalog.cards:
        found["sentence space"] = _shards(catalog, space)
    if metric.needs in ("pairs", "lexicon"):
        names = values["dataset"] if metric.needs == "pairs" else [values["lexicon"]]
        try:
            found |= {f"dataset {name}": sha for name, sha in catalog.dataset_hashes(names).items()}
        except OSError as error:
            raise UncachedError(f"a dataset cannot be read: {error}") from error
    for name, value in values.items():
        if metric.needs in ("lexicon", "word sets") and name in SETS and isinstance(value, str | os.PathLike):
            found[name] = _file_hash(value)
        _plain(value)
    return found


def _file_hash(file: str | os.PathLike[str]) -> str:
    path = Path(file)
    try:
        if path.name == "-" or not path.is_file():  # standard input, a pipe, a dataset by its name, or nothing at all
            raise UncachedError(f"words are read from {os.fspath(file)}, which is no file")
        with path.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    except OSError as error:
        raise UncachedError(f"{os.fspath(file)} cannot be read: {error.strerror}") from error


def _items(catalog: Catalog) -> Asked:
    """Return what a selection by SQL depends on: the tables of items, by the hashes in their names, and DuckDB."""
    return {"items": _hash_of(catalog.item_tables), "duckdb": _minor(DUCKDB)}


def _shards(catalog: Catalog, space: str) -> str:
    """Return a hash of the shards of a space, which are called by what they hold."""
    return _hash_of(shard.name for shard in catalog.shards[space])


def _hash_of(names: Iterable[str]) -> str:
    return hashlib.sha256(",".join(names).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return the value of a parameter as JSON has it.

    Raises:
        UncachedError: If it is none that can be written down.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise UncachedError(f"a value is given as {type(value).__name__}")


def _package(metric: Metric) -> list[str] | None:
    """Return the package of a metric that is not embstore's, and a hash of its function as it was loaded.

    Who works on a metric of their own does not raise a version at each change.
    """
    if metric.package is None:
        return None
    code = getattr(unwrap(metric.function), "__code__", None)
    return [metric.package, "" if code is None else hashlib.sha256(_told(code).encode()).hexdigest()]


def _told(code: CodeType) -> str:
    inner = [_told(one) if isinstance(one, CodeType) else repr(_in_order(one)) for one in code.co_consts]
    return repr((code.co_code, code.co_names, inner))


def _in_order(constant: Any) -> Any:
    return sorted(constant, key=repr) if isinstance(constant, frozenset) else constant


def _named(layer: Layer) -> str:
    return f"{layer.id} {layer.name}"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
