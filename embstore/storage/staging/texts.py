"""Find the staged texts that a store has, and write the missing ones."""

from collections.abc import Sequence

from embstore.base.errors import SourceError
from embstore.base.sharding import Parts
from embstore.base.text import NOT_UNICODE
from embstore.storage.files.items import PartChecks
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import FILES, Reader
from embstore.storage.staging.missing import parts_condition
from embstore.storage.staging.staging import INT, SHOWN, TEXT, Appender, Ids, Staging, collision, content
from embstore.storage.transaction.commit import write_rows
from embstore.storage.transaction.manifest import list_parts

_TEXTS = """(SELECT item_id, text, origin, content FROM item UNION ALL
             SELECT item_id, text, origin, content FROM sentence) AS staged"""
_LOAD = f"""
INSERT INTO stored_text SELECT DISTINCT item_id, {content("unit")} FROM {FILES} AS stored
SEMI JOIN {_TEXTS} USING (item_id)
"""
_COLLIDING = f"""
SELECT item_id, staged.text, staged.origin FROM {_TEXTS} JOIN stored_text USING (item_id)
WHERE stored_text.content <> staged.content LIMIT 1
"""
_STORED = f"SELECT text FROM {FILES} WHERE item_id = $item"
# Table ``requested`` (item_id): items whose texts must be stored.
_MISSING = """
SELECT item_id, $unit AS unit, text, context_id, start, "end" FROM item
SEMI JOIN requested USING (item_id) ANTI JOIN stored_text USING (item_id)
UNION ALL
SELECT item_id, 'sentence', text, NULL, NULL, NULL FROM sentence
SEMI JOIN (SELECT context_id AS item_id FROM item SEMI JOIN requested USING (item_id)) USING (item_id)
ANTI JOIN stored_text USING (item_id)
ORDER BY item_id
"""


class StoredTexts:
    """Staged texts that a store has; writes the missing ones."""

    def __init__(self, staging: Staging, paths: StorePaths) -> None:
        self._staging, self._paths = staging, paths
        self._loaded_files: set[str] = set()
        interruptible.execute(staging.connection, "CREATE TABLE stored_text (item_id BIGINT, content UBIGINT)")
        self._load_new_tables()

    def write(self, ids: Ids) -> None:
        """Write the missing texts of these items and of their sentences.

        Texts that another build of the same source has written meanwhile are not repeated.
        """
        with connections.with_ids(self._staging.connection, "requested", ids):
            self._write()

    def write_missing_texts(self, items: str) -> None:
        """Write the missing texts of items whose vectors are stored."""
        interruptible.execute(self._staging.connection, f"CREATE OR REPLACE TEMP VIEW requested AS {items}")
        self._write()
        interruptible.execute(self._staging.connection, "DROP VIEW requested")

    def _write(self) -> None:
        """Write the missing texts of the items in ``requested``, and of their sentences."""
        self._load_new_tables()
        missing = self._staging.table(_MISSING, unit=self._staging.unit.value)
        if missing.num_rows:
            write_rows(self._paths, self._paths.items, [missing.cast(ITEMS_SCHEMA)])

    def _load_new_tables(self) -> None:
        """Read the tables of texts that were written since the last call."""
        files = [
            file for file in list_parts(self._paths, self._paths.items).files if file.name not in self._loaded_files
        ]
        if not files:
            return
        connection = self._staging.connection
        reader = Reader(self._paths.root, connection)
        reader.run_over(
            files, lambda sql: interruptible.execute(connection, sql, {"files": connections.literal(files)}), _LOAD
        )
        self._loaded_files.update(file.name for file in files)
        for item, text, origin in self._staging.rows(_COLLIDING):
            for file in files:
                PartChecks().check(file)  # raises DamagedError if the stored text was altered
            stored = next(row[0] for row in reader.rows(_STORED, files, item=item))
            raise _collision(text, origin, stored, self._paths)


def _collision(text: str, origin: str, stored: str, paths: StorePaths) -> SourceError:
    return collision(f"{text[:SHOWN]!r} ({origin})", f"{stored[:SHOWN]!r} (stored in {paths.root})")


_BATCH_ROWS = 2048  # few, since texts may be long
_FOUND = """
SELECT skip.space, item_id, text, outcome, reason, origin FROM skip JOIN item USING (item_id)
UNION ALL SELECT NULL, NULL, '', 'skipped', reason, origin FROM blank
"""
_LISTED = f"SELECT space, item_id, text, outcome, reason, origin FROM {FILES}"


class SkipList:
    """Skipped and truncated items of a build."""

    def __init__(self, staging: Staging, paths: StorePaths) -> None:
        self._staging, self._paths = staging, paths
        staging.rows("CREATE TABLE skip (space VARCHAR, item_id BIGINT, outcome VARCHAR, reason VARCHAR)")
        self._skips = Appender(staging, "skip", {"space": TEXT, "item_id": INT, "outcome": TEXT, "reason": TEXT})

    def add(self, space: str, item_id: int, outcome: str, reason: str) -> None:
        """Add an item that is skipped or truncated in a space."""
        self._skips.add(space, item_id, outcome, reason)

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
        self._skips.flush()
        files = list(list_parts(self._paths, self._paths.skipped).files)
        connection = self._staging.connection
        values = {"files": connections.literal(files)} if files else {}
        sql = f"{_FOUND} EXCEPT {_LISTED}" if files else f"SELECT DISTINCT * FROM ({_FOUND})"
        reader = Reader(self._paths.root, connection)
        # Through a DuckDB table, which spills to disk, and during whose creation a damaged file is found.
        sql = f"CREATE OR REPLACE TABLE unlisted AS {sql}"
        reader.run_over(files, lambda sql: self._staging.rows(sql, **values), sql)
        unlisted = self._staging.stream("FROM unlisted ORDER BY ALL", SKIPPED_SCHEMA, _BATCH_ROWS)
        write_rows(self._paths, self._paths.skipped, unlisted)
        interruptible.execute(connection, "DROP TABLE unlisted")
