"""Find the staged texts that a store has, and write the missing ones."""

from embstore.errors import SourceError
from embstore.storage.files.items import PartChecks
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import ITEMS_SCHEMA, write_item_rows
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import FILES, Reader
from embstore.storage.staging.staging import SHOWN, Ids, Staging, collision, content
from embstore.storage.transaction.manifest import list_parts

_TEXTS = """(SELECT item_id, text, origin, content FROM item UNION ALL
             SELECT item_id, text, origin, content FROM sentence) AS staged"""
_HOLD = f"""
INSERT INTO held SELECT DISTINCT item_id, {content("unit")} FROM {FILES} AS stored
SEMI JOIN {_TEXTS} USING (item_id)
"""
_COLLIDING = f"""
SELECT item_id, staged.text, staged.origin FROM {_TEXTS} JOIN held USING (item_id)
WHERE held.content <> staged.content LIMIT 1
"""
_STORED = f"SELECT text FROM {FILES} WHERE item_id = $item"
# ``asked`` (item_id): the items whose texts must be there.
_LACKING = """
SELECT item_id, $unit AS unit, text, context_id, start, "end" FROM item
SEMI JOIN asked USING (item_id) ANTI JOIN held USING (item_id)
UNION ALL
SELECT item_id, 'sentence', text, NULL, NULL, NULL FROM sentence
SEMI JOIN (SELECT context_id AS item_id FROM item SEMI JOIN asked USING (item_id)) USING (item_id)
ANTI JOIN held USING (item_id)
ORDER BY item_id
"""


class Held:
    """Staged texts that a store has, and a writer of the missing ones.

    Args:
        staging: Deduplicated items.
        paths: Paths of the store.

    Raises:
        SourceError: Another text of the store has the id of a staged one.
        DamagedError: A table of texts cannot be read, or was altered.
    """

    def __init__(self, staging: Staging, paths: StorePaths) -> None:
        self._staging, self._paths = staging, paths
        self._seen: set[str] = set()
        interruptible.execute(staging.connection, "CREATE TABLE held (item_id BIGINT, content UBIGINT)")
        self._look()

    def write(self, ids: Ids) -> None:
        """Write the missing texts of these items and of their sentences.

        Builds that share the parts of a source may write the same sentence; texts written meanwhile are not repeated.
        """
        self._staging.connection.register("asked", {"item_id": ids})
        self._write()

    def mend(self, spaces: str) -> None:
        """Repair items whose vectors are stored but whose texts are missing, by writing their texts.

        Args:
            spaces: SQL query for the items (item_id).
        """
        interruptible.execute(self._staging.connection, f"CREATE OR REPLACE TEMP VIEW asked AS {spaces}")
        self._write()
        interruptible.execute(self._staging.connection, "DROP VIEW asked")

    def _write(self) -> None:
        self._look()
        found = self._staging.table(_LACKING, unit=self._staging.unit.value)
        if found.num_rows:
            write_item_rows(self._paths, found.cast(ITEMS_SCHEMA))

    def _look(self) -> None:
        """Read the tables of texts that were written since the last call."""
        files = [file for file in list_parts(self._paths.items).files if file.name not in self._seen]
        if not files:
            return
        connection = self._staging.connection
        reader = Reader(self._paths.root, files, connection)
        reader.guard(
            files, lambda sql: interruptible.execute(connection, sql, {"files": connections.literal(files)}), _HOLD
        )
        self._seen.update(file.name for file in files)
        for item, text, origin in self._staging.rows(_COLLIDING):
            for file in files:
                PartChecks().check(file)  # an altered text has the id of the one that it was
            stored = next(row[0] for row in reader.rows(_STORED, files, item=item))
            raise _collision(text, origin, stored, self._paths)


def _collision(text: str, origin: str, stored: str, paths: StorePaths) -> SourceError:
    return collision(f"{text[:SHOWN]!r} ({origin})", f"{stored[:SHOWN]!r} (stored in {paths.root})")
