"""Fetch the content of files that are only partly on this machine, before it is read.

The folder of a store at a URL is a mirror: its files have their sizes, and their bytes come when they are needed. For
any other folder these functions do nothing. By default the whole file is fetched; what reads only parts says which.
Shards and indexes may be emptied again to make room, but never while they are in use: within :func:`fetched`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

Range = tuple[int, int]  # bytes of a file: offset of the first, and offset after the last
Ranges = Sequence[Range] | None  # parts of a file; None for all of it


class Supplier(Protocol):
    """Where the content of a folder's files comes from."""

    def fetch(self, parts: Mapping[Path, Ranges]) -> None:
        """Fetch parts of several files at the same time, unless there is no room."""

    def fetched(self, path: Path, ranges: Ranges = None) -> AbstractContextManager[None]:
        """Fetch parts of a file, which is in use within the context."""

    def free(self, n_bytes: int) -> int:
        """Empty files that are not in use, and return how many bytes became free."""

    def forget(self, path: Path) -> None:
        """Note that a file was removed, or replaced by one that is whole."""

    def committed(self) -> None:
        """Note that a change of the store in the folder was committed."""

    def snapshot(self) -> Any:
        """Return the files that make up the store in the folder; None if the manifests there name them."""


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


def fetched(path: Path, ranges: Ranges = None) -> AbstractContextManager[None]:
    """Fetch a file, or parts of it, if its folder has a supplier; it is in use within the context."""
    supplier = supplier_of(path)
    return nullcontext() if supplier is None else supplier.fetched(path, ranges)


def fetch(parts: Mapping[Path, Ranges]) -> None:
    """Fetch what will be read of several files at the same time; what there is no room for comes when it is read."""
    by_supplier: dict[int, tuple[Supplier, dict[Path, Ranges]]] = {}
    for path, ranges in parts.items() if _suppliers else ():
        if (supplier := supplier_of(path)) is not None:
            by_supplier.setdefault(id(supplier), (supplier, {}))[1][path] = ranges
    for supplier, own in by_supplier.values():
        supplier.fetch(own)


def forget(path: Path) -> None:
    """Note that a file was removed, or replaced by one that is whole."""
    if (supplier := supplier_of(path)) is not None:
        supplier.forget(path)


def committed(path: Path) -> None:
    """Note that a change of the store in a folder was committed; errors: those of the supplier."""
    if (supplier := supplier_of(path)) is not None:
        supplier.committed()


def supplier_of(path: Path | str) -> Supplier | None:
    """Return the supplier of a file's folder; None if its files are whole."""
    if not _suppliers:
        return None
    text = os.fspath(path)
    return next((supplier for prefix, supplier in _suppliers.items() if f"{text}{os.sep}".startswith(prefix)), None)


def _prefix(folder: Path) -> str:
    return f"{folder}{os.sep}"
