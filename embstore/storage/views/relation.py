"""A DuckDB relation whose work ends at the limits of users' SQL."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import wraps
from typing import Any, cast

import duckdb

from embstore.escape import printable
from embstore.storage.views.sandbox import Session

_END = object()


def relation(session: Session, sql: str) -> duckdb.DuckDBPyRelation:
    """Return what behaves as the DuckDB relation of a statement, each run of which ends at the session's limits."""
    return cast(
        "duckdb.DuckDBPyRelation", LimitedRelation(session, session.run(lambda connection: connection.sql(sql)))
    )


class LimitedRelation:
    """A DuckDB relation: all of its attributes, each of whose runs is one of its session.

    Args:
        session: What runs it.
        relation: A relation of the session's connection.
    """

    def __init__(self, session: Session, relation: duckdb.DuckDBPyRelation) -> None:
        self._session, self._relation = session, relation

    def __getattr__(self, name: str) -> Any:
        return self._limited(self._session.run(lambda _: getattr(self._relation, name)))

    def _limited(self, found: Any) -> Any:
        """Return a relation, a method or an iterator whose runs are the session's; anything else as it is."""
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
            given = [arg._relation if isinstance(arg, LimitedRelation) else arg for arg in args]
            return self._limited(self._session.run(lambda _: method(*given, **options)))

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
        """Print the first rows, as DuckDB's relations do; control characters are escaped."""
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
