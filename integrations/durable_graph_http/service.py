"""`AgentService`: the graphs of an `App` over HTTP, without a framework."""

import asyncio
import logging
import traceback
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Self

from durable_graph.errors import DurableGraphError, InvalidOptionError
from durable_graph.runs import App
from durable_graph_http import absent, answers, assistants, operations, runs, stateless, states, streams, threads
from durable_graph_http.access import Authorize, Operation, access_of
from durable_graph_http.call import Call
from durable_graph_http.messages import Reply, Request
from durable_graph_http.problems import Problem, problem_of
from durable_graph_http.reading import body_of, query_of
from durable_graph_http.routes import Route, Router
from durable_graph_http.tails import Tails

LOG = logging.getLogger("durable_graph_http")

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
    *assistants.ROUTES,
    *absent.ROUTES,
)


class AgentService:
    """Replies to requests about the threads and runs of an app; a framework's adapter receives and sends them.

    `async with service` runs a worker of the app, unless `worker` is False: then other processes execute the runs. At
    its end, open streams end and the worker drains.
    """

    def __init__(
        self,
        app: App,
        *,
        authorize: Authorize | None = None,
        worker: bool = True,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        if not isinstance(app, App):
            raise InvalidOptionError("app", app, allowed="an App")
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.body_seconds = body_seconds
        self.stopping = asyncio.Event()
        self.since: datetime = datetime.now(UTC)
        self.routes: tuple[Route, ...] = ROUTES
        self.tails = Tails()
        self._tasks: set[asyncio.Task[None]] = set()
        self._authorize = authorize
        self._has_worker = worker
        self._router = Router(ROUTES)
        self._stack = AsyncExitStack()

    async def reply(self, request: Request) -> Reply:
        """The reply to a request. Every error is a reply, and no reply shows more of an error than its text."""
        prefix = ""
        try:
            route, parameters = self._router.find(request.method, request.path)
            wanted = Operation(route.operation, parameters.get("thread_id"), request.caller)
            prefix = await access_of(self._authorize, wanted)
            call = Call(self, request, parameters, query_of(route, request), body_of(route, request), prefix)
            return await route.handler(call)
        except Problem as problem:
            return problem.reply()
        except DurableGraphError as error:
            refused = problem_of(error, prefix)
            if refused is not None:
                return refused.reply()
            self._log(request, error)
        except Exception as error:
            self._log(request, error)
        return Problem(500, "The service failed; its log has the reason").reply()

    def _log(self, request: Request, error: Exception) -> None:
        # The text of an unexpected error may have values of a state, and its traceback has none.
        where = traceback.extract_tb(error.__traceback__)
        LOG.error("%s failed: %s\n%s", request.method, type(error).__qualname__, "".join(traceback.format_list(where)))

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
        async with AsyncExitStack() as stack:
            self.stopping.clear()
            await stack.enter_async_context(self.app)
            if self._has_worker:
                await stack.enter_async_context(self.app.worker())
            stack.push_async_callback(self._aclose)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._stack.__aexit__(*details)


async def _logged(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except Exception:
        LOG.exception("work that no client waits for failed")
