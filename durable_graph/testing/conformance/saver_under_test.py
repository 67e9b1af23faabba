"""What the clauses share: the hooks that a backend fills in, and how a clause says what it expects."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import anyio
import msgspec

from durable_graph.checkpointing import Checkpointer, verify, verify_records
from durable_graph.records import Committed, CommitUnit, Saved, StoredCheckpoint, TaskRecord, WritesBatch
from durable_graph.testing.rows import Step, Writer


class StoredRow(msgspec.Struct, frozen=True):
    """Where a stored row is. `no` is a checkpoint's number, a line's first one, or the one that planned a task."""

    table: Literal["checkpoint", "value", "record", "line"]
    thread: str
    no: int
    ns: str = ""
    channel: str = ""
    ord: int = 0


class SaverUnderTest:
    """The hooks: `open` has to be filled in, `damage` where the store's rows can be got at."""

    async def open(self) -> Checkpointer:
        """A saver on an empty store."""
        raise NotImplementedError

    async def damage(self, saver: Checkpointer, row: StoredRow, how: Literal["flip", "remove"]) -> None:
        """Flip a bit of the row's bytes behind the saver's back (a value's, a header's, a record's), or remove it."""
        raise NotImplementedError

    @asynccontextmanager
    async def saver(self) -> AsyncIterator[Checkpointer]:
        """A saver on an empty store, closed at the end."""
        async with await self.open() as saver:
            yield saver


@contextmanager
def raises(*kinds: type[Exception]) -> Iterator[None]:
    """The block has to raise one of these."""
    try:
        yield
    except kinds:
        return
    listed = " or ".join(kind.__name__ for kind in kinds)
    message = f"expected {listed}, and nothing was raised"
    raise AssertionError(message)


async def commit(saver: Checkpointer, writer: Writer, *steps: Step, fork_of: int | None = None) -> CommitUnit:
    """Commit these steps, which has to succeed."""
    unit = writer.unit(*steps, fork_of=fork_of)
    answer = await saver.commit(unit)
    assert answer == Committed(unit.version), answer
    writer.applied(unit)
    return unit


async def save(saver: Checkpointer, writer: Writer, batch: WritesBatch) -> tuple[TaskRecord, ...]:
    """Save task records, which has to succeed. The ones that stand."""
    saved = await saver.save_writes(batch)
    assert isinstance(saved, Saved), saved
    writer.thread = msgspec.structs.replace(writer.thread, wseq=saved.wseq)
    return saved.standing


async def loaded(saver: Checkpointer, thread: str, ns: str = "", no: int | None = None) -> StoredCheckpoint:
    """What a load finds, which has to be there and whole."""
    found = await saver.load(thread, ns, no)
    assert found is not None, f"thread {thread!r} is not there"
    assert found.checkpoint is not None, f"thread {thread!r} has no such checkpoint"
    verify(found)
    return found


async def loaded_records(saver: Checkpointer, thread: str, ns: str) -> tuple[TaskRecord, ...]:
    """The records of a namespace of a thread that has to be there, each of them whole."""
    found = await saver.load_records(thread, ns)
    assert found is not None, f"thread {thread!r} is not there"
    return verify_records(found)


async def some_thread(saver: Checkpointer, thread: str = "thread", *, length: int = 3) -> Writer:
    """A thread with a few checkpoints: `count` is set by each, `log` grows, `first` is as the first one left it."""
    writer = Writer.of(thread)
    await commit(saver, writer, Step({"first": b"only", "count": b"1"}, {"log": b"1,"}))
    for number in range(2, length + 1):
        await commit(saver, writer, Step({"count": b"%d" % number}, {"log": b"%d," % number}))
    return writer


async def cancelled_after(turns: int, call: Callable[[], Awaitable[Any]]) -> None:
    """Begin a call, let the loop turn a few times, cancel it and see it off. What it came to is not said.

    It is cancelled by its scope, as a request is whose client has gone, and twice as a task: no shield is left.
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
"""After how many turns of the loop a call is cancelled: before it began, on its way, and when it has long ended."""
