"""The long form of the acceptance suite: a thousand cut streams while servers are killed, and shutdowns with a hundred
readers. `make streams` runs it, and prints figures."""

import asyncio
import os
import random
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.postgres.server import started
from tests.services.engine.clients import Seen, read, until
from tests.services.engine.followers import Follower, start_run, ticks_of
from tests.services.engine.program import PREFIX, Form
from tests.services.engine.proxies import CuttingProxy
from tests.services.engine.servers import Framework, Server, notes, served

STREAMS = int(os.environ.get("STREAMS", "1000"))
READERS = 100
NODES, TICKS = ("first", "second", "third"), 10


@pytest.fixture(params=["sqlite", "postgres"])
def form(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Form]:
    """The form of servers on an empty store."""
    folder = str(tmp_path_factory.mktemp("long"))
    if request.param == "sqlite":
        yield Form(folder=folder, store=f"sqlite:///{folder}/runs.db")
    else:
        with started() as database:
            yield Form(folder=folder, store=database.url)


async def kill_at_random(servers: list[Server], drawn: random.Random) -> int:
    """Kill one server after the other and start it again, until cancelled. One of them always answers."""
    kills = 0
    try:
        while True:
            await asyncio.sleep(drawn.uniform(0.5, 2))
            server = drawn.choice(servers)
            server.kill()
            kills += 1
            await asyncio.to_thread(server.start)
    except asyncio.CancelledError:
        return kills


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("framework", ["fastapi", "aiohttp"])
async def test_a_thousand_streams(framework: Framework, form: Form, client: httpx.AsyncClient) -> None:
    drawn = random.Random(STREAMS)
    with served(framework, form) as first, served(framework, form) as second:
        servers = [first, second]
        proxy = CuttingProxy(lambda: drawn.choice(servers).port, lambda: drawn.randrange(6000))
        gate, followers = asyncio.Semaphore(40), list[Follower]()

        async def follow(number: int) -> None:
            async with gate:
                thread = f"t{number}"
                run = await started_run(thread)
                both = [Follower(client, lambda: proxy.url, thread, run) for _ in range(2)]
                await asyncio.gather(*(each.follow() for each in both))
                followers.extend(both)

        async def started_run(thread: str) -> str:
            while True:
                try:
                    body = {"ticks": TICKS, "seconds": 0.01}
                    return await start_run(client, proxy.url, "ticks", thread, key=thread, input=body)
                except (httpx.TransportError, httpx.HTTPStatusError) as error:
                    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code != 503:
                        raise
                    await asyncio.sleep(0.02)

        async with proxy.running(PREFIX):
            killing = asyncio.create_task(kill_at_random(servers, drawn))
            try:
                await asyncio.gather(*(follow(number) for number in range(STREAMS // 2)))
            finally:
                killing.cancel()
                kills = await killing
        for server in servers:
            await asyncio.to_thread(server.wait_until_ready)
        for follower in followers:
            await follower.check(first.url)
            assert ticks_of(follower.seen) == [(node, tick) for node in NODES for tick in range(TICKS)]
    connections = sum(each.connections for each in followers)
    print(f"\n{framework}: {len(followers)} streams, {connections} connections, {proxy.cuts} cuts, {kills} kills")


@pytest.mark.parametrize("framework", ["fastapi", "fastapi-3", "aiohttp"])
async def test_readers_add_less_than_a_second_to_a_shutdown(
    framework: Framework, form: Form, client: httpx.AsyncClient
) -> None:
    alone = statistics.median([await seconds_to_stop(framework, form, client, 0) for _ in range(5)])
    found = statistics.median([await seconds_to_stop(framework, form, client, READERS) for _ in range(5)])
    print(f"\n{framework}: SIGTERM with {READERS} readers: exit after {found:.2f} s, without readers {alone:.2f} s")
    assert found < alone + 1
    assert not any(line.startswith("left") for line in notes(form.folder))


async def seconds_to_stop(framework: Framework, form: Form, client: httpx.AsyncClient, readers: int) -> float:
    """The time from SIGTERM to the end of the processes that have so many streams open."""
    with served(framework, form) as server:
        seen: list[list[Seen]] = [[] for _ in range(readers)]
        reading = [
            asyncio.create_task(read(client, f"{server.url}/test/numbers/r{n}?seconds=3600", seen[n]))
            for n in range(readers)
        ]
        await until(lambda: all(seen), "open streams")
        # With several processes, the parent takes up to half a second to pass the signal on.
        children = server.children
        begin = time.monotonic()
        for child in children:
            os.kill(child, signal.SIGTERM)
        await until(lambda: not any(is_alive(child) for child in children), "the end")
        seconds = time.monotonic() - begin
        assert all(end.is_proper for end in await asyncio.gather(*reading))
        return seconds


def is_alive(pid: int) -> bool:
    """Whether the process executes code: a process that has ended, and was not waited for, does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
