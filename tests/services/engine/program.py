"""A service as users write one, for each framework, with a few routes that only tests have.

Its place, store and form are in the environment, because the server imports it in processes of its own.
"""

import asyncio
import contextlib
import operator
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict
from unittest.mock import patch

import fastapi
import msgspec
from aiohttp import web
from sse_starlette import EventSourceResponse

from durable_graph import START, Runtime, StateGraph, interrupt
from durable_graph.runs import App
from durable_graph_aiohttp import agent_routes, routes
from durable_graph_fastapi import agent_router, router
from durable_graph_http import Frame, Frames, Later, Left, Reply, service
from durable_graph_http.call import Call, json_reply
from durable_graph_http.routes import Route
from tests.services.engine.team import team

PREFIX = "/agent"
VALUE = "a secret of the state"
OTHER_PREFIX = "/deep/other"


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How the service is built. `max_body_bytes` and `body_seconds` are those of the router."""

    folder: str
    store: str
    worker: bool = True
    grace: float = 0.5
    lease: float = 2.0
    max_body_bytes: int = 100_000
    body_seconds: float = 30.0
    ping_seconds: float = 15.0


def form_of_environment() -> Form:
    """The form that the test has chosen."""
    return msgspec.json.decode(os.environ["SERVICE_FORM"], type=Form)


class State(TypedDict, total=False):
    ticks: int
    seconds: float
    size: int
    log: Annotated[list[str], operator.add]


def _ticking(name: str) -> Any:
    async def tick(state: State, runtime: Runtime) -> State:
        """Emits numbered events, and notes that it ran."""
        for number in range(state.get("ticks", 3)):
            runtime.stream_writer({"node": name, "tick": number, "padding": "x" * state.get("size", 0)})
            await asyncio.sleep(state.get("seconds", 0))
        note(f"ran {name} of {runtime.execution_info.thread_id if runtime.execution_info else ''}")
        return {"log": [name]}

    return tick


async def ask(state: State) -> State:
    """Asks one question."""
    return {"log": [str(interrupt("go on?"))]}


async def wait_at_gate(state: State, runtime: Runtime) -> State:
    """Waits until the file `gate` exists."""
    note(f"began gate of {runtime.execution_info.thread_id if runtime.execution_info else ''}")
    while not (Path(form_of_environment().folder) / "gate").exists():  # noqa: ASYNC110  # a test makes the file
        await asyncio.sleep(0.01)
    told: State = await _ticking("gate")(state, runtime)
    return told


def graphs() -> dict[str, Any]:
    ticks = StateGraph(State)
    before = START
    for name in ("first", "second", "third"):
        ticks.add_node(name, _ticking(name)).add_edge(before, name)
        before = name
    gated = StateGraph(State).add_node("before", _ticking("before")).add_node("gate", wait_at_gate)
    gated.add_node("after", _ticking("after")).add_edge(START, "before").add_edge("before", "gate")
    return {
        "ticks": ticks.compile(),
        "gated": gated.add_edge("gate", "after").compile(),
        "ask": StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile(),
        **team(),
    }


def note(line: str) -> None:
    """Append a line to the notes, which all processes share."""
    descriptor = os.open(Path(form_of_environment().folder) / "notes", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


# Routes of tests


def _noted(call: Call, parts: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    name = call.parameters["name"]

    async def noted() -> AsyncGenerator[Any, None]:
        note(f"opened {name}")
        try:
            async with contextlib.aclosing(parts):
                async for part in parts:
                    yield part
        finally:
            note(f"closed {name}")

    return noted()


def _left(call: Call) -> Left:
    async def leave() -> None:
        # The call may wait: it is not cancelled with the stream.
        await asyncio.sleep(0)
        note(f"left {call.parameters['name']}")

    return leave


async def _wait(call: Call, seconds: float) -> bool:
    """Wait this long. Returns whether the service stops."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(call.service.stopping.wait(), seconds)
    return call.service.stopping.is_set()


async def stream_numbers(call: Call) -> Reply:
    """A frame every few seconds, from the one after `Last-Event-ID` on. `size` is that of a frame's data."""
    query = call.query
    first = int(call.request.headers.get("last-event-id", "-1")) + 1

    async def frames() -> AsyncGenerator[Frame, None]:
        for number in range(first, query.get("count", sys.maxsize)):
            data = msgspec.json.encode({"number": number, "padding": "x" * query.get("size", 0)})
            yield Frame("number", data.decode(), str(number))
            if await _wait(call, query.get("seconds", 0.01)):
                return

    return Reply(200, {"Location": "/there"}, Frames(_noted(call, frames()), _left(call)))


async def answer_later(call: Call) -> Reply:
    """Blanks, and a document once the file `released` exists."""
    released = Path(form_of_environment().folder) / "released"

    async def parts() -> AsyncGenerator[bytes, None]:
        while not released.exists():
            yield b" "
            if await _wait(call, 0.05):
                return
        yield b'{"released":true}'

    headers = {"Content-Type": "application/json", "Location": "/there"}
    return Reply(200, headers, Later(_noted(call, parts()), _left(call)))


async def echo(call: Call) -> Reply:
    """What the service makes of a request."""
    return json_reply(
        {
            "name": call.parameters["name"],
            "query": call.query,
            "bytes": len(call.request.body),
            "header": call.request.headers.get("x-header"),
            "pid": os.getpid(),
        }
    )


async def fail(call: Call) -> Reply:
    """A fault of the service."""
    raise RuntimeError(VALUE)


ROUTES = (
    Route(
        method="GET",
        path="/test/numbers/{name}",
        operation="test.numbers",
        handler=stream_numbers,
        summary="Numbers",
        query=(("count", int), ("seconds", float), ("size", int)),
    ),
    Route(method="GET", path="/test/later/{name}", operation="test.later", handler=answer_later, summary="Later"),
    *(
        Route(
            method=method,
            path="/test/echo/{name}",
            operation="test.echo",
            handler=echo,
            summary="Echo",
            query=(("a", str), ("b", str)),
        )
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ),
    Route(method="GET", path="/test/fail", operation="test.fail", handler=fail, summary="Fail"),
)


def _options(form: Form) -> dict[str, Any]:
    return {
        "worker": {"grace": form.grace, "lease": form.lease} if form.worker else False,
        "max_body_bytes": form.max_body_bytes,
        "body_seconds": form.body_seconds,
    }


@contextlib.contextmanager
def as_in_tests(form: Form) -> Iterator[None]:
    """The block in which services get the routes of this module, and pings of their own pace for good."""
    patch.object(router, "PING_SECONDS", form.ping_seconds).start()
    patch.object(routes, "PING_SECONDS", form.ping_seconds).start()
    with patch.object(service, "ROUTES", (*service.ROUTES, *ROUTES)):
        yield


def fastapi_app() -> fastapi.FastAPI:
    """The application, which `uvicorn --factory` calls for."""
    form = form_of_environment()
    app = App(graphs(), store=form.store)
    built = fastapi.FastAPI()

    @built.get("/own/stream")
    async def stream() -> EventSourceResponse:
        """A stream of the application's own."""

        async def numbers() -> AsyncIterator[dict[str, str]]:
            while True:
                yield {"data": "own"}
                await asyncio.sleep(0.05)

        return EventSourceResponse(numbers())

    with as_in_tests(form):
        built.include_router(agent_router(app, **_options(form)), prefix=PREFIX)
        # Another router of the same process, on the same store.
        built.include_router(agent_router(App(graphs(), store=form.store), worker=False), prefix=OTHER_PREFIX)
    return built


def aiohttp_app() -> web.Application:
    """The application of aiohttp."""
    form = form_of_environment()
    built = web.Application()
    nested = web.Application()
    with as_in_tests(form):
        agent_routes(App(graphs(), store=form.store), **_options(form)).setup(built, PREFIX)
        agent_routes(App(graphs(), store=form.store), worker=False).setup(nested, "/other")
    built.add_subapp("/deep", nested)
    return built


if __name__ == "__main__":
    web.run_app(aiohttp_app(), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
