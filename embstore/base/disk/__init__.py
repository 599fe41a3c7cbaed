"""The operations on the files of a store, in one place.

Nothing else in embstore opens, lists, renames or removes a file of a store. A library that does so itself (DuckDB,
pyarrow, FAISS, filelock) is announced by :func:`opening`. So tests can observe each operation before it happens, count
it, let it fail, or end the process there (:func:`watched`); and an error of the operating system is a
:class:`~embstore.base.errors.FileAccessError` everywhere, which names the remedy. It is never taken for damage.

A store may come from others: no operation follows a symbolic link, and only regular files are opened whose bytes were
written: the SHA-256 of a file of terabytes that occupies no disk space would take hours.

operations   observers, and the translation of system errors
regular      the check that an entry is a regular file or folder
files        reading and writing; folders: listing, creation and removal; status: types and sizes
foreign      files outside a store: sources, checkpoints, recipes
supply       files whose content is fetched when it is read; holes: what was fetched is freed again
"""

from embstore.base.disk.files import (
    MAX_BYTES,
    copy,
    link,
    opening,
    read,
    reading,
    remove,
    replace,
    sha256,
    sync,
    sync_open,
    write,
    writing,
)
from embstore.base.disk.folders import (
    entries,
    entries_below,
    files_below,
    listed,
    make_folder,
    remove_folder,
    remove_tree,
    sync_folder,
)
from embstore.base.disk.foreign import foreign, foreign_status, open_regular, read_foreign
from embstore.base.disk.holes import punch
from embstore.base.disk.operations import access_error, operation, quoted_error, watched
from embstore.base.disk.regular import Entry, irregular
from embstore.base.disk.status import exists, free_bytes, is_file, is_folder, is_same, resolved, size, status
from embstore.base.disk.supply import (
    Parts,
    Range,
    Supplier,
    add_supplier,
    committed,
    fetch,
    fetch_all,
    fetched,
    release,
    supplied,
    supplier_of,
)

__all__ = [
    "MAX_BYTES", "Entry", "Parts", "Range", "Supplier", "access_error", "add_supplier", "committed", "copy",
    "entries", "entries_below", "exists", "fetch", "fetch_all", "fetched", "files_below", "foreign", "foreign_status",
    "free_bytes",
    "irregular", "is_file", "is_folder", "is_same", "link", "listed", "make_folder", "open_regular", "opening",
    "operation", "punch", "quoted_error", "read", "read_foreign",
    "reading", "release", "remove", "remove_folder", "remove_tree", "replace",
    "resolved", "sha256", "size", "status", "supplied", "supplier_of", "sync", "sync_folder", "sync_open", "watched",
    "write", "writing",
]  # fmt: skip
