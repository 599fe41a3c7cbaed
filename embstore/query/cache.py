"""Find and store answers to metric requests, keyed by everything that they depend on, the
*question*.

An answer is for one layer of a space, or for layers of a space compared with layers of the same or
another space. Its question contains the metric with its version and package, the parameters, the
selection, the transforms, hashes of the datasets and word files, and the shards; also the version
of numpy, which determines random samples, and where items are selected by their texts that of
DuckDB. The versions of scipy and faiss, which change rounding only, are left out; that of
scikit-learn counts where it learns.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from inspect import unwrap
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.errors import StoreError
from embstore.base.space import Layer
from embstore.metrics import Metric
from embstore.query.request import SETS, MetricRequest, Selection, is_file
from embstore.storage.answers import Answer, read_answer, trim_answers, write_answer
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.keys import hash_of
from embstore.storage.sql import connections
from embstore.storage.sql.connections import changing_part

if TYPE_CHECKING:
    from embstore.query.grouping import Groups

# Incremented when code that all metrics share (selection, transforms, inputs) gives other rows or
# notes.
SHARED_VERSION = 4

Question = dict[str, Any]

# Column type → Python types of its values in JSON; all other types are lists.
_TYPES: dict[str, type | tuple[type, ...]] = {
    "number": (int, float), "integer": int, "string": str, "boolean": bool,
}  # fmt: skip


class UncachedError(Exception):
    """An answer cannot be stored, since an input cannot be identified; its text says which."""


class Answers:
    """The stored answers to one request."""

    def __init__(self, catalog: Catalog, request: MetricRequest, *, use: bool = True) -> None:
        self._catalog, self._request, self._use = catalog, request, use
        self._can_write, self._trimmed = True, False
        self._inputs: dict[str, str] = {}
        self._groups: dict[tuple[str, ...], Groups | None] = {}
        self.uncached_reason: str | None = None
        if use:
            try:
                self._inputs = _inputs(catalog, request)
            except UncachedError as error:
                self._use, self.uncached_reason = False, str(error)

    def groups(self, card: Card, other: Card | None = None) -> "Groups | None":
        """Return the groups of a space's selected items, or of those that two spaces share; None
        for no groups.

        Raises: as :meth:`Selection.groups`.
        """
        spaces = [card.space, *([] if other is None else [other.space])]
        if tuple(spaces) not in self._groups:
            self._groups[tuple(spaces)] = self._request.selection.groups(self._catalog, *spaces)
        return self._groups[tuple(spaces)]

    def find(self, question: Question | None) -> Answer | None:
        """Return the stored answer to a question; None if there is none, or not with the metric's
        columns.
        """
        answer = read_answer(self._catalog.root, question) if question is not None else None
        names = () if self._request.grouping is None else ("group",)
        return (
            answer
            if answer is not None and _has_columns(self._request.metric, answer, names)
            else None
        )

    def store(self, question: Question | None, answer: Answer) -> None:
        """Store an answer, unless it was read off the summaries, which is as fast, or what it
        depends on changed.
        """
        if question is None or answer.from_sums or not self._can_write or not self._is_unchanged():
            return
        root = self._catalog.root
        try:
            write_answer(root, question, answer)
            if not self._trimmed:
                trim_answers(root)
        except (StoreError, OSError, ValueError):
            # A read-only store, a full disk or a name that is not UTF-8: the next query computes
            # the answer again.
            self._can_write = False
        self._trimmed = True

    def _is_unchanged(self) -> bool:
        """Return whether the inputs are still those that were hashed when the request was made."""
        try:
            return self._inputs == _inputs(self._catalog, self._request)
        except UncachedError:
            return False

    def question(
        self,
        card: Card,
        layers: Layer | Sequence[Layer],
        other: Card | None = None,
        others: Sequence[Layer] = (),
    ) -> Question | None:
        """Return all that the answer for a layer, or for layers compared with layers of a space,
        depends on.

        Returns None if answers are not stored.
        """
        if not self._use:
            return None
        groups = self.groups(card, other)
        divided = {} if groups is None else {"inputs": {**self._inputs, "groups": groups.sha256}}
        compared = [(card, layers), *([] if other is None else [(other, others)])]
        of = [
            part for each, chosen in compared for part in vectors_key(self._catalog, each, chosen)
        ]
        return {**self._common, **divided, "of": of}

    @cached_property
    def _common(self) -> Question:
        """The part of the question that all spaces and layers share."""
        request = self._request
        metric, selection = request.metric, request.selection
        is_random = selection.sample is not None or "seed" in request.arguments
        is_random |= bool(request.parameters.get("permutations"))
        return question_about(
            self._catalog,
            selection,
            selection.seed if is_random else None,
            self._inputs,
            {
                "name": metric.name,
                "version": [SHARED_VERSION, metric.version],
                "package": _package(metric),
            },
            {name: _as_json(value) for name, value in request.parameters.items()},
        )


def question_about(
    catalog: Catalog,
    selection: Selection,
    seed: int | None,
    inputs: Mapping[str, str],
    metric: Mapping[str, Any],
    parameters: Mapping[str, Any],
) -> Question:
    """Return what an answer depends on besides the vectors: the metric with its parameters, and the
    items selected.
    """
    question = {
        "metric": metric,
        "parameters": parameters,
        "seed": seed,
        "inputs": inputs,
        "numpy": minor_version(np.__version__),
        "rows": {
            "where": selection.where,
            "sample": selection.sample,
            "transforms": list(selection.transforms),
            **({} if selection.by is None else selection.by.columns()),
        },
    }
    if selection.where is None and selection.words is None:
        return question
    return {
        **question,
        "items": hash_of(catalog.item_tables),
        "duckdb": minor_version(connections.version()),
    }


def _has_columns(metric: Metric, answer: Answer, names: Sequence[str]) -> bool:
    """Return whether a stored answer has the columns of a metric, since other programs may have
    written it.
    """
    types = {column.name: _TYPES.get(column.type, list) for column in metric.columns} | {
        "n": int,
        "reason": str,
    }
    types |= dict.fromkeys(names, str)
    used = {p.name: _TYPES.get(p.type, list) for p in metric.row_parameters} | {"seed": object}
    return {*answer.across} <= types.keys() and all(
        types.keys() <= row.keys() <= types.keys() | used.keys()
        and isinstance(row["n"], int)
        and all(
            value is None or isinstance(value, (used | types)[name]) for name, value in row.items()
        )
        for row in answer.rows
    )


def _inputs(catalog: Catalog, request: MetricRequest) -> dict[str, str]:
    """Return name → SHA-256 of a metric's inputs besides its vectors: datasets, word files, a
    second space.
    """
    metric, values, where = request.metric, request.parameters, request.selection.where
    if where is not None and (name := changing_part(where)):
        raise UncachedError(f"what `where` selects may change from one time to the next ({name})")
    words = request.selection.words
    hashes: dict[str, str] = {} if words is None else {"selected words": words.sha256}
    if request.selection.common:
        hashes["common items"] = hash_of(
            [catalog.space_hash(space) for space in request.selection.common]
        )
    if (space := values.get("sentence_space")) in catalog.cards:
        hashes["sentence space"] = catalog.space_hash(space)
    if metric.needs in ("pairs", "analogies", "lexicon"):
        names = [values["lexicon"]] if metric.needs == "lexicon" else values["dataset"]
        hashes |= {f"dataset {name}": sha for name, sha in catalog.dataset_hashes(names).items()}
        for name in names:
            hashes |= {} if name in catalog.dataset_names else _hashes_of_dataset(name)
    if metric.needs in ("column", "labels") or {values.get("block"), values.get("group")} != {None}:
        hashes["columns"] = hash_of(
            [*catalog.item_tables, _installed("wordfreq")]
        )  # what columns are made from
    if metric.name in ("clusters", "probe"):
        hashes["scikit-learn"] = hash_of([minor_version(_installed("scikit-learn"))])
    for name, value in values.items():
        if name in SETS and is_file(value):
            hashes[name] = _file_hash(value)
        _as_json(value)  # raises if it has no JSON form
    return hashes


def _hashes_of_dataset(name: str) -> dict[str, str]:
    """Return the hashes of the files that a dataset which is not stored is read from."""
    from embstore.sources.own import find_file

    file = find_file(name)
    return {} if file is None else {f"file {part}": _file_hash(part) for part in file.parts}


def _file_hash(file: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a word file; raise UncachedError if it is not a regular file."""
    path = Path(file)
    try:
        if path.name == "-" or not path.is_file():  # standard input, a pipe, a dataset, or missing
            raise UncachedError(f"words are read from {os.fspath(file)}, which is not a file")
        with path.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    except OSError as error:
        raise UncachedError(f"{os.fspath(file)} cannot be read: {error.strerror}") from error


def _installed(package: str) -> str:
    """Return the version of a package; empty if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _as_json(value: Any) -> Any:
    """Convert the value of a parameter to JSON types."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_as_json(member) for member in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise UncachedError(f"a value is given as {type(value).__name__}")


def _package(metric: Metric) -> list[str] | None:
    """Return the package of a plug-in's metric and a hash of its function's code; None for
    embstore's own metrics.

    The hash invalidates answers while an author changes a metric without incrementing its version.
    """
    if metric.package is None:
        return None
    code = getattr(unwrap(metric.function), "__code__", None)  # a built-in function has none
    return [
        metric.package,
        "" if code is None else hashlib.sha256(_code_text(code).encode()).hexdigest(),
    ]


def _code_text(code: CodeType) -> str:
    """Return the bytecode, names and constants of a function as text, nested functions included."""
    constants = [
        (
            _code_text(each)
            if isinstance(each, CodeType)
            else repr(sorted(each, key=repr) if isinstance(each, frozenset) else each)
        )
        for each in code.co_consts
    ]
    return repr((code.co_code, code.co_names, constants))


def vectors_key(catalog: Catalog, card: Card, layers: Layer | Sequence[Layer]) -> list[Any]:
    """Return what identifies vectors in a question: the space with a hash of its shards, and one or
    several layers.
    """
    members = [layers] if isinstance(layers, Layer) else layers
    names = [f"{layer.id} {layer.name}" for layer in members]
    return [
        [card.space, catalog.space_hash(card.space)],
        names[0] if isinstance(layers, Layer) else names,
    ]


def minor_version(version: str) -> str:
    """Return the major and minor version: ``2.1`` of ``2.1.3``."""
    return ".".join(version.split(".")[:2])
