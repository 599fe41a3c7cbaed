"""Find, check, download and write the files of datasets in the folder where they are kept."""

import hashlib
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from embstore.base import atomic, installation
from embstore.base.errors import SourceError, StoreError
from embstore.sources.files import file_sha256, is_file
from embstore.sources.source import DataFile, DatasetSpec

VARIABLE = "EMBSTORE_DATA"

ProgressCallback = Callable[[int, int], None]
"""Callback for progress: bytes received, and total bytes (0 if unknown)."""

TIMEOUT_SECONDS = 30


def data_folder() -> Path:
    """Return the folder of datasets, which may not exist: ``$EMBSTORE_DATA``, else in the user's cache folder."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder else installation.user_cache_folder("datasets")


def path_of(file: DataFile) -> Path:
    """Return the path of a dataset's file, which may not exist yet."""
    return data_folder() / file.name


def is_at_hand(spec: DatasetSpec) -> bool:
    """Return whether a dataset is available without a download; its file is not checked."""
    return not isinstance(spec.content, DataFile) or is_file(path_of(spec.content))


def check_cached(spec: DatasetSpec, file: DataFile) -> Path:
    """Check that a dataset's file exists and has the right SHA-256, and return its path."""
    path = path_of(file)
    if not is_file(path):
        raise SourceError(f"the dataset {spec.name!r} is not at hand: there is no {path}. Run: {_command(spec, file)}")
    if damage := describe_damage(spec):
        raise SourceError(damage)
    return path


def describe_damage(spec: DatasetSpec) -> str | None:
    """Return a message if the file of a dataset exists and does not have the right SHA-256, else None."""
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
    """Write a file of a dataset atomically."""
    try:
        atomic.write_bytes(path, data)
    except (StoreError, OSError) as error:
        cause = error.__cause__ if isinstance(error, StoreError) else error
        reason = cause.strerror if isinstance(cause, OSError) else str(error)
        raise SourceError(
            f"{path} cannot be written: {reason}. Set {VARIABLE} to a folder that can, or make room there."
        ) from error


def download(spec: DatasetSpec, file: DataFile, report: ProgressCallback) -> None:
    """Download the file of a dataset, check its SHA-256, and write it to the folder of datasets."""
    import pooch  # type: ignore[import-untyped, unused-ignore]
    import requests  # type: ignore[import-untyped, unused-ignore]

    data = BytesIO()
    get = pooch.HTTPDownloader(progressbar=_ProgressBar(report), timeout=TIMEOUT_SECONDS)
    try:
        get(file.address, data, None)
    except requests.RequestException as error:
        raise SourceError(
            f"{spec.name!r} cannot be downloaded: {_reason(error)}. Download {file.address} by hand, and give the "
            f"file: embstore datasets add {spec.name} {file.name} (or put it at {path_of(file)})."
        ) from error
    sha256 = hashlib.sha256(data.getvalue()).hexdigest()
    if sha256 != file.sha256:
        raise SourceError(
            f"{file.address} gave another file than the dataset {spec.name!r}: its SHA-256 is {sha256}, and should be "
            f"{file.sha256}. It was not kept. Try again, or get the file from elsewhere and give it: "
            f"embstore datasets add {spec.name} {file.name}"
        )
    write_file(path_of(file), data.getvalue())


class _ProgressBar:
    """A progress bar for pooch, with tqdm's interface, that reports to a callback."""

    def __init__(self, report: ProgressCallback) -> None:
        self._report = report
        self.total = 0
        self._done = self._last = 0

    def update(self, n_bytes: int) -> None:
        """Count received bytes, and report the total so far."""
        self._done += n_bytes
        # pooch counts whole chunks, so the last one too much, and at the end all bytes once more.
        now = min(self._done, self.total) if self.total else self._done
        if now > self._last:
            self._last = now
            self._report(now, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def _reason(error: Exception) -> str:
    """Return the message of the innermost cause of a library's error: ``Name or service not known``."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server says {response.status_code} {response.reason}"
    innermost: BaseException = error
    while (inner := innermost.__cause__ or innermost.__context__) is not None:
        innermost = inner
    message = getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__
    return message.rstrip(".")
