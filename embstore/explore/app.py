"""The routes of the explorer: the page, its files, and questions about the store as JSON."""

import inspect
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from embstore.base.errors import EmbstoreError, UsageError
from embstore.base.messages import written_as
from embstore.explore import colours, maps, questions
from embstore.explore.guard import Door, Guard, Refusal, refusal_response, report_line
from embstore.explore.items import Reading, SpaceItems, read_items
from embstore.explore.rendering import as_field, to_json
from embstore.explore.workers import Cancelled, Workers

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_KEPT = 16

Answer = Callable[[Request], Awaitable[Response]]


def make_app(store: Reading, door: Door, report: Callable[[str], None]) -> Guard:
    """Return the application."""
    explorer = Explorer(store, door)

    @asynccontextmanager
    async def life(_app: Starlette) -> Any:
        yield
        await explorer.workers.close()

    routes = [Route(path, _answering(answer, report), methods=[method]) for method, path, answer in explorer.routes()]
    return Guard(Starlette(routes=routes, lifespan=life), door, report)


class Explorer:
    """What the server keeps: the store, processes that compute, and the last maps and answers."""

    def __init__(self, store: Reading, door: Door) -> None:
        self.store, self.door, self.workers = store, door, Workers(store)
        self._files = {
            file.name: file.read_bytes()
            for file in files("embstore.explore").joinpath("static").iterdir()
            if file.name.rpartition(".")[2] in _TYPES
        }
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._fingerprint: str | None = None

    def routes(self) -> list[tuple[str, str, Answer]]:
        """Return method, path and function of each route."""
        return [
            ("GET", "/", self.page),
            ("GET", "/static/{name}", self.file),
            ("GET", "/api/store", self.overview),
            ("GET", "/api/fingerprint", partial(self._read, questions.current_fingerprint)),
            ("GET", "/api/inventory", partial(self._read, questions.inventory)),
            ("GET", "/api/metric", partial(self._read, questions.metric_form)),
            ("GET", "/api/suggest", self.suggest),
            ("GET", "/api/map", partial(self._compute, maps.packed_map)),
            ("GET", "/api/kept", partial(self._compute, maps.kept_now)),
            ("POST", "/api/colours", partial(self._compute, colours.colours)),
            ("POST", "/api/neighbours", self.neighbours),
            ("POST", "/api/metric", partial(self._compute, questions.metric)),
            ("POST", "/api/sql", partial(self._compute, questions.sql)),
            ("POST", "/api/place", partial(self._compute, maps.place)),
            ("POST", "/api/residuals", partial(self._compute, questions.residuals)),
        ]

    async def page(self, request: Request) -> Response:
        """Return the page; at the address with the token, keep that in a cookie and leave it out of the address."""
        if "token" not in request.query_params:
            return self._static("index.html")
        response = RedirectResponse("/", 303)
        # Not strict, which a browser withholds where a link on another page, as of a notebook, leads here. What changes
        # something would be a POST, and the guard refuses those of other pages by their Origin.
        response.set_cookie(self.door.cookie, self.door.token, httponly=True, samesite="lax")
        return response

    async def file(self, request: Request) -> Response:
        """Return a file of the page."""
        return self._static(request.path_params["name"])

    def _static(self, name: str) -> Response:
        if name not in self._files:
            return Response("there is no such file\n", 404, media_type="text/plain")
        return Response(self._files[name], media_type=_TYPES[name.rpartition(".")[2]])

    async def overview(self, _request: Request) -> Response:
        """Return spaces, layers, datasets and metrics."""
        found = await run_in_threadpool(questions.overview, self.store)
        if self._fingerprint != found["fingerprint"]:
            self._fingerprint = found["fingerprint"]
            self._kept.clear()
            await self.workers.reset()
        return _json(found)

    async def _read(self, function: Callable[..., Any], request: Request) -> Response:
        """Return the result of a function of the store that takes little time."""
        given = await _given(request)
        _check_arguments(function, given)
        return _json(await run_in_threadpool(partial(function, self.store, **given)))

    async def suggest(self, request: Request) -> Response:
        """Return texts of a space for what is being typed."""
        space, typed = (request.query_params.get(name, "") for name in ("space", "typed"))
        read = partial(run_in_threadpool, read_items, self.store, space)
        items: SpaceItems = await self._keep(f"items {space}", read)
        return _json({"texts": items.suggest(typed)})

    async def neighbours(self, request: Request) -> Response:
        """Return the nearest items of a text. Users' SQL, and a model that encodes it, take a process of their own."""
        given = await _given(request)
        answer = self._compute if given.get("embed") or given.get("where") else self._read
        return await answer(questions.neighbours, request)

    async def _compute(self, function: Callable[..., Any], request: Request) -> Response:
        """Return the result of a function of the store, computed in another process, or kept from the last time.

        Results of SQL are not kept, since it may name the time or chance.
        """
        given = await _given(request)
        _check_arguments(function, given)
        key = f"{function.__name__} {json.dumps(given, sort_keys=True)}"
        run = partial(self.workers.run, function, request.is_disconnected, **given)
        found = await (run() if function is questions.sql else self._keep(key, run))
        return Response(found, media_type="application/octet-stream") if isinstance(found, bytes) else _json(found)

    async def _keep(self, key: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return a value that was kept under a key, else make and keep it; the least used ones are forgotten."""
        kept = self._kept
        if key not in kept:
            made = await make()
            kept[key] = made
            while len(kept) > _KEPT:
                kept.popitem(last=False)
        kept.move_to_end(key)
        return kept[key]


def _answering(answer: Answer, report: Callable[[str], None]) -> Answer:
    """Return a route's function with errors as JSON."""

    async def answering(request: Request) -> Response:
        try:
            with written_as(as_field):
                try:
                    return await answer(request)
                except EmbstoreError as error:
                    return _json({"error": str(error), "kind": type(error).__name__}, 422)
        except Refusal as refusal:
            report(report_line(request.scope, refusal))
            response: Response = refusal_response(refusal)
            return response
        except Cancelled:
            return Response(status_code=499)
        except Exception as error:
            report(f"failed {request.method} {request.url.path}: {type(error).__name__}: {error}")
            return _json({"error": f"this could not be answered: {type(error).__name__}: {error}", "kind": ""}, 500)

    return answering


async def _given(request: Request) -> dict[str, Any]:
    """Return the arguments in the address of a request, or in its body."""
    if request.method == "GET":
        return dict(request.query_params)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise UsageError("the body must be JSON, with the content type application/json.")
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise UsageError("the body must be a JSON object.")
    return given


def _check_arguments(function: Callable[..., Any], given: dict[str, Any]) -> None:
    """Raise UsageError if a request has an argument that its function does not take, or lacks one."""
    try:
        inspect.signature(function).bind(None, **given)
    except TypeError as error:
        raise UsageError(f"the request does not fit: {error}.") from error


def _json(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")
