"""Savers written by users around a saver of the library: their errors and wrong results end the run, without hangs."""

import asyncio
import operator
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import msgspec
import pytest

from durable_graph import START, MemorySaver, RetryPolicy, StateGraph
from durable_graph.records import CommitResult, CommitUnit, Saved, SaveResult, WritesBatch
from durable_graph_sqlite import SqliteSaver


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


async def writes(state: State) -> State:
    await asyncio.sleep(0)
    return {"log": ["x"]}


async def writes_later(state: State) -> State:
    for _ in range(6):
        await asyncio.sleep(0)
    return {"log": ["y"]}


def parallel_graphs() -> StateGraph[State]:
    """Four nested graphs of two nodes each, which commit at the same time."""
    inner = StateGraph(State).add_node("first", writes).add_node("second", writes_later)
    nested = inner.add_edge(START, "first").add_edge("first", "second").compile()
    builder = StateGraph(State)
    for name in "abcd":
        builder.add_node(name, nested)
        builder.add_edge(START, name)
    return builder


def parallel_nodes() -> StateGraph[State]:
    builder = StateGraph(State)
    for name, node in (("a", writes), ("b", writes_later)):
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class NotingSaver(SqliteSaver):
    """Notes the tenant of each call, like a saver that separates the threads of tenants."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.tenants: list[str] = []

    def commit(self, unit: CommitUnit) -> Awaitable[CommitResult]:
        self.tenants.append(tenant.get())
        return super().commit(unit)

    def save_writes(self, batch: WritesBatch) -> Awaitable[SaveResult]:
        self.tenants.append(tenant.get())
        return super().save_writes(batch)


async def test_a_saver_is_always_called_with_the_context_variables_of_the_run(tmp_path: Path) -> None:
    async with NotingSaver(tmp_path / "runs.db") as saver:
        graph = parallel_graphs().compile(saver)
        tenant.set("me")
        await graph.ainvoke({}, thread_id="t")

    assert set(saver.tenants) == {"me"}


class Odd(BaseException):
    """A BaseException that does not end the process."""


def raising_at(call: int, error: BaseException) -> Callable[[], None]:
    """Raises in one of the calls."""
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise error

    return count


class RaisingMemorySaver(MemorySaver):
    """Raises when it is called, as at a Ctrl-C."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check

    def commit(self, unit: CommitUnit) -> Awaitable[CommitResult]:
        self._check()
        return super().commit(unit)


EXITING = """
import asyncio, sys
from durable_graph_sqlite import SqliteSaver
from tests.runtime.test_odd_savers import parallel_graphs, raising_at

class Exiting(SqliteSaver):
    def commit(self, unit):
        check()
        return super().commit(unit)

check = raising_at(7, SystemExit(3))
asyncio.run(parallel_graphs().compile(Exiting(sys.argv[1])).ainvoke({}, thread_id="t"))
"""


def test_a_system_exit_raised_in_a_saver_ends_the_process(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", EXITING, str(tmp_path / "runs.db")], capture_output=True, timeout=30, check=False
    )

    assert ended.returncode == 3, ended.stderr.decode()


@pytest.mark.parametrize("call", range(1, 11))
async def test_a_base_exception_raised_by_a_saver_ends_the_run(call: int) -> None:
    saver = RaisingMemorySaver(raising_at(call, Odd()))
    # Less than the grace period: the siblings of the failed graph do not wait for a result that never arrives.
    async with asyncio.timeout(4):
        with pytest.raises(Odd):
            await parallel_graphs().compile(saver).ainvoke({}, thread_id="t")


class ForgetfulSaver(MemorySaver):
    """Returns None, because its author forgot to return the result."""

    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        await super().save_writes(batch)
        return cast("SaveResult", None)


async def test_a_saver_that_returns_none_ends_the_run() -> None:
    async with asyncio.timeout(10):
        with pytest.raises(AttributeError, match="NoneType"):
            await parallel_nodes().compile(ForgetfulSaver()).ainvoke({}, thread_id="t")


class DamagedSaver(MemorySaver):
    """Returns late, with unreadable records of another writer."""

    def __init__(self) -> None:
        super().__init__()
        self.is_called, self.may_answer = asyncio.Event(), asyncio.Event()

    async def save_writes(self, batch: WritesBatch) -> SaveResult:
        answer = await super().save_writes(batch)
        self.is_called.set()
        await self.may_answer.wait()
        assert isinstance(answer, Saved)
        damaged = tuple(msgspec.structs.replace(record, value=b"?", commit_id=b"?") for record in answer.standing)
        return msgspec.structs.replace(answer, standing=damaged)


async def test_a_cancelled_run_is_cancelled_although_the_result_of_its_last_save_cannot_be_read() -> None:
    async def fails(state: State) -> State:
        raise ConnectionError

    policy = RetryPolicy(initial_interval=0.0, jitter=False)
    builder = StateGraph(State).add_node("fails", fails, retry_policy=policy).add_edge(START, "fails")
    saver = DamagedSaver()
    run: asyncio.Task[Any] = asyncio.ensure_future(builder.compile(saver).ainvoke({}, thread_id="t"))
    await saver.is_called.wait()
    run.cancel()
    await asyncio.sleep(0)
    saver.may_answer.set()

    with pytest.raises(asyncio.CancelledError):
        await run
