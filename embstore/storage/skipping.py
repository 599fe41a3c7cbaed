"""The staged texts that get no vector, or not a whole one: gathered, and listed in the store once."""

from collections.abc import Sequence

from embstore.parts import Parts
from embstore.storage.hidden import list_parts
from embstore.storage.lacking import mine
from embstore.storage.paths import StorePaths
from embstore.storage.reading import FILES, Reader
from embstore.storage.staging import Staging
from embstore.storage.tables import SKIPPED_SCHEMA, write_skipped_rows
from embstore.text import NOT_UNICODE

_ROWS = 10_000
_FOUND = """
SELECT skip.space, item_id, text, outcome, reason, origin FROM skip JOIN item USING (item_id)
UNION ALL SELECT NULL, NULL, '', 'skipped', reason, origin FROM blank
"""
_LISTED = f"SELECT space, item_id, text, outcome, reason, origin FROM {FILES}"


class SkipList:
    """The skipped and truncated items of a build.

    Args:
        staging: the items, settled; its blank rows are skipped from the start.
        paths: of the store.
    """

    def __init__(self, staging: Staging, paths: StorePaths) -> None:
        self._staging, self._paths = staging, paths
        self._rows: list[tuple[str, int, str, str]] = []
        staging.connection.execute("CREATE TABLE skip (space VARCHAR, item_id BIGINT, outcome VARCHAR, reason VARCHAR)")

    def add(self, space: str, item_id: int, outcome: str, reason: str) -> None:
        """Take an item that a space lacks, or has only the beginning of."""
        self._rows.append((space, item_id, outcome, reason))
        if len(self._rows) >= _ROWS:
            self._stage()

    def add_invalid(self, spaces: Sequence[str], parts: Parts) -> None:
        """Take the items of this build's parts that no model can be given."""
        for space in spaces:
            self._staging.rows(
                f"""INSERT INTO skip SELECT $space, item_id, 'skipped', $reason FROM item
                    WHERE NOT valid AND {mine(parts)}""",
                space=space,
                reason=NOT_UNICODE,
            )

    def record(self) -> None:
        """List in the store what is not listed there."""
        self._stage()
        files = list(list_parts(self._paths.skipped).files)
        connection = self._staging.connection
        if not files:
            found = self._staging.table(f"SELECT DISTINCT * FROM ({_FOUND})")
        else:
            values = {"files": [str(file) for file in files]}
            reader = Reader(self._paths.root, files, connection)
            found = reader.guard(files, lambda sql: self._staging.table(sql, **values), f"{_FOUND} EXCEPT {_LISTED}")
        if found.num_rows:
            write_skipped_rows(self._paths, found.cast(SKIPPED_SCHEMA))

    def _stage(self) -> None:
        if self._rows:
            self._staging.insert(
                "skip", dict(zip(("space", "item_id", "outcome", "reason"), zip(*self._rows, strict=True), strict=True))
            )
            self._rows = []
