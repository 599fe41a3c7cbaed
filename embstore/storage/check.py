"""Check the files of a store: each by itself, by the readers that queries use, and then against
each other.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embstore.base import disk, documents, errors
from embstore.base.arrays import Ids as Ids
from embstore.base.arrays import Mask, concatenated, distinct
from embstore.base.progress import finish_part
from embstore.base.space import Unit
from embstore.base.text import item_id, marked_items
from embstore.storage import answers, keys, maps, sums, tables
from embstore.storage.arrow import readable, to_numpy
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card, read_card
from embstore.storage.column_tables import contradictions
from embstore.storage.items import has_its_id
from embstore.storage.keys import Kind
from embstore.storage.manifest import ItemSet, Manifest
from embstore.storage.sql import interruptible
from embstore.storage.sql.reader import FILES, Reader
from embstore.storage.vectors import (
    BLOCK_ROWS,
    LayerVectors,
    Shard,
    items_with,
    offsets_of,
    vectors_schema,
)

State = Literal["damaged", "missing", "unreadable"]

BUILD_AGAIN = "To repair it, build the same sources again"
_FOREIGN = (
    "it is not of the store: embstore writes no file of that name, and never touches it. Move it"
    " elsewhere"
)
_ALTERED = "it was altered or truncated: its size or SHA-256 is not that in the manifest"
_FOLDERS = {keys.DAMAGED, *(kind.folder.partition("/")[0] for kind in keys.KINDS)}
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Problem:
    """Problem of a file.

    Attributes:
        file: Path of the file; of a store at a URL, its key.
        problem: What is wrong, as a sentence.
        state: Whether it was read and found wrong, is missing, or could not be read.
    """

    file: Path
    problem: str
    state: State = "damaged"

    @classmethod
    def of(cls, files: StoreFiles, key: str, problem: str, state: State = "damaged") -> "Problem":
        """Return the problem of a file of a store, by its key."""
        return cls(files.root / key if files.is_local else Path(key), problem, state)

    @property
    def is_damage(self) -> bool:
        """Whether the content is lost or wrong; a file that the system does not let embstore read
        may be intact.
        """
        return self.state != "unreadable"


class StoreCheck:
    """Check of the files that a manifest names, and of those derived from them.

    Attributes:
        problems: The first problem of each file, by key.
        cards: Cards of the spaces, by name, without damaged ones.
    """

    def __init__(self, files: StoreFiles, named: Manifest) -> None:
        self.files, self.named = files, named
        self.problems: dict[str, Problem] = {}
        self.cards: dict[str, Card] = {}
        self._reader = Reader(files.root)

    def add(self, key: str, problem: str, state: State = "damaged") -> None:
        """Note a problem of a file."""
        self.problems.setdefault(key, Problem.of(self.files, key, problem, state))

    def add_error(self, file: StoredFile, error: errors.DamagedError) -> None:
        """Note the damage of a file that its reader has found."""
        self.add(file.key, _cause(file, error))

    def check_sizes(self) -> None:
        """Check that each file is there with its size; none is read."""
        folders = dict.fromkeys(kind.folder for kind in keys.KINDS if not kind.is_derived)
        found = {
            info.key: info.size for folder in folders for info in self.files.objects.list(folder)
        }
        for key, entry in sorted(self.named.files.items()):
            if key not in found:
                self.add(key, _missing(key), "missing")
            elif found[key] != entry["bytes"]:
                problem = f"it has {found[key]:,} bytes, and the manifest says {entry['bytes']:,}"
                self.add(key, f"{problem}: it was truncated or altered")

    def check_contents(self) -> None:
        """Read each file; several at the same time, cards first, since they say what the vectors
        have to be.
        """
        cards = [
            key
            for space in self.named.names_of(keys.CARDS)
            for key in self.named.keys_of(keys.CARDS, space)
        ]
        others = sorted(self.named.files.keys() - {*cards})
        with ThreadPoolExecutor(_THREADS, "embstore-check") as pool:
            for group in (cards, others):
                files = self.files.files_of(self.named, group)
                for file, result in zip(files, pool.map(self._result, files), strict=True):
                    finish_part()
                    if result is not None:
                        self.add(file.key, *result)
        for space in self.named.names_of(keys.VECTORS):
            if not self.named.keys_of(keys.CARDS, space):
                self.add(
                    f"{keys.CARDS.folder}/{space}",
                    f"there is no card of {space}, and there are shards of it",
                )
        for key, problem in _derived_problems(self.files.root):
            self.add(key, problem)

    def _result(self, file: StoredFile) -> tuple[str, State] | None:
        """Return the problem of a file by itself, and whether it is there; None if it is sound."""
        try:
            problem = self._problem(file)
        except (FileNotFoundError, errors.MissingObjectError):
            return _missing(file.key), "missing"
        except OSError as error:
            return f"it could not be read: {errors.system_reason(error)}", "unreadable"
        except errors.DamagedError as error:
            problem = _cause(file, error)
        return None if problem is None else (problem, "damaged")

    def _problem(self, file: StoredFile) -> str | None:
        parts = keys.parse(file.key)
        assert parts is not None  # or the manifest would not have been read
        if not self.files.is_local:  # a copy in the cache says nothing of the object
            self.files.fetch_again(file)
        sha256 = file.entry["sha256"]
        if os.path.getsize(file.path) != file.entry["bytes"] or disk.sha256(file.path) != sha256:
            return _ALTERED
        if not sha256.startswith(parts.hash):
            return "its name does not have the SHA-256 in the manifest"
        if parts.kind is keys.CARDS:
            self.cards[parts.name] = read_card(file, parts.name)
        elif parts.kind in (*keys.TABLES, keys.DATASETS):
            return _table_problem(file, parts.kind)
        elif (card := self.cards.get(parts.name)) is None:
            return None
        elif parts.kind is keys.SUMS:
            sums.read(file, card.layers.ids, card.dim)
        elif parts.kind is keys.VECTORS:
            return _shard_problem(Shard(file, card.dim, card.dtype))
        return None

    def sound(self, kind: Kind, name: str = "", layer: int | None = None) -> list[StoredFile]:
        """Return the files of a kind that have no problem: of a space or dataset, and of a layer of
        it.
        """
        named = self.named.keys_of(kind, name, layer)
        return self.files.files_of(self.named, (key for key in named if key not in self.problems))

    def shards(self, card: Card, layer: int) -> list[Shard]:
        """Return the sound shards of a layer of a space."""
        return [
            Shard(file, card.dim, card.dtype)
            for file in self.sound(keys.VECTORS, card.space, layer)
        ]

    def is_whole(self, kind: Kind, space: str = "") -> bool:
        """Return whether no file of a kind, and of a space, has a problem."""
        found = (keys.parse(key) for key in self.problems)
        return not any(
            parts and parts.kind is kind and parts.name in (space, "") for parts in found
        )

    def check_tables(self) -> Ids | None:
        """Check the tables against each other; return the ids that have a text, None if a table of
        texts is damaged.
        """
        for file, problem in contradictions(self._reader, self.sound(keys.COLUMNS)):
            self.add(file.key, problem)
        if not self.is_whole(keys.ITEMS):
            return None
        texts = self.sound(keys.ITEMS)
        parts = [to_numpy(tables.read_unchecked(file, ["item_id"])["item_id"]) for file in texts]
        for number in repeats(parts):
            self.add(
                texts[number].key, "it has an item that another table, or another row, has too"
            )
        return distinct(concatenated(parts))

    def check_ids(self) -> None:
        """Check that the ids in the tables of items and the datasets are the hashes of their
        texts.
        """
        texts = self.sound(keys.ITEMS)
        datasets = [
            file
            for name in self.named.names_of(keys.DATASETS)
            for file in self.sound(keys.DATASETS, name)
        ]
        for file in (*texts, *datasets):
            if (problem := next(self._id_problems(file, texts), None)) is not None:
                self.add(file.key, problem)

    def _id_problems(self, file: StoredFile, texts: Sequence[StoredFile]) -> Iterator[str]:
        """Yield the problems of the ids in a table of items or a dataset."""
        if file in texts:
            named = {"files": [file], "texts": texts}
            for row in self._reader.run(interruptible.rows, _ITEMS, named):
                if row[3] is not None and row[4] is None:
                    yield f"item {row[0]} is in a sentence that has no text. {BUILD_AGAIN}"
                elif not has_its_id((*row[:3], *row[4:])):
                    yield (
                        f"item {row[0]} is not the hash of its unit and text ({row[1]}"
                        f" {row[2][:40]!r})"
                    )
            return
        names = tables.read_unchecked(file).column_names
        for suffix in ("", "_2", "_3", "_4"):
            if f"item_id{suffix}" not in names:
                continue
            sql = f"SELECT item_id{suffix}, unit, text{suffix} FROM {FILES}"
            for item, unit, text in self._reader.rows(sql, [file]):
                if text is None:
                    yield "a row has no text"
                elif not _has_marked_id(item, unit, text):
                    yield f"item {item} is not the hash of its unit and text ({unit} {text[:40]!r})"

    def check_space(self, card: Card, texts: Ids | None) -> Ids | None:
        """Check the shards of a space against each other and the ids with a text, where these are
        known.

        Returns:
            Item ids of the space, ascending; None if a shard is damaged.
        """
        space, layers = card.space, card.layers.ids
        if others := sorted({*self.named.layers_of(keys.VECTORS, space)} - {*layers}):
            self.add(
                keys.folder_of(keys.VECTORS, space),
                f"it has vectors of layer {others[0]}, and its card has none",
            )
        if not self.is_whole(keys.VECTORS, space):
            return None
        ids = self._layer_ids(card, layers[0])
        for layer in layers[1:]:
            if not np.array_equal(self._layer_ids(card, layer), ids):
                folder = f"{keys.folder_of(keys.VECTORS, space)}/layer={layer:02d}"
                self.add(folder, f"it does not have the items of layer {layers[0]}")
        if texts is not None and len(missing := np.setdiff1d(ids, texts)):
            problem = (
                f"{len(missing)} items of {space} have no text here, as {missing[0]}. {BUILD_AGAIN}"
            )
            self.add(keys.ITEMS.folder, problem)
        return ids

    def _layer_ids(self, card: Card, layer: int) -> Ids:
        """Return the ids of a layer, ascending; note the shards with items that are in others
        too.
        """
        shards = self.shards(card, layer)
        parts = [shard.ids for shard in shards]
        for number, item in repeats(parts).items():
            self.add(shards[number].file.key, f"item {item} is in another shard of the layer too")
        return distinct(concatenated(parts))

    def check_sums(self, card: Card) -> None:
        """Check that the sums of a space, if they are those of its current items, are the sums of
        its vectors.
        """
        items = self.named.items_of(card.space, card.layers.ids[0])
        for file in self.sound(keys.SUMS, card.space):
            if ItemSet.of_entry(file.entry) == items and self.is_whole(keys.VECTORS, card.space):
                stored = sums.read(file, card.layers.ids, card.dim)
                for layer, summary in stored.items():
                    if not LayerVectors(self.shards(card, layer), card.dim).summary.isclose(
                        summary
                    ):
                        self.add(
                            file.key, f"the sums of layer {layer} are not those of its vectors"
                        )


def _cause(file: StoredFile, error: errors.DamagedError) -> str:
    """Return what an error says of a file, without its name and the remedy."""
    return str(error).removeprefix(f"{file.place} is damaged: ").partition(". To repair it, run")[0]


def _missing(key: str) -> str:
    parts = keys.parse(key)
    return f"it is missing, and the manifest names it. {parts.kind.remedy if parts else ''}"


def _table_problem(file: StoredFile, kind: Kind) -> str | None:
    """Return how a table differs from what the manifest says of it, or None."""
    table = tables.read_unchecked(file)
    if len(table) != file.entry["n"]:
        return f"it has {len(table)} rows, and the manifest says {file.entry['n']}"
    ids = to_numpy(table["item_id"].drop_null())
    if len(ids) and (ids.min(), ids.max()) != (file.entry.get("first"), file.entry.get("last")):
        return "its item ids are not in the range that the manifest says"
    if kind is keys.COLUMNS and len(np.unique(ids)) < len(ids):
        return "it has an item twice"
    return None


def _shard_problem(shard: Shard) -> str | None:
    """Return how a shard differs from what the manifest says of it, or None."""
    with readable(shard.file.damage), shard.file.opened() as path, pq.ParquetFile(path) as parquet:
        metadata, schema = parquet.metadata, parquet.schema_arrow
    if (
        not schema.equals(vectors_schema(shard.dim, shard.dtype.name))
        or metadata.num_rows != shard.n
    ):
        return "its columns, or the number of its rows, are not those of the space and the manifest"
    n_bytes = (8 * shard.n, shard.n * shard.dim * shard.dtype.itemsize)
    if metadata.num_row_groups != 1 or offsets_of(metadata, *n_bytes) != [
        *shard.file.entry["offsets"]
    ]:
        return "its values are not where the manifest says"
    if items_with(shard.ids) != ItemSet.of_entry(shard.file.entry):
        return "its item ids are not those in the manifest"
    for start in range(0, shard.n, BLOCK_ROWS):
        shard.block(start)  # which must be finite
    return None


def first_occurrences(parts: Sequence[Ids]) -> list[Mask]:
    """Return a mask for each of some arrays of ids, of those that are not earlier in it or in an
    array before it.
    """
    ids = concatenated(parts)
    is_first = np.zeros(len(ids), np.bool_)
    is_first[np.unique(ids, return_index=True)[1]] = True
    ends = np.cumsum([len(part) for part in parts])
    return np.split(is_first, ends[:-1]) if parts else []


def repeats(parts: Sequence[Ids]) -> dict[int, int]:
    """Return an id that occurred before, by the place of the array of ids that has it again."""
    masks = zip(parts, first_occurrences(parts), strict=True)
    return {
        place: int(part[~is_first][0])
        for place, (part, is_first) in enumerate(masks)
        if not is_first.all()
    }


def unexpected_entries(files: StoreFiles) -> tuple[list[Problem], list[Problem]]:
    """Return the links, pipes and devices in the folders of a store, and the foreign files.

    Files beside those folders are of no concern, nor are hidden ones, which file managers leave.
    """
    irregular, foreign = [], []
    for entry in disk.entries_below(files.root) if files.is_local else ():
        key = Path(entry.path).relative_to(files.root).as_posix()
        top, _, rest = key.partition("/")
        if top not in _FOLDERS or entry.name.startswith("."):
            continue
        is_own = keys.parse(key) is not None
        with suppress(FileNotFoundError):  # it was deleted meanwhile
            is_file = entry.is_file(follow_symlinks=False)
            if problem := disk.irregular(entry, folder=not rest or not (is_own or is_file)):
                irregular.append(Problem.of(files, key, problem))
            elif is_file and not is_own and top != keys.DAMAGED:
                foreign.append(Problem.of(files, key, _FOREIGN))
    return irregular, foreign


def _derived_problems(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the keys of damaged answers and maps, with their problems; others may remove them
    meanwhile.
    """
    found: list[tuple[Path, Callable[[Path], object]]] = [
        (path, lambda path: documents.read(path, "answer", maps.REMEDY))
        for path in answers.stored_answers(root)
    ]
    for path in disk.files_below(root / keys.MAPS.folder):
        if keys.parse(path.relative_to(root).as_posix()) is not None:
            found.append((path, lambda path: maps.read_map(root, path)))
    for path, read in found:
        try:
            read(path)
        except FileNotFoundError:
            continue
        except errors.DamagedError as error:
            yield path.relative_to(root).as_posix(), str(error).removeprefix(f"{path} is damaged: ")


_ITEMS = f"""SELECT item.item_id, item.unit, item.text, item.context_id, sentences.text, item.start, item."end"
             FROM {FILES} AS item LEFT JOIN (
                 SELECT item_id, any_value(text) AS text FROM read_parquet($texts, hive_partitioning = false)
                 WHERE unit = 'sentence' GROUP BY item_id
             ) AS sentences ON sentences.item_id = item.context_id"""  # noqa: E501


def _has_marked_id(item: int, unit: str, text: str) -> bool:
    """Return whether an id in a dataset is the hash of its text, in which a word may be marked."""
    if unit == Unit.OCCURRENCE and any(occurrence.id == item for occurrence in marked_items(text)):
        return True
    return has_its_id((item, unit, text, None, None, None))


def sound_rows(file: StoredFile, others: Sequence[StoredFile]) -> pa.Table:
    """Return the intact rows of a damaged table of items: their ids are hashes of the other
    columns.
    """
    try:
        table = tables.read_unchecked(file)
    except errors.DamagedError:
        return tables.ITEMS_SCHEMA.empty_table()
    rows = table.to_pylist()
    sentences = {row["item_id"]: row["text"] for row in rows if row["unit"] == Unit.SENTENCE}
    context_ids = pa.array(
        {row["context_id"] for row in rows if row["context_id"] is not None}, pa.int64()
    )
    for other in others:
        found = tables.read_unchecked(other, ["item_id", "text"])
        found = found.filter(pc.is_in(found["item_id"], context_ids))
        sentences |= dict(zip(found["item_id"].to_pylist(), found["text"].to_pylist(), strict=True))
    sentences = {
        item: text for item, text in sentences.items() if item_id(Unit.SENTENCE, text) == item
    }
    is_sound = []
    for row in rows:
        context = sentences.get(row["context_id"])
        values = (row["item_id"], row["unit"], row["text"], context, row["start"], row["end"])
        is_sound.append((context is None) == (row["context_id"] is None) and has_its_id(values))
    return table.filter(pa.array(is_sound, pa.bool_()))
