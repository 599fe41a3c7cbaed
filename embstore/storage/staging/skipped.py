"""Collect the skipped and truncated texts of a build, and list them once in the store."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from embstore.base.sharding import Parts
from embstore.base.text import NOT_UNICODE
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import SKIPPED_SCHEMA
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import FILES, Reader
from embstore.storage.staging.missing import parts_condition
from embstore.storage.staging.staging import Staging
from embstore.storage.transaction.additions import write_skipped_rows
from embstore.storage.transaction.manifest import list_parts

_ROWS = 10_000
_BATCH_ROWS = 2048  # few, since texts may be long
_FOUND = """
SELECT skip.space, item_id, text, outcome, reason, origin FROM skip JOIN item USING (item_id)
UNION ALL SELECT NULL, NULL, '', 'skipped', reason, origin FROM blank
"""
_LISTED = f"SELECT space, item_id, text, outcome, reason, origin FROM {FILES}"


class SkipList:
    """Skipped and truncated items of a build.

    Args:
        staging: Deduplicated items; their blank rows are skipped from the start.
        paths: Paths of the store.
    """

    def __init__(self, staging: Staging, paths: StorePaths) -> None:
        self._staging, self._paths = staging, paths
        self._rows: list[tuple[str, int, str, str]] = []
        staging.rows("CREATE TABLE skip (space VARCHAR, item_id BIGINT, outcome VARCHAR, reason VARCHAR)")

    def add(self, space: str, item_id: int, outcome: str, reason: str) -> None:
        """Add an item that is skipped or truncated in a space."""
        self._rows.append((space, item_id, outcome, reason))
        if len(self._rows) >= _ROWS:
            self._stage()

    def add_invalid(self, spaces: Sequence[str], parts: Parts) -> None:
        """Add the items that are not valid Unicode, within the parts of this build, as skipped in the given spaces."""
        for space in spaces:
            self._staging.rows(
                f"""INSERT INTO skip SELECT $space, item_id, 'skipped', $reason FROM item
                    WHERE NOT valid AND {parts_condition(parts)}""",
                space=space,
                reason=NOT_UNICODE,
            )

    def record(self) -> None:
        """Write the skipped texts that are not listed in the store yet."""
        self._stage()
        files = list(list_parts(self._paths, self._paths.skipped).files)
        connection = self._staging.connection
        values = {"files": connections.literal(files)} if files else {}
        sql = f"{_FOUND} EXCEPT {_LISTED}" if files else f"SELECT DISTINCT * FROM ({_FOUND})"
        reader = Reader(self._paths.root, connection)
        # Through a DuckDB table, which spills to disk, and during whose creation a damaged file is found.
        sql = f"CREATE OR REPLACE TABLE unlisted AS {sql}"
        reader.run_over(files, lambda sql: self._staging.rows(sql, **values), sql)
        write_skipped_rows(self._paths, self._unlisted())
        interruptible.execute(connection, "DROP TABLE unlisted")

    def _unlisted(self) -> Iterator[pa.Table]:
        """Yield the rows of the table ``unlisted``, in the schema of skipped texts."""
        connection = self._staging.connection
        reader = interruptible.run(
            connection, lambda it: it.sql("FROM unlisted ORDER BY ALL").to_arrow_reader(_BATCH_ROWS)
        )
        while (batch := interruptible.run(connection, lambda _: next(reader, None))) is not None:
            yield pa.Table.from_batches([batch]).cast(SKIPPED_SCHEMA)

    def _stage(self) -> None:
        """Move the collected rows into the table ``skip``."""
        if self._rows:
            self._staging.insert(
                "skip", dict(zip(("space", "item_id", "outcome", "reason"), zip(*self._rows, strict=True), strict=True))
            )
            self._rows = []
