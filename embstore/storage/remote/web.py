"""Read the files of a store from a web server: in parts where it serves ranges, else whole."""

import re
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from http import HTTPStatus
from threading import Thread, local
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from embstore.base.errors import MissingObjectError, RemoteError, UsageError
from embstore.base.supply import Range
from embstore.storage.remote.objects import MAX_BYTES, ObjectReader, check_url

_SECONDS = 30
_BYTES_PER_SECOND = 4 << 10
"""An answer may take 30 seconds, and a second more for each 4 KiB that have arrived."""
_BLOCK_BYTES = 64 << 10
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


class _Allowance:
    """The time that is left for an answer, all attempts together."""

    def __init__(self) -> None:
        self._start, self.n_bytes = time.monotonic(), 0

    @property
    def seconds_left(self) -> float:
        """Seconds until too little has arrived."""
        return self._start + _SECONDS + self.n_bytes / _BYTES_PER_SECOND - time.monotonic()


class WebObjects(ObjectReader):
    """The files below an address of a web server."""

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, name: str = "", *, has_other_hosts: bool = False
    ) -> None:
        self._address, self._headers, self._has_other_hosts = check_web_url(url), dict(headers or {}), has_other_hosts
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

    def get(self, key: str, max_bytes: int = MAX_BYTES) -> bytes:
        """Return the content of a file."""
        return self._answer(key, max_bytes=max_bytes).data

    def _get_range(self, key: str, start: int, end: int) -> bytes:
        answer = self._answer(key, (start, end))
        return answer.data if answer.is_part else answer.data[start:end]

    def _answer(self, key: str, part: Range | None = None, max_bytes: int = MAX_BYTES) -> _Answer:
        """Return the answer to a request for a file or a part of it, tried again after errors that pass."""
        import requests

        reason, allowance = "", _Allowance()
        for pause in (*_PAUSES, None):
            try:
                found = self._request(key, part, max_bytes, allowance)
                if found.code not in _TRANSIENT:
                    return self._checked(found, key, part)
                reason = f"the server answers {found.code}"
            except (requests.RequestException, OSError, ValueError) as error:
                if isinstance(error, RemoteError):
                    raise
                reason = type(error).__name__
            if pause is not None:
                time.sleep(pause)
        raise RemoteError(
            f"{self.url}/{key} cannot be read: {reason}. Check the network and the address, and run the same command "
            "again."
        )

    def _request(self, key: str, part: Range | None, max_bytes: int, allowance: _Allowance) -> _Answer:
        """Return the answer to a request, which is sent in another thread: whatever the server does, this one ends."""
        answer: Future[_Answer] = Future()
        session = self._session()

        def receive() -> None:
            try:
                answer.set_result(self._receive(session, key, part, max_bytes, allowance))
            except BaseException as error:
                answer.set_exception(error)

        Thread(target=receive, name="embstore-answer", daemon=True).start()
        while not wait([answer], max(0.0, allowance.seconds_left)).done:
            if allowance.seconds_left <= 0:
                del self._sessions.session  # the other thread may still use it
                problem = f"the server is too slow: it sent {allowance.n_bytes:,} bytes"
                raise RemoteError(f"{self.url}/{key} cannot be read: {problem}. Check the network, or read it later.")
        return answer.result()

    def _receive(self, session: Any, key: str, part: Range | None, max_bytes: int, allowance: _Allowance) -> _Answer:
        """Send a request, and return the answer; of a content that is too long only the beginning."""
        headers = {**self._headers, "Accept-Encoding": "identity"}
        if part is not None:
            headers["Range"] = f"bytes={part[0]}-{part[1] - 1}"
        address = f"{self._address}/{quote(key)}"
        with session.get(address, headers=headers, timeout=_SECONDS, stream=True) as answer:
            is_part = answer.status_code == HTTPStatus.PARTIAL_CONTENT
            limit = max_bytes + 1 if part is None else part[1] - part[0] + 1 if is_part else part[1]
            data = bytearray()
            for block in answer.iter_content(_BLOCK_BYTES) if answer.ok else ():
                data += block
                allowance.n_bytes += len(block)
                if len(data) >= limit:
                    break
                if allowance.seconds_left <= 0:
                    raise TimeoutError  # nobody waits any more
            return _Answer(answer.status_code, answer.headers.get("Content-Range", ""), bytes(data[:limit]))

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
        if not hasattr(self._sessions, "session"):
            self._sessions.session = _session_of(self.url, self._address, self._has_other_hosts)
        return self._sessions.session


def _session_of(url: str, address: str, has_other_hosts: bool) -> Any:
    """Return connections that follow redirections only within a server, or where nothing can be altered on its way."""
    import requests

    class Session(requests.Session):  # type: ignore[misc]
        def get_redirect_target(self, resp: Any) -> str | None:
            target: str | None = super().get_redirect_target(resp)
            try:
                to = urljoin(resp.url, target or "")
                shown = to.partition("?")[0]
                if urlsplit(to)[:2] != urlsplit(address)[:2] and not has_other_hosts:
                    raise RemoteError(
                        f"{url} redirects to {shown}, another server. If you trust it, give its URL instead."
                    )
                if not to.startswith("https://") and not (address.startswith("http://") and _is_local(to)):
                    raise RemoteError(f"{url} redirects to {shown}, which is not encrypted. Check the URL.")
            except Exception:
                resp.close()
                raise
            return target

    return Session()


def _is_local(address: str) -> bool:
    return re.match(r"http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?(/|$)", address) is not None


def check_web_url(url: str) -> str:
    """Return the address of a store without a slash at its end."""
    problem = "is no address of a store, such as https://host/path, without a user and a query."
    address = check_url(url, ("https", "http"), problem)
    if url.startswith("http:") and not _is_local(url):
        raise UsageError(f"{url} is not encrypted: what comes from there could be altered on its way. Give https://")
    return address
