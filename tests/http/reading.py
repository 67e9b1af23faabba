"""Requests to the service without a server, and readers of its streams."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from durable_graph_http import AgentService, Frame, Frames, Reply, Request

ALL_MODES = ("values", "updates", "messages", "messages-tuple", "custom", "tasks", "checkpoints", "debug", "events")


async def send(
    service: AgentService,
    method: str,
    path: str,
    body: object = None,
    *,
    query: Mapping[str, Any] | None = None,
    **headers: str,
) -> Reply:
    """The reply to a request. Names of headers have `_` for `-`."""
    pairs = tuple(
        (name, str(each))
        for name, value in (query or {}).items()
        for each in (value if isinstance(value, list | tuple) else [value])
    )
    data = b"" if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.reply(Request(method=method, path=path, query=pairs, headers=named, body=data))


def problem(reply: Reply) -> tuple[int, str]:
    """The status and the detail of a refused request."""
    assert isinstance(reply.body, bytes)
    return reply.status, json.loads(reply.body)["detail"]


class Stream:
    """Reads the frames of a reply."""

    def __init__(self, reply: Reply) -> None:
        assert reply.status == 200, reply.body
        assert isinstance(reply.body, Frames)
        self.reply = reply
        self.frames = reply.body.frames
        self._left = reply.body.left
        self.seen: list[Frame] = []

    async def until(self, name: str) -> Frame:
        """The next frame of this name."""
        async with asyncio.timeout(20):
            async for frame in self.frames:
                self.seen.append(frame)
                if frame.event.partition("|")[0] == name:
                    return frame
        message = f"the stream has ended without {name}"
        raise AssertionError(message)

    async def leave(self) -> None:
        """Leave as a client does."""
        await self.frames.aclose()
        if self._left is not None:
            await self._left()

    async def rest(self) -> list[Frame]:
        """All frames of the stream, once it has ended."""
        async with asyncio.timeout(30), aclosing(self.frames):
            async for frame in self.frames:
                self.seen.append(frame)
        return self.seen


def names(frames: list[Frame]) -> list[str]:
    return [frame.event for frame in frames]


def ids(frames: list[Frame]) -> list[int]:
    return [int(frame.id) for frame in frames]


def data_of(frames: list[Frame], name: str) -> list[Any]:
    return [json.loads(frame.data) for frame in frames if frame.event == name]


def run_path_of(reply: Reply) -> str:
    return reply.headers["Location"].partition("/stream")[0]


async def replayed(
    service: AgentService, path: str, after: int | str = -1, modes: tuple[str, ...] = ALL_MODES, *, nested: bool = True
) -> list[Frame]:
    """The frames of a run after this one."""
    query = {"stream_mode": modes, "stream_subgraphs": str(nested).lower()}
    return await Stream(await send(service, "GET", f"{path}/stream", query=query, last_event_id=str(after))).rest()
