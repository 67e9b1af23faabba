"""The notifier of a SqliteSaver: its thread, its notices, files that are removed, and event loops that end."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.event_log import FIRST_ROW, Follow
from durable_graph.checkpointing.notices import EventsAdded, RunChanged, RunReady, Wanted, WorkerAsked
from durable_graph.errors import StoreUnavailableError
from durable_graph.run_records import Claim, EventKind, EventRow, RunState
from durable_graph.testing.conformance.notifiers import KEY, Heard, listening
from durable_graph.testing.conformance.run_store_under_test import (
    HOUR,
    QUEUE,
    accept,
    claim_one,
    end_of,
    runs_of,
    send,
)
from durable_graph_sqlite import SqliteSaver, watching
from durable_graph_sqlite.runs import first_due
from durable_graph_sqlite.waker import EventWaker, Waker, new_waker
from tests.runs.engine.processes import until

READY = RunReady(QUEUE)
MARK = EventsAdded(key_of("mark"))
"""The thread "mark" is for changes that a listener sees, and that concern no other listener."""


@pytest.fixture
async def savers(tmp_path: Path) -> AsyncIterator[tuple[SqliteSaver, SqliteSaver]]:
    """A saver that writes, and one that listens."""
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as one, SqliteSaver(path) as other:
        yield one, other


def watches() -> int:
    """The number of threads that watch a file."""
    return sum(thread.name.startswith("watch ") for thread in threading.enumerate())


async def until_no_watch() -> None:
    await until(lambda: watches() == 0, "the end of the threads")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between polls so far."""
    noted: list[float] = []
    wait = watching.Watch._wait

    def noting(watch: watching.Watch, pause: float, least: float) -> bool:
        noted.append(pause)
        return wait(watch, pause, least)

    monkeypatch.setattr(watching.Watch, "_wait", noting)
    return noted


async def after_a_change(writer: SqliteSaver, heard: Heard) -> None:
    """Change the file, and return once the listener has got all notices of that."""
    heard.notices.clear()
    await accept(writer, "mark", queue="of marks")
    await heard.until(MARK)


# The thread


async def test_the_thread_runs_only_while_there_is_a_listener(savers: tuple[SqliteSaver, SqliteSaver]) -> None:
    one, other = savers
    one.notifier.notify(READY)
    assert watches() == 0
    with listening(other, READY), listening(other, READY), listening(one, READY):
        assert watches() == 2
    await until_no_watch()
    with listening(other, READY):
        assert watches() == 1
        await other.aclose()
        await until_no_watch()


@pytest.mark.parametrize("make", [new_waker, EventWaker])
async def test_an_idle_thread_polls_rarely_and_often_after_a_change_of_its_process(
    savers: tuple[SqliteSaver, SqliteSaver],
    pauses: list[float],
    make: Callable[[], Waker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "new_waker", make)
    longest = 0.5 if make is new_waker and sys.platform == "linux" else 0.05
    _, other = savers
    with listening(other, READY):
        await until(lambda: longest in pauses, "the longest pause")
        # The first pause is longer where the queries before it took long.
        assert pauses[0] < longest
        assert max(pauses) == longest
        # The pauses grow.
        assert len(pauses) < 100
        pauses.clear()
        other.notifier.notify(READY)
        await until(lambda: any(each < 0.003 for each in pauses), "a short pause")


@pytest.mark.parametrize("make", [new_waker, EventWaker])
async def test_a_change_in_an_idle_file_is_noticed(
    savers: tuple[SqliteSaver, SqliteSaver],
    pauses: list[float],
    make: Callable[[], Waker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "new_waker", make)
    one, other = savers
    with listening(other, READY) as heard:
        for _ in range(2):
            pauses.clear()
            await until(lambda: max(pauses, default=0) >= 0.05, "a long pause")
            heard.notices.clear()
            await accept(one, f"thread {len(pauses)}")
            await heard.until(READY)


async def test_a_change_ends_the_pause_of_a_thread_where_the_system_reports_writes(
    savers: tuple[SqliteSaver, SqliteSaver], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[tuple[float, bool]] = []
    wait = watching.Watch._wait

    def noting(watch: watching.Watch, pause: float, least: float) -> bool:
        is_woken = wait(watch, pause, least)
        ended.append((pause, is_woken))
        return is_woken

    monkeypatch.setattr(watching.Watch, "_wait", noting)
    one, other = savers
    with listening(other, READY):
        await until(lambda: (0.5, False) in ended or sys.platform != "linux", "the longest pause")
        await accept(one)
        await until(lambda: (0.5, True) in ended or sys.platform != "linux", "its end")


async def test_a_thread_polls_again_after_an_error_of_the_file(
    savers: tuple[SqliteSaver, SqliteSaver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_PAUSE_AFTER_FAILURE", 0.01)
    errors = [sqlite3.OperationalError("disk I/O error")]

    def failing(*given: Any) -> Any:
        if errors:
            raise errors.pop()
        return first_due(*given)

    monkeypatch.setattr(watching, "first_due", failing)
    one, other = savers
    with listening(other, READY) as heard:
        await accept(one)
        await heard.until(READY)
        assert errors == []


# Its notices


async def test_a_change_that_no_listener_wants_causes_no_notice(savers: tuple[SqliteSaver, SqliteSaver]) -> None:
    one, other = savers
    seq = await accept(one)
    await claim_one(one, worker=7)
    await accept(one, "elsewhere", queue="elsewhere")
    await accept(one, "later", delay=HOUR)
    everything = READY, RunChanged(KEY, seq), WorkerAsked(7), MARK
    with listening(other, *everything) as heard:
        # The first query finds the run that is due later.
        await heard.until(MARK)
        await after_a_change(one, heard)
        assert set(heard.notices) == {MARK}


async def test_a_request_causes_one_notice(savers: tuple[SqliteSaver, SqliteSaver]) -> None:
    one, other = savers
    seq = await accept(one)
    await claim_one(one, worker=7)
    with listening(other, WorkerAsked(7), MARK) as heard:
        await runs_of(one).cancel_run("thread", seq, "reason")
        await heard.until(WorkerAsked(7))
        await after_a_change(one, heard)
        await after_a_change(one, heard)
        assert WorkerAsked(7) not in heard.notices


async def test_a_due_run_causes_notices_until_it_is_claimed(savers: tuple[SqliteSaver, SqliteSaver]) -> None:
    one, other = savers
    with listening(other, READY, MARK) as heard:
        await accept(one)
        await heard.until(READY)
        await after_a_change(one, heard)
        assert READY in heard.notices
        await claim_one(one)
        await after_a_change(one, heard)
        await after_a_change(one, heard)
        assert READY not in heard.notices


async def test_the_clock_that_a_test_moves_decides_what_is_due(savers: tuple[SqliteSaver, SqliteSaver]) -> None:
    one, other = savers
    await accept(one, delay=HOUR)
    with listening(other, READY, MARK) as heard:
        await heard.until(READY)
        await after_a_change(one, heard)
        assert READY not in heard.notices
        other.runs.skew = 2 * HOUR
        await after_a_change(one, heard)
        assert READY in heard.notices


async def test_followers_are_woken_by_changes_of_their_threads_only(savers: tuple[SqliteSaver, SqliteSaver]) -> None:
    one, other = savers
    seq = await accept(one)
    added = EventsAdded(KEY)
    with listening(other, added, MARK) as heard:

        async def wakes(change: Awaitable[object]) -> bool:
            heard.notices.clear()
            await change
            await accept(one, "mark", queue="of marks")
            await heard.until(MARK)
            return added in heard.notices

        claims: list[Claim] = []

        async def claim() -> None:
            claims.append(await claim_one(one, worker=7))

        # The first notices are of the state at the start.
        await heard.until(MARK)
        assert not await wakes(accept(one, "another", queue="elsewhere"))
        assert await wakes(claim())
        assert await wakes(one.events.follow(Follow("thread", seq)))
        epoch = claims[0].epoch
        event = EventRow(seq, 0, FIRST_ROW, epoch, EventKind.CUSTOM, b"event", task="task")
        assert await wakes(one.events.append("thread", epoch, [event]))
        assert await wakes(one.events.append("thread", epoch, [msgspec.structs.replace(event, position=FIRST_ROW + 1)]))
        assert await wakes(one.runs.settle(end_of(claims[0], 7, RunState.WAITING)))
        assert await wakes(one.delete_thread("thread"))
        assert not await wakes(accept(one, "a third", queue="elsewhere"))


async def test_runs_of_a_deleted_thread_count_as_changed(savers: tuple[SqliteSaver, SqliteSaver]) -> None:
    one, other = savers
    seq = await accept(one)
    claim = await claim_one(one)
    await runs_of(one).settle(end_of(claim, 1, RunState.WAITING))
    key = key_of("thread")
    with listening(other, RunChanged(key, seq), MARK) as heard:
        await after_a_change(one, heard)
        assert RunChanged(key, seq) not in heard.notices
        await one.delete_thread("thread")
        await heard.until(RunChanged(key, seq))


async def test_many_awaited_runs_are_one_query(savers: tuple[SqliteSaver, SqliteSaver]) -> None:
    one, other = savers
    seqs = [await accept(one, f"thread {number}") for number in range(300)]
    runs = [RunChanged(key_of(f"thread {number}"), seq) for number, seq in enumerate(seqs)]
    with listening(other, *runs, MARK) as heard:
        for number in (7, 299):
            await runs_of(one).cancel_run(f"thread {number}", seqs[number], "reason")
        await heard.until(runs[7])
        await heard.until(runs[299])
        assert {each for each in heard.notices if isinstance(each, RunChanged)} == {runs[7], runs[299]}


# Files and event loops


async def test_a_removed_file_is_not_created_again(tmp_path: Path, pauses: list[float]) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        await accept(saver)
        with listening(saver, READY, MARK) as heard:
            await heard.until(MARK)
            for each in tmp_path.iterdir():
                each.unlink()
            heard.notices.clear()
            looks = len(pauses)
            await until(lambda: len(pauses) > looks + 1, "a look")
            with pytest.raises(StoreUnavailableError, match="removed"):
                await accept(saver)
            assert list(tmp_path.iterdir()) == []


async def test_a_listener_of_a_file_that_does_not_exist_yet_creates_none(tmp_path: Path) -> None:
    saver = SqliteSaver(tmp_path / "runs.db")
    with listening(saver, READY) as heard:
        assert watches() == 1
        assert list(tmp_path.iterdir()) == []
        async with SqliteSaver(tmp_path / "runs.db") as other:
            await accept(other)
            await heard.until(READY)
    await saver.aclose()
    await until_no_watch()


async def test_the_last_connection_of_a_closed_saver_moves_the_log_into_the_file(tmp_path: Path) -> None:
    saver = SqliteSaver(tmp_path / "runs.db")
    await accept(saver)
    with listening(saver, MARK) as heard:
        await heard.until(MARK)
        await saver.aclose()
    assert [each.name for each in tmp_path.iterdir()] == ["runs.db"]


def test_a_saver_that_is_not_closed_has_no_thread_between_two_event_loops(tmp_path: Path) -> None:
    one, other = (SqliteSaver(tmp_path / "runs.db") for _ in range(2))

    async def hear(thread: str) -> None:
        # A listener that is not removed.
        heard = Heard()
        await accept(other, f"{thread} of the other")
        other.notifier.listen(heard.hear, Wanted)
        added = EventsAdded(key_of(thread))
        with listening(other, added) as heard:
            await heard.until(added)
            heard.notices.clear()
            await accept(one, thread)
            await send(one, thread)
            await heard.until(added)

    for thread in ("first", "second"):
        asyncio.run(hear(thread))
        asyncio.run(until_no_watch())


_CLOSED_BY_HAND = """
import asyncio, sys
from durable_graph.testing.conformance.notifiers import listening
from durable_graph.testing.conformance.run_store_under_test import accept
from durable_graph_sqlite import SqliteSaver
from tests.sqlite.test_notifier import READY, until_no_watch, watches

one, other = (SqliteSaver(sys.argv[1]) for _ in range(2))

async def begin():
    await accept(other, "begun")
    listener = listening(other, READY)
    heard = listener.__enter__()
    await heard.until(READY)
    return listener

loop = asyncio.new_event_loop()
listener = loop.run_until_complete(begin())
# Neither tasks nor generators are ended.
loop.close()

async def hear():
    await until_no_watch()
    with listening(other, READY) as heard:
        await accept(one, "second")
        await heard.until(READY)
    await one.aclose()
    await other.aclose()
    print(watches())

asyncio.run(hear())
"""


def test_the_thread_of_an_event_loop_that_was_closed_by_hand_ends(tmp_path: Path) -> None:
    # In a process of its own: asyncio's reports about abandoned tasks are not the subject of this test.
    command = [sys.executable, "-c", _CLOSED_BY_HAND, str(tmp_path / "runs.db")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0"]
