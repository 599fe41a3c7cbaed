"""Read the files of a store from a web server: in parts where it serves ranges, else whole."""

import re
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from threading import local
from typing import Any
from urllib.parse import quote

from embstore.errors import MissingObjectError, RemoteError, UsageError
from embstore.storage.remote.objects import Range

SCHEMES = ("https", "http")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_SECONDS = 60
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts."""
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class WebObjects:
    """The files below an address of a web server.

    Args:
        url: Address, such as ``https://host/path``; ``http`` for this machine only.
        headers: Headers of each request, such as a token. They are not sent on to other hosts.
        name: URL of the store for messages, if it is not the address.

    Attributes:
        url: URL of the store for messages.

    Raises:
        UsageError: The address has a user, a query or no encryption.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, name: str | None = None) -> None:
        self._address, self._headers = check_web_url(url), dict(headers or {})
        self.url = name or self._address
        self._sessions = local()
        self._has_ranges: bool | None = None

    @property
    def has_ranges(self) -> bool:
        """Whether the server sends parts of files."""
        if self._has_ranges is None:
            try:
                answer = self._answer("manifest.json", {"Range": "bytes=0-0"})
            except MissingObjectError:  # what reads the store says so
                return True
            self._has_ranges = answer.status_code == HTTPStatus.PARTIAL_CONTENT
        return self._has_ranges

    def get(self, key: str) -> bytes:
        """Return the content of a file; see :class:`.ObjectReader`."""
        return bytes(self._answer(key, {}).content)

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        """Return parts of a file, each of exactly the requested size; see :class:`.ObjectReader`."""
        found: list[bytes] = []
        for start, end in ranges:
            answer = self._answer(key, {"Range": f"bytes={start}-{end - 1}"})
            data = bytes(answer.content)
            if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
                data = data[start:end]
            elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-{start + len(data) - 1}/"):
                raise RemoteError(f"{self.url}/{key}: the server sent another part than it was asked for. Try again.")
            if len(data) != end - start:
                raise RemoteError(
                    f"{self.url}/{key} is shorter than its manifest says: {len(data):,} of {end - start:,} bytes at "
                    f"{start:,}. It was changed meanwhile, or is damaged: pull it from its origin again."
                )
            found.append(data)
        return found

    def _answer(self, key: str, headers: Mapping[str, str]) -> Any:
        """Return the answer to a request, tried again after errors that pass."""
        import requests

        reason = ""
        for pause in (*_PAUSES, None):
            try:
                headers = {**self._headers, **headers, "Accept-Encoding": "identity"}
                answer = self._session().get(f"{self._address}/{quote(key)}", headers=headers, timeout=_SECONDS)
                reason = f"{answer.status_code} {answer.reason}"
            except requests.RequestException as error:
                answer, reason = None, type(error).__name__
            if answer is not None and answer.status_code not in _TRANSIENT:
                return self._checked(answer, key, reason)
            if pause is not None:
                time.sleep(pause)
        raise RemoteError(
            f"{self.url}/{key} cannot be read: {reason}. Check the network and the address, and run the same command "
            "again."
        )

    def _checked(self, answer: Any, key: str, reason: str) -> Any:
        """Return the answer if it has content; else raise the error that it means."""
        if answer.status_code in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            return answer
        if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise MissingObjectError(f"{self.url}/{key} does not exist. Check the URL.")
        remedy = "Check the address."
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            remedy = "Check whether you may read it."
        raise RemoteError(f"{self.url}/{key} cannot be read: the server answers {reason}. {remedy}")

    def _session(self) -> Any:
        """Return the connections of this thread."""
        import requests

        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        return self._sessions.session


def check_web_url(url: str) -> str:
    """Return the address of a store without a slash at its end.

    Raises:
        UsageError: It has a user or a query, or no encryption and is not of this machine.
    """
    match = re.fullmatch(r"(https?)://([^/@?#]+)((?:/[^?#]*)?)", url)
    if match is None:
        shown = re.sub(r"//[^/]*@|\?.*", "//…@" if "@" in url else "", url)
        raise UsageError(f"{shown} is no address of a store, such as https://host/path, without a user and a query.")
    host = re.sub(r":[0-9]+$", "", match[2])
    if match[1] == "http" and host not in _LOOPBACK:
        raise UsageError(f"{url} is not encrypted: what comes from there could be altered on its way. Give https://")
    return url.rstrip("/")
