"""The graph that callers run: arguments in, a frozen `Run` to the runtime, results out."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

from durable_graph._engine.state import output_of
from durable_graph._runtime.busy import only_run
from durable_graph._runtime.events import AnyEvent
from durable_graph._runtime.options import check_config, read_place, read_run
from durable_graph._runtime.run import Durability, IfBusy, IfUnfinished, Run
from durable_graph._runtime.snapshot import StateSnapshot, read_history, read_snapshot
from durable_graph._runtime.start import run_graph
from durable_graph._runtime.stream import EventStream
from durable_graph._runtime.views import StreamMode, view_of
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import InvalidOptionError, MissingCheckpointerError, UnknownCheckpointError
from durable_graph.graph import GraphBuilder, Topology
from durable_graph.records import checkpoint_no

StateT = TypeVar("StateT")
Config = Mapping[str, Any]
ThreadId = str | int | UUID


class StateGraph(GraphBuilder[StateT]):
    """A graph over the state `StateT`, to be described and then compiled."""

    def compile(
        self,
        checkpointer: Checkpointer | None = None,
        *,
        name: str = "graph",
        types: Iterable[type | tuple[str, type]] = (),
    ) -> "CompiledGraph[StateT]":
        """The graph as it is now, checked and ready to run.

        `types` are classes that `Any`-typed parts of the state may hold, beside those that the state's own types name;
        they are stored under their qualified name, or under the tag given with them.

        Raises `GraphValidationError`, which lists everything that is wrong with the graph.
        """
        if checkpointer is not None and not isinstance(checkpointer, Checkpointer):
            option = "checkpointer"
            raise InvalidOptionError(option, checkpointer, allowed="a saver, such as SqliteSaver('runs.db'), or None")
        return CompiledGraph(self.topology(name=name, types=types), checkpointer)


class CompiledGraph(Generic[StateT]):
    """A graph that runs. Immutable, and safe to use from any number of tasks of one event loop at once.

    Every method takes LangGraph's config dict, keyword arguments, or both where they agree.
    """

    def __init__(self, topology: Topology, checkpointer: Checkpointer | None) -> None:
        self._topology = topology
        self._checkpointer = checkpointer

    @property
    def name(self) -> str:
        """What `compile` was told."""
        return self._topology.name

    @property
    def checkpointer(self) -> Checkpointer | None:
        """Where this graph's threads are kept."""
        return self._checkpointer

    async def ainvoke(
        self,
        input: StateT | Mapping[str, Any] | None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        thread_id: ThreadId | None = None,
        checkpoint_id: str | None = None,
        durability: Durability = "sync",
        recursion_limit: int | None = None,
        max_concurrency: int | None = None,
        if_unfinished: IfUnfinished = "supersede",
        if_busy: IfBusy = "reject",
    ) -> dict[str, Any]:
        """Run the graph to its end and return the state: every key that has a value.

        `input` is a dict of state keys, an instance of the state's class, or None to go on from where the thread was
        left: from exactly there, with the results that are recorded. `checkpoint_id` starts from an older checkpoint
        instead, on a line of its own; the other line stays readable.

        `durability`: "sync" commits each superstep before the next starts, "async" behind it (a crash may lose the
        last few, in order), "exit" when the run ends, whatever way. The input is committed before any node runs in all
        three. `recursion_limit` is how many supersteps a run may take, `max_concurrency` how many nodes at once.

        `if_unfinished` says what new input does to tasks that are left: take their place ("supersede", recorded in the
        checkpoint), wait for them ("resume": a run of its own, before this one), or nothing ("reject"). `if_busy` says
        what to do while another call of this process runs the thread; a node that waits for a turn on its own thread
        waits for itself.

        Raises:
            what a node raised: with a note that names node, superstep and thread.
            GraphRecursionError: the supersteps are used up.
            NothingToResumeError, UnfinishedThreadError, ThreadBusyError: the thread is not in the state for this call.
            CheckpointConflictError: another process extended the thread first.
            StoreUnavailableError: the store cannot be written. No new node was started.
            InvalidUpdateError, UnknownNodeError, UnstorableValueError: see there.
        """
        run = self._read_run(
            input,
            config,
            thread_id=thread_id,
            checkpoint_id=checkpoint_id,
            durability=durability,
            recursion_limit=recursion_limit,
            max_concurrency=max_concurrency,
            if_unfinished=if_unfinished,
            if_busy=if_busy,
        )
        return await self._run(run, _unheard)

    def stream(
        self,
        input: StateT | Mapping[str, Any] | None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        thread_id: ThreadId | None = None,
        checkpoint_id: str | None = None,
        durability: Durability = "sync",
        recursion_limit: int | None = None,
        max_concurrency: int | None = None,
        if_unfinished: IfUnfinished = "supersede",
        if_busy: IfBusy = "reject",
    ) -> EventStream:
        """Run the graph and read its typed events: `async with graph.stream(...) as events: async for event in events`.

        Arguments and errors as for `ainvoke`.
        """
        run = self._read_run(
            input,
            config,
            thread_id=thread_id,
            checkpoint_id=checkpoint_id,
            durability=durability,
            recursion_limit=recursion_limit,
            max_concurrency=max_concurrency,
            if_unfinished=if_unfinished,
            if_busy=if_busy,
        )
        return EventStream(lambda publish: self._run(run, publish))

    async def astream(
        self,
        input: StateT | Mapping[str, Any] | None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] = "updates",
        thread_id: ThreadId | None = None,
        checkpoint_id: str | None = None,
        durability: Durability = "sync",
        recursion_limit: int | None = None,
        max_concurrency: int | None = None,
        if_unfinished: IfUnfinished = "supersede",
        if_busy: IfBusy = "reject",
    ) -> AsyncGenerator[Any, None]:
        """Run the graph and yield what LangGraph would: `{node: update}` for "updates", the state for "values".

        With a list of modes, `(mode, payload)` pairs. Leaving the loop early cancels the run once the generator is
        closed; what had finished is kept. Arguments and errors as for `ainvoke`.
        """
        view = view_of(stream_mode)
        events = self.stream(
            input,
            config,
            thread_id=thread_id,
            checkpoint_id=checkpoint_id,
            durability=durability,
            recursion_limit=recursion_limit,
            max_concurrency=max_concurrency,
            if_unfinished=if_unfinished,
            if_busy=if_busy,
        )
        async with events:
            async for event in events:
                for payload in view(event):
                    yield payload

    async def aget_state(
        self, config: Config | None = None, *, thread_id: ThreadId | None = None, checkpoint_id: str | None = None
    ) -> StateSnapshot:
        """The thread's state now, or at `checkpoint_id`. A thread that was never used has an empty one.

        Raises `UnknownCheckpointError`, `CorruptCheckpointError`, `ChannelChangedError`.
        """
        saver = self._needs_checkpointer("aget_state")
        thread, no = read_place(config, True, thread_id, checkpoint_id)  # noqa: FBT003  # it has one
        assert thread is not None  # noqa: S101  # read_place asks for it
        return await read_snapshot(self._topology, saver, thread, no)

    async def aget_state_history(
        self,
        config: Config | None = None,
        *,
        thread_id: ThreadId | None = None,
        before: Config | str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[StateSnapshot, None]:
        """The thread's checkpoints, newest first, those of all forks among them.

        `before` is a checkpoint id, or a config that holds one; `limit` how many. The thread may be run meanwhile.

        Raises `CorruptCheckpointError` where a checkpoint is damaged; go on with `before` that one.
        """
        saver = self._needs_checkpointer("aget_state_history")
        thread, _ = read_place(config, True, thread_id, None)  # noqa: FBT003  # it has one
        assert thread is not None  # noqa: S101  # read_place asks for it
        if limit is not None and limit < 0:
            option = "limit"
            raise InvalidOptionError(option, limit, allowed="a number from 0, or None")
        async for snapshot in read_history(self._topology, saver, thread, _before(thread, before), limit):
            yield snapshot

    def _read_run(self, input_: object, config: Config | None, **options: Any) -> Run:
        return read_run(config, input=input_, has_checkpointer=self._checkpointer is not None, **options)

    async def _run(self, run: Run, publish: Callable[[AnyEvent], Awaitable[None]]) -> dict[str, Any]:
        async with only_run(self._checkpointer, run.thread_id, run.if_busy):
            final = await run_graph(self._topology, self._checkpointer, run, publish)
        return output_of(self._topology, final.values)

    def _needs_checkpointer(self, what: str) -> Checkpointer:
        if self._checkpointer is None:
            raise MissingCheckpointerError(what)
        return self._checkpointer


async def _unheard(event: AnyEvent) -> None:
    """For runs that nobody listens to."""


def _before(thread_id: str, before: Config | str | None) -> int | None:
    given = before if isinstance(before, str) else check_config(before).get("configurable", {}).get("checkpoint_id")
    if before is None:
        return None
    no = checkpoint_no(given) if isinstance(given, str) else None
    if no is None:
        raise UnknownCheckpointError(thread_id, given)
    return no
