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
from embstore.storage.remote.web import WebObjects

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
        try:
            self._hub: Any = import_module("huggingface_hub")
            for name in ("constants", "errors", "utils"):  # its attributes once they were imported
                import_module(f"huggingface_hub.{name}")
        except ImportError as error:
            raise RemoteError(f"datasets on the hub need huggingface_hub. Run: {install_command('remote')}") from error
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

    def objects(self, commit: str) -> WebObjects:
        """Return the files of a commit."""
        name = f"{PREFIX}datasets/{self.repo}@{commit[:12]}"
        return WebObjects(*self.address(commit), name, has_other_hosts=True)

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
    """The files of a dataset repository at one commit, for a store that is only read."""

    def __init__(self, url: str) -> None:
        self._dataset = HubDataset(url)
        super().__init__(*self._dataset.address(self._dataset.revision), self._dataset.url, has_other_hosts=True)
        self._has_ranges = True

    def renew(self) -> None:
        """Go to the commit at which the revision is now."""
        commit = self._dataset.head()
        if commit is None:
            raise RemoteError(
                f"{self.url}: there is no such dataset repository or revision, or you may not read it. {_CHECK_NAME}"
            )
        self._address, self._headers = self._dataset.address(commit)
