"""Answer users' statements and conditions over the views of one opened store."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.arrays import distinct
from embstore.base.errors import UnknownNameError
from embstore.storage.files.datasets import check_dataset
from embstore.storage.files.item_columns import BUILT_IN, ColumnTables, joined_items
from embstore.storage.sql.fence import check_expression
from embstore.storage.sql.limits import Limits
from embstore.storage.sql.reader import Reader
from embstore.storage.views.relation import relation, split_explain
from embstore.storage.views.sandbox import BySpace, Sandbox

if TYPE_CHECKING:
    import duckdb

    from embstore.storage.files.card import Card

_ITEM_COLUMNS = ("item_id", "unit", "text", "context_id", "start", "end")

_COPIED_BYTES = 1 << 20  # of tables that a condition gets as a copy; they may unpack to 200 times as much


@dataclass
class UsersSql:
    """The views of a store for users' SQL; they are created at first use.

    Attributes:
        reader: Reader that identifies damaged files of the store.
        root: Folder of the store.
        files: Files of each view, by view and by space ("" for files without a space).
        datasets: Files of the datasets, each the view ``datasets.<name>``.
        cards: Cards that are the rows of the view ``spaces``.
        columns: Tables of the view ``columns``.
        checks: Functions that raise DamagedError if a file of a view was altered, by view; shards are not checked.
        built_in: Function that returns the rows of the view ``built_in`` as an Arrow table.
    """

    reader: Reader
    root: Path
    files: Mapping[str, BySpace]
    datasets: Sequence[Path]
    cards: "Iterable[Card]"
    columns: ColumnTables
    checks: Mapping[str, Callable[[], None]]
    built_in: Callable[[], object]
    _lock: Any = field(default_factory=RLock)  # guards the sandboxes and the creation of their views
    _sandbox: Sandbox | None = None
    _copied: Sandbox | None = None

    def select(self, where: str, limits: Limits, space: str | None) -> NDArray[np.int64]:
        """Return the ids of the items for which a condition is true; see :meth:`.catalog.Catalog.select`."""
        self.checks["items"]()
        check_expression(where)
        names = self.columns.names
        source, views = joined_items(where, names, space)
        if "columns" in views:
            self.columns.check()
        with self._lock:
            sandbox = self._items_sandbox(limits)
            checked = sandbox.check(f"SELECT item_id FROM {source} WHERE (\n{where}\n)", limits, views)
            session = sandbox.session(limits, views, (*_ITEM_COLUMNS, *sorted(names), *BUILT_IN))
        try:
            found = session.run(lambda connection: connection.execute(checked.sql).fetchnumpy()["item_id"])
        except UnknownNameError:
            self.columns.check()  # an altered table may have lost the column
            raise
        return distinct(np.asarray(found, dtype=np.int64))

    def relation(self, sql: str, limits: Limits, parameters: Mapping[str, Any] | None) -> "duckdb.DuckDBPyRelation":
        """Return the DuckDB relation of one SELECT over the views; see :meth:`.catalog.Catalog.relation`."""
        with self._lock:
            sandbox = self.sandbox(limits)
            explaining, select = split_explain(sql)
            checked = sandbox.check(select, limits, has_parameters=bool(parameters))
            self._check(checked.tables)
            listed = sandbox.views if checked.shows else ()
            views = {*checked.tables, *listed} - ({"built_in"} - checked.tables)
            session = sandbox.session(limits, views, macros=checked.macros, listed=listed)
        return relation(session, explaining + checked.sql, parameters)

    def sandbox(self, limits: Limits) -> Sandbox:
        """Return the DuckDB over all views, created again if the memory limit differs from the last one."""
        if self._sandbox is None or self._sandbox.memory != limits.memory:
            self._sandbox = self._new(self.files, limits, self.datasets, self.cards)
        return self._sandbox

    def _items_sandbox(self, limits: Limits) -> Sandbox:
        """Return the DuckDB for SQL over the items alone: a copy of them if they are few."""
        views = {view: self.files[view] for view in ("items", "columns", "built_in")}
        files = [file for by_space in views.values() for members in by_space.values() for file in members]
        if sum(map(disk.size, files)) > _COPIED_BYTES:
            return self.sandbox(limits)
        if self._copied is None or self._copied.memory != limits.memory:
            self._copied = self._new(views, limits, copied=True)
        return self._copied

    def _new(
        self,
        views: Mapping[str, BySpace],
        limits: Limits,
        datasets: Sequence[Path] = (),
        cards: "Iterable[Card]" = (),
        *,
        copied: bool = False,
    ) -> Sandbox:
        return Sandbox(
            self.reader, self.root, views, datasets, cards, limits.memory, columns=lambda: self.columns.types,
            built_in=self.built_in, copied=copied,
        )  # fmt: skip

    def _check(self, views: Collection[str]) -> None:
        """Raise DamagedError if a file of one of these views was altered; shards are not checked."""
        for view, check in self.checks.items():
            if view in views:
                check()
        for file in self.datasets:
            if f"datasets.{file.stem}" in views:
                check_dataset(file)
