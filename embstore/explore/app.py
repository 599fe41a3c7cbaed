"""The routes of the explorer: the page, its files, and questions about the store as JSON; and who
may ask them.

Requests that do not come from the page itself are refused, and every response has security headers.
"""

import hmac
import inspect
import ipaddress
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embstore.base.errors import EmbstoreError, UsageError
from embstore.explore import maps, questions
from embstore.explore.items import SQL_LIMITS, Reading, SpaceItems, read_items
from embstore.explore.rendering import to_json
from embstore.explore.workers import Cancelled, Workers
from embstore.storage.sql.connections import NO_LIMITS

LARGEST_BODY = 2_000_000
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src"
    " 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
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
class AccessRules:
    """The address of the server, and its token."""

    token: str
    port: int
    hosts: frozenset[str]  # names that requests may use for the server, lower case
    any_address: bool = False  # the server listens on all addresses of the machine

    @property
    def cookie(self) -> str:
        """Name of the cookie with the token: browsers keep cookies per host, and servers on other
        ports have theirs.
        """
        return f"embstore-{self.port}"

    def check_host(self, header: str) -> None:
        """Raise Refusal unless a Host header names this server: another page's name may point at
        this address.
        """
        host, colon, port = header.rpartition(":") if not header.endswith("]") else ("", "", "")
        if not colon:
            host, port = header, "80"
        host = host.lower().removeprefix("[").removesuffix("]")
        if port != str(self.port) or not (
            host in self.hosts or (self.any_address and _is_address(host))
        ):
            raise Refusal(
                421,
                "the Host header names another server. Open the URL that embstore explore printed.",
            )

    def check_origin(self, request: Request) -> None:
        """Raise Refusal for a request that another page makes; a link to the page itself is
        followed.
        """
        headers = request.headers
        if headers.get("origin") not in (None, f"http://{headers['host']}"):
            raise Refusal(403, "the request comes from another page (Origin).")
        if request["path"] != "/" and headers.get("sec-fetch-site") not in (
            None,
            "same-origin",
            "none",
        ):
            raise Refusal(403, "the request comes from another page (Sec-Fetch-Site).")

    def check_token(self, request: Request) -> None:
        """Raise Refusal unless the cookie, or at the page's own address the URL, has the token."""
        tokens = [request.cookies.get(self.cookie, "")]
        if request["path"] == "/":
            tokens += request.query_params.getlist("token")
        if not any(hmac.compare_digest(token.encode(), self.token.encode()) for token in tokens):
            raise Refusal(
                403, "the token is missing or wrong. Open the URL that embstore explore printed."
            )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware that refuses what does not come from the page, and sets the headers of each
    response.
    """

    def __init__(self, app: ASGIApp, rules: AccessRules, report: Callable[[str], None]) -> None:
        self._app, self._rules, self._report = app, rules, report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, _limited(receive), send_with_headers)
        except Refusal as refusal:
            self._report(report_line(scope, refusal))
            await refusal_response(refusal)(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> None:
        request = Request(scope)
        headers = request.headers
        if len(headers.getlist("host")) != 1 or len(headers.getlist("origin")) > 1:
            raise Refusal(400, "the request must have one Host header, and at most one Origin.")
        self._rules.check_host(headers["host"])
        self._rules.check_origin(request)
        self._rules.check_token(request)
        if int(headers.get("content-length", "0")) > LARGEST_BODY:  # h11 refuses other lengths
            raise _too_large()


def report_line(scope: Scope, refusal: Refusal) -> str:
    """Return the line of the log about a refused request, without its query string, where a token
    may be.
    """
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


def refusal_response(refusal: Refusal) -> Response:
    """Return the answer to a refused request; what is left of its body is not read."""
    return PlainTextResponse(
        f"embstore explore: {refusal.reason}\n", refusal.status, {"connection": "close"}
    )


_KEPT = 16

Answer = Callable[[Request], Awaitable[Response]]


def make_app(store: Reading, rules: AccessRules, report: Callable[[str], None]) -> Guard:
    """Return the application."""
    explorer = Explorer(store, rules)

    @asynccontextmanager
    async def life(_app: Starlette) -> Any:
        yield
        await explorer.workers.close()

    app = Starlette(lifespan=life)
    for method, path, answer in explorer.routes():
        app.add_route(path, _answering(answer, report), [method])
    app.mount("/static", StaticFiles(packages=[("embstore.explore", "static")]))
    return Guard(app, rules, report)


class Explorer:
    """What the server keeps: the store, processes that compute, and the last maps and answers."""

    def __init__(self, store: Reading, rules: AccessRules) -> None:
        self.store, self.rules, self.workers = store, rules, Workers(store)
        self._kept: dict[str, Any] = {}  # in the order of their last use
        self._fingerprint: str | None = None

    def routes(self) -> list[tuple[str, str, Answer]]:
        """Return method, path and function of each route."""
        return [
            ("GET", "/", self.page),
            ("GET", "/api/store", self.overview),
            ("GET", "/api/fingerprint", partial(self._read, questions.current_fingerprint)),
            ("GET", "/api/inventory", partial(self._read, questions.inventory)),
            ("GET", "/api/metric", partial(self._read, questions.metric_form)),
            ("GET", "/api/suggest", self.suggest),
            ("GET", "/api/map", partial(self._compute, maps.packed_map)),
            ("GET", "/api/kept", partial(self._compute, maps.kept_now)),
            ("POST", "/api/colours", partial(self._compute, questions.colours)),
            ("POST", "/api/neighbours", self.neighbours),
            ("POST", "/api/metric", partial(self._compute, questions.metric)),
            ("POST", "/api/sql", partial(self._compute, questions.sql)),
            ("POST", "/api/place", partial(self._compute, maps.place)),
            ("POST", "/api/residuals", partial(self._compute, questions.residuals)),
        ]

    async def page(self, request: Request) -> Response:
        """Return the page; at the address with the token, keep that in a cookie and leave it out of
        the address.
        """
        if "token" not in request.query_params:
            return HTMLResponse(
                files("embstore.explore").joinpath("static/index.html").read_bytes()
            )
        response = RedirectResponse("/", 303)
        # Not strict, which a browser withholds where a link on another page, as of a notebook,
        # leads here. What changes something would be a POST, and the guard refuses those of other
        # pages by their Origin.
        response.set_cookie(self.rules.cookie, self.rules.token, httponly=True, samesite="lax")
        return response

    async def overview(self, _request: Request) -> Response:
        """Return spaces, layers, datasets and metrics."""
        overview = await run_in_threadpool(questions.overview, self.store)
        if self._fingerprint != overview["fingerprint"]:
            self._fingerprint = overview["fingerprint"]
            self._kept.clear()
            await self.workers.reset()
        return _json(overview)

    async def _read(self, function: Callable[..., Any], request: Request) -> Response:
        """Return the result of a function of the store that takes little time."""
        arguments = await _arguments_of(request, function)
        return _json(await run_in_threadpool(partial(function, self.store, **arguments)))

    async def suggest(self, request: Request) -> Response:
        """Return texts of a space for what is being typed."""
        space, typed = (request.query_params.get(name, "") for name in ("space", "typed"))
        read = partial(run_in_threadpool, read_items, self.store, space)
        items: SpaceItems = await self._keep(f"items {space}", read)
        return _json({"texts": items.suggest(typed)})

    async def neighbours(self, request: Request) -> Response:
        """Return the nearest items of a text. Users' SQL, and a model that encodes it, take a
        process of their own.
        """
        arguments = await _arguments_of(request, questions.neighbours)
        answer = self._compute if arguments.get("embed") or arguments.get("where") else self._read
        return await answer(questions.neighbours, request)

    async def _compute(self, function: Callable[..., Any], request: Request) -> Response:
        """Return the result of a function of the store, computed in another process, or kept from
        the last time.

        Results of SQL are not kept, since it may name the time or chance.
        """
        arguments = await _arguments_of(request, function)
        key = f"{function.__name__} {json.dumps(arguments, sort_keys=True)}"
        limits = SQL_LIMITS if function is questions.sql or "column" in arguments else NO_LIMITS
        run = partial(self.workers.run, function, request.is_disconnected, limits, **arguments)
        result = await (run() if function is questions.sql else self._keep(key, run))
        return (
            Response(result, media_type="application/octet-stream")
            if isinstance(result, bytes)
            else _json(result)
        )

    async def _keep(self, key: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return a value that was kept under a key, else make and keep it; the least used ones are
        forgotten.
        """
        made = self._kept.pop(key) if key in self._kept else await make()
        self._kept[key] = made
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return made


def _answering(answer: Answer, report: Callable[[str], None]) -> Answer:
    """Return a route's function with errors as JSON."""

    async def answering(request: Request) -> Response:
        try:
            return await answer(request)
        except EmbstoreError as error:
            message = str(error).replace("add embed=True", "tick “encode a new text”")
            return _json({"error": message, "kind": type(error).__name__}, 422)
        except Refusal as refusal:
            report(report_line(request.scope, refusal))
            return refusal_response(refusal)
        except Cancelled:
            return Response(status_code=499)
        except Exception as error:
            report(f"failed {request.method} {request.url.path}: {type(error).__name__}: {error}")
            return _json(
                {
                    "error": f"this could not be answered: {type(error).__name__}: {error}",
                    "kind": "",
                },
                500,
            )

    return answering


async def _arguments_of(request: Request, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of a function in the address of a request, or in its body."""
    arguments: Any = dict(request.query_params)
    if request.method != "GET":
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise UsageError("the body must be JSON, with the content type application/json.")
        try:
            arguments = await request.json()
        except (ValueError, RecursionError) as error:
            raise UsageError(f"the body is not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise UsageError("the body must be a JSON object.")
    try:
        inspect.signature(function).bind(None, **arguments)
    except TypeError as error:
        raise UsageError(f"the request does not fit: {error}.") from error
    return arguments


def _json(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")
