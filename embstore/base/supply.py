"""Fetch the content of files that are only partly on this machine, before it is read.

The folder of a store at a URL is a mirror: its files have their sizes, and their bytes come when they are needed. For
any other folder these functions do nothing. By default the whole file is fetched; what reads only parts says which.
What was fetched stays until the process ends, unless it says that it needs it for less long: then it may be deleted to
make room for other parts, and is fetched again.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

Range = tuple[int, int]
"""Bytes of a file: offset of the first, and offset after the last."""
Parts = Mapping[Path, Sequence[Range] | None]
"""Parts of each file to fetch; None for all of it."""


class Supplier(Protocol):
    """Where the content of a folder's files comes from."""

    def fetch(self, parts: Parts, *, is_kept: bool = True) -> None:
        """Fetch parts of files that are not on this machine yet.

        Args:
            parts: Parts of files.
            is_kept: Whether they stay until they are released; else they may be deleted to make room, and are not
                fetched if there is none.
        """

    def fetched(self, path: Path, ranges: Sequence[Range]) -> AbstractContextManager[None]:
        """Fetch parts of a file that stay within the context."""

    def release(self, path: Path) -> None:
        """Let what was fetched of a file be deleted to make room."""

    def free(self, n_bytes: int) -> int:
        """Delete some bytes of content that this process does not need, and return how many."""

    def forget(self, path: Path) -> None:
        """Note that a file was removed, or replaced by one that is whole."""

    def committed(self) -> None:
        """Note that a change of the store in the folder was committed."""


_suppliers: dict[str, Supplier] = {}


@contextmanager
def supplied(folder: Path, supplier: Supplier) -> Iterator[None]:
    """Fetch the content of the files in a folder from a supplier within the context."""
    add_supplier(folder, supplier)
    try:
        yield
    finally:
        _suppliers.pop(_prefix(folder), None)


def add_supplier(folder: Path, supplier: Supplier) -> None:
    """Fetch the content of the files in a folder from a supplier from here on."""
    _suppliers[_prefix(folder)] = supplier


def fetch(path: Path | str, ranges: Sequence[Range] | None = None) -> None:
    """Fetch a file, or parts of it, if its folder has a supplier; errors: :meth:`Supplier.fetch`."""
    if _suppliers and (supplier := supplier_of(path)) is not None:
        supplier.fetch({Path(path): ranges})


@contextmanager
def fetched(path: Path, ranges: Sequence[Range]) -> Iterator[None]:
    """Fetch parts of a file that are needed within the context only; see :func:`fetch`."""
    supplier = supplier_of(path) if _suppliers else None
    with supplier.fetched(path, ranges) if supplier is not None else nullcontext():
        yield


def release(path: Path) -> None:
    """Let the content of a file be deleted to make room, if its folder has a supplier."""
    if _suppliers and (supplier := supplier_of(path)) is not None:
        supplier.release(path)


def fetch_all(parts: Parts, *, is_kept: bool = True) -> None:
    """Fetch parts of several files at the same time; see :func:`fetch`.

    Args:
        parts: Parts of files.
        is_kept: Whether they stay; else what reads them fetches them again, if there was no room for all.
    """
    if not _suppliers:
        return
    by_supplier: dict[int, tuple[Supplier, dict[Path, Sequence[Range] | None]]] = {}
    for path, ranges in parts.items():
        if (supplier := supplier_of(path)) is not None:
            by_supplier.setdefault(id(supplier), (supplier, {}))[1][path] = ranges
    for supplier, own in by_supplier.values():
        supplier.fetch(own, is_kept=is_kept)


def forget(path: Path) -> None:
    """Note that a file was removed, or replaced by one that is whole."""
    if _suppliers and (supplier := supplier_of(path)) is not None:
        supplier.forget(path)


def committed(path: Path) -> None:
    """Note that a change of the store in a folder was committed; errors: :meth:`Supplier.committed`."""
    if _suppliers and (supplier := supplier_of(path)) is not None:
        supplier.committed()


def supplier_of(path: Path | str) -> Supplier | None:
    """Return the supplier of a file's folder; None if its files are whole."""
    text = os.fspath(path)
    return next((supplier for prefix, supplier in _suppliers.items() if f"{text}{os.sep}".startswith(prefix)), None)


def _prefix(folder: Path) -> str:
    return f"{folder}{os.sep}"
