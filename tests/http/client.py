"""Requests to a service without a server, and their replies as values."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from durable_graph_http import AgentService, Later, Reply, Request


class Client:
    """Sends requests to a service as a caller. Each call returns the decoded body, and asserts the status."""

    def __init__(self, service: AgentService, caller: Any = None) -> None:
        self.service = service
        self.caller = caller

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        pairs = tuple((name, str(value)) for name, value in (query or {}).items())
        sent = data if data is not None else b"" if body is None else json.dumps(body).encode()
        request = Request(
            method=method, path=path, query=pairs, headers=dict(headers or {}), body=sent, caller=self.caller
        )
        return await self.service.reply(request)

    async def call(self, method: str, path: str, body: Any = None, *, status: int = 200, **sent: Any) -> Any:
        """The decoded body of a reply with this status."""
        reply = await self.send(method, path, body, **sent)
        text = await text_of(reply)
        assert reply.status == status, (reply.status, text)
        return json.loads(text) if text.strip() else None

    async def get(self, path: str, **sent: Any) -> Any:
        return await self.call("GET", path, **sent)

    async def post(self, path: str, body: Any = None, **sent: Any) -> Any:
        return await self.call("POST", path, body, **sent)

    async def thread(self, thread_id: str | None = None, **body: Any) -> str:
        """The id of a new thread."""
        given = {"thread_id": thread_id} if thread_id else {}
        created: str = (await self.post("/threads", {**given, **body}))["thread_id"]
        return created

    async def ran(self, thread: str, graph: str, given: Any = None, **body: Any) -> Any:
        """The result of a run."""
        sent = {"assistant_id": graph, **({} if given is None else {"input": given}), **body}
        return await self.post(f"/threads/{thread}/runs/wait", sent)

    async def started(self, thread: str, graph: str, given: Any, **body: Any) -> str:
        """The id of a run in the background."""
        run: str = (await self.post(f"/threads/{thread}/runs", {"assistant_id": graph, "input": given, **body}))[
            "run_id"
        ]
        return run

    async def status_once(self, thread: str, run: str, status: str) -> Any:
        """The run, once it has this status."""

        async def read() -> Any:
            found = await self.get(f"/threads/{thread}/runs/{run}")
            return found if found["status"] == status else None

        return await once(read)


async def once(read: Callable[[], Awaitable[Any]]) -> Any:
    """What is read, once it is true."""
    async with asyncio.timeout(20):
        while not (found := await read()):  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.005)
    return found


async def text_of(reply: Reply) -> str:
    """The body of a reply, which may take a while."""
    if isinstance(reply.body, bytes):
        return reply.body.decode()
    assert isinstance(reply.body, Later)
    async with asyncio.timeout(20):
        return b"".join([part async for part in reply.body.parts]).decode()


def detail_of(reply: Reply) -> str:
    """The text of a refused request, whose form is checked."""
    assert isinstance(reply.body, bytes)
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(reply.body)
    assert problem["status"] == reply.status
    assert 0 < len(problem["detail"]) <= 500
    return str(problem["detail"])
