"""The folder in which the files of datasets are kept, and whether a file is the one that it should be."""

import hashlib
import os
from pathlib import Path

from embstore import atomic
from embstore.errors import SourceError, StoreError
from embstore.sources.files import is_file, open_binary
from embstore.sources.specs import DataFile, DatasetSpec

VARIABLE = "EMBSTORE_DATA"


def data_folder() -> Path:
    """Return the folder of the datasets: ``$EMBSTORE_DATA``, else the platform's cache folder. It need not exist."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    import platformdirs

    return platformdirs.user_cache_path("embstore", appauthor=False) / "datasets"


def path_of(file: DataFile) -> Path:
    """Return the path of a dataset's file, which may not exist yet."""
    return data_folder() / file.name


def is_at_hand(spec: DatasetSpec) -> bool:
    """Return whether a dataset can be read without a download."""
    return not isinstance(spec.content, DataFile) or is_file(path_of(spec.content))


def file_sha256(path: Path, name: str) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        SourceError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with open_binary(path, name) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check_cached(spec: DatasetSpec, file: DataFile) -> Path:
    """Check that a dataset's file exists and has the right SHA-256, and return its path.

    Raises:
        SourceError: If it is missing or altered; names the remedy, and both hashes of an altered file.
    """
    path = path_of(file)
    if not is_file(path):
        raise SourceError(f"the dataset {spec.name!r} is not at hand: there is no {path}. Run: {_again(spec, file)}")
    if damage := damage_of(spec):
        raise SourceError(damage)
    return path


def damage_of(spec: DatasetSpec) -> str | None:
    """Return what is wrong with a dataset's file that is there, and how to get it anew; None if nothing is.

    Raises:
        SourceAccessError: If the system does not let it be read.
    """
    if not isinstance(file := spec.content, DataFile) or not is_file(path := path_of(file)):
        return None
    if (found := file_sha256(path, str(path))) == file.sha256:
        return None
    return (
        f"{path} is not the file of the dataset {spec.name!r}: its SHA-256 is {found}, and should be {file.sha256}. It "
        f"was altered or is another file. Get it anew: {_again(spec, file)}"
    )


def _again(spec: DatasetSpec, file: DataFile) -> str:
    return f"embstore datasets fetch {spec.name}" if file.address else f"embstore datasets add {spec.name} FILE …"


def keep(path: Path, data: bytes) -> None:
    """Write a file of the folder, whole or not at all.

    Raises:
        SourceError: If the folder cannot be written.
    """
    try:
        atomic.write_bytes(path, data)
    except (StoreError, OSError) as error:
        cause = error.__cause__ if isinstance(error, StoreError) else error
        reason = cause.strerror if isinstance(cause, OSError) else str(error)
        raise SourceError(
            f"{path} cannot be written: {reason}. Set {VARIABLE} to a folder that can, or make room there."
        ) from error
