"""Find the staged items that are missing in each space, in windows for encoding, and the texts that
the store lacks.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from embstore.base.arrays import Ids
from embstore.base.sharding import KEYS, Parts, Range
from embstore.base.text import NOT_UNICODE, Item
from embstore.storage.arrow import to_numpy
from embstore.storage.cache import StoreFiles
from embstore.storage.catalog import Catalog
from embstore.storage.keys import ITEMS, SKIPPED
from embstore.storage.manifest import Change, Files, Manifest
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import FILES, Reader
from embstore.storage.staging.staging import (
    INT,
    SHOWN,
    TEXT,
    Appender,
    Staging,
    Window,
    collision,
    content,
)
from embstore.storage.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA, write_all

# Table ``resolved``: items that a space has (present), or that the build cannot embed there.
_PRESENT = """
INSERT INTO resolved SELECT $space, item_id, true FROM stored_ids SEMI JOIN item USING (item_id)
"""
_PREVIOUSLY_SKIPPED = f"""
SELECT item_id, key FROM item
SEMI JOIN (SELECT item_id FROM {FILES} WHERE space = $space AND outcome = 'skipped') AS listed
    USING (item_id)
ANTI JOIN (SELECT item_id FROM resolved WHERE space = $space) USING (item_id)
WHERE valid ORDER BY key, item_id
"""
_WINDOW = (
    'SELECT item.item_id, text, context_id, start, "end", {is_missing} FROM {rows} ORDER BY key,'
    " start, item.item_id"
)


class MissingItems:
    """Staged items that are missing in a store."""

    def __init__(self, staging: Staging, catalog: Catalog | None) -> None:
        self.staging, self._catalog = staging, catalog
        self._n_work = 0
        interruptible.execute(
            staging.connection,
            "CREATE TABLE resolved (space VARCHAR, item_id BIGINT, present BOOLEAN)",
        )

    def load_present(self, space: str) -> int:
        """Record the staged items that are present in a stored space, and return their number."""
        catalog = self._catalog
        if catalog is None or catalog.is_empty(space):
            return 0
        with connections.with_ids(self.staging.connection, "stored_ids", catalog.ids(space)):
            self.staging.rows(_PRESENT, space=space)
        return self._count("resolved WHERE space = $space", space=space)

    def previously_skipped(self, space: str) -> Iterator[list[Item]]:
        """Yield the items without a vector in a space that an earlier build skipped, some thousands
        at a time.

        Items of one sentence are in the same batch.
        """
        catalog = self._catalog
        if catalog is None or not catalog.skipped_files:
            return
        reader = Reader(catalog.root, self.staging.connection)
        listed = reader.columns(_PREVIOUSLY_SKIPPED, catalog.skipped_files, space=space)
        yield from self.staging.batches(listed["item_id"], listed["key"])

    def exclude_others(self, space: str) -> None:
        """Exclude the tokens that the tokenizer of a space does not give from its missing items."""
        self.staging.rows(
            """INSERT INTO resolved SELECT $space, item_id, false FROM item
               ANTI JOIN (SELECT item_id FROM token WHERE space = $space) USING (item_id)""",
            space=space,
        )

    def places(self, space: str, parts: Parts) -> pa.Table:
        """Return the places of the tokens of a space, in the parts of this build: item_id,
        position and special, by ascending id.
        """
        return self.staging.table(
            f"""SELECT item_id, any_value(position) AS position, any_value(special) AS special
                FROM token SEMI JOIN (SELECT item_id FROM item WHERE {parts_condition(parts)})
                USING (item_id) WHERE space = $space GROUP BY item_id ORDER BY item_id""",
            space=space,
        )

    def exclude(self, space: str, ids: Ids) -> None:
        """Exclude items that cannot be embedded in a space from its missing items."""
        with connections.with_ids(self.staging.connection, "excluded", ids):
            self.staging.rows(
                "INSERT INTO resolved SELECT $space, item_id, false FROM excluded", space=space
            )

    def n_missing(self, space: str, parts: Parts) -> tuple[int, int]:
        """Return two numbers of items missing in a space: in the parts of this build, and in those
        of other builds.
        """
        rows = (
            "item ANTI JOIN (SELECT item_id FROM resolved WHERE space = $space) USING (item_id)"
            " WHERE valid"
        )
        missing = self._count(rows, space=space)
        if parts.worker.total == 1:
            return missing, 0
        here = self._count(f"{rows} AND {parts_condition(parts)}", space=space)
        return here, missing - here

    def work(self, spaces: Sequence[str], parts: Parts) -> "Work":
        """Return the missing items of spaces that are encoded together, within the parts of this
        build.
        """
        self._n_work += 1
        return Work(self.staging, spaces, parts, f"todo_{self._n_work}")

    def present(self, spaces: Sequence[str], parts: Parts) -> Ids:
        """Return the ids (n,) of the items present in any of the spaces, in the parts of this
        build, ascending.
        """
        stored = (
            "SELECT item_id FROM resolved WHERE present AND space IN"
            f" ({', '.join(map(connections.quote, spaces))})"
        )
        rows = f"item SEMI JOIN ({stored}) USING (item_id) WHERE {parts_condition(parts)}"
        return to_numpy(
            self.staging.table(f"SELECT item_id FROM {rows} ORDER BY item_id")["item_id"]
        )

    def _count(self, rows: str, **values: str) -> int:
        return int(self.staging.rows(f"SELECT count(*) FROM {rows}", **values)[0][0])


class Work:
    """Items that are missing in some spaces, in the order of encoding: a table of key, item_id, and
    for each space 1 where the item is missing there.
    """

    def __init__(self, staging: Staging, spaces: Sequence[str], parts: Parts, table: str) -> None:
        self._staging, self._parts = staging, parts
        self._missing_columns = [f"missing_{number}" for number in range(len(spaces))]
        self._table, self._joined = table, f"JOIN {table} USING (key, item_id)"
        is_missing = (
            f"coalesce(NOT bool_or(space = {connections.quote(space)}), true)::UTINYINT AS {name}"
            for space, name in zip(spaces, self._missing_columns, strict=True)
        )
        staging.rows(
            f"CREATE TABLE {table} AS SELECT key, item_id, {', '.join(is_missing)} FROM item LEFT"
            f" JOIN resolved USING (item_id) WHERE valid AND {parts_condition(parts)} GROUP BY key,"
            f" item_id HAVING {' + '.join(self._missing_columns)} > 0 ORDER BY key, item_id"
        )
        self.n_items = int(staging.rows(f"SELECT count(*) FROM item {self._joined}")[0][0])

    def windows(self) -> Iterator[Window]:
        """Yield the missing items window by window; the windows of a shard are consecutive."""
        for number, ranges in enumerate(self._shards()):
            for keys in ranges:
                if len((window := self._window(keys, number)).ids):
                    yield window

    def shards(self) -> Iterator[tuple[Ids, Ids]]:
        """Yield the keys and ids (n,) of the missing items of each shard that has some, without
        their texts.
        """
        for ranges in self._shards():
            tables = [
                self._staging.table(f"SELECT key, item.item_id FROM {self._chosen(keys)}")
                for keys in ranges
            ]
            keys, ids = (
                np.concatenate([to_numpy(table[name]) for table in tables])
                for name in ("key", "item_id")
            )
            if len(ids):
                yield keys, ids

    def _shards(self) -> Iterator[list[Range]]:
        """Yield for each shard the key ranges of its windows."""
        n = self._parts.n * self._parts.n_windows
        rows = self._staging.rows(
            f"""SELECT (key::HUGEINT * {n}) // {KEYS} AS number, count(*), count(missing_0)
                FROM item LEFT {self._joined} WHERE valid GROUP BY number"""
        )
        yield from self._parts.pack(
            {int(number): (n_items, missing) for number, n_items, missing in rows}
        )

    def _window(self, keys: Range, number: int) -> Window:
        """Return the window of missing items whose keys are in a range, to be written to shard
        ``number``.
        """
        rows = self._chosen(keys)
        table = self._staging.table(
            _WINDOW.format(is_missing=", ".join(self._missing_columns), rows=rows)
        )
        return Window(self._staging.unit, table, self._staging.contexts(rows), number)

    def _chosen(self, keys: Range) -> str:
        """Return the SQL for the rows of ``item`` of the missing items whose keys are in a
        range.
        """
        within = f"WHERE key >= {keys.first} AND key < {keys.end}"
        return (
            f"(SELECT * FROM item {within}) AS item JOIN (SELECT * FROM {self._table} {within})"
            " USING (key, item_id)"
        )


def parts_condition(parts: Parts) -> str:
    """Return the SQL condition on ``key`` for the items of a worker: their key modulo the number of
    workers.
    """
    worker = parts.worker
    return "true" if worker.total == 1 else f"key % {worker.total} = {worker.index - 1}"


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
SEMI JOIN (SELECT context_id AS item_id FROM item SEMI JOIN requested USING (item_id))
    USING (item_id)
ANTI JOIN stored_text USING (item_id)
ORDER BY item_id
"""


class StoredTexts:
    """Staged texts that a store has; writes the missing ones."""

    def __init__(self, staging: Staging, files: StoreFiles) -> None:
        self._staging, self._files = staging, files
        self._loaded: set[str] = set()
        interruptible.execute(
            staging.connection, "CREATE TABLE stored_text (item_id BIGINT, content UBIGINT)"
        )

    def missing(self, base: Manifest, ids: Ids) -> Files:
        """Write the texts of items and of their sentences that a manifest lacks, and return their
        tables.

        They count once a manifest names them. Texts that another build has committed meanwhile are
        not repeated.
        """
        self._load(base)
        with connections.with_ids(self._staging.connection, "requested", ids):
            missing = self._staging.table(_MISSING, unit=self._staging.unit.value)
        return write_all(self._files, ITEMS, [missing.cast(ITEMS_SCHEMA)])

    def write(self, ids: Ids) -> None:
        """Commit the missing texts of these items and of their sentences."""
        self._files.commit(lambda base: Change(self.missing(base, ids)))

    def _load(self, base: Manifest) -> None:
        """Read the tables of texts that were committed since the last call; all of them if one of
        those has gone, since texts may have gone with it.
        """
        if not self._loaded.issubset(base.files):
            self._loaded.clear()
            self._staging.rows("DELETE FROM stored_text")
        new = [key for key in base.keys_of(ITEMS) if key not in self._loaded]
        if not new:
            return
        files = self._files.files_of(base, new)
        reader = Reader(self._files.root, self._staging.connection)
        reader.run(interruptible.execute, _LOAD, files)
        self._loaded.update(new)
        for item, text, origin in self._staging.rows(_COLLIDING):
            for file in files:
                file.check()  # raises DamagedError if the stored text was altered
            stored = next(row[0] for row in reader.rows(_STORED, files, item=item))
            stored_in = f"{stored[:SHOWN]!r} (stored in {self._files.name})"
            raise collision(f"{text[:SHOWN]!r} ({origin})", stored_in)


_BATCH_ROWS = 2048  # few, since texts may be long
_FOUND = """
SELECT skip.space, item_id, text, outcome, reason, origin FROM skip JOIN item USING (item_id)
UNION ALL SELECT NULL, NULL, '', 'skipped', reason, origin FROM blank
"""
_LISTED = f"SELECT space, item_id, text, outcome, reason, origin FROM {FILES}"


class SkipList:
    """Skipped and truncated items of a build."""

    def __init__(self, staging: Staging, files: StoreFiles) -> None:
        self._staging, self._files = staging, files
        staging.rows(
            "CREATE TABLE skip (space VARCHAR, item_id BIGINT, outcome VARCHAR, reason VARCHAR)"
        )
        self._skips = Appender(
            staging, "skip", {"space": TEXT, "item_id": INT, "outcome": TEXT, "reason": TEXT}
        )

    def add(self, space: str, item_id: int, outcome: str, reason: str) -> None:
        """Add an item that is skipped or truncated in a space."""
        self._skips.add(space, item_id, outcome, reason)

    def add_invalid(self, spaces: Sequence[str], parts: Parts) -> None:
        """Add the items that are not valid Unicode, within the parts of this build, as skipped in
        the given spaces.
        """
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
        self._files.commit(lambda base: Change(self._unlisted(base)))

    def _unlisted(self, base: Manifest) -> Files:
        """Write the skipped texts that a manifest lacks, and return their tables."""
        connection = self._staging.connection
        files = self._files.files_of(base, base.keys_of(SKIPPED))
        reader = Reader(self._files.root, connection)
        sql = f"{_FOUND} EXCEPT {_LISTED}" if files else f"SELECT DISTINCT * FROM ({_FOUND})"
        # Through a DuckDB table, which spills to disk, and during whose creation a damaged file is
        # found.
        create = f"CREATE OR REPLACE TABLE unlisted AS {sql}"
        reader.run(lambda _, query, values: self._staging.rows(query, **values), create, files)
        unlisted = self._staging.stream("FROM unlisted ORDER BY ALL", SKIPPED_SCHEMA, _BATCH_ROWS)
        written = write_all(self._files, SKIPPED, unlisted)
        interruptible.execute(connection, "DROP TABLE unlisted")
        return written
