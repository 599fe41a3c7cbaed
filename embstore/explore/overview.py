"""Describe a store for the page: its spaces, layers, datasets and metrics."""

import hashlib
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from embstore.base.text import N_TOKENS
from embstore.explore.commands import command, python
from embstore.explore.items import MOST
from embstore.explore.maps import stored_maps
from embstore.explore.reading import Reading
from embstore.storage.files.item_columns import is_token_column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from embstore.base.table import Table
    from embstore.storage.catalog import Catalog


def overview(store: Reading) -> dict[str, Any]:
    """Return what the page must know first: spaces with their layers, datasets, metrics and notes.

    The store is read anew, so that what was written since is seen.
    """
    store.refresh()
    catalog: Catalog = store.catalog
    info: Table = store.info()
    spaces = [
        dict(row) | {"layer_names": list(catalog.cards[row["space"]].layers.names)}
        for row in info
        if row["space"] in catalog.cards
    ]
    metrics: Table = store.metrics()
    return {
        "path": str(store.path),
        "name": store.path.resolve().name or str(store.path),
        "fingerprint": fingerprint(info),
        "spaces": spaces,
        "datasets": catalog.datasets(),
        "columns": _columns(catalog),
        "most_items": MOST,
        "map_commands": {space: _map_command(store, space) for space in catalog.cards},
        "maps": {space: list(named) for space, named in stored_maps(store).items()},
        "metrics": [{name: row[name] for name in ("name", "help", "needs")} for row in metrics],
        "notes": [*info.notes, *metrics.notes],
        "can_plot": find_spec("vl_convert") is not None,
    }


def _columns(catalog: "Catalog") -> list[str]:
    """Return the names of the stored columns; numbers of tokens have one name in all spaces."""
    names = catalog.columns.names
    kept = sorted(name for name in names if not is_token_column(name))
    return kept if len(kept) == len(names) else [*kept, N_TOKENS]


def _map_command(store: Reading, space: str) -> str:
    """Return the command that stores a map of a space that keeps more neighbours than principal components do."""
    sample = MOST if store.catalog.count(space) > MOST else None
    return command("map", store.path, {"method": "tsne", "spaces": [space], "sample": sample})


def fingerprint(info: "Table") -> str:
    """Return a hash of the rows of ``Store.info``, which differs when a store has changed."""
    return hashlib.sha256(json.dumps(info.to_pylist(), default=str).encode()).hexdigest()[:16]


def metric_form(store: Reading, name: str) -> dict[str, Any]:
    """Return the declaration of a metric in the words of the page: formula, estimator, columns, parameters."""
    declared: Mapping[str, Any] = store.explain(name).to_dict()
    return {**declared, "parameters": [{**each, "help": _field_help(each)} for each in declared["parameters"]]}


def _field_help(parameter: "Mapping[str, Any]") -> str:
    text = parameter["help"]
    return f"{text} Several: with commas." if parameter["repeatable"] and "commas" not in text else text


def inventory(store: Reading) -> dict[str, Any]:
    """Return the content of the tab Store: spaces with everything their cards say, and the skipped texts."""
    catalog: Catalog = store.catalog
    cards = {space: json.loads(json.dumps(card.to_dict(), default=str)) for space, card in catalog.cards.items()}
    skipped: Table = store.skipped()
    shown = 200
    return {
        "cards": cards,
        "skipped": [dict(row) for row in skipped.rows[:shown]],
        "skipped_columns": list(skipped.columns),
        "n_skipped": len(skipped),
        "command": command("info", store.path, {}),
        "python": python("info", store.path, {}),
    }


def current_fingerprint(store: Reading) -> str:
    """Return the fingerprint of the store as it is now, without a change of what ``store`` has read."""
    return fingerprint(_anew(store).info())


def _anew(store: Reading) -> Reading:
    kind: Callable[[Path], Reading] = type(store)
    return kind(store.path)
