"""Read the files of a store from a web server: in parts where it serves ranges, else whole."""

import re
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from threading import local
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin

from embstore.errors import MissingObjectError, RemoteError, UsageError
from embstore.storage.remote.objects import Range

SCHEMES = ("https", "http")
_SECONDS = 60
_MAX_BYTES = 1 << 30
"""Maximum size in bytes of what is read whole, unless the manifest names a larger file."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts."""
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class _Answer(NamedTuple):
    """The answer of a server.

    Attributes:
        code: Status code.
        content_range: Header that says which part it is.
        data: Content.
        limit: Number of bytes that the content may have; one block more was read at most.
    """

    code: int
    content_range: str
    data: bytes
    limit: int

    @property
    def is_part(self) -> bool:
        """Whether it is the part that was requested."""
        return self.code == HTTPStatus.PARTIAL_CONTENT


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
                self._has_ranges = self._answer("manifest.json", (0, 1)).is_part
            except MissingObjectError:  # what reads the store says so
                return True
        return self._has_ranges

    def get(self, key: str) -> bytes:
        """Return the content of a file; see :class:`.ObjectReader`."""
        return self._answer(key).data

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        """Return parts of a file, each of exactly the requested size; see :class:`.ObjectReader`."""
        found: list[bytes] = []
        for start, end in ranges:
            answer = self._answer(key, (start, end))
            data = answer.data if answer.is_part else answer.data[start:end]
            if len(data) != end - start:
                raise RemoteError(
                    f"{self.url}/{key} is shorter than its manifest says: {len(data):,} of {end - start:,} bytes at "
                    f"{start:,}. It was changed meanwhile, or is damaged: pull it from its origin again."
                )
            found.append(data)
        return found

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
            except (requests.RequestException, OSError) as error:
                if isinstance(error, RemoteError):
                    raise
                reason = type(error).__name__
            if pause is not None:
                time.sleep(pause)
        raise RemoteError(
            f"{self.url}/{key} cannot be read: {reason}. Check the network and the address, and run the same command "
            "again."
        )

    def _request(self, key: str, part: Range | None) -> _Answer:
        """Send a request, and return the answer; of a content that is too long only the beginning."""
        headers = {**self._headers, "Accept-Encoding": "identity"}
        if part is not None:
            headers["Range"] = f"bytes={part[0]}-{part[1] - 1}"
        address = f"{self._address}/{quote(key)}"
        with self._session().get(address, headers=headers, timeout=_SECONDS, stream=True) as answer:
            is_part = answer.status_code == HTTPStatus.PARTIAL_CONTENT
            limit = part[1] - part[0] if part is not None and is_part else max(_MAX_BYTES, part[1] if part else 0)
            data = bytearray()
            if answer.ok:
                for block in answer.iter_content(1 << 20):
                    data += block
                    if len(data) > limit:
                        break
            return _Answer(answer.status_code, answer.headers.get("Content-Range", ""), bytes(data), limit)

    def _checked(self, answer: _Answer, key: str, part: Range | None) -> _Answer:
        """Return the answer if it has the content; else raise the error that it means."""
        if answer.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise MissingObjectError(f"{self.url}/{key} does not exist. Check the URL.")
        if answer.code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            is_refused = answer.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
            remedy = "Check whether you may read it." if is_refused else "Check the address."
            raise RemoteError(f"{self.url}/{key} cannot be read: the server answers {answer.code}. {remedy}")
        starts = f"bytes {part[0]}-" if part is not None else ""
        if len(answer.data) > answer.limit or (answer.is_part and not answer.content_range.startswith(starts)):
            raise RemoteError(f"{self.url}/{key}: the server sent something else than it was asked for. Check the URL.")
        return answer

    def _session(self) -> Any:
        """Return the connections of this thread."""
        if not hasattr(self._sessions, "session"):
            self._sessions.session = _session_of(self.url, self._address)
        return self._sessions.session


def _session_of(url: str, address: str) -> Any:
    """Return connections that follow redirections only where what comes cannot be altered on its way.

    Args:
        url: URL of the store, for messages.
        address: Its address: one of this machine without encryption may redirect to others of this machine.
    """
    import requests

    class Session(requests.Session):  # type: ignore[misc]
        def get_redirect_target(self, resp: Any) -> str | None:
            target: str | None = super().get_redirect_target(resp)
            to = urljoin(resp.url, target) if target is not None else "https://"
            if not to.startswith("https://") and not (address.startswith("http://") and _is_local(to)):
                raise RemoteError(f"{url} redirects to {to.partition('?')[0]}, which is not encrypted. Check the URL.")
            return target

    return Session()


def _is_local(address: str) -> bool:
    return re.match(r"http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?(/|$)", address) is not None


def check_web_url(url: str) -> str:
    """Return the address of a store without a slash at its end.

    Raises:
        UsageError: It has a user or a query, or no encryption and is not of this machine.
    """
    match = re.fullmatch(r"(https?)://([^/@?#]+)((?:/[^?#]*)?)", url)
    if match is None:
        shown = re.sub(r"//[^/]*@|\?.*", "//…@" if "@" in url else "", url)
        raise UsageError(f"{shown} is no address of a store, such as https://host/path, without a user and a query.")
    if match[1] == "http" and not _is_local(url):
        raise UsageError(f"{url} is not encrypted: what comes from there could be altered on its way. Give https://")
    return url.rstrip("/")
