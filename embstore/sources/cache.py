"""Find, check and write the files of datasets in the folder where they are kept."""

import os
from pathlib import Path

from embstore.base import atomic, installation
from embstore.base.errors import SourceError, StoreError
from embstore.sources.files import file_sha256, is_file
from embstore.sources.specs import DataFile, DatasetSpec

VARIABLE = "EMBSTORE_DATA"


def data_folder() -> Path:
    """Return the folder of datasets, which may not exist: ``$EMBSTORE_DATA``, else in the user's cache folder."""
    if folder := os.environ.get(VARIABLE):
        return Path(folder)
    return installation.user_cache_folder("datasets")


def path_of(file: DataFile) -> Path:
    """Return the path of a dataset's file, which may not exist yet."""
    return data_folder() / file.name


def is_at_hand(spec: DatasetSpec) -> bool:
    """Return whether a dataset is available without a download; its file is not checked."""
    return not isinstance(spec.content, DataFile) or is_file(path_of(spec.content))


def check_cached(spec: DatasetSpec, file: DataFile) -> Path:
    """Check that a dataset's file exists and has the right SHA-256, and return its path.

    Raises:
        SourceError: The file is missing or altered.
    """
    path = path_of(file)
    if not is_file(path):
        raise SourceError(f"the dataset {spec.name!r} is not at hand: there is no {path}. Run: {_command(spec, file)}")
    if damage := describe_damage(spec):
        raise SourceError(damage)
    return path


def describe_damage(spec: DatasetSpec) -> str | None:
    """Return a message if the file of a dataset exists and does not have the right SHA-256, else None.

    Raises:
        SourceAccessError: The file cannot be read.
    """
    if not isinstance(file := spec.content, DataFile) or not is_file(path := path_of(file)):
        return None
    if (sha256 := file_sha256(path)) == file.sha256:
        return None
    return (
        f"{path} is not the file of the dataset {spec.name!r}: its SHA-256 is {sha256}, and should be {file.sha256}. "
        f"It was altered or is another file. Get it anew: {_command(spec, file)}"
    )


def _command(spec: DatasetSpec, file: DataFile) -> str:
    """Return the command that restores the file of a dataset."""
    return f"embstore datasets fetch {spec.name}" if file.address else f"embstore datasets add {spec.name} FILE …"


def write_file(path: Path, data: bytes) -> None:
    """Write a file of a dataset atomically.

    Raises:
        SourceError: The folder cannot be written.
    """
    try:
        atomic.write_bytes(path, data)
    except (StoreError, OSError) as error:
        cause = error.__cause__ if isinstance(error, StoreError) else error
        reason = cause.strerror if isinstance(cause, OSError) else str(error)
        raise SourceError(
            f"{path} cannot be written: {reason}. Set {VARIABLE} to a folder that can, or make room there."
        ) from error
