"""Read and write the marker ``store.json``, which identifies a folder as a store and names its format."""

from embstore import atomic, disk
from embstore.errors import DamagedError, MissingFileError, StoreError
from embstore.storage.files.paths import StorePaths

STORE_FORMAT = 2
"""Format of a new store."""

COLUMNS_FORMAT = 3
"""Format of a store with columns of items: the repair of a program for format 2 would lose them."""


def check_marker(paths: StorePaths) -> None:
    """Raise StoreError unless the folder is a store of a format that this version reads.

    Raises:
        DamagedError: The marker was altered, or a folder of the store is a symbolic link or a file.
        NewerFormatError: The format is newer.
    """
    if not disk.exists(paths.root):
        raise StoreError(
            f"there is no store at {paths.root}. Make one with: embstore build --store {paths.root}. Or name another "
            "with --store or EMBSTORE_STORE."
        )
    if not disk.exists(paths.marker):
        raise StoreError(
            f"{paths.root} is not a store: it has no store.json. Name the store's folder with --store or "
            "EMBSTORE_STORE; to build a new store, name a folder that is empty or does not exist."
        )
    atomic.read_document(paths.marker, "store")
    paths.check_folders()


def read_format(paths: StorePaths) -> int:
    """Return the format of a store.

    Raises:
        DamagedError: The marker was altered or is missing.
        NewerFormatError: The format is newer.
    """
    try:
        return int(atomic.read_document(paths.marker, "store")["format"])
    except MissingFileError as error:
        raise DamagedError(f"{paths.marker} is missing. Run: embstore repair") from error


def require_format(paths: StorePaths, store_format: int) -> None:
    """Raise the format of a store, if it is lower."""
    if read_format(paths) < store_format:
        write_marker(paths, store_format)


def write_marker(paths: StorePaths, store_format: int = STORE_FORMAT) -> None:
    """Write the marker ``store.json``, which makes the folder a store."""
    atomic.write_document(paths.marker, {"format": store_format}, "store")
