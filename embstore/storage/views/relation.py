"""Wrap DuckDB relations so that the limits of users' SQL apply to each of their runs."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from functools import wraps
from typing import Any, cast

import duckdb

from embstore.base.escape import printable
from embstore.storage.views.sandbox import Session

_END = object()


def relation(session: Session, sql: str, parameters: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyRelation:
    """Return the DuckDB relation of a statement, wrapped so that each run ends at the session's limits.

    Args:
        session: Session that executes the runs.
        sql: The statement.
        parameters: Values of its parameters ``$name``; DuckDB then runs it at once.
    """

    def prepare(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        return connection.sql(sql, params=dict(parameters)) if parameters else connection.sql(sql)

    return cast("duckdb.DuckDBPyRelation", LimitedRelation(session, session.run(prepare)))


class LimitedRelation:
    """DuckDB relation with all of its attributes, whose runs are executed by a session with limits."""

    def __init__(self, session: Session, relation: duckdb.DuckDBPyRelation) -> None:
        self._session, self._relation = session, relation

    def __getattr__(self, name: str) -> Any:
        return self._limited(self._session.run(lambda _: getattr(self._relation, name)))

    def _limited(self, found: Any) -> Any:
        """Wrap a relation, method or iterator so that its runs are the session's; return other values unchanged."""
        if isinstance(found, duckdb.DuckDBPyRelation):
            return LimitedRelation(self._session, found)
        if hasattr(found, "read_next_batch"):
            return self._reader(found)
        if hasattr(found, "__next__"):
            return self._steps(found)
        return self._method(found) if callable(found) else found

    def _method(self, method: Any) -> Any:
        @wraps(method)
        def limited(*args: Any, **options: Any) -> Any:
            arguments = [arg._relation if isinstance(arg, LimitedRelation) else arg for arg in args]
            return self._limited(self._session.run(lambda _: method(*arguments, **options)))

        return limited

    def _steps(self, iterator: Iterator[Any]) -> Iterator[Any]:
        while (value := self._session.run(lambda _: next(iterator, _END))) is not _END:
            yield value

    def _reader(self, reader: Any) -> Any:
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(reader.schema, self._steps(reader))

    def __repr__(self) -> str:
        return printable(self._session.run(lambda _: repr(self._relation)), lines=True)

    def show(self, *args: Any, **options: Any) -> None:
        """Print the first rows as DuckDB does, with control characters escaped."""
        shown = io.StringIO()
        with redirect_stdout(shown):
            self._session.run(lambda _: self._relation.show(*args, **options))
        print(printable(shown.getvalue(), lines=True), end="")

    def __len__(self) -> int:
        return self._session.run(lambda _: len(self._relation))

    def __contains__(self, name: str) -> bool:
        return self._session.run(lambda _: name in self._relation)

    def __getitem__(self, name: Any) -> Any:
        return self._limited(self._session.run(lambda _: self._relation[name]))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        table = self._session.run(lambda _: self._relation.to_arrow_table())
        return table.__arrow_c_stream__(requested_schema)


def split_explain(sql: str) -> tuple[str, str]:
    """Return ``EXPLAIN``, with ``ANALYZE`` if it follows, and the rest of a statement; empty if it has none."""
    match = re.match(r"\s*EXPLAIN\s+(ANALYZE\s+)?", sql, re.IGNORECASE)
    return (f"EXPLAIN {match[1] or ''}", sql[match.end() :]) if match else ("", sql)
