"""`AgentService`: the graphs of an `App` over HTTP, without a framework."""

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from typing import Any, Self, TypedDict, TypeVar

import msgspec

from durable_graph.errors import DurableGraphError, InvalidOptionError
from durable_graph.runs import App
from durable_graph_http import (
    absent,
    answers,
    assistants,
    commands,
    crons,
    operations,
    runs,
    stateless,
    states,
    streams,
    thread_events,
    threads,
)
from durable_graph_http.access import Authorize, Operation, access_of
from durable_graph_http.call import Call
from durable_graph_http.messages import Frames, Later, Reply, Request
from durable_graph_http.problems import Problem, problem_of
from durable_graph_http.reading import body_of, query_of
from durable_graph_http.receiving import read_body
from durable_graph_http.routes import Route, Router
from durable_graph_http.tails import Tails

LOG = logging.getLogger("durable_graph_http")

T = TypeVar("T")

MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 30.0

ROUTES: tuple[Route, ...] = (
    *operations.ROUTES,
    *threads.ROUTES,
    *states.ROUTES,
    *runs.ROUTES,
    *answers.ROUTES,
    *stateless.ROUTES,
    *streams.ROUTES,
    *thread_events.ROUTES,
    *commands.ROUTES,
    *crons.ROUTES,
    *assistants.ROUTES,
    *absent.ROUTES,
)


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
        self.stopping: asyncio.Event = asyncio.Event()
        self.since: datetime = datetime.now(UTC)
        self.routes: tuple[Route, ...] = ROUTES
        self.tails: Tails = Tails()
        self._tasks: set[asyncio.Task[None]] = set()
        self.authorize: Authorize | None = authorize
        self._worker = _worker_options(worker)
        self._router = Router(ROUTES)
        self._stack = AsyncExitStack()

    async def reply(self, request: Request) -> Reply:
        """The reply to a request. Every error is a reply, and no reply shows more of an error than its text."""
        prefix, operation = "", "an unknown operation"
        try:
            route, parameters = self._router.find(request.method, request.path)
            operation = route.operation
            wanted = Operation(operation, parameters.get("thread_id"), request.caller)
            prefix = await access_of(self.authorize, wanted)
            call = Call(self, request, parameters, query_of(route, request), body_of(route, request), prefix)
            return _reported(f"the reply to {request.method} of {operation}", await route.handler(call))
        except Problem as problem:
            return problem.reply()
        except DurableGraphError as error:
            refused = problem_of(error, prefix)
            if refused is not None:
                return refused.reply()
            _log(f"{request.method} of {operation}", error)
        except Exception as error:
            _log(f"{request.method} of {operation}", error)
        return Problem(500, "The service failed; its log has the reason").reply()

    async def read_body(self, pieces: AsyncIterable[bytes]) -> bytes:
        """A request's body. Raises `Problem` with 413 for one that is too long, and with 408 for one that is too
        slow."""
        return await read_body(pieces, most=self.max_body_bytes, seconds=self.body_seconds)

    def drain(self) -> None:
        """End open streams: their clients reconnect, to this or another process."""
        self.stopping.set()
        self.tails.stop()

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Do work that no client waits for any more. It is complete before the service ends; a failure is logged."""
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _aclose(self) -> None:
        self.drain()
        await self.tails.aclose()
        await asyncio.gather(*self._tasks)

    async def __aenter__(self) -> Self:
        # Another event loop may enter it again.
        self.stopping, self.tails = asyncio.Event(), Tails()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.app)
            if self._worker is not None:
                await stack.enter_async_context(self.app.worker(**self._worker))
            stack.push_async_callback(self._aclose)
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


def _reported(what: str, reply: Reply) -> Reply:
    """The reply, whose body reports its faults as requests do."""
    match reply.body:
        case Frames(frames, left):
            return msgspec.structs.replace(reply, body=Frames(_faultless(what, frames), left))
        case Later(parts, left):
            return msgspec.structs.replace(reply, body=Later(_faultless(what, parts), left))
        case _:
            return reply


async def _faultless(what: str, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The items. A fault is logged, and the error that the server gets in its place shows nothing of it."""
    try:
        async with aclosing(items):
            async for item in items:
                yield item
    except Exception as error:
        _log(what, error)
        raise RuntimeError(f"{what} is incomplete; the log of durable_graph_http has the reason") from None


async def _logged(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except Exception as error:
        _log("work that no client waits for", error)


def _log(what: str, error: Exception) -> None:
    # The text of an unexpected error may have values of a state. The frames of its traceback have none.
    frames = "".join(traceback.format_tb(error.__traceback__))
    LOG.error("%s failed: %s\n%s", what, type(error).__qualname__, frames)
