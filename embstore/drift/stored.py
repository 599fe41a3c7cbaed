"""Keep the drift of items among the store's answers, as the results of metrics are kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from embstore.base.errors import StoreError
from embstore.drift.measure import Measured
from embstore.drift.request import DriftRequest
from embstore.drift.sides import Sides
from embstore.storage.files.answers import Answer, read_answer, trim_answers, write_answer
from embstore.storage.files.names import hash_of
from embstore.storage.sql import connections
from embstore.storage.sql.connections import changing_part

VERSION = 3
"""Incremented when other values are measured."""
NAME = "drift"


def read_measured(sides: Sides, request: DriftRequest, words: Sequence[int]) -> Measured | None:
    """Return the stored drift of the same items; None if it is not stored."""
    if _may_change(request):
        return None
    answer = read_answer(sides.catalog.paths, _question(sides, request, words))
    return None if answer is None else Measured(answer.rows, answer.notes)


def store_measured(sides: Sides, request: DriftRequest, words: Sequence[int], measured: Measured) -> None:
    """Store the drift of items, where the store can be written."""
    if _may_change(request):
        return
    paths = sides.catalog.paths
    try:
        write_answer(paths, _question(sides, request, words), Answer(measured.values, measured.notes))
        trim_answers(paths)
    except StoreError:
        return  # a read-only store or a full disk: the next request measures it again


def _may_change(request: DriftRequest) -> bool:
    """Return whether ``where`` may select other items another time."""
    return request.selection.where is not None and changing_part(request.selection.where) is not None


def _question(sides: Sides, request: DriftRequest, words: Sequence[int]) -> dict[str, Any]:
    """Return all that the answer depends on, in the form of the questions for metrics."""
    selection, catalog = request.selection, sides.catalog
    question: dict[str, Any] = {
        "metric": {"name": NAME, "version": [VERSION, VERSION], "package": None},
        "parameters": {"k": request.k, "most": request.n_most, "items": list(words), "pairs": request.pairs},
        "rows": {"where": selection.where, "sample": selection.sample, "transforms": []},
        "seed": None if selection.sample is None else selection.seed,
        "inputs": {} if selection.words is None else {"selected words": selection.words.sha256},
        "numpy": _minor(np.__version__),
        "of": [
            part
            for card, layers in zip(sides.cards, sides.layers, strict=True)
            for part in (
                [card.space, catalog.shards_hash(card.space)],
                [f"{layer.id} {layer.name}" for layer in layers],
            )
        ],
    }  # fmt: skip
    if selection.items.is_empty:
        return question
    return {**question, "items": hash_of(catalog.item_tables), "duckdb": _minor(connections.version())}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
