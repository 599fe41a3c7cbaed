"""Download the file of a dataset, through pooch."""

import hashlib
from collections.abc import Callable
from io import BytesIO

from embstore.errors import SourceError
from embstore.sources.cache import keep, path_of
from embstore.sources.specs import DataFile, DatasetSpec

Told = Callable[[int, int], None]
"""Callback for progress: bytes received, and total bytes (0 if unknown)."""

TIMEOUT_SECONDS = 30


def download(spec: DatasetSpec, file: DataFile, told: Told) -> None:
    """Download the file of a dataset, check its SHA-256, and save it in the folder of the datasets.

    Raises:
        SourceError: If there is no network, or the file is another one. Says how to get it by hand.
    """
    import pooch  # type: ignore[import-untyped, unused-ignore]
    import requests  # type: ignore[import-untyped, unused-ignore]

    data = BytesIO()
    get = pooch.HTTPDownloader(progressbar=_Meter(told), timeout=TIMEOUT_SECONDS)
    try:
        get(file.address, data, None)
    except requests.RequestException as error:
        raise SourceError(
            f"{spec.name!r} cannot be downloaded: {_reason(error)}. Download {file.address} by hand, and give the "
            f"file: embstore datasets add {spec.name} {file.name} (or put it at {path_of(file)})."
        ) from error
    found = hashlib.sha256(data.getvalue()).hexdigest()
    if found != file.sha256:
        raise SourceError(
            f"{file.address} gave another file than the dataset {spec.name!r}: its SHA-256 is {found}, and should be "
            f"{file.sha256}. It was not kept. Try again, or get the file from elsewhere and give it: "
            f"embstore datasets add {spec.name} {file.name}"
        )
    keep(path_of(file), data.getvalue())


class _Meter:
    """A progress bar for pooch, with the interface of tqdm."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self.total = 0
        self._done = self._last = 0

    def update(self, n_bytes: int) -> None:
        self._done += n_bytes
        # pooch counts whole chunks, more than there are at the end, and then all once more.
        now = min(self._done, self.total) if self.total else self._done
        if now > self._last:
            self._last = now
            self._told(now, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def _reason(error: Exception) -> str:
    """Return the innermost reason in a chain of a library's errors: ``Name or service not known``."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server says {response.status_code} {response.reason}"
    innermost: BaseException = error
    while (inner := innermost.__cause__ or innermost.__context__) is not None:
        innermost = inner
    said = getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__
    return said.rstrip(".")
