"""Refuse requests that do not come from the page itself, and set the security headers of every response."""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY = 2_000_000
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


class Refusal(Exception):
    """A request that is not answered."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Door:
    """The address of the server, and its token."""

    token: str
    port: int
    hosts: frozenset[str]  # names that requests may use for the server, lower case
    any_address: bool = False  # the server listens on all addresses of the machine

    @property
    def cookie(self) -> str:
        """Name of the cookie with the token: browsers keep cookies per host, and servers on other ports have theirs."""
        return f"embstore-{self.port}"

    def check_host(self, given: str) -> None:
        """Raise Refusal unless a Host header names this server: another page's name may point at this address."""
        host, colon, port = given.rpartition(":") if not given.endswith("]") else ("", "", "")
        if not colon:
            host, port = given, "80"
        host = host.lower().removeprefix("[").removesuffix("]")
        if port != str(self.port) or not (host in self.hosts or (self.any_address and _is_address(host))):
            raise Refusal(421, "the Host header names another server. Open the URL that embstore explore printed.")

    def check_origin(self, headers: dict[str, str], path: str) -> None:
        """Raise Refusal for a request that another page makes; a link to the page itself is followed."""
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{headers['host']}":
            raise Refusal(403, "the request comes from another page (Origin).")
        if path != "/" and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refusal(403, "the request comes from another page (Sec-Fetch-Site).")

    def check_token(self, headers: dict[str, str], query: bytes, path: str) -> None:
        """Raise Refusal unless the cookie, or at the page's own address the URL, has the token."""
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            found = None
        tokens = [] if found is None else [found.value]
        if path == "/":
            tokens += parse_qs(query.decode("latin-1")).get("token", [])
        if not any(hmac.compare_digest(token.encode(), self.token.encode()) for token in tokens):
            raise Refusal(403, "the token is missing or wrong. Open the URL that embstore explore printed.")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware that refuses what does not come from the page, and sets the headers of each response."""

    def __init__(self, app: App, door: Door, report: Callable[[str], None]) -> None:
        self._app, self._door, self._report = app, door, report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = dict(message) | {"headers": _with_defaults(message.get("headers", []))}
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, _limited(receive), send_with_headers)
        except Refusal as refusal:
            self._report(report_line(scope, refusal))
            await refusal_response(refusal)(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> None:
        names = [name for name, _ in scope["headers"]]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if names.count(b"host") != 1 or names.count(b"origin") > 1:
            raise Refusal(400, "the request must have one Host header, and at most one Origin.")
        self._door.check_host(headers["host"])
        self._door.check_origin(headers, scope["path"])
        self._door.check_token(headers, scope["query_string"], scope["path"])
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 9 or int(length) > LARGEST_BODY:
            raise _too_large()


def report_line(scope: Scope, refusal: Refusal) -> str:
    """Return the line of the log about a refused request, without its query string, where a token may be."""
    return f"refused {scope['method']} {scope['path'][:200]}: {refusal.reason}"


def _too_large() -> Refusal:
    return Refusal(413, f"the body has more than {LARGEST_BODY:,} bytes.")


def _limited(receive: Receive) -> Receive:
    """Return a function that receives a body, and raises Refusal when it becomes too large."""
    n_bytes = 0

    async def limited() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > LARGEST_BODY:
            raise _too_large()
        return message

    return limited


def _with_defaults(headers: Any) -> list[tuple[bytes, bytes]]:
    there = [(bytes(name).lower(), bytes(value)) for name, value in headers]
    names = {name for name, _ in there}
    return there + [(n.encode(), v.encode()) for n, v in _HEADERS.items() if n.encode() not in names]


def refusal_response(refusal: Refusal) -> Any:
    """Return the answer to a refused request, as a response of starlette; what is left of its body is not read."""
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(f"embstore explore: {refusal.reason}\n", refusal.status, {"connection": "close"})
