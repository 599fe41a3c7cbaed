"""Read the files of a store from a web server, in parts where it serves ranges, else whole; or from the hub.

The dataset repositories on the Hugging Face hub are written here too, commit by commit.
"""

import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from threading import local
from typing import Any, NamedTuple
from urllib.parse import quote

from embstore.base.errors import MissingObjectError, RemoteError, StoreError, UsageError
from embstore.base.installation import needing
from embstore.base.supply import Range
from embstore.storage.remote.objects import ObjectReader, check_url

_TIMEOUT = (5, 30)
"""Seconds to connect, and between two parts of an answer."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts."""
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class _Answer(NamedTuple):
    """The answer of a server."""

    code: int
    content_range: str
    data: bytes

    @property
    def is_part(self) -> bool:
        """Whether it is the part that was requested."""
        return self.code == HTTPStatus.PARTIAL_CONTENT


class WebObjects(ObjectReader):
    """The files below an address of a web server."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, name: str = "") -> None:
        self._address, self._headers = check_web_url(url), dict(headers or {})
        self.url = name or self._address
        self._sessions = local()
        self._has_ranges: bool | None = None

    @property
    def has_ranges(self) -> bool:
        """Whether the server sends parts of files."""
        if self._has_ranges is None:
            try:
                self._has_ranges = self._answer("manifest.json", (0, 1)).is_part
            except MissingObjectError:  # what reads the store says so
                return True
        return self._has_ranges

    def renew(self) -> None:
        """Look for a newer state from here on, where states have addresses of their own."""

    def get(self, key: str) -> bytes:
        """Return the content of a file."""
        return self._answer(key).data

    def _get_range(self, key: str, start: int, end: int) -> bytes:
        answer = self._answer(key, (start, end))
        return answer.data if answer.is_part else answer.data[start:end]

    def _answer(self, key: str, part: Range | None = None) -> _Answer:
        """Return the answer to a request for a file or a part of it, tried again after errors that pass."""
        import requests

        reason = ""
        for pause in (*_PAUSES, None):
            try:
                found = self._request(key, part)
                if found.code not in _TRANSIENT:
                    return self._checked(found, key, part)
                reason = f"the server answers {found.code}"
            except (requests.RequestException, OSError, ValueError) as error:
                reason = type(error).__name__
            if pause is not None:
                time.sleep(pause)
        raise RemoteError(
            f"{self.url}/{key} cannot be read: {reason}. Check the network and the address, and run the same command "
            "again."
        )

    def _request(self, key: str, part: Range | None) -> _Answer:
        """Send a request, and return the answer."""
        headers = {**self._headers, "Accept-Encoding": "identity"}
        if part is not None:
            headers["Range"] = f"bytes={part[0]}-{part[1] - 1}"
        answer = self._session().get(f"{self._address}/{quote(key)}", headers=headers, timeout=_TIMEOUT)
        return _Answer(answer.status_code, answer.headers.get("Content-Range", ""), answer.content)

    def _checked(self, answer: _Answer, key: str, part: Range | None) -> _Answer:
        """Return the answer if it has the content; else raise the error that it means."""
        if answer.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise MissingObjectError(f"{self.url}/{key} does not exist. Check the URL.")
        if answer.code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            is_refused = answer.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
            remedy = "Check whether you may read it." if is_refused else "Check the address."
            raise RemoteError(f"{self.url}/{key} cannot be read: the server answers {answer.code}. {remedy}")
        start, end = part or (0, 0)  # no part was requested
        is_other = len(answer.data) > end - start or not answer.content_range.startswith(f"bytes {start}-")
        if answer.is_part and is_other:
            raise RemoteError(f"{self.url}/{key}: the server sent something else than it was asked for. Check the URL.")
        return answer

    def _session(self) -> Any:
        """Return the connections of this thread."""
        import requests

        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        return self._sessions.session


def _is_local(address: str) -> bool:
    return re.match(r"http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?(/|$)", address) is not None


def check_web_url(url: str) -> str:
    """Return the address of a store without a slash at its end."""
    problem = "is no address of a store, such as https://host/path, without a user and a query."
    address = check_url(url, ("https", "http"), problem)
    if url.startswith("http:") and not _is_local(url):
        raise UsageError(f"{url} is not encrypted: what comes from there could be altered on its way. Give https://")
    return address


PREFIX = "hf://"
_URL = r"hf://datasets/([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w./-]*))?/?"
_MAX_OPERATIONS = 1000
"""Number of files of a commit; the last one has the manifest."""
_MOVED = 412
_CHECK_NAME = "Check its name, and your token with: hf auth whoami"
_CHECK_NETWORK = "Check the network, and run the same command again."

Content = Mapping[str, Path | bytes]


class HubDataset:
    """A dataset repository on the hub, at a revision."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        match = re.fullmatch(_URL, url, re.ASCII)
        if match is None:
            raise UsageError(
                f"{url} is no dataset repository: give hf://datasets/owner/name or hf://datasets/owner/name@revision."
            )
        self.repo, self.revision = match[1], match[2] or "main"
        with needing("datasets on the hub need huggingface_hub", "remote", RemoteError):
            self._hub: Any = import_module("huggingface_hub")
            for name in ("constants", "errors", "utils"):  # its attributes once they were imported
                import_module(f"huggingface_hub.{name}")
        self._endpoint = (os.environ.get("HF_ENDPOINT") or self._hub.constants.ENDPOINT).rstrip("/")
        self._api = self._hub.HfApi(endpoint=self._endpoint)

    def head(self) -> str | None:
        """Return the commit of the revision; None if there is no such repository, or it has no such branch."""
        errors = self._hub.errors
        with self._errors("read"):
            try:
                return str(self._api.dataset_info(self.repo, revision=self.revision).sha)
            except errors.GatedRepoError:
                raise
            except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
                return None

    def address(self, commit: str) -> tuple[str, dict[str, str]]:
        """Return the address of the files of a commit, and the headers of requests for them."""
        return f"{self._endpoint}/datasets/{self.repo}/resolve/{commit}", self._hub.utils.build_hf_headers()

    def create(self) -> None:
        """Create the repository, private, and the branch, if there are none."""
        with self._errors("created"):
            self._api.create_repo(self.repo, repo_type="dataset", private=True, exist_ok=True)
            if self.revision != "main" and self.head() is None:
                self._api.create_branch(self.repo, branch=self.revision, repo_type="dataset", exist_ok=True)

    def upload(self, files: Content) -> list[Any]:
        """Upload files that no commit has yet, unless the hub has their content, and return their additions."""
        with self._errors("written"), self._without_bars():
            added = [self._hub.CommitOperationAdd(key, content) for key, content in files.items()]
            self._api.preupload_lfs_files(
                self.repo, added, repo_type="dataset", revision=self.revision, free_memory=False
            )
            return added

    def commit(self, added: Sequence[Any], last: Content, removed: Sequence[str], parent: str, message: str) -> str:
        """Commit files, and at last those that make them count, and return the commit."""
        starts = range(0, len(added), _MAX_OPERATIONS)
        *first, rest = [[*added[start : start + _MAX_OPERATIONS]] for start in starts] or [[]]
        rest += [self._hub.CommitOperationAdd(key, content) for key, content in last.items()]
        rest += [self._hub.CommitOperationDelete(key) for key in removed]
        for operations in (*first, rest):
            with self._errors("written", parent):
                info = self._api.create_commit(
                    self.repo, operations, commit_message=message, repo_type="dataset", revision=self.revision,
                    parent_commit=parent,
                )  # fmt: skip
            parent = str(info.oid)
        return parent

    @contextmanager
    def _without_bars(self) -> Iterator[None]:
        """Silence the hub's own progress bars within the context."""
        bars = self._hub.utils
        were_shown = not bars.are_progress_bars_disabled()
        with warnings.catch_warnings():
            # The hub warns if an environment variable overrules its switch; then there is nothing to restore either.
            warnings.filterwarnings("ignore", message=".*progress bars")
            bars.disable_progress_bars()
            try:
                yield
            finally:
                if were_shown:
                    bars.enable_progress_bars()

    @contextmanager
    def _errors(self, done: str, parent: str | None = None) -> Iterator[None]:
        """Raise the errors of huggingface_hub within the context as embstore's, without the token."""
        errors = self._hub.errors
        try:
            yield
        except errors.OfflineModeIsEnabled:
            raise RemoteError(f"{self.url} cannot be {done}: HF_HUB_OFFLINE is set. Unset it.") from None
        except errors.HfHubHTTPError as error:
            code = getattr(error.response, "status_code", None)
            if code == _MOVED and parent is not None:
                raise StoreError(
                    f"{self.url} has moved: {self.revision} was at commit {parent} when this began, and is at "
                    f"{self.head()} now. Nothing was committed. Run the same command again to compare with what is "
                    "there."
                ) from None
            remedy = _CHECK_NAME if code in (401, 403, 404) else _CHECK_NETWORK
            raise RemoteError(f"{self.url} cannot be {done}: {self._reason(error)}. {remedy}") from None
        except (OSError, RuntimeError, ValueError, errors.HfHubHTTPError.__bases__[0]) as error:
            raise RemoteError(f"{self.url} cannot be {done}: {self._reason(error)}. {_CHECK_NETWORK}") from None

    def _reason(self, error: Exception) -> str:
        """Return the first line of an error, without the token."""
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        text = next(filter(None, map(str.strip, str(cause).splitlines())), type(cause).__name__)
        token = self._hub.get_token()
        return (text.replace(token, "…") if token else text).rstrip(".")


class HubObjects(WebObjects):
    """The files of a dataset repository at a commit, by default that of its revision at the last :meth:`renew`."""

    def __init__(self, dataset: HubDataset, commit: str = "") -> None:
        self._dataset = dataset
        name = f"{PREFIX}datasets/{dataset.repo}@{commit[:12]}" if commit else dataset.url
        super().__init__(*dataset.address(commit or dataset.revision), name)
        self._has_ranges = True

    def renew(self) -> None:
        """Go to the commit at which the revision is now."""
        commit = self._dataset.head()
        if commit is None:
            raise RemoteError(
                f"{self.url}: there is no such dataset repository or revision, or you may not read it. {_CHECK_NAME}"
            )
        self._address, self._headers = self._dataset.address(commit)
