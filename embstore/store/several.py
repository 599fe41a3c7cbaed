"""Stores: one query over several stores, side by side."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from embstore.base.errors import NotStoredError, QueryError, UnknownNameError, UsageError
from embstore.base.keywords import Names, accepts
from embstore.base.table import Pivot, Table
from embstore.store import Store

COLUMN = "store"

# What may hold for one store and not for another: it lacks a space, a dataset or a text.
_LEFT_OUT = (NotStoredError, QueryError, UnknownNameError)


class Stores:
    """Several stores, which a query reads one after the other; the column ``store`` says which one
    a row is of.

    Args:
        stores: Stores, or their folders and URLs; two or more, all different.
        options: Options of the client for the stores at URLs that are not given as objects, as of
            :class:`Store`.

    Attributes:
        stores: Name of each store, as it was given → the store.

    Raises:
        UsageError: There is only one store, or one is given twice.
    """

    def __init__(
        self,
        stores: Iterable["Store | str | os.PathLike[str]"],
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.stores: dict[str, Store] = {}
        seen: set[str] = set()
        for given in [stores] if isinstance(stores, str | os.PathLike | Store) else stores:
            store = given if isinstance(given, Store) else Store(given, options=options)
            name = (store.url or str(store.path)) if isinstance(given, Store) else os.fspath(given)
            place = store.url or str(store.path.resolve())
            if place in seen:
                raise UsageError(f"the store {name} is given twice. Give each store once.")
            seen.add(place)
            self.stores[name] = store
        if len(self.stores) < 2:
            raise UsageError("Stores are two or more. For one use Store.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({[*self.stores]!r})"

    @accepts(Store.query)
    def query(self, metric: Any, **parameters: Any) -> Table:
        """Compute a metric for each store, space and layer.

        Arguments and errors are those of :meth:`Store.query`. A store that lacks the spaces,
        datasets or texts is left out with a note; if all do, the error of the first one is raised.

        Returns:
            The rows of :meth:`Store.query` for each store, with its name in the column ``store``;
            the notes name the store unless they hold for all.
        """
        if parameters.get("common"):
            raise UsageError(
                "⦃common⦄ is of the spaces of one store: merge the stores, or leave it out."
            )
        return self._joined(lambda store: partial(store.query, metric, **parameters))

    @accepts(Store.neighbours)
    def neighbours(self, texts: Names = (), **options: Any) -> Table:
        """Find the nearest items of each text in each store.

        Arguments and errors are those of :meth:`Store.neighbours`, and stores are left out as by
        :meth:`query`.

        Returns:
            The rows of :meth:`Store.neighbours` for each store, with its name in the column
            ``store``.
        """
        return self._joined(lambda store: partial(store.neighbours, texts, **options))

    def _joined(self, of_store: Callable[[Store], Callable[[], Table]]) -> Table:
        """Return the results of all stores as one table."""
        tables: dict[str, Table] = {}
        refused: dict[str, Exception] = {}
        for name, store in self.stores.items():
            try:
                tables[name] = of_store(store)()
            except _LEFT_OUT as error:
                refused[name] = error
        if not tables:
            raise next(iter(refused.values()))
        return join(tables, [f"{name} is left out: {error}" for name, error in refused.items()])


def join(tables: Mapping[str, Table], notes: Sequence[str] = ()) -> Table:
    """Return tables of one query as one, with the name of each row's store."""
    first = max(tables.values(), key=lambda found: len(found.columns))
    columns = dict.fromkeys(
        [*first.columns, *(column for found in tables.values() for column in found.columns)]
    )
    rows = [
        {COLUMN: name} | {column: row.get(column) for column in columns}
        for name, found in tables.items()
        for row in found
    ]
    types = {column: kind for found in tables.values() for column, kind in found.types.items()}
    chart = first.chart if first.chart is not None and first.chart.kind == "curves" else None
    return Table(
        columns=(COLUMN, *columns),
        rows=tuple(rows),
        notes=(*notes, *_notes(tables)),
        pivot=_pivot([found.pivot for found in tables.values() if found.pivot is not None]),
        types={COLUMN: "string"} | types,
        intervals=first.intervals,
        chart=chart and chart._replace(facets=(COLUMN, *chart.facets)),
    )


def _notes(tables: Mapping[str, Table]) -> list[str]:
    """Return the notes that hold for all stores, and the others with the name of the store."""
    shared = set.intersection(*(set(found.notes) for found in tables.values()))
    all_notes = dict.fromkeys(
        note for found in tables.values() for note in found.notes if note in shared
    )
    return [
        *all_notes,
        *(
            f"{name}: {note}"
            for name, found in tables.items()
            for note in found.notes
            if note not in shared
        ),
    ]


def _pivot(pivots: Sequence[Pivot]) -> Pivot | None:
    """Return the printed layout of several tables of one query: stores across where spaces are,
    else down.
    """
    if not pivots:
        return None
    chosen = max(pivots, key=lambda pivot: len(pivot.down))
    values = tuple(dict.fromkeys(value for pivot in pivots for value in pivot.values))
    if "space" in chosen.across:
        return chosen._replace(across=(COLUMN, *chosen.across), values=values)
    heads = (COLUMN, *(chosen.heads or chosen.down))
    return chosen._replace(down=(COLUMN, *chosen.down), heads=heads, values=values)
