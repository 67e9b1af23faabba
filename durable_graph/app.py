"""The graph that callers run: arguments in, a frozen `Run` to the runtime, results out."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, Self, TypeVar, Unpack

import msgspec

from durable_graph._runtime.audience import Audience, Nobody
from durable_graph._runtime.busy import only_run
from durable_graph._runtime.drive import Ended
from durable_graph._runtime.editing import StateUpdate, edit_state
from durable_graph._runtime.nested import Nested, nested_place
from durable_graph._runtime.options import (
    Breakpoints,
    Config,
    RunOptions,
    ThreadId,
    breakpoints,
    check_config,
    merged_config,
    read_metadata,
    read_run,
    read_thread_place,
)
from durable_graph._runtime.output import result_of
from durable_graph._runtime.places import nested_graphs
from durable_graph._runtime.remembered import namespace_of_node
from durable_graph._runtime.run import Run
from durable_graph._runtime.snapshot import StateSnapshot, drawn_status, read_history, read_snapshot
from durable_graph._runtime.start import run_graph
from durable_graph._runtime.stream import EventStream, OnDisconnect, OnSlowReader
from durable_graph._runtime.views import StreamMode, view_of
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import (
    InvalidOptionError,
    MissingCheckpointerError,
    UnknownCheckpointError,
    UnknownNodeError,
)
from durable_graph.graph import Command, GraphBuilder, Topology
from durable_graph.graph.drawing import Drawing, drawing_of
from durable_graph.graph.subgraph import Persistence
from durable_graph.records import checkpoint_no

StateT = TypeVar("StateT")
Version = Literal["v1", "v2"]


class StateGraph(GraphBuilder[StateT]):
    """A graph over the state `StateT`, to be described and then compiled."""

    def compile(
        self,
        checkpointer: Checkpointer | bool | None = None,
        *,
        cache: Cache | None = None,
        interrupt_before: Breakpoints | None = None,
        interrupt_after: Breakpoints | None = None,
        debug: bool = False,
        name: str = "graph",
        types: Iterable[type | tuple[str, type]] = (),
    ) -> "CompiledGraph[StateT]":
        """The graph as it is now, checked and ready to run.

        `checkpointer` is a saver. For a graph that another graph runs it may be None (its state is kept in the other's
        thread, for as long as the node that runs it), True (kept from one call to the next, per thread) or False (not
        kept). `interrupt_before` and `interrupt_after` are nodes at which every run stops, or "*" for all. With `debug`
        a node that changes its input in place fails. `types` are classes that `Any`-typed parts of the state may hold,
        beside those that the state's own types name; they are stored under their qualified name, or under the tag given
        with them.

        Raises `GraphValidationError`, which lists everything that is wrong with the graph, and `InvalidOptionError`.
        """
        if checkpointer is not None and not isinstance(checkpointer, bool | Checkpointer):
            option = "checkpointer"
            raise InvalidOptionError(option, checkpointer, allowed="a saver, such as SqliteSaver('runs.db'), or None")
        if cache is not None and not isinstance(cache, Cache):
            option = "cache"
            raise InvalidOptionError(option, cache, allowed="a cache, such as InMemoryCache(), or None")
        topology = self.topology(name=name, types=types)
        defaults = Run(
            None,
            stop_before=breakpoints("interrupt_before", interrupt_before, topology.nodes, frozenset()),
            stop_after=breakpoints("interrupt_after", interrupt_after, topology.nodes, frozenset()),
            is_checked=debug,
        )
        return CompiledGraph(topology, checkpointer, cache, defaults)


class CompiledGraph(Generic[StateT]):
    """A graph that runs. Safe to use from any number of tasks of one event loop at once.

    Every method takes LangGraph's config dict, keyword arguments, or both where they agree. Called inside a node of
    another graph, it runs as a part of that graph's run.
    """

    def __init__(
        self,
        topology: Topology,
        checkpointer: Checkpointer | bool | None,
        cache: Cache | None = None,
        defaults: Run | None = None,
        config: Config | None = None,
    ) -> None:
        self._topology = topology
        self._given_checkpointer = checkpointer
        self._checkpointer = None if isinstance(checkpointer, bool) else checkpointer
        self._cache = cache
        self._defaults = defaults or Run(None)
        self._config = config
        self.step_timeout: float | None = None

    @property
    def name(self) -> str:
        """What `compile` was told."""
        return self._topology.name

    @property
    def checkpointer(self) -> Checkpointer | None:
        """Where this graph's threads are kept."""
        return self._checkpointer

    @property
    def topology(self) -> Topology:
        """The graph as it was checked."""
        return self._topology

    @property
    def persistence(self) -> Persistence:
        """What is kept of this graph where another graph runs it."""
        match self._given_checkpointer:
            case True:
                return "thread"
            case False:
                return "none"
        return "inherit"

    def with_config(self, config: Config | None = None, **keys: Any) -> Self:
        """The same graph with a config that each call's own is laid over."""
        bound = merged_config(self._config, merged_config(config, keys))
        check_config(bound)
        copy = type(self)(self._topology, self._given_checkpointer, self._cache, self._defaults, bound)
        copy.step_timeout = self.step_timeout
        return copy

    async def ainvoke(
        self,
        input: StateT | Mapping[str, Any] | Command[Any] | None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] = "values",
        output_keys: str | Sequence[str] | None = None,
        version: Version = "v1",
        **options: Unpack[RunOptions],
    ) -> Any:
        """Run the graph to its end and return its output: every key of the output schema that has a value.

        `input` is a dict of state keys, an instance of the state's class, or None to go on from where the thread was
        left: from exactly there, with the results that are recorded. A `Command` answers what the thread waits for, and
        updates or steers it. If the run stops for answers or at a breakpoint, the open questions are under
        `__interrupt__`. With `version="v2"` the result is a `GraphOutput`; with another `stream_mode` than "values" it
        is the list of what would be streamed.

        The options:
            thread_id: whose run it is; with a checkpointer every run has one.
            checkpoint_id: start from an older checkpoint, on a line of its own; the other line stays readable.
            durability: "sync" commits each superstep before the next starts, "async" behind it (a crash may lose the
                last few, in order), "exit" when the run ends, whatever way. Input and answers are committed before any
                node runs in all three.
            recursion_limit: how many supersteps a run may take. max_concurrency: how many nodes at once.
            if_unfinished: what new input does to tasks that are left: take their place ("supersede", recorded in the
                checkpoint), wait for them ("resume": a run of its own, before this one), or nothing ("reject").
            if_busy: what to do while another call of this process runs the thread: "reject" or "wait". A node that
                waits for a turn on its own thread waits for itself.
            context: what nodes get as `runtime.context`; it is not stored, so it is to be given again on resume.
            interrupt_before, interrupt_after: breakpoints in place of those that the graph was compiled with.
            control: a `RunControl`, to stop the run in good order.
            debug: a node that changes its input in place fails.

        Raises:
            what a node raised: with a note that names node, superstep and thread.
            GraphRecursionError: the supersteps are used up.
            NothingToResumeError, UnfinishedThreadError, ThreadBusyError: the thread is not in the state for this call.
            AmbiguousResumeError, UnknownInterruptError, InterruptAnsweredError: the Command answers no open question.
            CheckpointConflictError: another process extended the thread first.
            GraphDrained: the run was asked to stop.
            StoreUnavailableError: the store cannot be written. No new node was started.
            InvalidUpdateError, UnknownNodeError, UnstorableValueError: see there.
        """
        place = self._place(input, config, options)
        if stream_mode != "values":
            chunks = self.astream(
                input, config, stream_mode=stream_mode, output_keys=output_keys, version=version, **options
            )
            return [chunk async for chunk in chunks]
        ended = await self._run(place, Nobody())
        return result_of(self._topology, ended, output_keys, version)

    def stream(
        self,
        input: StateT | Mapping[str, Any] | Command[Any] | None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        on_slow_reader: OnSlowReader = "wait",
        on_disconnect: OnDisconnect = "cancel",
        **options: Unpack[RunOptions],
    ) -> EventStream:
        """Run the graph and read its typed events: `async with graph.stream(...) as events: async for event in events`.

        Input, options and errors as for `ainvoke`. `on_slow_reader` and `on_disconnect`: see `EventStream`.
        """
        place = self._place(input, config, options)

        async def run(audience: Audience) -> Any:
            return result_of(self._topology, await self._run(place, audience), None, "v1")

        return EventStream(run, on_slow_reader=on_slow_reader, on_disconnect=on_disconnect)

    async def astream(
        self,
        input: StateT | Mapping[str, Any] | Command[Any] | None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] = "updates",
        subgraphs: bool = False,
        output_keys: str | Sequence[str] | None = None,
        version: Version = "v1",
        on_slow_reader: OnSlowReader = "wait",
        on_disconnect: OnDisconnect = "cancel",
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[Any, None]:
        """Run the graph and yield what LangGraph would: `{node: update}` for "updates", the state for "values".

        With a list of modes, `(mode, payload)` pairs; with `subgraphs`, the namespace comes first. Leaving the loop
        early cancels the run once the generator is closed, or lets it go on with `on_disconnect="continue"`; what had
        finished is kept. Input, options and errors as for `ainvoke`.
        """
        view = view_of(stream_mode, subgraphs=subgraphs, version=version, output_keys=output_keys)
        events = self.stream(input, config, on_slow_reader=on_slow_reader, on_disconnect=on_disconnect, **options)
        async with events:
            async for event in events:
                for payload in view(event):
                    yield payload

    async def run_as_node(self, given: Any) -> Any:
        """What a node that is this graph returns: its output, for the state of the graph around it."""
        return await self.ainvoke(given)

    # Threads

    async def aget_state(
        self,
        config: Config | None = None,
        *,
        thread_id: ThreadId | None = None,
        checkpoint_id: str | None = None,
        subgraphs: bool = False,
    ) -> StateSnapshot:
        """The thread's state now, or at `checkpoint_id`. A thread that was never used has an empty one.

        With `subgraphs`, the state of the graphs that its tasks run comes with them. A config with a `checkpoint_ns`,
        as a task's `state` has it, leads to the state of one of those.

        Raises `UnknownCheckpointError`, `UnknownNamespaceError`, `CorruptCheckpointError`, `ChannelChangedError`.
        """
        saver = self._needs_checkpointer("aget_state")
        place = read_thread_place(merged_config(self._config, config), thread_id, checkpoint_id)
        return await read_snapshot(self._topology, saver, place, subgraphs=subgraphs)

    async def aget_state_history(
        self,
        config: Config | None = None,
        *,
        thread_id: ThreadId | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: Config | str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[StateSnapshot, None]:
        """The thread's checkpoints, newest first, those of all forks among them.

        `filter` is what their metadata has to hold; `before` a checkpoint id, or a config that holds one; `limit` how
        many. The thread may be run meanwhile.

        Raises `CorruptCheckpointError` where a checkpoint is damaged; go on with `before` that one.
        """
        saver = self._needs_checkpointer("aget_state_history")
        place = read_thread_place(merged_config(self._config, config), thread_id, None, is_history=True)
        if limit is not None and limit < 0:
            option = "limit"
            raise InvalidOptionError(option, limit, allowed="a number from 0, or None")
        start = msgspec.structs.replace(place, no=_before(place.thread_id, before))
        async for snapshot in read_history(self._topology, saver, start, limit, filter):
            yield snapshot

    async def aupdate_state(
        self,
        config: Config | None = None,
        values: Any = None,
        as_node: str | None = None,
        task_id: str | None = None,
        *,
        thread_id: ThreadId | None = None,
        checkpoint_id: str | None = None,
        expected_checkpoint_id: str | None = None,
    ) -> dict[str, Any]:
        """Write `values` as `as_node` would have, which makes a checkpoint; its config is returned.

        What follows that node is what runs next, once somebody resumes the thread; what was left to run is superseded,
        and recorded so. `as_node` may be left out where one node alone wrote the newest checkpoint. `START` stands for
        new input; `END`, without values, ends what is left to run. An older checkpoint is forked. With
        `expected_checkpoint_id` nothing is written unless that one is the newest.

        Raises `CheckpointConflictError`, `AmbiguousUpdateError`, `UnknownNodeError`, `UnknownTaskError`,
        `ThreadBusyError` and what is wrong with the values; then nothing was written.
        """
        update = StateUpdate(values, as_node, task_id)
        return await self._edit("aupdate_state", config, [[update]], thread_id, checkpoint_id, expected_checkpoint_id)

    async def abulk_update_state(
        self,
        config: Config | None,
        supersteps: Sequence[Sequence[StateUpdate]],
        *,
        thread_id: ThreadId | None = None,
        expected_checkpoint_id: str | None = None,
    ) -> dict[str, Any]:
        """Several updates, each sequence of them as one superstep: all of them, or none. As `aupdate_state`."""
        if not supersteps or not all(supersteps):
            option = "supersteps"
            raise InvalidOptionError(option, supersteps, allowed="sequences of StateUpdates, none of them empty")
        return await self._edit("abulk_update_state", config, supersteps, thread_id, None, expected_checkpoint_id)

    async def adelete_thread(self, thread_id: ThreadId) -> None:
        """Remove everything that is kept of the thread. Its id may be used again, for a thread that begins anew."""
        saver = self._needs_checkpointer("adelete_thread")
        place = read_thread_place(None, thread_id, None)
        async with only_run(saver, place.thread_id, "reject"):
            await saver.delete_thread(place.thread_id)

    async def acopy_thread(self, source: ThreadId, target: ThreadId) -> None:
        """Make a second thread with the same history, to go on from on its own.

        Raises `UnknownThreadError` for the source, `ThreadExistsError` for the target.
        """
        saver = self._needs_checkpointer("acopy_thread")
        first, second = read_thread_place(None, source, None), read_thread_place(None, target, None)
        await saver.copy_thread(first.thread_id, second.thread_id)

    # The graph itself

    async def aclear_cache(self, nodes: Iterable[str] | None = None) -> None:
        """Forget the cached results of these nodes, by default of all of them. Raises `UnknownNodeError`."""
        if self._cache is None:
            what = "aclear_cache() needs a cache: compile(cache=...)"
            raise InvalidOptionError("cache", None, allowed=what)
        chosen = list(self._topology.nodes if nodes is None else nodes)
        for name in chosen:
            if name not in self._topology.nodes:
                raise UnknownNodeError(name, where="aclear_cache() was given", known=self._topology.nodes)
        await self._cache.aclear([namespace_of_node(name, self._topology.nodes[name].action) for name in chosen])

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncGenerator[tuple[str, Any], None]:
        """The graphs inside this one's nodes, as (namespace, graph): nodes that are graphs, or whose functions name
        one. `namespace` chooses one, `recurse` goes on inside them, with names joined by "|"."""
        for name, graph in _inside(self._topology, recurse=recurse or (namespace is not None and "|" in namespace)):
            if namespace is None or name == namespace:
                yield name, graph

    def get_graph(
        self,
        config: Config | None = None,
        *,
        xray: bool | int = False,
        status: StateSnapshot | None = None,
    ) -> Drawing:
        """The graph as a drawing: text for Mermaid and Graphviz, shown as a picture by notebooks.

        With `xray` the graphs inside it are opened, to that depth if it is a number. `status` shows where a thread is:
        what is done, next, interrupted and failed in that snapshot.
        """
        before, after = self._defaults.stop_before, self._defaults.stop_after
        drawing = drawing_of(
            self._topology,
            xray=xray,
            interrupt_before="*" if before is None else before,
            interrupt_after="*" if after is None else after,
        )
        return drawing if status is None else drawing.with_status(drawn_status(status))

    async def aget_graph(
        self,
        config: Config | None = None,
        *,
        xray: bool | int = False,
        thread_id: ThreadId | None = None,
    ) -> Drawing:
        """As `get_graph`; with `thread_id`, or a config that names a thread, with that thread's status."""
        merged = merged_config(self._config, config)
        if thread_id is None and not (merged or {}).get("configurable", {}).get("thread_id"):
            return self.get_graph(xray=xray)
        snapshot = await self.aget_state(config, thread_id=thread_id)
        return self.get_graph(xray=xray, status=snapshot)

    # Inside

    def _place(self, given: Any, config: Config | None, options: RunOptions) -> "Nested | Run":
        """What is asked for: a run of its own, or one inside the node that calls."""
        config = merged_config(self._config, config)
        nested = nested_place(self._topology, self._given_checkpointer, given, config, options, self._defaults)
        if nested is not None:
            return nested
        if self._given_checkpointer is True:
            what = "checkpointer=True"
            raise MissingCheckpointerError(what)
        run = read_run(
            config,
            options,
            input=given,
            has_checkpointer=self._checkpointer is not None,
            nodes=self._topology.nodes,
            defaults=self._defaults,
        )
        return msgspec.structs.replace(run, step_timeout=self.step_timeout)

    async def _run(self, place: "Nested | Run", audience: Audience) -> Ended:
        if isinstance(place, Nested):
            return await place.go(self.persistence, self._cache, audience)
        async with only_run(self._checkpointer, place.thread_id, place.if_busy):
            return await run_graph(self._topology, self._checkpointer, place, audience, self._cache)

    async def _edit(
        self,
        what: str,
        config: Config | None,
        supersteps: Sequence[Sequence[StateUpdate]],
        thread_id: ThreadId | None,
        checkpoint: str | None,
        expected: str | None,
    ) -> dict[str, Any]:
        saver = self._needs_checkpointer(what)
        merged = merged_config(self._config, config)
        place = read_thread_place(merged, thread_id, checkpoint)
        run = msgspec.structs.replace(self._defaults, thread_id=place.thread_id, metadata=read_metadata(merged))
        before = None if expected is None else _before(place.thread_id, expected)
        async with only_run(saver, place.thread_id, "reject"):
            no = await edit_state(self._topology, saver, place, supersteps, run, before)
        return place.config(no)

    def _needs_checkpointer(self, what: str) -> Checkpointer:
        if self._checkpointer is None:
            raise MissingCheckpointerError(what)
        return self._checkpointer


def _before(thread_id: str, before: Config | str | None) -> int | None:
    given = before if isinstance(before, str) else check_config(before).get("configurable", {}).get("checkpoint_id")
    if before is None:
        return None
    no = checkpoint_no(given) if isinstance(given, str) else None
    if no is None:
        raise UnknownCheckpointError(thread_id, given)
    return no


def _inside(topology: Topology, *, recurse: bool, within: str = "") -> Iterator[tuple[str, Any]]:
    for node, graphs in nested_graphs(topology).items():
        for graph in graphs:
            name = f"{within}|{node}" if within else node
            yield name, graph
            if recurse:
                yield from _inside(graph.topology, recurse=True, within=name)
