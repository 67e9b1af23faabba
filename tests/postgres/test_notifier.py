"""The notifier of a PostgresSaver: its own connections, lost connections, poolers, and event loops that end."""

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest

from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.notices import EventsAdded, Notice, RunChanged, RunReady, Wanted, WorkerAsked
from durable_graph.checkpointing.payloads import MOST_BYTES, payload_of, payloads_of
from durable_graph.operating.commands import run
from durable_graph.run_records import RequestOfRun
from durable_graph.testing.conformance.notifiers import Heard, listening
from durable_graph.testing.conformance.run_store_under_test import QUEUE, accept, claim_one, run_at
from durable_graph_postgres import PostgresSaver, notice_listener, notice_sender, notifier
from durable_graph_postgres.notice_sender import NoticeSender
from tests.postgres.fleet import Watch, named, watching
from tests.postgres.server import Server, started
from tests.runs.engine.processes import until
from tests.savers import dropped, schema_of_its_own

READY = RunReady(QUEUE)
ENDLESS = 3600.0
LISTENS, SENDS = "query LIKE 'LISTEN%'", "query LIKE '%pg_notify%'"


@pytest.fixture
async def schema(postgres: str) -> AsyncIterator[str]:
    async with schema_of_its_own(postgres) as made:
        yield made


@pytest.fixture
async def watch(postgres: str, schema: str) -> AsyncIterator[Watch]:
    async with watching(postgres, schema) as made:
        yield made


@pytest.fixture
async def savers(postgres: str, schema: str) -> AsyncIterator[tuple[PostgresSaver, PostgresSaver]]:
    """A saver that sends, and one that listens."""
    url = named(postgres, schema)
    async with PostgresSaver(url, schema=schema) as one, PostgresSaver(url, schema=schema) as other:
        yield one, other


MARK = EventsAdded(0)
"""A notice that is wanted, but not sent: it arrives when listeners get all wanted notices."""


@asynccontextmanager
async def hearing(saver: PostgresSaver, *notices: Notice) -> AsyncIterator[Heard]:
    """A listener with an open connection."""
    with listening(saver, READY, MARK, *notices) as heard:
        await heard.until(MARK)
        heard.notices.clear()
        yield heard


async def reaches(sender: PostgresSaver, heard: Heard) -> None:
    """Assert that notices arrive, from some notice on."""
    heard.notices.clear()

    def are_heard() -> bool:
        sender.notifier.notify(READY)
        return READY in heard.notices

    await until(are_heard, "notices")


async def until_sessions(watch: Watch, where: str, count: int) -> list[int]:
    """The sessions, once there are this many."""

    async def are_there() -> bool:
        return len(await watch.sessions(where)) == count

    await until(are_there, f"{count} sessions")
    return await watch.sessions(where)


# Its connections


async def test_a_saver_has_one_session_to_listen_and_one_to_send_until_it_is_closed(
    savers: tuple[PostgresSaver, PostgresSaver], watch: Watch
) -> None:
    one, other = savers
    before = await watch.sessions()
    async with hearing(other) as heard:
        other_listener = other.notifier.listen(print, Wanted)
        await reaches(one, heard)
        # The saver that listens has sent a probe.
        assert len(await watch.sessions(LISTENS)) == 1
        assert len(await watch.sessions(SENDS)) == 2
        assert len(await watch.sessions()) == len(before) + 3
        other_listener.close()
    await one.aclose()
    await other.aclose()
    await until_sessions(watch, "true", 0)


async def test_a_session_that_listens_is_kept_for_a_while_for_the_next_listener(
    savers: tuple[PostgresSaver, PostgresSaver], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = savers
    with listening(other, READY) as heard:
        await reaches(one, heard)
    session = await watch.sessions(LISTENS)
    with listening(other, READY) as heard:
        await reaches(one, heard)
        assert await watch.sessions(LISTENS) == session
    monkeypatch.setattr(notifier, "_LINGER", 0.01)
    with listening(other, READY) as heard:
        other.notifier._link._leaving.cancel()  # type: ignore[union-attr]  # of the long while
        other.notifier._link._leaving = None  # type: ignore[union-attr]
        await reaches(one, heard)
    await until_sessions(watch, LISTENS, 0)
    with listening(other, READY) as heard:
        await reaches(one, heard)


async def test_notices_need_no_connection_of_a_users_pool(postgres: str, schema: str, watch: Watch) -> None:
    url = named(postgres, schema)
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, PostgresSaver(postgres, schema=schema) as one:
        async with PostgresSaver(pool, schema=schema) as other:
            await accept(other)
            with listening(other, READY) as heard:
                async with pool.acquire() as connection:
                    await reaches(one, heard)
                    await connection.execute("SELECT 1")
            await until_sessions(watch, "true", 3)
        await until_sessions(watch, "true", 1)


async def test_notices_of_other_schemas_do_not_arrive(postgres: str, schema: str) -> None:
    async with (
        schema_of_its_own(postgres) as another,
        PostgresSaver(postgres, schema=another) as foreign,
        PostgresSaver(postgres, schema=schema) as one,
        PostgresSaver(postgres, schema=schema) as other,
        hearing(other, WorkerAsked(1)) as heard,
    ):
        with listening(foreign, WorkerAsked(1)) as heard_there:
            foreign.notifier.notify(WorkerAsked(1))
            await heard_there.until(WorkerAsked(1))
        await reaches(one, heard)
        assert WorkerAsked(1) not in heard.notices


# Statements and payloads


async def test_simultaneous_notices_are_one_statement(
    savers: tuple[PostgresSaver, PostgresSaver], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = savers
    sent: list[int] = []
    send_now = NoticeSender.send_now

    async def counting(sender: NoticeSender, payloads: Any) -> None:
        sent.append(len(payloads))
        await send_now(sender, payloads)

    async with hearing(other) as heard:
        await reaches(one, heard)
        monkeypatch.setattr(NoticeSender, "send_now", counting)
        for number in range(1000):
            one.notifier.notify(RunChanged(number, number), READY)
        one.notifier.notify(RunReady("last"))
        await heard.until(RunReady("last"))
    assert len(sent) == 1
    assert [each for each in heard.notices if isinstance(each, RunChanged)] == [
        RunChanged(number, number) for number in range(1000)
    ]


async def test_a_notice_that_comes_just_after_the_last_statement_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []

    async def send_now(sender: NoticeSender, payloads: list[str]) -> None:
        sent.append(payloads)
        if len(sent) == 1:
            # Behind the end of the task that sends, and before the event loop tells of that.
            asyncio.get_running_loop().call_soon(sender.send, [READY])

    async def connect() -> None:
        raise AssertionError

    monkeypatch.setattr(NoticeSender, "send_now", send_now)
    sender = NoticeSender("channel", "name", connect, 1.0)
    sender.send([MARK])
    await until(lambda: len(sent) == 2, "the notice that came last")
    await sender.close()


async def test_statements_have_a_pause_between_them(
    savers: tuple[PostgresSaver, PostgresSaver], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = savers
    times: list[float] = []
    send_now = NoticeSender.send_now

    async def noting(sender: NoticeSender, payloads: Any) -> None:
        times.append(asyncio.get_running_loop().time())
        await send_now(sender, payloads)

    monkeypatch.setattr(NoticeSender, "send_now", noting)
    while len(times) < 5:
        one.notifier.notify(RunReady(str(len(times))))
        await asyncio.sleep(0)
    assert all(after - before >= notice_sender._PAUSE * 0.9 for before, after in itertools.pairwise(times))


async def test_sending_waits_for_no_flush_and_leaves_the_setting_of_its_session(
    savers: tuple[PostgresSaver, PostgresSaver],
) -> None:
    one, other = savers
    async with hearing(other) as heard:
        await reaches(one, heard)
    link: Any = one.notifier._link
    connection = link.sender._connection
    async with link.sender._turn, connection.transaction():
        await connection.fetch(notice_sender._SEND, "channel", ["text"])
        assert await connection.fetchval("SHOW synchronous_commit") == "off"
    async with link.sender._turn:
        assert await connection.fetchval("SHOW synchronous_commit") == "on"


def test_payloads_are_short_and_hold_every_notice() -> None:
    notices: list[Notice] = [RunReady("q" * 300 + str(number)) for number in range(100)]
    notices += [RunChanged(-(1 << 63), 1 << 62), WorkerAsked((1 << 63) - 1), EventsAdded(-1)]

    payloads = [payload_of(text) for text in payloads_of("sender", [*notices, RunReady("q" * MOST_BYTES)])]

    assert [notice for payload in payloads if payload is not None for notice in payload.notices] == notices
    assert len(payloads) == 5
    assert all(len(text.encode()) < 8000 for text in payloads_of("sender", notices))


async def test_a_payload_of_another_version_gives_listeners_all_notices_that_they_want(
    postgres: str, savers: tuple[PostgresSaver, PostgresSaver]
) -> None:
    _, other = savers
    wanted: list[Notice] = [RunChanged(1, 2), WorkerAsked(3), EventsAdded(4)]
    async with hearing(other, *wanted) as heard:
        connection = await asyncpg.connect(postgres)
        await connection.execute("SELECT pg_notify($1, $2)", other.notifier._channel, '["other",["unknown"]]')
        await connection.close()
        for notice in [READY, *wanted]:
            await heard.until(notice)


async def test_commands_of_operators_wake_the_processes_that_they_concern() -> None:
    with started() as server:
        async with PostgresSaver(server.url) as saver:
            seq = await accept(saver)
            await claim_one(saver, worker=7)
            waiting = await accept(saver, "waiting")
            async with hearing(saver, WorkerAsked(7), RunChanged(key_of("waiting"), waiting)) as heard:
                for arguments in (["cancel", "thread"], ["cancel", "waiting"], ["retry", "waiting"]):
                    heard.notices.clear()
                    assert await asyncio.to_thread(run, [*arguments, "--store", server.url]) == 0
                    expected = WorkerAsked(7) if arguments[1] == "thread" else READY
                    await heard.until(expected)
            assert (await run_at(saver, seq)).request == RequestOfRun.CANCEL


# Lost connections


async def test_notices_arrive_again_after_the_session_that_listens_was_ended(
    savers: tuple[PostgresSaver, PostgresSaver], watch: Watch
) -> None:
    one, other = savers
    async with hearing(other) as heard:
        (session,) = await watch.sessions(LISTENS)
        await watch.terminate(lambda _: session)
        # What was sent meanwhile is lost, so everything counts as changed.
        await heard.until(MARK)
        assert await watch.sessions(LISTENS) != [session]
        await reaches(one, heard)


def _only(session: int, _: list[int]) -> int:
    return session


async def test_notices_arrive_again_after_the_session_that_sends_was_ended(
    savers: tuple[PostgresSaver, PostgresSaver], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_sender, "_PAUSE_AFTER_FAILURE", 0.01)
    one, other = savers
    with listening(other, READY) as heard:
        await reaches(one, heard)
        for session in await watch.sessions(SENDS):
            await watch.terminate(partial(_only, session))
        await reaches(one, heard)


async def test_notices_arrive_again_after_a_restart_of_the_server_that_loses_all_connections() -> None:
    with started() as server:
        async with PostgresSaver(server.url) as one, PostgresSaver(server.url) as other:
            await accept(one)
            with listening(other, READY) as heard:
                await reaches(one, heard)
                for how in ("fast", "immediate"):
                    await asyncio.to_thread(server.restart, how)
                    await reaches(one, heard)


async def test_a_half_open_connection_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice_listener, "KEEP_ALIVE", 0.05)
    monkeypatch.setattr(notifier, "_LONGEST_ANSWER", 0.5)
    with started() as server:
        url = named(server.url, "dead")
        async with (
            watching(server.url, "dead") as watch,
            PostgresSaver(server.url) as one,
            PostgresSaver(url) as other,
        ):
            with listening(other, READY) as heard:
                await reaches(one, heard)
                # All of them are the notifier's: the saver has not opened yet.
                dead = await watch.sessions()
                for session in dead:
                    os.kill(session, signal.SIGSTOP)
                try:
                    await until_replaced(watch, dead)
                    await reaches(one, heard)
                finally:
                    for session in dead:
                        os.kill(session, signal.SIGCONT)


async def until_replaced(watch: Watch, dead: list[int]) -> None:
    async def has_others() -> bool:
        return bool(await watch.sessions(f"NOT pid = ANY(ARRAY{dead})"))

    await until(has_others, "another session")


async def test_an_unavailable_server_does_not_delay_callers(caplog: pytest.LogCaptureFixture) -> None:
    with started() as server:
        async with PostgresSaver(server.url) as saver:
            await accept(saver)
            with listening(saver, READY) as heard:
                await asyncio.to_thread(server.stop)
                for number in range(20_000):
                    saver.notifier.notify(RunReady(str(number)))
                assert len(heard.notices) >= 20_000
                link: Any = saver.notifier._link
                assert len(link.sender._waiting) < 20_000
                await asyncio.to_thread(server.start)
                await reaches_itself(server, saver)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def reaches_itself(server: Server, saver: PostgresSaver) -> None:
    """Assert that the saver receives the notices of another one."""
    async with PostgresSaver(server.url) as other:
        with listening(saver, READY) as heard:
            await reaches(other, heard)


# Poolers


class BehindPooler(asyncpg.Connection):
    """A connection whose session listens to nothing: the pooler gave that statement to another session."""

    async def add_listener(self, channel: str, callback: Any) -> None:
        await self.execute("SELECT 1")


async def test_a_pooler_that_lends_sessions_for_a_transaction_is_detected(
    postgres: str, schema: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_listener, "_LONGEST_PROBE", 0.1)
    caplog.set_level(logging.INFO, "durable_graph")
    async with (
        asyncpg.create_pool(postgres, min_size=0, connection_class=BehindPooler) as pool,
        PostgresSaver(pool, schema=schema) as one,
        PostgresSaver(postgres, schema=schema) as other,
    ):
        with listening(one, READY), listening(other, READY) as heard:
            await until(lambda: "polls the store" in caplog.text, "the result of the probe")
            # It sends all the same.
            await reaches(one, heard)


async def test_a_connection_that_is_lost_during_the_probe_does_not_count_as_a_pooler(
    savers: tuple[PostgresSaver, PostgresSaver], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_listener, "_LONGEST_PROBE", ENDLESS)
    send_now, ended = NoticeSender.send_now, False

    async def ending(sender: NoticeSender, payloads: Any) -> None:
        nonlocal ended
        if ended:
            await send_now(sender, payloads)
            return
        ended = True
        (session,) = await watch.sessions(LISTENS)
        await watch.terminate(partial(_only, session))

    monkeypatch.setattr(NoticeSender, "send_now", ending)
    async with hearing(savers[1]):
        assert ended


async def test_a_server_that_is_late_for_a_probe_does_not_count_as_a_pooler(
    savers: tuple[PostgresSaver, PostgresSaver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_listener, "_LONGEST_PROBE", 0.5)
    monkeypatch.setattr(notice_listener, "_PAUSE_BEHIND_POOLER", ENDLESS)
    send_now, lost = NoticeSender.send_now, 2

    async def losing(sender: NoticeSender, payloads: Any) -> None:
        nonlocal lost
        lost -= 1
        if lost < 0:
            await send_now(sender, payloads)

    monkeypatch.setattr(NoticeSender, "send_now", losing)
    async with hearing(savers[1]):
        assert lost < 0


async def test_a_saver_without_prepared_statements_sends_and_does_not_listen(
    postgres: str, schema: str, watch: Watch
) -> None:
    url = named(postgres, schema)
    async with (
        PostgresSaver(url, schema=schema, prepared_statements=False) as one,
        PostgresSaver(postgres, schema=schema) as other,
    ):
        with listening(one, READY), listening(other, READY) as heard:
            await reaches(one, heard)
            assert await watch.sessions(LISTENS) == []


# Event loops


_IN_TWO_LOOPS = """
import asyncio, sys
from durable_graph.checkpointing.notices import Wanted
from durable_graph.testing.conformance.run_store_under_test import accept
from durable_graph_postgres import PostgresSaver
from tests.postgres.test_notifier import hearing, reaches, until_sessions
from tests.postgres.fleet import watching

url, postgres, schema, how = sys.argv[1:]
one, other = (PostgresSaver(url, schema=schema) for _ in range(2))

async def hear(thread):
    await accept(one, thread)
    await accept(other, f"{thread} of the other")
    # It waits until all connections are made: one that is being made is closed with the next garbage collection.
    async with hearing(other) as heard:
        await reaches(one, heard)
    # A listener that is not removed.
    other.notifier.listen(print, Wanted)

async def look(count):
    async with watching(postgres, schema) as watch:
        print(len(await until_sessions(watch, "true", count)))

if how == "run":
    asyncio.run(hear("first"))
    asyncio.run(look(0))
else:
    # Neither tasks nor generators are ended.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(hear("first"))
    loop.close()
asyncio.run(hear("second"))
asyncio.run(look(0))
"""


@pytest.mark.parametrize("how", ["run", "close"])
def test_savers_that_are_not_closed_leave_no_session_and_work_in_the_next_event_loop(postgres: str, how: str) -> None:
    schema = f"loops_{how}"
    # In a process of its own: asyncio's reports about abandoned tasks are not the subject of this test.
    command = [sys.executable, "-c", _IN_TWO_LOOPS, named(postgres, schema), postgres, schema, how]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    asyncio.run(dropped(postgres, schema))

    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"0"}
