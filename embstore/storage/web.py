"""Read the files of a store from a web server, or from a dataset repository on the Hugging Face
hub.

Neither lists its files: ``manifest.json`` is a copy of the manifest. Dataset repositories are
written by commits, here too.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from embstore.base import documents
from embstore.base.errors import MissingObjectError, RemoteError, StoreError, UsageError
from embstore.base.installation import needing
from embstore.storage import keys
from embstore.storage.bucket import TIMEOUT, Retries, ServedObjects, check_url, is_loopback
from embstore.storage.objects import ObjectInfo


class Web(ServedObjects):
    """The files below an address of a web server."""

    takes_changes = False

    def __init__(self, url: str) -> None:
        address = _check_web_url(url)
        self._published: bytes | None = None
        super().__init__(address, _opener(address, {}))

    def __reduce__(self) -> tuple[type["Web"], tuple[str]]:
        return type(self), (self.url,)

    def get(self, key: str, max_bytes: int | None = None) -> bytes:
        """Return the content of a file; of the manifest, that which was found last."""
        if key == keys.PUBLISHED and self._published is not None:
            return self._published
        return super().get(key, max_bytes)

    def newest_manifest(self) -> ObjectInfo | None:
        """Return the copy of the manifest, which is fetched."""
        try:
            self._published = super().get(keys.PUBLISHED, documents.MAX_BYTES["manifest"])
        except MissingObjectError:
            self._published = None
            return None
        tag = sha256(self._published).hexdigest()
        return ObjectInfo(keys.PUBLISHED, len(self._published), datetime.fromtimestamp(0, UTC), tag)


def _opener(address: str, headers: Mapping[str, str]) -> Callable[[Any, Retries], Any]:
    """Return a function that opens obstore's store of an address."""
    client = {
        "timeout": TIMEOUT,
        "default_headers": dict(headers),
        "allow_http": is_loopback(address),
    }
    return lambda store, retries: store.HTTPStore.from_url(
        address, client_options=client, retry_config=retries
    )


def _check_web_url(url: str) -> str:
    """Return the address of a store without a slash at its end."""
    problem = "is no address of a store, such as https://host/path, without a user and a query."
    address = check_url(url, ("https", "http"), problem)
    if url.startswith("http:") and not is_loopback(url):
        raise UsageError(
            f"{url} is not encrypted: what comes from there could be altered on its way. Give"
            " https://"
        )
    return address


HUB_PREFIX = "hf://"
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
                f"{url} is no dataset repository: give hf://datasets/owner/name or"
                " hf://datasets/owner/name@revision."
            )
        self.repo, self.revision = match[1], match[2] or "main"
        with needing("datasets on the hub need huggingface_hub", "remote", RemoteError):
            self._hub: Any = import_module("huggingface_hub")
            for name in ("constants", "errors", "utils"):  # its attributes once they were imported
                import_module(f"huggingface_hub.{name}")
        self._endpoint = (os.environ.get("HF_ENDPOINT") or self._hub.constants.ENDPOINT).rstrip("/")
        self._api = self._hub.HfApi(endpoint=self._endpoint)

    def head(self) -> str | None:
        """Return the commit of the revision; None if there is no such repository, or it has no such
        branch.
        """
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
        return (
            f"{self._endpoint}/datasets/{self.repo}/resolve/{commit}",
            self._hub.utils.build_hf_headers(),
        )

    def create(self) -> None:
        """Create the repository, private, and the branch, if there are none."""
        with self._errors("created"):
            self._api.create_repo(self.repo, repo_type="dataset", private=True, exist_ok=True)
            if self.revision != "main" and self.head() is None:
                self._api.create_branch(
                    self.repo, branch=self.revision, repo_type="dataset", exist_ok=True
                )

    def upload(self, files: Content) -> list[Any]:
        """Upload files that no commit has yet, unless the hub has their content, and return their
        additions.
        """
        with self._errors("written"), self._without_bars():
            added = [self._hub.CommitOperationAdd(key, content) for key, content in files.items()]
            self._api.preupload_lfs_files(
                self.repo, added, repo_type="dataset", revision=self.revision, free_memory=False
            )
            return added

    def commit(
        self, added: Sequence[Any], last: Content, removed: Sequence[str], parent: str, message: str
    ) -> str:
        """Commit files, and at last those that make them count, and return the commit."""
        starts = range(0, len(added), _MAX_OPERATIONS)
        *first, rest = [[*added[start : start + _MAX_OPERATIONS]] for start in starts] or [[]]
        rest += [self._hub.CommitOperationAdd(key, content) for key, content in last.items()]
        rest += [self._hub.CommitOperationDelete(key) for key in removed]
        for operations in (*first, rest):
            with self._errors("written", parent):
                info = self._api.create_commit(
                    self.repo,
                    operations,
                    commit_message=message,
                    repo_type="dataset",
                    revision=self.revision,
                    parent_commit=parent,
                )
            parent = str(info.oid)
        return parent

    @contextmanager
    def _without_bars(self) -> Iterator[None]:
        """Silence the hub's own progress bars within the context."""
        bars = self._hub.utils
        were_shown = not bars.are_progress_bars_disabled()
        with warnings.catch_warnings():
            # The hub warns if an environment variable overrules its switch; then there is nothing
            # to restore either.
            warnings.filterwarnings("ignore", message=".*progress bars")
            bars.disable_progress_bars()
            try:
                yield
            finally:
                if were_shown:
                    bars.enable_progress_bars()

    @contextmanager
    def _errors(self, done: str, parent: str | None = None) -> Iterator[None]:
        """Raise the errors of huggingface_hub within the context as embstore's, without the
        token.
        """
        errors = self._hub.errors
        try:
            yield
        except errors.OfflineModeIsEnabled:
            raise RemoteError(
                f"{self.url} cannot be {done}: HF_HUB_OFFLINE is set. Unset it."
            ) from None
        except (OSError, RuntimeError, ValueError, errors.HfHubHTTPError.__bases__[0]) as error:
            response = getattr(error, "response", None)  # of a reply that is an error
            code = getattr(response, "status_code", None)
            if code == _MOVED and parent is not None:
                raise StoreError(
                    f"{self.url} has moved: {self.revision} was at commit {parent} when this began,"
                    f" and is at {self.head()} now. Nothing was committed. Run the same command"
                    " again to compare with what is there."
                ) from None
            remedy = _CHECK_NAME if code in (401, 403, 404) else _CHECK_NETWORK
            raise RemoteError(
                f"{self.url} cannot be {done}: {self._reason(error)}. {remedy}"
            ) from None

    def _reason(self, error: Exception) -> str:
        """Return the first line of an error, without the token."""
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        text = next(filter(None, map(str.strip, str(cause).splitlines())), type(cause).__name__)
        token = self._hub.get_token()
        return (text.replace(token, "…") if token else text).rstrip(".")


class Hub(Web):
    """The files of a dataset repository, at the commit of its revision when the manifest was read
    last.
    """

    def __init__(self, url: str) -> None:
        self.dataset = HubDataset(url)
        self.commit = ""
        self._published = None
        address, headers = self.dataset.address(self.dataset.revision)
        token = headers.get("authorization", "").split()[-1:]
        super(Web, self).__init__(self.dataset.url, _opener(address, headers), token)

    def newest_manifest(self) -> ObjectInfo | None:
        """Return the copy of the manifest at the commit at which the revision is now."""
        commit = self.dataset.head()
        if commit is None:
            raise RemoteError(
                f"{self.url}: there is no such dataset repository or revision, or you may not read"
                f" it. {_CHECK_NAME}"
            )
        if commit != self.commit:
            self.commit = commit
            self._open(_opener(*self.dataset.address(commit)))
        return super().newest_manifest()
