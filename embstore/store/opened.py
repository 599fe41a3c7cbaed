"""What all methods of Store work on: the folder, and what it held when it was opened."""

import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from embstore.errors import DamagedError, UsageError
from embstore.storage.catalog import Catalog

T = TypeVar("T")


class OpenStore:
    """A folder with a store, and its catalog, which is read at the first query.

    Args:
        path: Folder of the store; by default ``$EMBSTORE_STORE``, else ``./store``.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        named = path or os.environ.get("EMBSTORE_STORE")
        self.path, self._is_named = _folder(named or "store"), bool(named)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @cached_property
    def catalog(self) -> Catalog:
        """The cards, shards and tables of the store at the time it was opened."""
        return Catalog(self.path)

    def refresh(self) -> None:
        """Forget what was read of the store, so that the next query sees what was written since."""
        self.__dict__.pop("catalog", None)

    def _ask(self, query: Callable[[Catalog], T]) -> T:
        """Return the result of a query of the catalog; read the store and run it again if files were replaced since."""
        while True:
            catalog = self.catalog
            try:
                return query(catalog)
            except (DamagedError, FileNotFoundError):
                if not catalog.is_outdated:
                    raise
                self.refresh()


def _folder(path: str | os.PathLike[str]) -> Path:
    found = os.fspath(path)  # a Path has one slash where an address has two
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", found) and not os.path.isdir(found):
        raise UsageError(
            f"{re.sub(':/+', '://', found, count=1)} is an address, and a store is a folder of this machine: a path "
            "such as ./store, or a network folder that is mounted. Copy the store here first; remote stores are not "
            "supported yet."
        )
    return Path(found)
