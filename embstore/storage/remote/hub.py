"""Read and write a store in a dataset repository on the Hugging Face hub."""

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from embstore.base.errors import RemoteError, StoreError, UsageError
from embstore.base.installation import install_command
from embstore.storage.remote.objects import MAX_BYTES, Range
from embstore.storage.remote.web import WebObjects

PREFIX = "hf://"
_URL = r"hf://datasets/([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w./-]*))?/?"
_MAX_OPERATIONS = 1000
"""Number of files of a commit; the last one has the manifest."""
_MOVED = 412

Content = Mapping[str, Path | bytes]


class HubDataset:
    """A dataset repository on the hub, at a revision.

    Args:
        url: URL, such as ``hf://datasets/owner/name`` or ``hf://datasets/owner/name@revision``.

    Attributes:
        url: The same.
        repo: Owner and name.
        revision: Branch, tag or commit; ``main`` by default.

    Raises:
        UsageError: The URL is no dataset repository.
        RemoteError: huggingface_hub is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.repo, self.revision = parse_url(url)
        try:
            self._hub: Any = import_module("huggingface_hub")
            for name in ("constants", "errors", "utils"):  # its attributes once they were imported
                import_module(f"huggingface_hub.{name}")
        except ImportError as error:
            raise RemoteError(f"datasets on the hub need huggingface_hub. Run: {install_command('remote')}") from error
        self._endpoint = (os.environ.get("HF_ENDPOINT") or self._hub.constants.ENDPOINT).rstrip("/")
        self._api = self._hub.HfApi(endpoint=self._endpoint)

    def head(self) -> str | None:
        """Return the commit of the revision; None if there is no such repository, or it has no such branch.

        Raises:
            RemoteError: The hub cannot be reached, or refuses.
        """
        errors = self._hub.errors
        with self._errors("read"):
            try:
                return str(self._api.dataset_info(self.repo, revision=self.revision).sha)
            except errors.GatedRepoError:
                raise
            except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
                return None

    def objects(self, commit: str) -> WebObjects:
        """Return the files of a commit."""
        address = f"{self._endpoint}/datasets/{self.repo}/resolve/{commit}"
        headers = self._hub.utils.build_hf_headers()
        return WebObjects(address, headers, f"{PREFIX}datasets/{self.repo}@{commit[:12]}", has_other_hosts=True)

    def create(self) -> None:
        """Create the repository, private, and the branch, if there are none; errors: :meth:`head`."""
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
        """Commit files, and at last those that make them count, and return the commit.

        Args:
            added: Additions, from :meth:`upload`.
            last: Files of the last commit.
            removed: Files to remove in the last commit.
            parent: Commit that the revision must be at.
            message: Message of the commits.

        Raises:
            StoreError: The revision is at another commit by now.
            RemoteError: The hub cannot be reached, or refuses.
        """
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
                raise self._moved(parent) from None
            remedy = "Check the network, and run the same command again."
            if code in (401, 403, 404):
                remedy = "Check its name, and your token with: hf auth whoami"
            raise RemoteError(f"{self.url} cannot be {done}: {self._reason(error)}. {remedy}") from None
        except (OSError, RuntimeError, ValueError, errors.HfHubHTTPError.__bases__[0]) as error:
            remedy = "Check the network, and run the same command again."
            raise RemoteError(f"{self.url} cannot be {done}: {self._reason(error)}. {remedy}") from None

    def _moved(self, parent: str) -> StoreError:
        """Return the error for a revision that another commit has moved."""
        return StoreError(
            f"{self.url} has moved: {self.revision} was at commit {parent} when this began, and is at {self.head()} "
            "now. Nothing was committed. Run the same command again to compare with what is there."
        )

    def _reason(self, error: Exception) -> str:
        """Return the first line of an error, without the token."""
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        text = next(filter(None, map(str.strip, str(cause).splitlines())), type(cause).__name__)
        token = self._hub.get_token()
        return (text.replace(token, "…") if token else text).rstrip(".")


def parse_url(url: str) -> tuple[str, str]:
    """Return repository and revision of a URL.

    Raises:
        UsageError: It is no dataset repository.
    """
    match = re.fullmatch(_URL, url, re.ASCII)
    if match is None:
        raise UsageError(
            f"{url} is no dataset repository: give hf://datasets/owner/name or hf://datasets/owner/name@revision."
        )
    return match[1], match[2] or "main"


class HubObjects:
    """The files of a dataset repository at one commit, for a store that is only read; see :class:`.ObjectReader`.

    Args:
        url: URL, as of :class:`HubDataset`.

    Attributes:
        url: The same.
        has_ranges: True.
    """

    has_ranges = True

    def __init__(self, url: str) -> None:
        self._dataset = HubDataset(url)
        self.url = self._dataset.url
        self._objects: WebObjects | None = None

    def renew(self) -> None:
        """Go to the commit at which the revision is now.

        Raises:
            RemoteError: There is no such repository or revision, or the hub cannot be reached.
        """
        commit = self._dataset.head()
        if commit is None:
            raise RemoteError(
                f"{self.url}: there is no such dataset repository or revision, or you may not read it. Check its name, "
                "and your token with: hf auth whoami"
            )
        self._objects = self._dataset.objects(commit)

    def _at_commit(self) -> WebObjects:
        if self._objects is None:
            self.renew()
        assert self._objects is not None
        return self._objects

    def get(self, key: str, max_bytes: int = MAX_BYTES) -> bytes:
        """Return the content of a file."""
        return self._at_commit().get(key, max_bytes)

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        """Return parts of a file, each of exactly the requested size."""
        return self._at_commit().get_ranges(key, ranges)
