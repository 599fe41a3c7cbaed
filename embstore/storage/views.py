"""The views by which users' SQL sees a store."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from embstore.storage import duck, interruptible
from embstore.storage.card import Card
from embstore.storage.reading import Reader

BySpace = Mapping[str, Sequence[Path]]

# Column types of each view when no file of it exists yet.
_EMPTY = {
    "items": 'item_id BIGINT, unit VARCHAR, text VARCHAR, context_id BIGINT, start BIGINT, "end" BIGINT',
    "skipped": "space VARCHAR, item_id BIGINT, text VARCHAR, outcome VARCHAR, reason VARCHAR, origin VARCHAR",
    "embeddings": "space VARCHAR, layer SMALLINT, item_id BIGINT, vector FLOAT[]",
    "summaries": "space VARCHAR, shard VARCHAR, layer SMALLINT, n BIGINT",
}


def create_views(reader: Reader, views: Mapping[str, BySpace], datasets: Sequence[Path], cards: Iterable[Card]) -> None:
    """Make the views of a store.

    Args:
        reader: whose sandbox gets them.
        views: the files of each, by space ("" where they are of none).
        datasets: files, each of which becomes ``datasets.<name>``.
        cards: become the table ``spaces``.

    Raises:
        DamagedError: a file cannot be read.
    """
    for view, files in views.items():
        create_view(reader, view, files)
    interruptible.execute(reader.sandbox, "CREATE SCHEMA IF NOT EXISTS datasets")
    for file in datasets:
        create_view(reader, f"datasets.{duck.quote_name(file.stem)}", {"": [file]})
    with reader.sandbox.cursor() as connection:  # which takes back what is begun, if it is interrupted
        connection.begin()  # another thread may be reading the table
        interruptible.execute(
            connection,
            """CREATE OR REPLACE TABLE spaces (space VARCHAR, model VARCHAR, checkpoint VARCHAR, unit VARCHAR,
               pooling VARCHAR, template VARCHAR, dim INTEGER)""",
        )
        for card in cards:
            interruptible.execute(
                connection,
                "INSERT INTO spaces VALUES (?, ?, ?, ?, ?, ?, ?)",
                [card.space, card.model, card.checkpoint, card.unit, card.pooling, card.template.pattern, card.dim],
            )
        connection.commit()


def create_view(reader: Reader, view: str, files: BySpace) -> None:
    """Make a view of files, of each space's with the space as first column where it has a name.

    DuckDB could take the space from the folders' names, but also takes what looks like one above the store.
    """
    parts = []
    for space, members in files.items():
        if members:
            listed = ", ".join(map(duck.quote, duck.literal(members)))
            column = f"{duck.quote(space)} AS space, " if space else ""
            parts.append(f"SELECT {column}* FROM read_parquet([{listed}], hive_partitioning = false)")
    if not parts:
        interruptible.execute(reader.sandbox, f"CREATE TABLE IF NOT EXISTS {view} ({_EMPTY[view]})")
        return
    flat = [file for members in files.values() for file in members]
    sql = f"CREATE OR REPLACE VIEW {view} AS {' UNION ALL '.join(parts)}"
    reader.guard(flat, lambda statement: interruptible.execute(reader.sandbox, statement), sql)
