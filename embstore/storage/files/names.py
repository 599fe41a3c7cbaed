"""The kinds of files in a store: where each is, how it is named, where its hash is, and who names it.

Whatever is done with the files of a store, to list, check, copy, upload or remove them, asks this table. Files with
other names are not embstore's: they are never read, written or removed, and verify lists them.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, StoreError
from embstore.base.space import SPACE_NAME


@dataclass(frozen=True, slots=True)
class Names:
    """Grammar of one type of names in a folder.

    Attributes:
        grammar: Regular expression of the name.
        prefix: Text before the name on disk.
        suffix: Text after the name on disk.
        of_folders: Whether the names are of folders rather than files.
    """

    grammar: str
    prefix: str = ""
    suffix: str = ""
    of_folders: bool = False

    def path(self, folder: Path, name: str) -> Path:
        """Return the path of a name in a folder."""
        if not re.fullmatch(self.grammar, name):
            raise StoreError(
                f"{name!r} cannot be a name in {folder}, where names look like {self.grammar} (a regular expression). "
                "Give another name."
            )
        return folder / f"{self.prefix}{name}{self.suffix}"

    def name(self, entry: str) -> str | None:
        """Return the name in a folder's entry, or None if the entry is not of this type."""
        if not (entry.startswith(self.prefix) and entry.endswith(self.suffix)):
            return None
        name = entry[len(self.prefix) : len(entry) - len(self.suffix)]
        return name if re.fullmatch(self.grammar, name) else None

    def listed(self, folder: Path) -> dict[str, Path]:
        """Return the paths in a folder by name, for the names of this type; empty if the folder is missing."""
        found = {}
        for entry in disk.entries(folder):
            if (name := self.name(entry.name)) is not None:
                if problem := disk.irregular(entry, folder=self.of_folders):
                    raise DamagedError(f"{entry.path} is damaged: {problem}.")
                found[name] = folder / entry.name
        return found


@dataclass(frozen=True, slots=True)
class Kind(Names):
    """A kind of files, with the grammar of their names.

    Attributes:
        folder: Folder below the store's.
        is_immutable: Whether a file is never replaced by another one of its name, which has the first 16 digits of its
            SHA-256. Others have their hash in them, but for indexes, whose cards have it.
        by_space: Whether the folder contains a folder per space.
        is_named: Whether manifests name the files, of which a repair moves out a damaged one; others are derived from
            these, and may be deleted.
        is_shared: Whether the files are copied to other places.
        noun: Noun that copied files are counted by; empty for files that go with another one.
        remedy: What brings the content of a damaged file back, once a repair has moved it out: a sentence.
    """

    folder: str = ""
    is_immutable: bool = False
    by_space: bool = False
    is_named: bool = False
    is_shared: bool = True
    noun: str = ""
    remedy: str = ""


_PART, _LAYER = r"part-[0-9a-f]{16}", r"layer=[0-9]{2,5}"
_PARQUET, _JSON = ".parquet", ".json"

PARTS = Names(_PART, suffix=_PARQUET)
LISTS = Names(r"[0-9a-f]{64}", suffix=_JSON)
SPACES = Names(SPACE_NAME, prefix="space=", of_folders=True)
SHARD_LOCKS = Names(r"[0-9]{1,9}-of-[0-9]{1,9}", prefix=".lock-shard-")

SUMMARIES = Kind(_PART, suffix=_PARQUET, folder="summaries", by_space=True)
INDEX_CARDS = Kind(_LAYER, suffix=_JSON, folder="indexes", by_space=True)
INDEXES = Kind(_LAYER, suffix=".faiss", folder="indexes", by_space=True, noun="index")
ITEMS, COLUMNS, SKIPPED = TABLES = tuple(
    Kind(_PART, suffix=_PARQUET, folder=folder, is_immutable=True, is_named=True, noun="table", remedy=remedy)
    for folder, remedy in (
        ("items", "To have its texts again, build the same sources again"),
        ("columns", "To have its values again, build the same sources again, with the same ⦃keep⦄"),
        ("skipped", "The next build lists its texts again"),
    )
)
SHARDS = Kind(
    _PART, suffix=_PARQUET, folder="embeddings", is_immutable=True, by_space=True, is_named=True, noun="shard",
    remedy="To have its items again, build the same sources again",
)  # fmt: skip
MERGED = Kind(SPACE_NAME, suffix=_PARQUET, folder="merged")
MAPS = Kind(f"{_LAYER}-(pca|tsne)-[0-9a-f]{{16}}", suffix=_PARQUET, folder="maps", by_space=True, noun="map")
DATASETS = Kind(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", suffix=_PARQUET, folder="datasets", is_named=True)
CARDS = Kind(SPACE_NAME, suffix=_JSON, folder="spaces", is_named=True)
ANSWERS = Kind(r"[0-9a-f]{32}", suffix=_JSON, folder="answers", is_shared=False)
MANIFESTS = Kind(r"[0-9]{20}", suffix=_JSON, folder="manifests", is_shared=False)

KINDS = (SUMMARIES, INDEX_CARDS, INDEXES, *TABLES, SHARDS, MERGED, MAPS, DATASETS, CARDS, ANSWERS, MANIFESTS)
"""All kinds, in the order in which files are copied: one that has the hash of another file comes before it."""

BY_SPACE = tuple(dict.fromkeys(kind.folder for kind in KINDS if kind.by_space))
"""Folders that contain a folder per space."""

DAMAGED = "damaged"
"""Folder into which a repair moves damaged files."""

_ROOT_FILES = {"store.json", ".lock", ".lock-holder.json", ".lock-texts", ".lock-commit"}
_IN_FOLDER = {each.folder: [kind for kind in KINDS if kind.folder == each.folder] for each in KINDS}


def kind_of(key: str) -> Kind | None:
    """Return the kind of the file at a path below the store's folder, with slashes; None if it is none of a store."""
    folder, _, entry = key.rpartition("/")
    top, slash, space = folder.partition("/")
    for kind in _IN_FOLDER.get(top, ()):
        if kind.name(entry) is not None:
            is_in_place = SPACES.name(space) is not None if kind.by_space else not slash
            return kind if is_in_place else None
    return None


def space_of(key: str) -> str | None:
    """Return the name of the space that the file at a path is of; None for a file of no space."""
    kind = kind_of(key)
    if kind is not None and kind.by_space:
        return SPACES.name(key.split("/")[1])
    return kind.name(key.rpartition("/")[2]) if kind in (CARDS, MERGED) else None


def is_file_key(key: str) -> bool:
    """Return whether a text is the path, below a store's folder, of a file that a manifest may name."""
    kind = kind_of(key)
    return kind is not None and kind.is_named


def part_name(sha256: str) -> str:
    """Return the name of an immutable file, of the SHA-256 of its content."""
    return f"part-{sha256[:16]}"


def check_content(path: Path) -> None:
    """Raise DamagedError unless the content of an immutable file has the hash in its name."""
    if path.stem != part_name(disk.sha256(path)):
        raise DamagedError(f"{path} is damaged: its SHA-256 is not the one in its name. Run: ⦃embstore repair⦄")


def hash_holder(key: str) -> str:
    """Return the path of the file that has the hash of a file: the summary of a shard, the card of an index, or it."""
    kind = kind_of(key)
    if kind is SHARDS:
        return f"{SUMMARIES.folder}{key.removeprefix(kind.folder)}"
    return f"{key.removesuffix(kind.suffix)}{INDEX_CARDS.suffix}" if kind is INDEXES else key


def hash_of(names: Iterable[str]) -> str:
    """Return the SHA-256 of some names in the given order, in hexadecimal: that of the names joined by commas."""
    return hashlib.sha256(",".join(names).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Contents:
    """Entries of a store's folders."""

    files: list[Path] = field(default_factory=list)
    temporaries: list[Path] = field(default_factory=list)
    irregular: list[tuple[Path, str]] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)


def check_folders(root: Path) -> None:
    """Check that no folder of a store is a symbolic link or a file."""
    for entry in disk.entries(root):
        if entry.name == ANSWERS.folder and not entry.is_symlink():
            continue  # harmless
        if _is_folder(entry.name) and (problem := disk.irregular(entry, folder=True)):
            raise DamagedError(f"{entry.path} is damaged: {problem}.")
    for folder in BY_SPACE:
        SPACES.listed(root / folder)


def classify(folder: Path, prefix: str, contents: Contents) -> None:
    """Classify the entries of a folder of a store, whose keys begin with a prefix, and of the folders in it.

    No link is followed, and no file is opened.
    """
    for entry in disk.entries(folder):
        key, path = f"{prefix}{entry.name}", Path(entry.path)
        is_folder = _is_folder(key)
        if atomic.is_temporary(entry.name):
            contents.temporaries.append(path)
        elif is_folder or _is_file(key):
            if problem := disk.irregular(entry, folder=is_folder):
                contents.irregular.append((path, problem))
            elif not is_folder:
                contents.files.append(path)
            elif key == DAMAGED:
                _add_damaged(path, contents)
            else:
                classify(path, f"{key}/", contents)
        elif prefix and not entry.name.startswith("."):  # file managers and network file systems leave hidden files
            contents.foreign.append(path)


def _is_folder(key: str) -> bool:
    """Return whether a path below a store's folder is that of a folder of a store."""
    top, slash, space = key.partition("/")
    if slash:
        return top in BY_SPACE and SPACES.name(space) is not None
    return top in _IN_FOLDER or top == DAMAGED


def _is_file(key: str) -> bool:
    """Return whether a path below a store's folder is that of a file of a store."""
    is_lock = SHARD_LOCKS.name(key.removesuffix("-holder.json")) is not None
    return kind_of(key) is not None or key in _ROOT_FILES or is_lock


def _add_damaged(folder: Path, contents: Contents) -> None:
    """Record temporary files and symbolic links in the folder into which a repair moves files."""
    for inside in disk.entries_below(folder):
        if inside.is_dir(follow_symlinks=False):
            continue
        if problem := disk.irregular(inside, folder=False):
            contents.irregular.append((Path(inside.path), problem))
        elif atomic.is_temporary(inside.name):  # of a repair that was killed
            contents.temporaries.append(Path(inside.path))
