"""Streaming in one's own routes of FastAPI and aiohttp: `handle.events` and `graph.stream`, and none of our routers.

python -m examples.own_routes fastapi [PORT]
python -m examples.own_routes aiohttp [PORT]

Both serve the same four routes:

    POST /trips                 start a run: it outlives this process
    GET  /runs/{run_id}/events  server-sent events of a run; a client that comes back sends its Last-Event-ID
    GET  /runs/{run_id}/socket  the same over a WebSocket, which also takes the answer (?after= continues)
    GET  /offers?city=          a graph that runs inside the request, and ends with it
"""

import argparse
import asyncio
import contextlib
import operator
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Annotated, Any, TypedDict

import fastapi
import msgspec
import uvicorn
from aiohttp import web
from aiohttp_sse import sse_response
from fastapi.responses import JSONResponse
from fastapi.websockets import WebSocketState
from sse_starlette import EventSourceResponse, ServerSentEvent

from durable_graph import START, Runtime, StateGraph, interrupt
from durable_graph.errors import DurableGraphError, InvalidOptionError, UnknownRunError
from durable_graph.runs import App, RunHandle


class Trip(TypedDict, total=False):
    """A trip, and what was found for it."""

    city: str
    found: Annotated[list[str], operator.add]
    booked: bool


async def hotels(trip: Trip, runtime: Runtime) -> Trip:
    """Emits custom events: they are streamed while the node runs."""
    for street in ("Harbour Street", "Castle Street"):
        await asyncio.sleep(0.05)
        runtime.stream_writer({"looked at": street})
    return {"found": [f"a hotel in {trip['city']}"]}


async def flights(trip: Trip) -> Trip:
    """Runs beside `hotels`; its result is streamed as soon as it is recorded."""
    return {"found": [f"a flight to {trip['city']}"]}


async def book(trip: Trip) -> Trip:
    """Waits for a person."""
    return {"booked": interrupt(f"Book {' and '.join(trip['found'])}?") is True}


offers = StateGraph(Trip).add_node(hotels).add_node(flights).add_edge(START, "hotels").add_edge(START, "flights")
trips = StateGraph(Trip).add_node(hotels).add_node(flights).add_node(book)
trips.add_edge(START, "hotels").add_edge(START, "flights").add_edge(["hotels", "flights"], "book")
app = App({"trip": trips.compile()}, store="sqlite:///trips.db")
offers_graph = offers.compile()


# What the routes of both frameworks share


class WantedTrip(msgspec.Struct):
    """The body that starts a run."""

    city: str


class Answer(msgspec.Struct):
    """What a client sends over a WebSocket."""

    answer: Any


def as_json(event: object) -> str:
    """An event as JSON. Its `type` says what it is; values that JSON does not know become text."""
    return msgspec.json.encode(event, enc_hook=str).decode()


async def events_of(handle: RunHandle, after: int | None) -> AsyncGenerator[tuple[int | None, str], None]:
    """The ids and the JSON of a run's events: recorded ones first, then live ones, until the run has ended."""
    async with aclosing(handle.events(after=after)) as events:
        try:
            async for logged in events:
                yield logged.id, as_json(logged.event)
        except InvalidOptionError as error:
            # The client's id is none of this run's. The response has begun, so the error is its last event.
            yield None, as_json({"type": "error", "error": str(error)})


async def found_offers(city: str) -> AsyncGenerator[str, None]:
    """The events of a run that belongs to this request: it is not stored, and a client that leaves cancels it."""
    async with offers_graph.stream({"city": city}, on_disconnect="cancel") as events:
        async for event in events:
            yield as_json(event)


async def take_answer(handle: RunHandle, message: str | bytes) -> str | None:
    """Record the answer of a client's message. Returns what the client is told if the answer is refused."""
    try:
        await app.answer(handle.thread_id, msgspec.json.decode(message, type=Answer).answer)
    except (msgspec.MsgspecError, DurableGraphError) as error:
        # The message is no answer, nothing asks, or the question has its answer.
        return as_json({"type": "error", "error": str(error)})
    return None


# FastAPI


@contextlib.asynccontextmanager
async def lifespan(_: fastapi.FastAPI) -> AsyncIterator[None]:
    """The store is open and a worker executes runs while the service lives."""
    async with app, app.worker():
        yield


fastapi_service = fastapi.FastAPI(lifespan=lifespan)

LastEventId = Annotated[int | None, fastapi.Header(ge=0)]


@fastapi_service.exception_handler(UnknownRunError)
async def unknown_run(_: fastapi.Request, error: UnknownRunError) -> JSONResponse:
    """A run that the store does not have."""
    return JSONResponse({"detail": str(error)}, status_code=404)


@fastapi_service.post("/trips", status_code=202)
async def start_trip(city: Annotated[str, fastapi.Body(embed=True)]) -> dict[str, str]:
    """Recorded when this returns."""
    handle = await app.start("trip", {"city": city}, events="all")
    return {"run_id": handle.run_id}


@fastapi_service.get("/runs/{run_id}/events")
async def run_events(run_id: str, last_event_id: LastEventId = None) -> EventSourceResponse:
    """`EventSourceResponse` sends comments on an idle stream, and ends it when the server is stopped."""
    handle = await app.find(run_id)

    async def frames() -> AsyncGenerator[ServerSentEvent, None]:
        async with aclosing(events_of(handle, last_event_id)) as events:
            async for id_, data in events:
                yield ServerSentEvent(data, id=None if id_ is None else str(id_))

    return EventSourceResponse(frames(), ping=15)


@fastapi_service.get("/offers")
async def stream_offers(city: str) -> EventSourceResponse:
    """`graph.stream` in a response."""
    return EventSourceResponse(found_offers(city), ping=15)


async def messages_of(socket: fastapi.WebSocket) -> AsyncIterator[str | bytes]:
    """The client's messages. `iter_text` of the socket fails if one is binary."""
    while (received := await socket.receive())["type"] == "websocket.receive":
        yield received.get("text") or received.get("bytes") or ""


@fastapi_service.websocket("/runs/{run_id}/socket")
async def run_socket(socket: fastapi.WebSocket, run_id: str, after: int | None = None) -> None:
    """Events to the client, and its answers from it, at the same time."""
    try:
        handle = await app.find(run_id)
    except UnknownRunError:
        # Before the handshake, so the client gets the status 403.
        await socket.close()
        return
    await socket.accept()

    async def send() -> None:
        async with aclosing(events_of(handle, after)) as events:
            async for id_, data in events:
                await socket.send_text(f'{{"id": {as_json(id_)}, "event": {data}}}')
        await socket.close()

    try:
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send())
            async for message in messages_of(socket):
                refusal = await take_answer(handle, message)
                if refusal is not None and socket.application_state is WebSocketState.CONNECTED:
                    await socket.send_text(refusal)
            sending.cancel()
    except* fastapi.WebSocketDisconnect:
        # The client has left; its run goes on.
        pass


# aiohttp


HANDLERS = web.AppKey("handlers", set[asyncio.Task[Any]])
"""The streams that are open: aiohttp does not end them when it stops, but waits for them."""


async def run_worker(_: web.Application) -> AsyncIterator[None]:
    """The store is open and a worker executes runs while the service lives."""
    async with app, app.worker():
        yield


async def end_streams(service: web.Application) -> None:
    """The clients reconnect, to the next process."""
    handlers = service[HANDLERS]
    for handler in tuple(handlers):
        handler.cancel()


@contextlib.contextmanager
def open_stream(request: web.Request) -> Iterator[None]:
    """The block ends when the service stops, and when the client leaves. Neither ends the run."""
    task = asyncio.current_task()
    assert task is not None
    request.app[HANDLERS].add(task)
    try:
        yield
    except* ConnectionResetError:
        pass
    finally:
        request.app[HANDLERS].discard(task)


async def found_run(request: web.Request) -> RunHandle:
    """The run of the path, or the status 404."""
    try:
        return await app.find(request.match_info["run_id"])
    except UnknownRunError as error:
        raise web.HTTPNotFound(text=str(error)) from error


def as_id(text: str | None) -> int | None:
    """A client's last id, or the status 422."""
    if text is None:
        return None
    # Python reads no number of thousands of digits.
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise web.HTTPUnprocessableEntity(text="the id of an event is a whole number")
    return int(text)


routes = web.RouteTableDef()


@routes.post("/trips")
async def start_trip_(request: web.Request) -> web.Response:
    """Recorded when this returns."""
    try:
        wanted = msgspec.json.decode(await request.read(), type=WantedTrip)
    except msgspec.MsgspecError as error:
        raise web.HTTPUnprocessableEntity(text=str(error)) from error
    handle = await app.start("trip", {"city": wanted.city}, events="all")
    return web.json_response({"run_id": handle.run_id}, status=202)


@routes.get("/runs/{run_id}/events")
async def run_events_(request: web.Request) -> web.StreamResponse:
    """`sse_response` sends comments on an idle stream."""
    handle, after = await found_run(request), as_id(request.headers.get("Last-Event-ID"))
    async with sse_response(request) as response, aclosing(events_of(handle, after)) as events:
        with open_stream(request):
            async for id_, data in events:
                await response.send(data, id=None if id_ is None else str(id_))
    return response


@routes.get("/offers")
async def stream_offers_(request: web.Request) -> web.StreamResponse:
    """`graph.stream` in a response."""
    city = request.query.get("city")
    if city is None:
        raise web.HTTPUnprocessableEntity(text="city is missing")
    async with sse_response(request) as response, aclosing(found_offers(city)) as events:
        with open_stream(request):
            async for data in events:
                await response.send(data)
    return response


@routes.get("/runs/{run_id}/socket")
async def run_socket_(request: web.Request) -> web.WebSocketResponse:
    """Events to the client, and its answers from it, at the same time."""
    handle, after = await found_run(request), as_id(request.query.get("after"))
    socket = web.WebSocketResponse(heartbeat=15)
    await socket.prepare(request)

    async def send() -> None:
        async with aclosing(events_of(handle, after)) as events:
            async for id_, data in events:
                await socket.send_str(f'{{"id": {as_json(id_)}, "event": {data}}}')
        await socket.close()

    with open_stream(request):
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send())
            async for message in socket:
                if message.type is web.WSMsgType.ERROR:
                    # The message is too long, or it is none. aiohttp has closed the connection.
                    break
                if (refusal := await take_answer(handle, message.data)) is not None and not socket.closed:
                    await socket.send_str(refusal)
            sending.cancel()
    return socket


def aiohttp_service() -> web.Application:
    """A new one for each event loop, as aiohttp wants it."""
    service = web.Application()
    service[HANDLERS] = set()
    service.add_routes(routes)
    service.cleanup_ctx.append(run_worker)
    service.on_shutdown.append(end_streams)
    return service


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.own_routes")
    parser.add_argument("framework", choices=["fastapi", "aiohttp"])
    parser.add_argument("port", nargs="?", type=int, default=8000)
    arguments = parser.parse_args()
    if arguments.framework == "fastapi":
        uvicorn.run(fastapi_service, port=arguments.port)
    else:
        # With this option, aiohttp cancels the handler of a client that has left.
        web.run_app(aiohttp_service(), host="127.0.0.1", port=arguments.port, handler_cancellation=True)
