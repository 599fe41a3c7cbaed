"""Build the paths of a store's files from names, by their grammar in :mod:`.names`; no other module does."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, StoreError
from embstore.base.space import Layer
from embstore.storage.files import names
from embstore.storage.files.names import BY_SPACE, Contents, check_folders, classify


class Shard(NamedTuple):
    """Committed shard."""

    path: Path

    @property
    def summary_path(self) -> Path:
        """Path of its summary."""
        return self.path.parents[2] / names.SUMMARIES.folder / self.path.parent.name / self.path.name

    @property
    def name(self) -> str:
        """Name of the shard in indexes and summaries: ``part-<hash>``."""
        return self.path.stem

    def damage(self, cause: object) -> DamagedError:
        """Return the error for a shard that was read and found wrong."""
        return DamagedError(
            f"{self.path} is damaged: {cause}. Run: ⦃embstore verify⦄. To repair it, run ⦃embstore repair⦄, and build "
            "the same sources again: exactly its items are embedded anew."
        )

    def check_finite(self, layer: int, vectors: NDArray[np.float32]) -> None:
        """Raise DamagedError if a vector of a layer of the shard is not finite."""
        values = vectors.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):  # the product of finite values is quick, and may overflow
            is_finite = np.isfinite(np.dot(values, values)) or np.isfinite(values).all()
        if not is_finite:
            raise self.damage(f"layer {layer} has a value that is not finite")


class _Below:
    """A path below a store's folder."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, paths: "StorePaths", _: type) -> Path:
        return paths.root / self._name


@dataclass(frozen=True, slots=True)
class StorePaths:
    """The paths of a store, all derived from its root."""

    root: Path

    marker = _Below("store.json")  # marks a folder as a store
    lock = _Below(".lock")  # of a writer
    texts_lock = _Below(".lock-texts")  # of a build, among several, that is writing texts
    commit_lock = _Below(".lock-commit")  # of commits, where the file system has no hard links
    manifests = _Below(names.MANIFESTS.folder)
    items = _Below(names.ITEMS.folder)
    columns = _Below(names.COLUMNS.folder)
    skipped = _Below(names.SKIPPED.folder)
    datasets = _Below(names.DATASETS.folder)
    spaces = _Below(names.CARDS.folder)  # the folder of the cards
    damaged = _Below(names.DAMAGED)  # the folder of the damaged files that a repair moved away

    def shard_lock(self, shard: str) -> Path:
        """Lock file of the build of one shard of the sources, such as ``2/3``."""
        return names.SHARD_LOCKS.path(self.root, shard.replace("/", "-of-"))

    def shard_locks(self) -> list[Path]:
        """Lock files of builds of shards of the sources, running or killed."""
        return [*names.SHARD_LOCKS.listed(self.root).values()]

    @staticmethod
    def holder(lock: Path) -> Path:
        """Metadata file of the process that owns a lock."""
        return lock.with_name(f"{lock.name}-holder.json")

    def key(self, path: Path) -> str:
        """Return the path of a file or folder below the store's folder, with slashes, as in manifests."""
        return path.relative_to(self.root).as_posix()

    def file(self, key: str) -> Path:
        """Return the path of a file that a manifest names, given its path below the store's folder, with slashes."""
        if not names.is_file_key(key):
            raise StoreError(f"{key[:300]!r} is no file of a store. Run: ⦃embstore verify⦄")
        return self.root / key

    def files_of(self, kind: names.Kind, space: str = "") -> list[Path]:
        """Return the paths of all files of a kind, or of those of a space."""
        folder = self.root / kind.folder
        folders = [folder]
        if kind.by_space:
            folders = [names.SPACES.path(folder, space)] if space else [*names.SPACES.listed(folder).values()]
        return [path for each in folders for path in kind.listed(each).values()]

    def _file(self, kind: names.Kind, name: str, space: str = "") -> Path:
        folder = self.root / kind.folder
        return kind.path(names.SPACES.path(folder, space) if kind.by_space else folder, name)

    def manifest(self, number: int) -> Path:
        """Return the path of the manifest of a number."""
        return self._file(names.MANIFESTS, f"{number:020d}")

    def manifest_numbers(self) -> list[int]:
        """Return the numbers of the manifests, ascending."""
        return [int(name) for name in names.MANIFESTS.listed(self.manifests)]

    def dataset(self, name: str) -> Path:
        """Return the path of the file of a dataset, by its name in the store."""
        return self._file(names.DATASETS, name)

    def card(self, space: str) -> Path:
        """Return the path of the card of a space."""
        return self._file(names.CARDS, space)

    def embeddings(self, space: str) -> Path:
        """Return the folder of a space's shards."""
        return names.SPACES.path(self.root / names.SHARDS.folder, space)

    def summaries(self, space: str) -> Path:
        """Return the folder of a space's summaries."""
        return names.SPACES.path(self.root / names.SUMMARIES.folder, space)

    def merged(self, space: str) -> Path:
        """Return the path of the merged summary of a space."""
        return self._file(names.MERGED, space)

    def answer(self, digest: str) -> Path:
        """Return the path of the file of the answer to the question with this hash."""
        return self._file(names.ANSWERS, digest)

    def map(self, space: str, layer: int, method: str, digest: str) -> Path:
        """Return the path of the map of a layer by a method, for the request with this hash."""
        return self._file(names.MAPS, f"layer={layer:02d}-{method}-{digest}", space)

    def maps(self, space: str) -> Path:
        """Return the folder of a space's maps."""
        return names.SPACES.path(self.root / names.MAPS.folder, space)

    def indexes(self, space: str) -> Path:
        """Return the folder of a space's indexes."""
        return names.SPACES.path(self.root / names.INDEXES.folder, space)

    def index(self, space: str, layer: Layer) -> Path:
        """Return the path of the FAISS index of one layer of a space."""
        return self._file(names.INDEXES, f"layer={layer.id:02d}", space)

    @staticmethod
    def index_card(index: Path) -> Path:
        """Return the path of the card of an index, which is beside it."""
        return names.INDEX_CARDS.path(index.parent, index.stem)

    def index_pairs(self, space: str) -> list[tuple[Path, Path]]:
        """Return the paths of the indexes of a space, each with its card; one of the two may be missing."""
        folder = self.indexes(space)
        found = names.INDEXES.listed(folder).keys() | names.INDEX_CARDS.listed(folder).keys()
        return [(names.INDEXES.path(folder, name), names.INDEX_CARDS.path(folder, name)) for name in sorted(found)]

    def damaged_path(self, path: Path) -> Path:
        """Path in :attr:`damaged` of a file of the store that a repair moves away."""
        return self.damaged / path.relative_to(self.root)

    def spaces_on_disk(self) -> list[str]:
        """Return the names of all spaces that have a folder, with or without a card."""
        return sorted({space for kind in BY_SPACE for space in names.SPACES.listed(self.root / kind)})

    def folders_of(self, space: str) -> list[Path]:
        """Return the existing folders of a space: shards, summaries, indexes and maps."""
        folders = (names.SPACES.path(self.root / kind, space) for kind in BY_SPACE)
        return [folder for folder in folders if disk.is_folder(folder)]

    def check_contents(self) -> None:
        """Check that all entries with valid names are regular files or folders; called before a writer begins."""
        for path, problem in self.contents().irregular:
            raise DamagedError(f"{path} is damaged: {problem}.")

    def contents(self) -> Contents:
        """List and classify all entries of the store's folders."""
        found = Contents()
        classify(self.root, "", found)
        return found


STORE_FORMAT = 3
"""Format of a store."""


def check_marker(paths: StorePaths) -> None:
    """Raise StoreError unless the folder is a store of the format that this version reads."""
    if not disk.exists(paths.root):
        raise StoreError(
            f"there is no store at {paths.root}. Make one with: embstore build --store {paths.root}. Or name another "
            "with ⦃store⦄ or EMBSTORE_STORE."
        )
    if not disk.exists(paths.marker):
        raise StoreError(
            f"{paths.root} is not a store: it has no store.json. Name the store's folder with ⦃store⦄ or "
            "EMBSTORE_STORE; to build a new store, name a folder that is empty or does not exist."
        )
    atomic.read_document(paths.marker, "store")
    check_folders(paths.root)


def write_marker(paths: StorePaths) -> None:
    """Write the marker ``store.json``, which makes the folder a store."""
    atomic.write_document(paths.marker, {"format": STORE_FORMAT}, "store")
