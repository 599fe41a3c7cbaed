"""Find the staged texts that a store has, and write the missing ones."""

from embstore.base.errors import SourceError
from embstore.storage.files.items import PartChecks
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import ITEMS_SCHEMA
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import FILES, Reader
from embstore.storage.staging.staging import SHOWN, Ids, Staging, collision, content
from embstore.storage.transaction.additions import write_item_rows
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
    """Staged texts that a store has; writes the missing ones.

    Args:
        staging: Deduplicated items.
        paths: Paths of the store.

    Raises:
        SourceError: A stored text differs from a staged text with the same id.
        DamagedError: A table of texts cannot be read, or was altered.
    """

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
        """Write the missing texts of items whose vectors are stored.

        Args:
            items: SQL query for the ids of the items (item_id).
        """
        interruptible.execute(self._staging.connection, f"CREATE OR REPLACE TEMP VIEW requested AS {items}")
        self._write()
        interruptible.execute(self._staging.connection, "DROP VIEW requested")

    def _write(self) -> None:
        """Write the missing texts of the items in ``requested``, and of their sentences."""
        self._load_new_tables()
        missing = self._staging.table(_MISSING, unit=self._staging.unit.value)
        if missing.num_rows:
            write_item_rows(self._paths, missing.cast(ITEMS_SCHEMA))

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
