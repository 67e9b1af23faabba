"""Where a run's results go: a namespace of a thread (`Stored`), or nowhere (`Unstored`).

Both have the same methods, so a superstep need not ask whether there is a store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from durable_graph._engine.build_commit import NextCheckpoint
from durable_graph._engine.header import rank_of
from durable_graph._engine.restore import check_results
from durable_graph._engine.state import State
from durable_graph._engine.task import Identity, Outcome, Task
from durable_graph._runtime.commit.requests import Namespace, StatusChange
from durable_graph._runtime.commit.thread import KnownThread
from durable_graph._runtime.commit.writer import PublicationOf, Writer
from durable_graph._runtime.events.sink import EventSink, Publication
from durable_graph.checkpointing.rules import finality

Key = tuple[int, int]
Plan = tuple[Task, ...]


@dataclass(slots=True, eq=False)
class Stored:
    """A run's namespace of its thread. `max_value_bytes` is the store's limit for one value."""

    writer: Writer
    own: Namespace
    thread: KnownThread
    identity: Identity
    max_value_bytes: int | None
    is_stored: ClassVar[bool] = True

    @classmethod
    def of(cls, writer: Writer, own: Namespace) -> "Stored":
        """The namespace, as a run's store."""
        thread = writer.thread
        return cls(writer, own, thread, thread.identity(own.ns), thread.max_value_bytes)

    def reserve(self, state: State) -> int:
        """The number of the checkpoint that follows `state`: after all that the thread ever had."""
        return self.thread.reserve()

    async def commit(self, plan: Plan, step: NextCheckpoint, publication: Publication) -> dict[Key, Outcome] | None:
        """Commit the superstep that ran `plan`. None once the run may go on.

        If another writer recorded tasks of the plan first, nothing is committed, and the result has the outcomes that
        are recorded: apply those and commit again. Raises `CheckpointConflictError`.
        """
        if await self.writer.commit(self.own, step, publication):
            return None
        return await self.writer.adopt(self.own, plan)

    async def accept(self, plan: Plan, step: NextCheckpoint) -> dict[Key, Outcome] | None:
        """As `commit`, for an input: durable before any node runs, under every policy."""
        if await self.writer.commit_input(self.own, step):
            return None
        return await self.writer.adopt(self.own, plan)

    async def save(
        self, outcomes: Sequence[Outcome], publication_of: PublicationOf, status: StatusChange | None = None
    ) -> tuple[Outcome, ...]:
        """Record outcomes of tasks while their superstep continues, or fails. Returns the outcomes that stand."""
        return await self.writer.save(self.own, outcomes, publication_of, status)

    async def interrupt(
        self, plan: Plan, so_far: Mapping[Key, Outcome], rest: Sequence[Outcome], publication_of: PublicationOf
    ) -> dict[Key, Outcome] | None:
        """Record that the outermost graph's run stops for answers, with `rest`: outcomes that are not recorded yet.

        None once that is recorded. If another writer recorded something since this run last looked, nothing is
        recorded, and the result has the outcomes that replace those in `so_far`. They may hold an answer: its writer
        saw a running run, and left the answer to it.

        Raises `CheckpointConflictError` and `GraphChangedError`.
        """
        if not rest and self.thread.row.status == "interrupted":
            return None
        if await self.writer.interrupt(self.own, rest, publication_of):
            return None
        found = await self.writer.adopt(self.own, plan)
        check_results(self.thread.id, found.values())
        unrecorded = {outcome.task.key for outcome in rest}
        return {
            key: theirs
            for key, theirs in found.items()
            if (mine := so_far.get(key)) is None or _replaces(theirs, mine, is_recorded=key not in unrecorded)
        }

    async def settle(self) -> None:
        """Have all that was accepted durable, and its events published."""
        await self.writer.settle()

    async def catch_up(self, sink: EventSink) -> None:
        """Have the events for this sink published, of all that was accepted."""
        await self.writer.catch_up(sink)


@dataclass(slots=True, eq=False)
class Unstored:
    """Nothing of the run is stored. `thread` is the thread of the run that it is nested in, if that is stored.

    Its values are encoded, and refused where they are larger than `max_value_bytes`, only if that is set.
    """

    thread: KnownThread | None
    identity: Identity
    max_value_bytes: int | None = None
    is_stored: ClassVar[bool] = False

    def reserve(self, state: State) -> int:
        """The number of the state that follows `state`."""
        return state.no + 1

    async def commit(self, plan: Plan, step: NextCheckpoint, publication: Publication) -> dict[Key, Outcome] | None:
        """Publish a superstep."""
        publication.is_accepted = True
        if publication.events:
            await publication.publish()
        return None

    async def save(
        self, outcomes: Sequence[Outcome], publication_of: PublicationOf, status: StatusChange | None = None
    ) -> tuple[Outcome, ...]:
        """Publish outcomes. They stand."""
        await publication_of(outcomes).publish()
        return tuple(outcomes)

    async def interrupt(
        self, plan: Plan, so_far: Mapping[Key, Outcome], rest: Sequence[Outcome], publication_of: PublicationOf
    ) -> dict[Key, Outcome] | None:
        """Publish outcomes. They stand."""
        await publication_of(rest).publish()
        return None

    async def settle(self) -> None:
        """Nothing is behind."""

    async def catch_up(self, sink: EventSink) -> None:
        """Nothing is behind."""


Store = Stored | Unstored


def _replaces(theirs: Outcome, mine: Outcome, *, is_recorded: bool) -> bool:
    """Whether a recorded outcome is another than `mine`, and stands before it."""
    recorded, offered = (finality(rank_of(each), each.revision) for each in (theirs, mine))
    return recorded > offered or (recorded == offered and not is_recorded)
