"""Streams that survive: cut connections, killed servers and workers, on real servers and databases."""

import asyncio
import itertools
import random
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.postgres.server import started
from tests.services.engine.clients import connected, noted, until
from tests.services.engine.followers import Follower, start_run, ticks_of
from tests.services.engine.program import PREFIX, Form
from tests.services.engine.proxies import CuttingProxy
from tests.services.engine.servers import Framework, notes, served

NODES = ("first", "second", "third")


@pytest.fixture(params=[("fastapi", "sqlite"), ("aiohttp", "postgres")], ids="-".join)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Framework, str]]:
    """A framework, and the URL of an empty store."""
    framework, store = request.param
    if store == "sqlite":
        yield framework, f"sqlite:///{tmp_path_factory.mktemp('store')}/runs.db"
    else:
        with started() as database:
            yield framework, database.url


@pytest.fixture
def framework(place: tuple[Framework, str]) -> Framework:
    """The framework of the place."""
    return place[0]


@pytest.fixture
def form(place: tuple[Framework, str], tmp_path_factory: pytest.TempPathFactory) -> Form:
    """The form of servers that share a store."""
    return Form(folder=str(tmp_path_factory.mktemp("own")), store=place[1])


def front_of(form: Form) -> Form:
    """The form of a server that executes no runs."""
    return Form(folder=form.folder, store=form.store, worker=False)


def all_ticks(count: int) -> list[tuple[str, int]]:
    """The ticks of a run of the graph "ticks"."""
    return [(node, number) for node in NODES for number in range(count)]


async def test_cut_streams_lose_and_repeat_nothing(framework: Framework, form: Form, client: httpx.AsyncClient) -> None:
    drawn = random.Random(17)
    with served(framework, form) as server:
        proxy = CuttingProxy(lambda: server.port, lambda: drawn.randrange(4000))
        async with proxy.running(PREFIX):
            followers = []
            for number in range(10):
                run = await start_run(client, server.url, "ticks", f"t{number}", input={"ticks": 20, "seconds": 0.01})
                followers += [Follower(client, lambda: proxy.url, f"t{number}", run) for _ in range(2)]
            await asyncio.gather(*(each.follow() for each in followers))
        for follower in followers:
            await follower.check(server.url)
            assert ticks_of(follower.seen) == all_ticks(20)
    assert proxy.cuts > len(followers)


async def test_a_client_continues_at_another_server_when_its_own_is_killed(
    framework: Framework, form: Form, client: httpx.AsyncClient
) -> None:
    with served(framework, front_of(form)) as first, served(framework, form) as second:
        run = await start_run(client, first.url, "ticks", "t", input={"ticks": 30, "seconds": 0.02})
        urls = itertools.chain([first.url], itertools.repeat(second.url))
        follower = Follower(client, lambda: next(urls), "t", run)
        following = asyncio.create_task(follower.follow())
        await until(lambda: len(follower.seen) >= 20, "a part of the stream")
        first.kill()
        await following

        await follower.check(second.url)
        assert ticks_of(follower.seen) == all_ticks(30)
        assert follower.connections == 2


async def test_a_stream_stays_open_when_the_worker_is_killed(
    framework: Framework, form: Form, client: httpx.AsyncClient
) -> None:
    with served(framework, front_of(form)) as front, served(framework, form) as worker:
        run = await start_run(client, front.url, "ticks", "t", input={"ticks": 30, "seconds": 0.02})
        follower = Follower(client, lambda: front.url, "t", run)
        following = asyncio.create_task(follower.follow())
        await noted(form.folder, "ran first of t")
        await until(lambda: any(node == "second" for node, _ in ticks_of(follower.seen)), "the second node")
        worker.kill()
        with served(framework, form):
            await following

        await follower.check(front.url)
        assert ticks_of(follower.seen) == all_ticks(30)
        # The result of the first node was recorded.
        assert notes(form.folder).count("ran first of t") == 1
        assert follower.connections == 1
        assert any("retract" in each.data for each in follower.seen if each.event == "custom")


async def test_clients_continue_at_another_server_when_theirs_stops(
    framework: Framework, form: Form, client: httpx.AsyncClient
) -> None:
    with served(framework, form) as first, served(framework, form) as second:
        urls = [first.url]
        followers = []
        for number in range(5):
            run = await start_run(client, first.url, "ticks", f"t{number}", input={"ticks": 30, "seconds": 0.02})
            followers += [Follower(client, lambda: urls[-1], f"t{number}", run) for _ in range(4)]
        following = asyncio.gather(*(each.follow() for each in followers))
        await until(lambda: all(len(each.seen) >= 10 for each in followers), "a part of each stream")
        urls.append(second.url)
        await asyncio.to_thread(first.stop)
        await following

        for follower in followers:
            await follower.check(second.url)
            assert ticks_of(follower.seen) == all_ticks(30)
    # No recorded result was executed again.
    assert all(notes(form.folder).count(f"ran first of t{number}") == 1 for number in range(5))


async def test_a_stalled_client_delays_no_other_client_and_no_run(
    framework: Framework, form: Form, client: httpx.AsyncClient
) -> None:
    with served(framework, form) as server:
        size = 100_000
        run = await start_run(client, server.url, "ticks", "t", input={"ticks": 50, "seconds": 0, "size": size})
        async with connected(server.port) as (reader, writer):
            path = f"{PREFIX}/threads/t/runs/{run}/stream?stream_mode=custom"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nLast-Event-ID: -1\r\n\r\n".encode())
            follower = Follower(client, lambda: server.url, "t", run)
            await follower.follow()
            assert ticks_of(follower.seen) == all_ticks(50)

            # The stalled client reads now, and gets every frame too.
            data = b""
            while b'"tick":49' not in data:
                data = data[-1000:] + await reader.read(65536)


async def test_one_of_two_answers_through_two_servers_is_accepted(
    framework: Framework, form: Form, client: httpx.AsyncClient
) -> None:
    with served(framework, front_of(form)) as first, served(framework, form) as second:
        for number in range(5):
            thread = f"t{number}"
            run = await start_run(client, first.url, "ask", thread, input={})
            follower = Follower(client, lambda: first.url, thread, run)
            await follower.follow()

            replies = await asyncio.gather(
                *(
                    client.post(f"{server.url}/threads/{thread}/answers", json={"value": server.port})
                    for server in (first, second)
                )
            )

            won, lost = sorted(replies, key=lambda reply: reply.status_code)
            assert (won.status_code // 100, lost.status_code) == (2, 409), [reply.text for reply in replies]
            winner = first.port if won is replies[0] else second.port
            assert str(winner) in lost.text
            result = (await client.get(f"{first.url}/threads/{thread}/runs/{run}/join")).json()
            assert result["log"] == [str(winner)]


async def test_a_client_that_leaves_cancels_its_run_if_it_asked_for_that(
    framework: Framework, form: Form, client: httpx.AsyncClient
) -> None:
    with served(framework, form) as server:
        for thread, chosen in (("kept", "continue"), ("cancelled", "cancel")):
            body = {"assistant_id": "gated", "input": {"ticks": 1}, "stream_mode": "custom", "on_disconnect": chosen}
            async with (
                httpx.AsyncClient() as leaving,
                leaving.stream(
                    "POST", f"{server.url}/threads/{thread}/runs/stream", json={**body, "if_not_exists": "create"}
                ) as response,
            ):
                assert response.status_code == 200
                await noted(form.folder, f"began gate of {thread}")

        async def is_cancelled() -> bool:
            runs = (await client.get(f"{server.url}/threads/cancelled/runs")).json()
            return [each["status"] for each in runs] == ["interrupted"]

        await until(is_cancelled, "the cancellation")
        runs = (await client.get(f"{server.url}/threads/kept/runs")).json()
        assert [each["status"] for each in runs] == ["running"]


async def test_a_shutdown_cancels_no_run(framework: Framework, form: Form, client: httpx.AsyncClient) -> None:
    body = {"assistant_id": "gated", "input": {"ticks": 1}, "on_disconnect": "cancel", "if_not_exists": "create"}
    with served(framework, form) as first:
        async with client.stream("POST", f"{first.url}/threads/t/runs/stream", json=body) as response:
            assert response.status_code == 200
            await noted(form.folder, "began gate of t")
            await asyncio.to_thread(first.stop)
    with served(framework, front_of(form)) as second:
        runs = (await client.get(f"{second.url}/threads/t/runs")).json()

    assert [each["status"] for each in runs] == ["pending"]


async def test_streams_survive_a_restart_of_the_database(
    tmp_path_factory: pytest.TempPathFactory, client: httpx.AsyncClient
) -> None:
    with started() as database:
        form = Form(folder=str(tmp_path_factory.mktemp("own")), store=database.url)
        with served("fastapi", form) as server:
            run = await start_run(client, server.url, "ticks", "t", input={"ticks": 50, "seconds": 0.05})
            follower = Follower(client, lambda: server.url, "t", run)
            following = asyncio.create_task(follower.follow())
            await until(lambda: len(follower.seen) >= 10, "a part of the stream")
            await asyncio.to_thread(database.restart, "immediate")
            await following

            await follower.check(server.url)
            assert ticks_of(follower.seen) == all_ticks(50)


async def test_a_killed_process_of_several_is_replaced(form: Form, client: httpx.AsyncClient) -> None:
    import os

    with served("fastapi-3", form) as server:
        run = await start_run(client, server.url, "ticks", "t", input={"ticks": 30, "seconds": 0.05})
        follower = Follower(client, lambda: server.url, "t", run)
        following = asyncio.create_task(follower.follow())
        for child in server.children[:2]:
            seen = len(follower.seen)
            await until(lambda: len(follower.seen) > seen + 5, "a part of the stream")  # noqa: B023
            os.kill(child, signal.SIGKILL)
        await following

        await follower.check(server.url)
        assert ticks_of(follower.seen) == all_ticks(30)
