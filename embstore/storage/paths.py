"""Where each file of a store is."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from embstore import disk
from embstore.space import Layer
from embstore.storage.hidden import list_parts, read_hidden


@dataclass(frozen=True, slots=True)
class Shard:
    """A committed shard and where its summary is."""

    path: Path
    summary_path: Path

    @property
    def name(self) -> str:
        """The name that indexes and summaries know it by."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class StorePaths:
    """The paths of a store, all derived from its root."""

    root: Path

    @property
    def marker(self) -> Path:
        """The file that makes a folder a store."""
        return self.root / "store.json"

    @property
    def lock(self) -> Path:
        """The file that a writer locks."""
        return self.root / ".lock"

    @property
    def items(self) -> Path:
        """The folder of the items' Parquet files."""
        return self.root / "items"

    @property
    def datasets(self) -> Path:
        """The folder of the datasets' Parquet files."""
        return self.root / "datasets"

    @property
    def skipped(self) -> Path:
        """The folder of the Parquet files of skipped texts."""
        return self.root / "skipped"

    @property
    def spaces(self) -> Path:
        """The folder of the cards."""
        return self.root / "spaces"

    def card(self, space: str) -> Path:
        """The card of a space."""
        return self.spaces / f"{space}.json"

    def embeddings(self, space: str) -> Path:
        """The folder of a space's shards."""
        return self.root / "embeddings" / f"space={space}"

    def summaries(self, space: str) -> Path:
        """The folder of a space's summaries."""
        return self.root / "summaries" / f"space={space}"

    def merged(self, space: str) -> Path:
        """The sum of a space's summaries."""
        return self.root / "merged" / f"{space}.parquet"

    @property
    def answers(self) -> Path:
        """The folder of the answers that queries keep."""
        return self.root / "answers"

    def indexes(self, space: str) -> Path:
        """The folder of a space's indexes."""
        return self.root / "indexes" / f"space={space}"

    def index(self, space: str, layer: Layer) -> Path:
        """The FAISS index of one layer of a space; its card is beside it with the suffix ``.json``."""
        return self.indexes(space) / f"layer={layer.id:02d}.faiss"

    def removal(self, space: str) -> Path:
        """The card of a space that is being removed, under another name: what is left of it does not count."""
        return self.spaces / f"{space}.removing"

    @property
    def damaged(self) -> Path:
        """The folder of the files that a repair took out."""
        return self.root / "damaged"

    def shards(self, space: str) -> tuple[Shard, ...]:
        """The committed shards of a space, in order of their names."""
        return self.as_shards(space, list_parts(self.embeddings(space)).files)

    def as_shards(self, space: str, files: Iterable[Path]) -> tuple[Shard, ...]:
        """Files of a space's folder of shards, with the summaries that belong to them."""
        return tuple(Shard(file, self.summaries(space) / file.name) for file in files)

    def epoch(self) -> tuple[object, ...]:
        """What differs, after a file that was listed has gone, if that is as it should be.

        It changes when parts give way to others, and when a space is made or removed; not when one grows.
        """
        folders = [self.items, self.skipped, *disk.listed(self.root / "embeddings", "space=*")]
        generations = ((folder.name, read_hidden(folder).generation) for folder in folders)
        cards = sorted((path.name, *_identity(path)) for path in disk.listed(self.spaces, "*.json"))
        return (tuple(pair for pair in generations if pair[1]), tuple(cards))


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells a file from one that took its name later."""
    try:
        found = disk.status(path)
    except FileNotFoundError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)  # the number alone may be given again
