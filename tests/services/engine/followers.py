"""A client that follows a run over HTTP as LangGraph's clients do: it reconnects until the run has ended."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

from tests.services.engine.clients import Seen, frames_of
from tests.services.engine.servers import PATIENCE

MODES = ("custom", "updates", "values")


async def start_run(
    client: httpx.AsyncClient, url: str, graph: str, thread: str, *, key: str | None = None, **body: Any
) -> str:
    """Start a run. Returns its id. A request that is repeated with its key starts it once."""
    reply = await client.post(
        f"{url}/threads/{thread}/runs",
        json={"assistant_id": graph, "if_not_exists": "create", **body},
        headers={} if key is None else {"Idempotency-Key": key},
    )
    reply.raise_for_status()
    found: str = reply.json()["run_id"]
    return found


class Follower:
    """Follows one run. `url` gives the service's root for each connection; `seen` are the frames so far."""

    def __init__(self, client: httpx.AsyncClient, url: Callable[[], str], thread: str, run_id: str) -> None:
        self._client, self._url = client, url
        self._path = f"/threads/{thread}/runs/{run_id}"
        self.seen: list[Seen] = []
        self.connections = 0

    async def follow(self) -> None:
        """Follow the run to its end."""
        async with asyncio.timeout(PATIENCE):
            while not (await self._read() and await self._has_ended()):  # noqa: ASYNC110  # a server may be away
                await asyncio.sleep(0.01)

    async def _read(self) -> bool:
        """Read until the stream ends. Returns whether it ended properly."""
        headers = {"Last-Event-ID": self.seen[-1].id if self.seen else "-1"}
        query: dict[str, str | list[str]] = {"stream_mode": list(MODES)}
        try:
            async with self._client.stream(
                "GET", f"{self._url()}{self._path}/stream", params=query, headers=headers
            ) as response:
                if not _is_served(response):
                    return False
                self.connections += 1
                async for frame in frames_of(response):
                    self.seen.append(frame)
        except httpx.TransportError:
            return False
        return True

    async def _has_ended(self) -> bool:
        while True:
            try:
                reply = await self._client.get(f"{self._url()}{self._path}")
                if _is_served(reply):
                    return reply.json()["status"] not in ("pending", "running")
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.01)

    async def check(self, url: str) -> None:
        """Every frame arrived once, in the order of the ids: the frames that the service sends now, from the start, and
        those that were retracted since."""
        again = Follower(self._client, lambda: url, "", "")
        again._path = self._path
        await again.follow()
        ids = [int(each.id) for each in self.seen]
        assert ids == sorted(set(ids)), self.seen
        void = [] if (bounds := _retracted(self.seen)) is None else [number for number in ids if number < bounds]
        stored = [int(each.id) for each in again.seen]
        assert not Counter(stored) - Counter(ids), (ids, stored)
        assert {*ids} - {*stored} <= {*void}, (ids, stored)
        by_id = {each.id: each for each in self.seen}
        assert [by_id[each.id] for each in again.seen] == again.seen


def _retracted(seen: list[Seen]) -> int | None:
    """The id before which frames may be void."""
    retracts = [
        each for each in seen if each.event == "custom" and isinstance(each.data, dict) and "retract" in each.data
    ]
    return int(retracts[-1].id) if retracts else None


def _is_served(reply: httpx.Response) -> bool:
    """Whether the service replied, and is not starting, stopping or without its store."""
    if reply.status_code == 503:
        return False
    reply.raise_for_status()
    return True


def ticks_of(seen: list[Seen]) -> list[tuple[str, int]]:
    """The ticks of the graph "ticks" that are valid: those that were retracted are left out."""
    found: list[tuple[int, str, int]] = []
    for frame in seen:
        if frame.event != "custom":
            continue
        if "retract" in frame.data:
            node, before = frame.data["retract"]["node"], int(frame.data["retract"]["before"])
            found = [each for each in found if each[1] != node or each[0] >= before]
        else:
            found.append((int(frame.id), frame.data["node"], frame.data["tick"]))
    return [(node, tick) for _, node, tick in found]
