"""Describe a store for the page: its spaces, layers, datasets and metrics."""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from embstore.base.table import Table
from embstore.base.text import N_TOKENS
from embstore.explore.items import MOST, Reading
from embstore.explore.maps import stored_maps
from embstore.explore.rendering import command, python
from embstore.storage.files.item_columns import is_token_column

_SKIPPED_SHOWN = 200


def overview(store: Reading) -> dict[str, Any]:
    """Return what the page must know first: spaces with their layers, datasets, metrics and notes.

    The store is read anew, so that what was written since is seen.
    """
    store.refresh()
    catalog, info, metrics = store.catalog, store.info(), store.metrics()
    cards, names = catalog.cards, catalog.columns.names
    columns = sorted(name for name in names if not is_token_column(name))
    if len(columns) < len(names):  # numbers of tokens have one name in all spaces
        columns.append(N_TOKENS)
    return {
        "path": str(store.path), "name": store.path.resolve().name or str(store.path), "fingerprint": _hash(info),
        "spaces": [
            dict(row) | {"layer_names": list(cards[row["space"]].layers.names)} for row in info if row["space"] in cards
        ],
        "datasets": catalog.datasets(), "columns": columns, "most_items": MOST,
        "map_commands": {space: _map_command(store, space) for space in cards},
        "maps": {space: list(named) for space, named in stored_maps(store).items()},
        "metrics": [{name: row[name] for name in ("name", "help", "needs")} for row in metrics],
        "notes": [*info.notes, *metrics.notes], "can_plot": find_spec("vl_convert") is not None,
    }  # fmt: skip


def _map_command(store: Reading, space: str) -> str:
    """Return the command that stores a map of a space that keeps more neighbours than principal components do."""
    sample = MOST if store.catalog.count(space) > MOST else None
    return command("map", store.path, {"method": "tsne", "spaces": [space], "sample": sample})


def _hash(info: Table) -> str:
    """Return a hash of the rows of ``Store.info``, which differs when a store has changed."""
    return hashlib.sha256(json.dumps(info.to_pylist(), default=str).encode()).hexdigest()[:16]


def metric_form(store: Reading, name: str) -> dict[str, Any]:
    """Return the declaration of a metric in the words of the page: formula, estimator, columns, parameters."""
    declared = store.explain(name).to_dict()
    return {**declared, "parameters": [{**each, "help": _field_help(each)} for each in declared["parameters"]]}


def _field_help(parameter: Mapping[str, Any]) -> str:
    text = parameter["help"]
    return f"{text} Several: with commas." if parameter["repeatable"] and "commas" not in text else text


def inventory(store: Reading) -> dict[str, Any]:
    """Return the content of the tab Store: spaces with everything their cards say, and the skipped texts."""
    cards = {space: json.loads(json.dumps(card.to_dict(), default=str)) for space, card in store.catalog.cards.items()}
    skipped = store.skipped()
    return {
        "cards": cards, "skipped": [dict(row) for row in skipped.rows[:_SKIPPED_SHOWN]],
        "skipped_columns": list(skipped.columns), "n_skipped": len(skipped),
        "command": command("info", store.path, {}), "python": python("info", store.path, {}),
    }  # fmt: skip


def current_fingerprint(store: Reading) -> dict[str, str]:
    """Return a hash of the state of the store as it is now, without a change of what ``store`` has read."""
    opened: Callable[..., Reading] = type(store)
    return {"fingerprint": _hash(opened(store.path).info())}
