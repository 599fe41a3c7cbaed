"""Read and write the marker ``store.json``, which identifies a folder as a store and names its format."""

from embstore.base import atomic, disk
from embstore.base.errors import StoreError
from embstore.storage.files.paths import StorePaths

STORE_FORMAT = 3
"""Format of a store."""


def check_marker(paths: StorePaths) -> None:
    """Raise StoreError unless the folder is a store of the format that this version reads.

    Raises:
        DamagedError: The marker was altered, or a folder of the store is a symbolic link or a file.
        UnsupportedFormatError: This version does not read the format.
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


def write_marker(paths: StorePaths) -> None:
    """Write the marker ``store.json``, which makes the folder a store."""
    atomic.write_document(paths.marker, {"format": STORE_FORMAT}, "store")
