"""A process that will be killed, or that resumes after a kill: one run on a store, with a ledger."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, TypeVar
from unittest.mock import patch

import msgspec

from durable_graph import (
    START,
    CheckpointCommitted,
    Checkpointer,
    Durability,
    ExecutionInfo,
    Runtime,
    StateGraph,
    TaskFinished,
)
from durable_graph.testing import CrashingSaver
from durable_graph_sqlite import SqliteSaver, group
from tests.crash.engine.stores import store_of
from tests.crash.scenarios.graph_shapes import THREAD, Shape, State, notify_witness, watched_by
from tests.sqlite.inside import on_connection

T = TypeVar("T")

WIDTH = 10
# A call of a server takes some dozens of turns.
_MOST_TURNS = 60


class Kill(msgspec.Struct, frozen=True):
    """The process kills itself at its `call`-th store call.

    "before" it or "after" it, or "inside": when SQLite is about to execute the call's `statement`-th statement, by
    default the COMMIT, when everything is written and nothing is committed. With a server, "inside" is some turns of
    the event loop after the start of the call.
    """

    call: int
    moment: Literal["before", "inside", "after"]
    statement: int | None = None


class Job(msgspec.Struct, frozen=True, tag=True):
    """One process. `life` names its ledger. The fork server kills the process after `kill_after` seconds.

    `dsn` is that of the server, if the store is no file. `torn` plants a bug: each statement is its own transaction.
    """

    folder: str
    life: str
    mode: Durability
    resumes: bool
    kill: Kill | None = None
    kill_after: float | None = None
    torn: bool = False
    dsn: str = ""

    @property
    def ledger(self) -> Path:
        return Path(self.folder) / self.life


class Ledger:
    """Lines that are on disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, what: str, which: str) -> None:
        os.write(self._file, f"{what} {which}\n".encode())
        os.fsync(self._file)


class KillingSaver(CrashingSaver):
    """Kills its process at the point. Only requests made before that reach the store."""

    def __init__(self, inner: Checkpointer, kill: Kill | None) -> None:
        super().__init__(inner)
        self._kill = kill
        self._statements: int | None = None

    async def watch_statements(self) -> None:
        """Have SQLite report every statement before it is executed."""
        if isinstance(self.inner, SqliteSaver):
            await on_connection(self.inner, lambda db: db.set_trace_callback(self._on_statement))

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        moment = self._kill.moment if self._kill is not None and self.calls + 1 == self._kill.call else None
        if moment == "before":
            kill_this_process()
        if moment == "inside" and not isinstance(self.inner, SqliteSaver):
            await self._die_during(super()._call(name, call))
        if moment == "inside":
            self._statements = 0
        answer = await super()._call(name, call)
        if moment == "inside":
            self._statements = None
        if moment == "after":
            kill_this_process()
        return answer

    async def _die_during(self, call: Coroutine[Any, Any, object]) -> None:
        in_progress = asyncio.create_task(call)
        for _ in range(self.calls * 7 % _MOST_TURNS):
            await asyncio.sleep(0)
        kill_this_process()
        await in_progress

    def _on_statement(self, statement: str) -> None:
        if self._statements is None or self._kill is None:
            return
        self._statements += 1
        is_due = statement == "COMMIT" if self._kill.statement is None else self._statements == self._kill.statement
        if is_due:
            kill_this_process()


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def ten_by_two() -> StateGraph[State]:
    """Ten parallel nodes, twice. They take up to some milliseconds each, and end in another order than planned."""
    builder = StateGraph(State)
    for store in range(WIDTH):
        builder.add_node(f"a{store}", lasting_node(f"a{store}", milliseconds=store * 7 % WIDTH / 3))
        builder.add_node(f"b{store}", lasting_node(f"b{store}", milliseconds=store * 3 % WIDTH / 3))
        builder.add_edge(START, f"a{store}").add_edge(f"a{store}", f"b{store}")
    return builder


def lasting_node(name: str, milliseconds: float) -> Any:
    """A node that takes some milliseconds."""

    async def run(state: State, runtime: Runtime) -> State:
        notify_witness("start", runtime.execution_info)
        await asyncio.sleep(milliseconds / 1000)
        notify_witness("end", runtime.execution_info)
        return {"log": [name], "seen": {name: len(state["log"])}}

    return run


TEN_BY_TWO = Shape(ten_by_two, {"log": ["in"], "seen": {"in": 0}})


async def live(job: Job, ready: Callable[[], object]) -> None:
    """Run the job. `ready` is called when everything is open, right before the run starts."""
    ledger = Ledger(job.ledger)

    def witness(moment: Literal["start", "end"], info: ExecutionInfo) -> None:
        ledger.write(moment, info.task_id)

    async with store_of(Path(job.folder), job.dsn) as store:
        saver = KillingSaver(store, job.kill)
        await saver.watch_statements()
        graph = TEN_BY_TWO.on(saver)
        given = None if job.resumes else TEN_BY_TWO.given
        ready()
        with watched_by(witness), _transactions(job):
            async with graph.stream(given, thread_id=THREAD, durability=job.mode) as events:
                async for event in events:
                    match event:
                        case TaskFinished(provisional=False):
                            ledger.write("task", event.task_id)
                        case CheckpointCommitted(provisional=False, checkpoint_id=str(committed)):
                            ledger.write("checkpoint", committed)
                        case _:
                            pass


def _transactions(job: Job) -> AbstractContextManager[object]:
    return patch.object(group, "committing", lambda db, how: nullcontext()) if job.torn else nullcontext()
