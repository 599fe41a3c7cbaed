"""What the explorer uses of a store: methods that only read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from embstore.base.table import Table
from embstore.storage.catalog import Catalog
from embstore.storage.sql.limits import Limits

SQL_LIMITS = Limits(timeout=10.0, memory=2_000_000_000)
"""Limits of each SELECT, condition and expression of users, which run in a process of their own (:mod:`.workers`)."""


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
    def drift(self) -> Callable[..., Table]:
        """The method :meth:`embstore.Store.drift`."""

    @property
    def maps(self) -> Callable[..., Table]:
        """The method :meth:`embstore.Store.maps`."""

    @property
    def map_points(self) -> Callable[..., Any]:
        """The method :meth:`embstore.Store.map_points`."""

    @property
    def metrics(self) -> Callable[..., Table]:
        """The method :meth:`embstore.Store.metrics`."""

    @property
    def explain(self) -> Callable[..., Any]:
        """The method :meth:`embstore.Store.explain`."""

    @property
    def refresh(self) -> Callable[..., None]:
        """The method :meth:`embstore.Store.refresh`."""
