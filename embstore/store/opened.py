"""What all methods of Store work on: the folder, and what it held when it was opened."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from embstore.base.errors import DamagedError, EmbstoreError, MissingFileError, MissingObjectError, UsageError
from embstore.storage.catalog import Catalog

if TYPE_CHECKING:
    from embstore.storage.remote.remote_store import RemoteStore

T = TypeVar("T")


class OpenStore:
    """A folder with a store, or a store at a URL, and its catalog, which is read at the first query.

    Args:
        path: Folder or URL of the store; by default ``$EMBSTORE_STORE``, else ``./store``.
        options: Options of the client of a store at a URL.

    Raises:
        UsageError: ``path`` is an empty string, or a URL of another kind; or options are given for a folder.

    Attributes:
        path: Folder of the store; of a store at a URL, the folder of its mirror in the cache.
        url: URL of the store; None for a folder.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, options: Mapping[str, str] | None = None) -> None:
        if path == "":  # as of a variable of a shell that is not set
            raise UsageError(
                "the store is named by an empty string. Name its folder or URL; without a name it is $EMBSTORE_STORE, "
                "else ./store."
            )
        named = os.fspath(path or os.environ.get("EMBSTORE_STORE") or "")
        self._is_named, self._is_pinned = bool(named), False
        self._remote = _remote(named or "store", options)
        self.path = self._remote.root if self._remote else Path(named or "store")
        self.url = self._remote.url if self._remote else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url or str(self.path)!r})"

    @property
    def has_ranges(self) -> bool:
        """Whether parts of files can be fetched; some web servers send only whole files."""
        return self._remote is None or self._remote.has_ranges

    def remote_bytes(self) -> int:
        """Return the number of bytes of the files of a store at a URL; 0 for a folder.

        Raises:
            StoreError: There is no store at the URL.
            RemoteError: The server cannot be reached.
        """
        return self._remote.n_bytes() if self._remote else 0

    @cached_property
    def catalog(self) -> Catalog:
        """The cards, shards and tables of the store as the last query found them."""
        return Catalog(self.folder())

    def _newest(self) -> Catalog:
        """Return the catalog; read it again if something was committed to the folder since."""
        if not self._is_pinned and self._remote is None and "catalog" in self.__dict__ and not self.catalog.is_newest:
            self.refresh()
        return self.catalog

    def _pinned(self) -> Self:
        """Return the same store for a task of several queries, which sees one state until :meth:`refresh`."""
        if self._remote is not None:
            return self
        pinned = copy(self)
        pinned._is_pinned = True
        pinned.refresh()
        return pinned

    def folder(self) -> Path:
        """Return the folder of the store, brought up to date if it mirrors one at a URL."""
        return self._remote.synchronise() if self._remote else self.path

    def _existing(self) -> Path:
        """Return the folder of the store, which may not exist."""
        return self.path if self._remote is None or not self._remote.exists() else self.folder()

    def refresh(self) -> None:
        """Forget what was read of the store: of one at a URL, the next query sees what was written since."""
        self.__dict__.pop("catalog", None)

    @contextmanager
    def _writing(self, *, dry_run: bool = False, is_new: bool = False, is_repair: bool = False) -> Iterator[Path]:
        """Yield the folder to change within the context, and forget at its end what was read of the store."""
        try:
            if self._remote is None:
                yield self.path
            elif dry_run and is_repair:
                with self._checking() as (folder, _):
                    yield folder
            elif dry_run:
                yield self._remote.synchronise(is_listed=True)
            else:
                with (
                    self._remote.writing(is_new=is_new, is_repair=is_repair, collects=not is_new) as folder,
                    self._named_by_url(folder),
                ):
                    yield folder
        finally:
            self.refresh()

    @contextmanager
    def _checking(self) -> Iterator[tuple[Path, dict[str, int] | None]]:
        """Yield the folder to look for damage in within the context.

        With it come the sizes in bytes that the manifest of a store at a URL has, by path; None for a folder.
        """
        if self._remote is None:
            yield self.path, None
        else:
            with self._remote.fresh() as mirror, self._named_by_url(mirror.root):
                files = mirror.state.files if mirror.state else {}
                yield mirror.root, {path: file.size for path, file in files.items()}

    @contextmanager
    def _named_by_url(self, folder: Path) -> Iterator[None]:
        """Name the URL instead of the folder of its mirror in errors within the context."""
        try:
            yield
        except EmbstoreError as error:
            error.args = tuple(self._by_url(folder, part) if isinstance(part, str) else part for part in error.args)
            if isinstance(error, MissingFileError):
                error.path = self._by_url(folder, error.path)
            raise

    def _by_url(self, folder: Path, text: str) -> str:
        """Return a text with the URL instead of the folder of its mirror."""
        return text.replace(str(folder), self.url) if self.url else text

    def _ask(self, query: Callable[[Catalog], T]) -> T:
        """Return the result of a query of one state of the store: the newest one.

        If files are replaced meanwhile, the query runs again. Of a store at a URL it is the state of the last query,
        so that no query asks the server for news.
        """
        while True:
            catalog = self._newest()
            try:
                with self._named_by_url(catalog.paths.root):
                    return query(catalog)
            except (DamagedError, FileNotFoundError, MissingObjectError):
                if not (catalog.is_outdated or (self._remote is not None and self._remote.is_outdated())):
                    raise
                self.refresh()


def _remote(path: str, options: Mapping[str, str] | None) -> "RemoteStore | None":
    """Return the store at a URL; None if the path is of a folder."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path) or os.path.isdir(path):
        if options:
            raise UsageError(f"{path} is a folder, and options are for stores at URLs. Leave out ⦃store-option⦄.")
        return None
    from embstore.storage.remote.remote_store import RemoteStore

    return RemoteStore(path, options)
