"""Find and store answers to metric requests, keyed by everything that they depend on, the
*question*.

An answer is for one layer of a space, or for layers of a space compared with layers of the same or
another space. Its question contains the metric with its version and package, the parameters, the
selection, the transforms, hashes of the datasets and word lists, and the shards; also the version
of numpy, which determines random samples, and where items are selected by their texts that of
DuckDB. The versions of scipy and faiss, which change rounding only, are left out; that of
scikit-learn counts where it learns.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from inspect import getsource, unwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.errors import StoreError
from embstore.base.space import Layer
from embstore.metrics import Metric
from embstore.metrics.declaration import CALLER
from embstore.query.request import MetricRequest
from embstore.storage.answers import Answer, read_answer, trim_answers, write_answer
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.keys import hash_of
from embstore.storage.sql import connections
from embstore.storage.views.fence import changing_part

if TYPE_CHECKING:
    from embstore.query.grouping import Groups

# Incremented when code that all metrics share (selection, transforms, inputs) gives other rows or
# notes.
SHARED_VERSION = 7

Question = dict[str, Any]

# Source code of a function when it is first used, since its file may change while it runs.
_source = cache(getsource)


class Answers:
    """The stored answers to one request.

    Attributes:
        uncached_reason: Why answers are not stored; None if they are.
    """

    def __init__(self, catalog: Catalog, request: MetricRequest, *, use: bool = True) -> None:
        self._catalog, self._request = catalog, request
        self._can_write, self._is_trimmed = True, False
        self._groups: dict[tuple[str, ...], Groups | None] = {}
        self.uncached_reason = _uncached(request)
        self._use = use and self.uncached_reason is None

    def groups(self, card: Card, other: Card | None = None) -> "Groups | None":
        """Return the groups of a space's selected items, or of those that two spaces share; None
        for no groups.

        Raises: as :meth:`Selection.groups`.
        """
        spaces = (card.space,) if other is None else (card.space, other.space)
        if spaces not in self._groups:
            self._groups[spaces] = self._request.selection.groups(self._catalog, *spaces)
        return self._groups[spaces]

    def find(self, question: Question | None) -> Answer | None:
        """Return the stored answer to a question; None if there is none."""
        return None if question is None else read_answer(self._catalog.root, question)

    def store(self, question: Question | None, answer: Answer) -> None:
        """Store an answer, if the store can be written."""
        if question is None or not self._can_write:
            return
        try:
            write_answer(self._catalog.root, question, answer)
            if not self._is_trimmed:
                trim_answers(self._catalog.root)
        except (StoreError, OSError, ValueError):
            # A read-only store, a full disk or a name that is not UTF-8: the next query computes
            # the answer again.
            self._can_write = False
        self._is_trimmed = True

    def question(
        self,
        card: Card,
        layers: Sequence[Layer],
        other: Card | None = None,
        other_layers: Sequence[Layer] = (),
    ) -> Question | None:
        """Return all that the answer for a layer, or for layers compared with layers of a space,
        depends on; None if answers are not stored.
        """
        if not self._use:
            return None
        groups = self.groups(card, other)
        question = {**self._common, "of": self._vectors(card, layers)}
        if other is not None:
            question["of"] += self._vectors(other, other_layers)
        if groups is not None:
            question["inputs"] = {**question["inputs"], "groups": groups.sha256}
        return question

    def _vectors(self, card: Card, layers: Sequence[Layer]) -> list[Any]:
        """Return what identifies vectors in a question: the space with a hash of its shards, and
        the layers.
        """
        names = [f"{layer.id} {layer.name}" for layer in layers]
        return [[card.space, self._catalog.space_hash(card.space)], names]

    @cached_property
    def _common(self) -> Question:
        """The part of the question that all spaces and layers share."""
        catalog, request = self._catalog, self._request
        metric, selection = request.metric, request.selection
        is_random = (
            "seed" in request.arguments
            or bool(request.parameters.get("permutations"))
            or request.is_estimated
        )
        question = {
            "metric": {
                "name": metric.name,
                "version": [SHARED_VERSION, metric.version],
                "package": _package(metric),
            },
            "parameters": {
                name: _as_json(value)
                for name, value in request.parameters.items()
                if name not in request.sets
            },
            "seed": selection.seed if is_random else None,
            "inputs": _inputs(catalog, request),
            "numpy": minor_version(np.__version__),
            "rows": selection.columns(),
        }
        if selection.where is not None or selection.words is not None:
            question["items"] = hash_of(catalog.item_tables)
            question["duckdb"] = minor_version(connections.version())
        return question


def _uncached(request: MetricRequest) -> str | None:
    """Return why answers to a request are not stored; None if they are."""
    if request.metric.package == CALLER:
        return "the metric is given as an object"
    if request.is_from_sums:
        return "the stored sums give them as fast"
    where = request.selection.where
    if where is not None and (name := changing_part(where)):
        return f"what `where` selects may change from one time to the next ({name})"
    if where is not None and re.search(r'"|--|/\*', where):
        return "`where` has a comment or a quoted name"
    for name, value in request.parameters.items():
        if name not in request.sets:
            try:
                _as_json(value)
            except TypeError:
                return f"{name} is given as {type(value).__name__}"
    return None


def _inputs(catalog: Catalog, request: MetricRequest) -> dict[str, str]:
    """Return name → SHA-256 of a metric's inputs besides its vectors: datasets, word lists, a
    second space.
    """
    metric, values = request.metric, request.parameters
    hashes = {name: words.sha256 for name, words in request.sets.items()}
    if request.selection.common:
        spaces = [catalog.space_hash(space) for space in request.selection.common]
        hashes["common items"] = hash_of(spaces)
    if (space := values.get("sentence_space")) in catalog.cards:
        hashes["sentence space"] = catalog.space_hash(space)
    if metric.needs in ("pairs", "analogies", "lexicon"):
        names = [values["lexicon"]] if metric.needs == "lexicon" else values["dataset"]
        hashes |= {f"dataset {name}": sha for name, sha in catalog.dataset_hashes(names).items()}
        for name in names:
            hashes |= {} if name in catalog.dataset_names else _hashes_of_files(name)
    if metric.needs in ("column", "labels") or {values.get("block"), values.get("group")} != {None}:
        # what columns are made from
        hashes["columns"] = hash_of([*catalog.item_tables, _installed("wordfreq")])
    for package in metric.packages:
        hashes[package] = hash_of([minor_version(_installed(package))])
    return hashes


def _hashes_of_files(name: str) -> dict[str, str]:
    """Return the hashes of the files that a dataset which is not stored is read from."""
    from embstore.sources.own import find_file

    file = find_file(name)
    parts = [] if file is None else map(Path, file.parts)
    return {f"file {part}": hashlib.sha256(part.read_bytes()).hexdigest() for part in parts}


def _installed(package: str) -> str:
    """Return the version of a package; empty if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _as_json(value: Any) -> Any:
    """Return the value of a parameter in JSON types; raise TypeError if it has none there."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return list(map(_as_json, value))
    return os.fspath(value)


def _package(metric: Metric) -> list[str] | None:
    """Return the package of a plug-in's metric and a hash of its function's source and of its
    columns; None for embstore's own metrics.

    The hash invalidates answers while an author changes a metric without incrementing its version.
    """
    if metric.package is None:
        return None
    try:
        source = _source(unwrap(metric.function))
    except (OSError, TypeError):  # a function that is not written in a file
        source = ""
    return [metric.package, hashlib.sha256(f"{source}{metric.columns}".encode()).hexdigest()]


def minor_version(text: str) -> str:
    """Return the major and minor version: ``2.1`` of ``2.1.3``."""
    return ".".join(text.split(".")[:2])
