"""Check every file of a store against its size and SHA-256 in the manifest."""

import html
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embstore.base import disk
from embstore.base.errors import (
    DamagedError,
    MissingObjectError,
    UnsupportedFormatError,
    system_reason,
)
from embstore.base.messages import count, printable
from embstore.base.progress import finish_part, task
from embstore.base.table import Table, table
from embstore.storage import keys
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.catalog import Catalog
from embstore.storage.manifest import Manifest

_FOREIGN = (
    "it is not of the store: embstore writes no file of that name, and never touches it. Move it"
    " elsewhere"
)
_FOLDERS = {keys.DAMAGED, *(kind.folder.partition("/")[0] for kind in keys.KINDS)}
_THREADS = min(8, os.cpu_count() or 1)

State = Literal["damaged", "missing", "unreadable"]


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

    @property
    def is_damage(self) -> bool:
        """Whether the content is lost or wrong; a file that the system does not let embstore read
        may be intact.
        """
        return self.state != "unreadable"


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """The result of checking a store.

    Attributes:
        store: Folder or URL of the store.
        n_files: Number of files checked.
        problems: Damaged, missing or unreadable files; empty for an intact store.
        is_quick: Whether only names and sizes were checked.
        notes: Notes on spaces that are stale, of an intact store.
    """

    store: Path | str
    n_files: int
    problems: tuple[Problem, ...]
    is_quick: bool = False
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every file was read and no problem was found."""
        return not self.problems

    @property
    def is_damaged(self) -> bool:
        """Whether a file that was read is damaged; an unreadable file is not counted."""
        return any(problem.is_damage for problem in self.problems)

    def lines(self) -> list[str]:
        """Return in sentences what was checked, and how much of it is sound."""
        sound = (
            "all there with their sizes; their content was not read"
            if self.is_quick
            else "all sound"
        )
        if self.ok:
            return [f"{self.store}: {count(self.n_files, 'file')}, {sound}.", *self.notes]
        problems = count(len(self.problems), "problem")
        remedy = " Run embstore repair." if self.is_damaged else ""
        return [f"{self.store}: {problems} in {count(self.n_files, 'file')}.{remedy}"]

    def __repr__(self) -> str:
        return printable(
            "\n".join([*self.lines(), *([] if self.ok else [repr(self.to_table())])]), lines=True
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<p>{html.escape(printable(line))}</p>" for line in self.lines())
        return head if self.ok else head + self.to_table()._repr_html_()

    def to_table(self) -> Table:
        """Return a table with one row per problem."""
        rows = [
            {"file": str(problem.file), "problem": problem.problem} for problem in self.problems
        ]
        return table(rows, columns=("file", "problem"))


def verify(place: Path | StoreFiles, *, quick: bool = False) -> Verification:
    """Compare every file with its size and SHA-256, or only with its size if ``quick``.

    Other processes may write to the store during the check.
    """
    files = StoreFiles.of_folder(place)
    store = files.place
    while True:
        irregular, foreign = unexpected_entries(files)
        if irregular:  # nothing else is read then
            return Verification(store, len(irregular), tuple(irregular), quick)
        try:
            named = files.manifest()
        except UnsupportedFormatError:
            raise
        except DamagedError as error:
            path, _, problem = str(error).partition(" is damaged: ")
            return Verification(store, 1, (Problem(Path(path), problem),), quick)
        with task("verify", str(store), 1 if quick else len(named.files)):
            problems = find_problems(files, named, quick=quick)
        if problems and files.is_outdated(named):
            continue  # another process has replaced files
        all_problems = (*foreign, *problems.values())
        stale = () if all_problems or quick else tuple(Catalog(files).stale().values())
        return Verification(store, len(named.files) + 1, all_problems, quick, stale)


def find_problems(files: StoreFiles, named: Manifest, *, quick: bool = False) -> dict[str, Problem]:
    """Return the problems of the files that a manifest names, by key, ascending; if ``quick``, none
    is read.
    """
    stored = files.files_of(named, sorted(named.files))
    results = _compare_sizes(files, stored) if quick else _compare_contents(stored)
    return {
        file.key: Problem(_path(files, file.key), *problem)
        for file, problem in zip(stored, results, strict=True)
        if problem is not None
    }


_MISSING: tuple[str, State] = ("it is missing, and the manifest names it", "missing")


def _compare_sizes(
    files: StoreFiles, stored: Iterable[StoredFile]
) -> Iterator[tuple[str, State] | None]:
    """Yield the problem of each file in a listing of the folder or bucket; None if its size is
    right.
    """
    folders = dict.fromkeys(kind.folder for kind in keys.KINDS if not kind.is_derived)
    sizes = {info.key: info.size for folder in folders for info in files.objects.list(folder)}
    for file in stored:
        size, expected = sizes.get(file.key), file.entry["bytes"]
        if size is None:
            yield _MISSING
        elif size != expected:
            problem = f"it has {size:,} bytes, and the manifest says {expected:,}"
            yield f"{problem}: it was truncated or altered", "damaged"
        else:
            yield None


def _compare_contents(stored: Iterable[StoredFile]) -> Iterator[tuple[str, State] | None]:
    """Yield the problem of each file, several of which are read at the same time."""
    with ThreadPoolExecutor(_THREADS, "embstore-check") as pool:
        for problem in pool.map(_compare_content, stored):
            finish_part()
            yield problem


def _compare_content(file: StoredFile) -> tuple[str, State] | None:
    """Return the problem of a file, which is read whole; None if it is sound."""
    try:
        if not file.files.is_local:  # a copy in the cache says nothing of the object
            file.files.fetch_again(file)
        is_sound = file.has_content(file.path)
    except (FileNotFoundError, MissingObjectError):
        return _MISSING
    except OSError as error:
        return f"it could not be read: {system_reason(error)}", "unreadable"
    except DamagedError:
        is_sound = False
    if is_sound:
        return None
    return "it was altered or truncated: its size or SHA-256 is not that in the manifest", "damaged"


def unexpected_entries(files: StoreFiles) -> tuple[list[Problem], list[Problem]]:
    """Return the links, pipes and devices in the folders of a store, and the foreign files.

    Files beside those folders are of no concern, nor are hidden ones, which file managers leave.
    """
    irregular, foreign = [], []
    for entry in disk.entries_below(files.root) if files.is_local else ():
        path = Path(entry.path)
        key = path.relative_to(files.root).as_posix()
        top, _, rest = key.partition("/")
        if top not in _FOLDERS or entry.name.startswith("."):
            continue
        is_own = keys.parse(key) is not None
        with suppress(FileNotFoundError):  # it was deleted meanwhile
            is_file = entry.is_file(follow_symlinks=False)
            if problem := disk.irregular(entry, folder=not rest or not (is_own or is_file)):
                irregular.append(Problem(path, problem))
            elif is_file and not is_own and top != keys.DAMAGED:
                foreign.append(Problem(path, _FOREIGN))
    return irregular, foreign


def _path(files: StoreFiles, key: str) -> Path:
    """Return how problems name a file."""
    return files.root / key if files.is_local else Path(key)
