"""Download the file of a dataset with pooch."""

import hashlib
from collections.abc import Callable
from io import BytesIO

from embstore.base.errors import SourceError
from embstore.sources.cache import path_of, write_file
from embstore.sources.specs import DataFile, DatasetSpec

ProgressCallback = Callable[[int, int], None]
"""Callback for progress: bytes received, and total bytes (0 if unknown)."""

TIMEOUT_SECONDS = 30


def download(spec: DatasetSpec, file: DataFile, report: ProgressCallback) -> None:
    """Download the file of a dataset, check its SHA-256, and write it to the folder of datasets.

    Raises:
        SourceError: The download fails, or the file does not have the right SHA-256.
    """
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
