"""`AgentService`: the graphs of an `App` over HTTP, without a framework."""

import asyncio
import logging
from collections.abc import AsyncIterable
from contextlib import AsyncExitStack
from typing import Any, Self, TypedDict

import msgspec

from durable_graph.errors import DurableGraphError, InvalidOptionError
from durable_graph.runs import App
from durable_graph_http import operations
from durable_graph_http.access import Authorize, Operation, access_of
from durable_graph_http.call import Call
from durable_graph_http.messages import Reply, Request
from durable_graph_http.problems import Problem, problem_of
from durable_graph_http.receiving import read_body
from durable_graph_http.routes import Route, Router

LOG = logging.getLogger("durable_graph_http")

MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 30.0

ROUTES: tuple[Route, ...] = (*operations.ROUTES,)


class WorkerOptions(TypedDict, total=False):
    """The options of the worker of a service, as for `App.worker`."""

    concurrency: int
    lease: float
    grace: float
    max_crashes: int


class AgentService:
    """Replies to requests about the threads and runs of an app; a framework's adapter receives and sends them.

    `async with service` runs a worker of the app, unless `worker` is False: then other processes execute the runs.
    `worker` may also have the worker's options. At the end of the block, open streams end and the worker drains.
    """

    def __init__(
        self,
        app: App,
        *,
        authorize: Authorize | None = None,
        worker: bool | WorkerOptions = True,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        if not isinstance(app, App):
            raise InvalidOptionError("app", app, allowed="an App")
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.body_seconds = body_seconds
        self.stopping = asyncio.Event()
        self._authorize = authorize
        self._worker = _worker_options(worker)
        self._router = Router(ROUTES)
        self._stack = AsyncExitStack()

    async def reply(self, request: Request) -> Reply:
        """The reply to a request. Every error is a reply, and no reply shows more of an error than its text."""
        try:
            return await self._reply(request)
        except Problem as problem:
            return problem.reply()
        except DurableGraphError as error:
            refused = problem_of(error)
            if refused is not None:
                return refused.reply()
            LOG.exception("%s failed", request.method)
        except Exception:
            LOG.exception("%s failed", request.method)
        return Problem(500, "The service failed; its log has the reason").reply()

    async def read_body(self, pieces: AsyncIterable[bytes]) -> bytes:
        """A request's body. Raises `Problem` with 413 for one that is too long, and with 408 for one that is too
        slow."""
        return await read_body(pieces, most=self.max_body_bytes, seconds=self.body_seconds)

    async def _reply(self, request: Request) -> Reply:
        route, parameters = self._router.find(request.method, request.path)
        wanted = Operation(route.operation, parameters.get("thread_id"), request.caller)
        prefix = await access_of(self._authorize, wanted)
        call = Call(self, request, parameters, _query(route, request), _body(route, request), prefix)
        return await route.handler(call)

    def drain(self) -> None:
        """End open streams: their clients reconnect, to this or another process."""
        self.stopping.set()

    async def __aenter__(self) -> Self:
        # Another event loop may enter it again.
        self.stopping = asyncio.Event()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.app)
            if self._worker is not None:
                await stack.enter_async_context(self.app.worker(**self._worker))
            stack.callback(self.drain)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._stack.__aexit__(*details)


def _worker_options(worker: bool | WorkerOptions) -> WorkerOptions | None:
    """The options of the worker, None without a worker."""
    match worker:
        case True:
            return WorkerOptions()
        case False:
            return None
        case {**options} if options.keys() <= WorkerOptions.__annotations__.keys():
            return worker
        case _:
            raise InvalidOptionError("worker", worker, allowed="True, False, or a dict of the options of App.worker")


def _query(route: Route, request: Request) -> dict[str, Any]:
    known = dict(route.query)
    given = dict(request.query)
    unknown = given.keys() - known.keys()
    if unknown:
        raise Problem(422, f"This operation has no query parameter {min(unknown)!r:.100}")
    try:
        return {name: msgspec.convert(text, known[name], strict=False) for name, text in given.items()}
    except msgspec.ValidationError as error:
        raise Problem(422, f"A query parameter is invalid: {error}") from error


def _body(route: Route, request: Request) -> Any:
    if route.body is None:
        return None
    try:
        return msgspec.json.decode(request.body or b"{}", type=route.body)
    except msgspec.ValidationError as error:
        raise Problem(422, f"The body is invalid: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is no JSON: {error}") from error
