"""Describe a store for the page: its spaces, layers, datasets and metrics."""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from embstore.storage.catalog import Catalog
from embstore.table import Table


class Reading(Protocol):
    """The part of :class:`embstore.Store` that the explorer uses: it only reads."""

    @property
    def path(self) -> Path:
        """The folder of the store."""

    @property
    def catalog(self) -> Catalog:
        """The catalog of the store."""

    @property
    def info(self) -> Callable[..., Table]:
        """The method :meth:`embstore.Store.info`."""

    @property
    def skipped(self) -> Callable[..., Table]:
        """The method :meth:`embstore.Store.skipped`."""

    @property
    def query(self) -> Callable[..., Table]:
        """The method :meth:`embstore.Store.query`."""

    @property
    def cache_state(self) -> Callable[..., Any]:
        """The method :meth:`embstore.Store.cache_state`."""

    @property
    def neighbours(self) -> Callable[..., Table]:
        """The method :meth:`embstore.Store.neighbours`."""

    @property
    def vectors(self) -> Callable[..., Any]:
        """The method :meth:`embstore.Store.vectors`."""

    @property
    def sql(self) -> Callable[..., Any]:
        """The method :meth:`embstore.Store.sql`."""

    @property
    def metrics(self) -> Callable[..., Table]:
        """The method :meth:`embstore.Store.metrics`."""

    @property
    def explain(self) -> Callable[..., Any]:
        """The method :meth:`embstore.Store.explain`."""

    @property
    def refresh(self) -> Callable[..., None]:
        """The method :meth:`embstore.Store.refresh`."""


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
        "metrics": [{name: row[name] for name in ("name", "help", "needs")} for row in metrics],
        "notes": [*info.notes, *metrics.notes],
        "can_plot": find_spec("vl_convert") is not None,
    }


def fingerprint(info: Table) -> str:
    """Return a hash of the rows of ``Store.info``, which differs when a store has changed."""
    return hashlib.sha256(json.dumps(info.to_pylist(), default=str).encode()).hexdigest()[:16]


def metric_form(store: Reading, name: str) -> dict[str, Any]:
    """Return the declaration of a metric: formula, citation, estimator, columns and parameters."""
    declared: Mapping[str, Any] = store.explain(name).to_dict()
    return dict(declared)


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
    }


def current_fingerprint(store: Reading) -> str:
    """Return the fingerprint of the store as it is now, without a change of what ``store`` has read."""
    return fingerprint(_anew(store).info())


def _anew(store: Reading) -> Reading:
    kind: Callable[[Path], Reading] = type(store)
    return kind(store.path)
