"""A server of one service for tests of clients: uvicorn and sse-starlette, in the event loop of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from durable_graph_http import AgentService, Frame, Frames, Later, Request


def application(service: AgentService) -> Starlette:
    """The service as an ASGI application."""

    async def handle(request: HttpRequest) -> Response:
        reply = await service.reply(
            Request(
                method=request.method,
                path=request.scope["raw_path"].decode().partition("?")[0],
                query=tuple(request.query_params.multi_items()),
                headers=dict(request.headers),
                body=await request.body(),
            )
        )
        if isinstance(reply.body, Frames):
            frames = reply.body.frames

            async def events() -> AsyncIterator[ServerSentEvent]:
                try:
                    async for frame in frames:
                        yield sent(frame)
                finally:
                    await frames.aclose()

            return EventSourceResponse(events(), status_code=reply.status, headers=dict(reply.headers))
        if isinstance(reply.body, Later):
            return StreamingResponse(reply.body.parts, reply.status, dict(reply.headers))
        return Response(reply.body, reply.status, dict(reply.headers))

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(routes=[Route("/{path:path}", handle, methods=methods)])


def sent(frame: Frame) -> ServerSentEvent:
    return ServerSentEvent(frame.data, event=frame.event, id=frame.id)


@asynccontextmanager
async def served(service: AgentService) -> AsyncIterator[str]:
    """The URL of a server of the service."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application(service), lifespan="off", log_level="warning", ws="none")
    server = uvicorn.Server(config)
    async with service:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            service.drain()
            server.should_exit = True
            await task
            listener.close()
