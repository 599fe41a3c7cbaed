"""Check a store's files against each other: hashes, rows, finite values, summaries, and the same ids in every layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embstore.base import atomic, disk, errors, supply
from embstore.base.messages import rendered
from embstore.base.progress import finish_part
from embstore.base.space import Unit
from embstore.base.summary import Summary
from embstore.base.text import marked_items
from embstore.storage import keys
from embstore.storage.card import Card
from embstore.storage.datasets import check_dataset
from embstore.storage.items import has_its_id, is_column_table
from embstore.storage.maps import REMEDY as DERIVED_REMEDY
from embstore.storage.maps import read_map
from embstore.storage.files.paths import Shard, StorePaths, check_marker
from embstore.storage.vectors import SUMMARY_SCHEMA, embeddings_schema, stored_sums, summary_table
from embstore.storage.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA, read_sealed, read_table, write_table
from embstore.storage.vectors import LayerVectors
from embstore.storage.parquet.footer import fetch_footers, is_footer_sound, read_columns
from embstore.storage.sql import connections, interruptible
from embstore.storage.transaction.manifest import Files, Snapshot, card_remedy, read_manifest, read_newest

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Problem:
    """Problem of a file."""

    file: Path
    problem: str
    is_damage: bool = True  # else the system does not let it be read

    @classmethod
    def of(cls, file: Path, error: errors.DamagedError) -> "Problem":
        """Return the problem of a damaged file."""
        return cls(file, str(error).removeprefix(f"{file} is damaged: "))


def read_problem(error: errors.FileAccessError) -> Problem:
    """Return the problem of a file that the system does not let embstore read."""
    if isinstance(error, errors.MissingFileError):
        raise error
    return Problem(Path(error.path), f"it could not be read: {error.reason}", is_damage=False)


def catch_unreadable(found: Iterable[Problem]) -> Iterator[Problem]:
    """Yield the problems that a check finds; if it fails to read a file, yield that as the last problem."""
    try:
        yield from found
    except errors.FileAccessError as error:
        yield read_problem(error)


def verify_marker(paths: StorePaths) -> Iterator[Problem]:
    """Yield the problems of ``store.json``."""
    if disk.is_folder(paths.spaces) and not disk.exists(paths.marker):
        yield Problem(paths.marker, "it is missing, and the rest of a store is there")
        return
    try:
        check_marker(paths)
    except errors.UnsupportedFormatError:
        raise
    except errors.DamagedError as error:
        yield Problem.of(paths.marker, error)


def verify_manifests(paths: StorePaths) -> tuple[Snapshot, list[Problem]]:
    """Check the manifests, and return the files of the store with the problems.

    If the newest manifest is damaged, or one that it depends on, all files that are there count; the number of the
    snapshot is 0 then.
    """
    problems = [*problems_of(paths, names.MANIFESTS)]
    try:
        return read_newest(paths), problems
    except errors.DamagedError as error:
        named = (kind for kind in names.KINDS if kind.is_named)
        files: Files = {paths.key(path): {} for kind in named for path in paths.files_of(kind)}
        return Snapshot(0, "", files), problems or [Problem.of(paths.manifests, error)]


def problems_of(paths: StorePaths, kind: names.Kind, files: Iterable[Path] | None = None) -> Iterator[Problem]:
    """Yield the problems of some or all files of a kind, each by itself; others may remove derived ones meanwhile."""
    for path in paths.files_of(kind) if files is None else files:
        try:
            if isinstance(problem := _CHECKS[kind](paths, path), str):
                yield Problem(path, problem)
        except errors.MissingFileError:
            if kind.is_named:
                raise
        except errors.DamagedError as error:
            if kind is names.MANIFESTS and isinstance(error, errors.UnsupportedFormatError):
                raise
            if kind.is_named or disk.exists(path):
                yield Problem.of(path, error)
        if path.suffix == ".parquet":
            finish_part()


def _part_problem(path: Path) -> str | None:
    """Return the problem of an immutable file, whose name has its hash."""
    if path.stem != names.part_name(disk.sha256(path)):
        return "its SHA-256 is not the one in its name, so it was altered or truncated"
    return None


def _columns_problem(path: Path) -> str | None:
    """Return the problem of a table of columns by itself."""
    if problem := _part_problem(path):
        return problem
    try:
        if not is_column_table(read_columns(path)):
            return "its columns are not those of the format"
        ids = read_table(path, ["item_id"])["item_id"].to_numpy()
    except (ValueError, OSError, pa.ArrowException) as error:
        return f"it cannot be read: {str(error).splitlines()[0]}"
    return "it has an item twice" if len(np.unique(ids)) < len(ids) else None


_CHECKS: Mapping[names.Kind, Callable[[StorePaths, Path], object]] = {
    names.MANIFESTS: lambda _, path: read_manifest(path),
    names.ITEMS: lambda _, path: _part_problem(path) or schema_problem(path, ITEMS_SCHEMA),
    names.SKIPPED: lambda _, path: _part_problem(path) or schema_problem(path, SKIPPED_SCHEMA),
    names.COLUMNS: lambda _, path: _columns_problem(path),
    names.DATASETS: lambda _, path: check_dataset(path),
    names.MERGED: lambda _, path: read_sealed(path, remedy=DERIVED_REMEDY.replace("removes", "rebuilds")),
    names.ANSWERS: lambda _, path: atomic.read_document(path, "answer", DERIVED_REMEDY),
    names.MAPS: read_map,
}
"""Functions that raise DamagedError for a file that is damaged by itself, or return its problem as a text, by kind."""


def stored_texts(files: Iterable[Path]) -> tuple[Ids, list[Problem]]:
    """Return the ids of all items, ascending, and a problem for each table that repeats an item."""
    seen = IdSet()
    problems = []
    for path in files:
        ids = read_table(path, columns=["item_id"])["item_id"].to_numpy()
        if len(np.unique(seen.missing(ids))) != len(ids):
            problems.append(Problem(path, "it has an item that another table, or another row, has too"))
        seen.add(ids)
    return seen.ids(), problems


def verify_space(
    paths: StorePaths, card: Card, shards: Sequence[Shard], texts: Ids | None
) -> tuple[list[Problem], Ids | None]:
    """Return the problems of a space's shards and summaries, and its item ids, ascending; None if a shard is damaged.

    The shards were listed before the ids with a stored text were read, if these are known: a build may add others.
    """
    problems = []
    sound = True
    seen, ids_with_text = IdSet(), None if texts is None else IdSet(texts)
    for shard in shards:
        try:
            found = check_shard(shard, card)
            if isinstance(found, SoundShard):
                found = found.summary_problem(card) or found
        except errors.FileAccessError as error:
            found = read_problem(error)
        finish_part()
        if isinstance(found, Problem):
            problems.append(found)
            sound = False
            continue
        ids = found.ids
        if len(new := seen.missing(ids)) != len(ids):
            duplicate = np.setdiff1d(ids, new)[0]
            problems.append(Problem(shard.path, f"item {duplicate} is in another shard of the space too"))
        if ids_with_text is not None and len(missing := ids_with_text.missing(ids)):
            detail = f"{len(missing)} items of {shard.path} have no text here, as {missing[0]}"
            problems.append(Problem(paths.items, f"{detail}. To repair it, build the same sources again"))
        seen.add(ids)
    return problems, seen.ids() if sound else None


def missing_files(paths: StorePaths, snapshot: Snapshot) -> Iterator[Problem]:
    """Yield the files of a snapshot that are missing; spaces whose cards are missing are named by these."""
    for path in snapshot.missing(paths):
        remedy = card_remedy(path) if path.parent == paths.spaces else "To repair it, build the same sources again"
        yield Problem(path, rendered(f"it is missing, and the manifest names it. {remedy}"))


@dataclass(frozen=True, slots=True)
class SoundShard:
    """A shard whose content is intact, whatever its summary says."""

    shard: Shard
    ids: Ids
    """Item ids, ascending."""
    sha256: str
    sums: tuple[Summary, ...]
    """Summary of each layer, in the order of the card."""

    def summary_problem(self, card: Card) -> Problem | None:
        """Return the problem of the shard's summary, or None."""
        path, size = self.shard.summary_path, disk.size(self.shard.path)
        if not disk.is_file(path):
            return Problem(path, f"it is missing, and its shard {self.shard.path} is there")
        try:
            rows = read_sealed(path, SUMMARY_SCHEMA).to_pylist()
        except errors.DamagedError as error:
            return Problem.of(path, error)
        if not rows or any(row["shard"] != self.shard.name for row in rows):
            return Problem(path, "it is not the summary of the shard of that name")
        if tuple(row["layer"] for row in rows) != card.layers.ids:
            return Problem(path, f"its layers are not those of the card, {card.layers.ids}")
        if any((row["sha256"], row["bytes"]) != (self.sha256, size) for row in rows):
            return Problem(path, "its SHA-256 or size is not that of the shard")
        for row, total in zip(rows, self.sums, strict=True):
            if not stored_sums(row).isclose(total):
                return Problem(path, f"the sums of layer {row['layer']} are not those of the shard's vectors")
        return None

    def write_summary(self, card: Card) -> None:
        """Rewrite the summary of this shard."""
        size = disk.size(self.shard.path)
        summary = summary_table(self.shard, self.sha256, size, card.layers, self.sums)
        write_table(self.shard.summary_path, summary, plain=True)


def check_shard(shard: Shard, card: Card) -> SoundShard | Problem:
    """Check a shard without its summary: the hash in its name, its columns, layers, ids and values."""
    try:
        digest = disk.sha256(shard.path)
        if shard.name != names.part_name(digest):
            return Problem(shard.path, "its SHA-256 is not the one in its name, so it was altered or truncated")
        if problem := schema_problem(shard.path, embeddings_schema(card.dim, card.dtype)):
            return Problem(shard.path, problem)
        layers = [_layer_sums(shard, card, layer.id) for layer in card.layers]
    except errors.DamagedError as error:
        return Problem.of(shard.path, error)
    ids = layers[0][0]
    for layer, (other, _) in zip(card.layers, layers, strict=True):
        if not np.array_equal(other, ids):
            return Problem(shard.path, f"layer {layer.id} does not have the ids of layer {card.layers.ids[0]}")
    if len(np.unique(ids)) != len(ids):
        return Problem(shard.path, f"layer {card.layers.ids[0]} has an item twice")
    with disk.opening(shard.path):
        n_rows = int(pq.read_metadata(shard.path).num_rows)
    if n_rows != len(ids) * len(layers):
        return Problem(shard.path, f"its layers are not those of the card, {card.layers.ids}")
    return SoundShard(shard, ids, digest, tuple(sums for _, sums in layers))


def _layer_sums(shard: Shard, card: Card, layer: int) -> tuple[Ids, Summary]:
    """Return the ids and the sums of one layer of a shard."""
    total = Summary.empty(card.dim)
    parts = [np.empty(0, np.int64)]
    for ids, part in LayerVectors([shard], layer, card.dim).map_with_ids(lambda ids, block: (ids, Summary.of(block))):
        parts.append(ids)
        total = total + part
    return np.concatenate(parts), total


def schema_problem(path: Path, schema: pa.Schema) -> str | None:
    """Return a description of the problem if a file is not Parquet of this schema, or None."""
    try:
        with disk.opening(path):
            found = pq.read_schema(path)
        if not found.equals(schema):
            return "its columns are not those of the format"
    except (OSError, pa.ArrowException) as error:
        return f"it cannot be read: {str(error).splitlines()[0]}"
    return None


_ROWS = 8192
_FILES = "read_parquet($files, hive_partitioning = false)"
_FILE = "read_parquet($file, hive_partitioning = false)"
_SENTENCES = f"""CREATE TEMP TABLE sentences AS SELECT item_id, any_value(text) AS text FROM {_FILES}
                 WHERE unit = 'sentence' AND item_id IN (SELECT context_id FROM {_FILES}) GROUP BY item_id"""
_ITEMS = f"""SELECT item.item_id, item.unit, item.text, item.context_id, sentences.text, item.start, item."end"
             FROM {_FILE} AS item LEFT JOIN sentences ON sentences.item_id = item.context_id"""


def verify_ids(paths: StorePaths, items: Sequence[Path], datasets: Sequence[Path]) -> Iterator[Problem]:
    """Yield the tables in which an id is not the hash of its item."""
    with connections.connect(paths.root) as connection:
        if items:
            interruptible.execute(connection, _SENTENCES, {"files": connections.literal(items)})
        checks = [(file, _ITEMS) for file in items]
        for file in datasets:
            with disk.opening(file):
                columns = interruptible.columns(connection, f"SELECT * FROM {_FILE} LIMIT 0", _parameter(file))
            checks += [
                (file, f"SELECT item_id{suffix}, unit, text{suffix}, NULL, NULL, NULL, NULL FROM {_FILE}")
                for suffix in ("", "_2")
                if {f"item_id{suffix}", f"text{suffix}"} <= columns.keys()
            ]
        for file, sql in checks:
            problem_of = partial(_row_problem, in_dataset=sql != _ITEMS)
            if problem := next(filter(None, map(problem_of, _rows(connection, sql, file))), None):
                yield Problem(file, problem)


def _parameter(file: Path) -> dict[str, list[str]]:
    return {"file": connections.literal([file])}


def _row_problem(row: tuple[Any, ...], *, in_dataset: bool) -> str | None:
    """Return the problem of an item joined with its sentence, or of a text of a dataset; None if it has none."""
    item, unit, text, context_id, context, start, end = row
    if context_id is not None and context is None:
        return f"item {item} is in a sentence that has no text. To repair it, build the same sources again"
    if in_dataset and text is None:
        return "a row has no text"
    if in_dataset and unit == Unit.OCCURRENCE and any(found.id == item for found in marked_items(text)):
        return None
    is_sound = has_its_id((item, unit, text, context, start, end))
    return None if is_sound else f"item {item} is not the hash of its unit and text ({unit} {text[:40]!r})"


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, file: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query over the file ``$file``, some thousands at a time."""
    with disk.opening(file):
        interruptible.execute(connection, sql, _parameter(file))
    while rows := interruptible.run(connection, lambda it: it.fetchmany(_ROWS)):
        yield from rows


class IdSet:
    """A set of item ids that grows part by part, in O(N log² N) for N ids, whatever the number of parts.

    The ids are held in sorted runs of which each is more than twice as long as the next, so that an id is sorted again
    only log N times: to sort all of them for each part would take time that grows with the square of the parts.
    """

    def __init__(self, ids: Ids | None = None) -> None:
        self._runs: list[Ids] = []
        if ids is not None:
            self.add(ids)

    def add(self, ids: Ids) -> None:
        """Add item ids (n,), in any order."""
        run = np.unique(ids)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.union1d(self._runs.pop(), run)
        if len(run):
            self._runs.append(run)

    def missing(self, ids: Ids) -> Ids:
        """Return those of some ids (n,) that are not in the set, in the order given."""
        is_member = np.zeros(len(ids), bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, ids), len(run) - 1)
            is_member |= run[at] == ids
        return ids[~is_member]

    def ids(self) -> Ids:
        """Return all ids of the set, ascending."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *self._runs]))


@dataclass(frozen=True, slots=True)
class QuickCheck:
    """A check of names, sizes and footers.

    Attributes:
        sizes: Sizes in bytes that the manifest of a store at a URL has, by path; None for those that the manifest of
            the folder has, which names those of files that are never replaced.
        is_listed: Whether the files have the sizes that the server lists; else the last byte of each is fetched.
    """

    sizes: Mapping[str, int] | None = None
    is_listed: bool = True

    def problems(self, paths: StorePaths, snapshot: Snapshot, spaces: Iterable[Sequence[Shard]]) -> Iterator[Problem]:
        """Yield the problems of a store; missing files that the manifest of the folder names are found elsewhere."""
        sizes = self.sizes
        if sizes is None:
            sizes = {key: properties["bytes"] for key, properties in snapshot.files.items() if "bytes" in properties}
        missing = set()
        for key, size in sorted(sizes.items()):
            path = paths.root / key  # checked by the grammar of names when the manifest was read
            try:
                if not self.is_listed:
                    with supply.fetched(path, [(max(0, size - 1), size)]):
                        pass
                elif (found := disk.size(path)) != size:
                    problem = f"it has {found:,} bytes, and its manifest says {size:,}: it was truncated or altered"
                    yield Problem(path, problem)
            except (FileNotFoundError, errors.MissingObjectError):
                missing.add(path)
                yield Problem(path, "it is missing, and the manifest names it")
        for shards in ([shard for shard in shards if shard.path not in missing] for shards in spaces):
            fetch_footers([shard.path for shard in shards])
            for shard in shards:
                finish_part()
                if not disk.is_file(shard.summary_path):
                    yield Problem(shard.summary_path, f"it is missing, and its shard {shard.path} is there")
                if not is_footer_sound(shard.path):
                    problem = "its footer does not agree with the SHA-256 in it: it was truncated or altered"
                    yield Problem(shard.path, problem)
