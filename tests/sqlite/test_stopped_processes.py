"""A process that is stopped during a write keeps the file locked for other processes until it continues or ends.

The lock of a stopped process cannot be broken. The library names the process, loses nothing, and continues afterwards.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import pytest

from durable_graph import START, StateGraph, StoreLockedError
from durable_graph.records import Committed
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, state_of
from durable_graph_sqlite import SqliteCache, SqliteSaver
from durable_graph_sqlite.holders import Holder, holder_of
from tests.runs.engine.processes import until

_STOPS_INSIDE = """
import asyncio, signal, sys, threading
from durable_graph.testing.conformance.saver_under_test import commit, some_thread
from durable_graph.testing.rows import Step
from durable_graph_sqlite import SqliteSaver, group, retry

begin = retry.begin

def begin_and_stop(db):
    begin(db)
    if stops:
        # The thread stops at once. A signal to the process may be delivered to another thread first, later.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

group.begin = begin_and_stop
stops = False

async def main():
    global stops
    async with SqliteSaver(sys.argv[1]) as saver:
        writer = await some_thread(saver, "theirs")
        stops = True
        await commit(saver, writer, Step({"count": b"4"}))
        stops = False
    print("committed")

asyncio.run(main())
"""

_STOPS_CREATING = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
os.kill(os.getpid(), signal.SIGSTOP)
"""


@contextmanager
def stopped(program: str, path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has stopped itself during a write."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            yield process
        finally:
            process.kill()


class State(TypedDict, total=False):
    count: int


async def test_the_error_names_the_stopped_process_and_its_remedies_work(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path, busy_timeout=0.2) as saver:
        writer = await some_thread(saver)
        unit = writer.unit(Step({"count": b"4"}))
        with stopped(_STOPS_INSIDE, path) as process:
            with pytest.raises(StoreLockedError) as caught:
                await saver.commit(unit)
            error = caught.value
            assert (error.holder, error.is_stopped, error.waited) == (process.pid, True, 0.2)
            assert f"process {process.pid} has kept it locked for the 0.2 seconds" in str(error)
            assert f"kill -CONT {process.pid}" in str(error)
            assert len(str(error)) <= 400 + len(str(path))
            # Reads do not wait for the lock.
            assert state_of(await loaded(saver, "thread")) == writer.state()

            # The stopped process continues, and so do the others.
            process.send_signal(signal.SIGCONT)
            output, _ = await asyncio.to_thread(process.communicate)
            assert output == "committed\n"
        assert await saver.commit(unit) == Committed(4)
        assert state_of(await loaded(saver, "theirs"))["count"] == b"4"


async def test_a_killed_process_leaves_neither_its_lock_nor_its_write(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path, busy_timeout=0.2) as saver:
        writer = await some_thread(saver)
        with stopped(_STOPS_INSIDE, path) as process:
            with pytest.raises(StoreLockedError):
                await saver.commit(writer.unit(Step({"count": b"4"})))
            process.kill()
            await asyncio.to_thread(process.wait)
            await commit(saver, writer, Step({"count": b"4"}))
        assert state_of(await loaded(saver, "theirs"))["count"] == b"3"


async def test_a_process_that_continues_within_the_busy_timeout_causes_no_error(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        writer = await some_thread(saver)
        with stopped(_STOPS_INSIDE, path) as process:
            committing = asyncio.create_task(commit(saver, writer, Step({"count": b"4"})))
            await asyncio.sleep(0)
            assert not committing.done()
            process.send_signal(signal.SIGCONT)
            await committing
            await asyncio.to_thread(process.communicate)
        assert state_of(await loaded(saver, "thread")) == writer.state()


async def test_the_log_names_a_stopped_process_long_before_the_call_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path, busy_timeout=60) as saver:
        writer = await some_thread(saver)
        with stopped(_STOPS_INSIDE, path) as process:
            committing = asyncio.create_task(commit(saver, writer, Step({"count": b"4"})))
            await until(lambda: bool(caplog.records), "the warning")
            assert not committing.done()
            process.send_signal(signal.SIGCONT)
            await committing
            await asyncio.to_thread(process.communicate)
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "durable_graph")
    message = record.getMessage()
    assert message.startswith(f"process {process.pid} is stopped in a write and keeps {path} locked")
    assert f"kill -CONT {process.pid}" in message
    assert len(message) <= 400 + len(str(path))


async def test_a_process_that_writes_for_long_is_not_reported_as_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path, busy_timeout=1.5) as saver, SqliteSaver(path) as other:
        await some_thread(saver)
        connection, _ = await other._opened()
        await connection.call(lambda db: db.execute("BEGIN IMMEDIATE"))
        with pytest.raises(StoreLockedError):
            await some_thread(saver, "another")
        await connection.call(lambda db: db.execute("ROLLBACK"))
    assert caplog.records == []


async def test_a_run_that_failed_on_the_lock_of_a_stopped_process_can_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    ran: list[str] = []

    def first(state: State) -> State:
        ran.append("first")
        return {"count": 1}

    def second(state: State) -> State:
        ran.append("second")
        return {"count": 2}

    builder = StateGraph(State).add_node("first", first).add_node("second", second)
    builder.add_edge(START, "first").add_edge("first", "second")
    async with SqliteSaver(path, busy_timeout=0.2) as saver:
        graph = builder.compile(saver, interrupt_before=["second"])
        await graph.ainvoke({}, thread_id="t")
        with stopped(_STOPS_INSIDE, path), pytest.raises(StoreLockedError):
            await graph.ainvoke(None, thread_id="t")
        # No node was started, since its result could not have been stored.
        assert ran == ["first"]
        assert await graph.ainvoke(None, thread_id="t") == {"count": 2}
        assert ran == ["first", "second"]


@pytest.mark.parametrize("kind", [SqliteSaver, SqliteCache])
async def test_opening_a_file_that_a_stopped_process_creates_waits_and_names_the_process(
    tmp_path: Path, kind: type[SqliteSaver] | type[SqliteCache]
) -> None:
    path = tmp_path / "new.db"
    opening = kind(path, busy_timeout=0.2)
    with stopped(_STOPS_CREATING, path) as process:
        with pytest.raises(StoreLockedError) as caught:
            await opening.__aenter__()
        assert (caught.value.holder, caught.value.is_stopped) == (process.pid, True)
    async with opening:
        pass


async def test_the_process_is_also_named_for_a_link_to_the_file(tmp_path: Path) -> None:
    path, link = tmp_path / "runs.db", tmp_path / "link.db"
    link.symlink_to(path)
    async with SqliteSaver(link, busy_timeout=0.2) as saver:
        await some_thread(saver)
        with stopped(_STOPS_INSIDE, path) as process, pytest.raises(StoreLockedError) as caught:
            await some_thread(saver, "another")
    assert (caught.value.holder, caught.value.is_stopped) == (process.pid, True)


async def test_an_error_without_a_known_holder_still_names_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.db"
    monkeypatch.setattr("durable_graph_sqlite.holders._LOCKS", tmp_path / "of another system")
    async with SqliteSaver(path, busy_timeout=0.2) as saver:
        await some_thread(saver)
        match = r"another process has kept it locked .* continue or end it"
        with stopped(_STOPS_INSIDE, path), pytest.raises(StoreLockedError, match=match):
            await some_thread(saver, "another")


async def test_a_running_holder_is_named_and_not_reported_as_stopped(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path, busy_timeout=0.1) as saver, SqliteSaver(path) as other:
        await some_thread(saver)
        connection, _ = await other._opened()
        await connection.call(lambda db: db.execute("BEGIN IMMEDIATE"))
        with pytest.raises(StoreLockedError) as caught:
            await some_thread(saver, "another")
        await connection.call(lambda db: db.execute("ROLLBACK"))
    assert (caught.value.holder, caught.value.is_stopped) == (os.getpid(), False)


def test_a_missing_file_has_no_holder(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "missing.db") == Holder(None, is_stopped=False)
