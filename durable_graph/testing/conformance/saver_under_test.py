"""The common part of all clauses: the hooks that a backend implements, and functions with assertions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import anyio
import msgspec

from durable_graph.checkpointing import Checkpointer, verify, verify_records
from durable_graph.errors import CheckpointerMisuseError
from durable_graph.records import Committed, CommitUnit, Saved, StoredCheckpoint, TaskRecord, WritesBatch
from durable_graph.testing.rows import Step, Writer


class StoredRow(msgspec.Struct, frozen=True):
    """The place of a stored row. `no` is a checkpoint's number, a branch's first one, or that of a task's plan."""

    table: Literal["checkpoint", "value", "record", "branch"]
    thread: str
    no: int
    ns: str = ""
    channel: str = ""
    ord: int = 0


class SaverUnderTest:
    """The hooks. A backend has to implement `open`, and `damage` if its rows are accessible."""

    async def open(self) -> Checkpointer:
        """A saver on an empty store."""
        raise NotImplementedError

    async def damage(self, saver: Checkpointer, row: StoredRow, how: Literal["flip", "remove"]) -> None:
        """Flip a bit of the row's bytes (of a value, a header or a record) without the saver, or remove the row."""
        raise NotImplementedError

    @asynccontextmanager
    async def saver(self) -> AsyncIterator[Checkpointer]:
        """A saver on an empty store, closed at the end."""
        async with await self.open() as saver:
            yield saver


@contextmanager
def raises(*classes: type[Exception]) -> Iterator[None]:
    """Assert that the block raises one of these errors."""
    try:
        yield
    except classes:
        return
    listed = " or ".join(cls.__name__ for cls in classes)
    message = f"expected {listed}, and nothing was raised"
    raise AssertionError(message)


@contextmanager
def raises_misuse(kind: Literal["closed", "forked", "loop"]) -> Iterator[None]:
    """Assert that the block raises a `CheckpointerMisuseError` of this kind."""
    try:
        yield
    except CheckpointerMisuseError as error:
        if error.kind == kind:
            return
        raise
    message = f"expected a CheckpointerMisuseError of the kind {kind!r}, and nothing was raised"
    raise AssertionError(message)


@contextmanager
def may_be_refused_by_loop() -> Iterator[None]:
    """The block may raise the `CheckpointerMisuseError` for a saver of another event loop, and no other error."""
    try:
        yield
    except CheckpointerMisuseError as error:
        if error.kind != "loop":
            raise


async def commit(saver: Checkpointer, writer: Writer, *steps: Step, fork_of: int | None = None) -> CommitUnit:
    """Commit these steps, and assert that the commit succeeds."""
    unit = writer.unit(*steps, fork_of=fork_of)
    answer = await saver.commit(unit)
    assert answer == Committed(unit.version), answer
    writer.applied(unit, answer.base if isinstance(answer, Committed) else None)
    return unit


async def save(saver: Checkpointer, writer: Writer, batch: WritesBatch) -> tuple[TaskRecord, ...]:
    """Save task records, assert that this succeeds, and return the valid records."""
    saved = await saver.save_writes(batch)
    assert isinstance(saved, Saved), saved
    writer.thread, writer.base = msgspec.structs.replace(writer.thread, wseq=saved.wseq), saved.base
    return saved.standing


async def loaded(saver: Checkpointer, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint:
    """Load a checkpoint, and assert that it exists and is undamaged."""
    found = await saver.load(thread, ns, no)
    assert found is not None, f"thread {thread!r} is not there"
    assert found.checkpoint is not None, f"thread {thread!r} has no such checkpoint"
    verify(found)
    return found


async def loaded_records(saver: Checkpointer, thread: str, ns: str) -> tuple[TaskRecord, ...]:
    """Load the records of a namespace, and assert that the thread exists and the records are undamaged."""
    found = await saver.load_records(thread, ns)
    assert found is not None, f"thread {thread!r} is not there"
    return verify_records(found)


async def some_thread(saver: Checkpointer, thread: str = "thread", *, length: int = 3) -> Writer:
    """A thread with a few checkpoints: each sets `count` and adds to `log`, and only the first sets `first`."""
    writer = Writer.of(thread)
    await commit(saver, writer, Step({"first": b"only", "count": b"1"}, {"log": b"1,"}))
    for number in range(2, length + 1):
        await commit(saver, writer, Step({"count": b"%d" % number}, {"log": b"%d," % number}))
    return writer


async def cancelled_after(turns: int, call: Callable[[], Awaitable[Any]]) -> None:
    """Start a call, cancel it after a few turns of the loop, and wait until it has ended. Its outcome is ignored.

    It is cancelled by its scope, like a request of a disconnected client, and twice as a task, so no shield holds.
    """
    scope = anyio.CancelScope()

    async def begun() -> None:
        with scope:
            await call()

    task = asyncio.create_task(begun())
    for _ in range(turns):
        await asyncio.sleep(0)
    for cancel in (scope.cancel, task.cancel, task.cancel):
        cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])


TURNS = (0, 1, 2, 3, 5, 8, 13, 40)
"""The turns of the loop after which a call is cancelled: before its start, while it runs, and long after its end."""
