"""The graph that callers run: arguments in, a frozen `Request` to the runtime, results out."""

import typing
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, Never, Self, Unpack, overload

import msgspec

from durable_graph._runtime.entry.observed_run import observed_run
from durable_graph._runtime.entry.options import Config, RunOptions, ThreadId, check_bound, check_savers, merged_config
from durable_graph._runtime.entry.start import run_in_turn
from durable_graph._runtime.entry.subgraph import GraphSetup, Nested, place_of, unfinished_child
from durable_graph._runtime.events.modes import StreamMode, view_of
from durable_graph._runtime.events.sink import EventSink, NullSink
from durable_graph._runtime.events.stream import EventStream, OnDisconnect, OnSlowReader
from durable_graph._runtime.request import log
from durable_graph._runtime.request.callbacks import callbacks_in_use
from durable_graph._runtime.request.output import Ended, GraphOutput, check_keys, check_version, result_of
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.plan import StepPlan
from durable_graph._runtime.task.result_cache import clear_results
from durable_graph._runtime.threads.snapshot import StateSnapshot
from durable_graph._runtime.threads.update_state import StateUpdate
from durable_graph.app.drawing import GraphDrawing
from durable_graph.app.streaming import stream_of
from durable_graph.app.threads import GraphThreads, saver_of
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import InvalidOptionError
from durable_graph.errors.elsewhere import GRAPH, missing_attribute
from durable_graph.graph import Command, Topology
from durable_graph.graph.drawing import Drawing
from durable_graph.graph.jsonschema import JsonSchema
from durable_graph.graph.policies import time_limit
from durable_graph.graph.subgraph import Persistence
from durable_graph.graph.type_variables import ContextT, InputT, OutputT, RecordT, StateT

Version = Literal["v1", "v2"]


class CompiledGraph(Generic[StateT, ContextT, InputT, OutputT]):
    """A graph that is ready to run. Any number of tasks of one event loop may use it at once.

    Every method takes LangGraph's config dict, keyword arguments, or both if they agree. A call inside a node of
    another graph is a child run of that graph's run.
    """

    def __init__(
        self,
        topology: Topology,
        checkpointer: Checkpointer | bool | None,
        cache: Cache | None = None,
        defaults: Request | None = None,
        config: Config | None = None,
    ) -> None:
        own = defaults or Request(None)
        self._topology = topology
        self._setup = GraphSetup(StepPlan(topology), checkpointer, cache, own, config)
        self._threads = GraphThreads(topology, saver_of(checkpointer), own, config)
        self._drawing = GraphDrawing(topology, own)
        self._has_warned_of_messages = False
        # Loading blocks, and most graphs are compiled before an event loop runs.
        callbacks_in_use()

    if not typing.TYPE_CHECKING:
        # With a visible `__getattr__`, type checkers would accept every name.
        def __getattr__(self, name):
            missing_attribute(self, name, GRAPH)

    @property
    def name(self) -> str:
        """The name that was passed to `compile`, or the default name."""
        return self._topology.name

    @property
    def checkpointer(self) -> Checkpointer | None:
        """The saver of this graph's threads. It may be set, such as when a service starts; running runs keep theirs.

        Raises `InvalidOptionError` when it is set to a value that is no checkpointer.
        """
        return self._threads.checkpointer

    @checkpointer.setter
    def checkpointer(self, checkpointer: Checkpointer | bool | None) -> None:
        check_savers(checkpointer, None)
        self._setup = msgspec.structs.replace(self._setup, checkpointer=checkpointer)
        self._threads = msgspec.structs.replace(self._threads, checkpointer=saver_of(checkpointer))

    @property
    def step_timeout(self) -> float | None:
        """The time limit of a superstep in seconds; None sets no limit. It may be set.

        Raises `InvalidOptionError` when it is set to an invalid time.
        """
        return self._setup.step_timeout

    @step_timeout.setter
    def step_timeout(self, seconds: float | None) -> None:
        self._setup = msgspec.structs.replace(self._setup, step_timeout=time_limit("step_timeout", seconds))

    @property
    def topology(self) -> Topology:
        """The validated graph."""
        return self._topology

    @property
    def persistence(self) -> Persistence:
        """How long this graph's state is kept when another graph runs it."""
        return self._setup.persistence

    def with_config(self, config: Config | None = None, **keys: Any) -> Self:
        """The same graph with a default config, which the config of each call overrides."""
        own = self._setup
        bound = merged_config(own.config, merged_config(config, keys))
        check_bound(bound)
        copy = type(self)(self._topology, own.checkpointer, own.cache, own.defaults, bound)
        copy.step_timeout = own.step_timeout
        return copy

    @property
    def setup(self) -> GraphSetup:
        """How calls of this graph are made. For `durable_graph.runs`."""
        return self._setup

    # Of all output types, only `Any` matches `Never`.
    @overload
    async def ainvoke(
        self: "CompiledGraph[StateT, ContextT, InputT, Never]",
        input: InputT | Mapping[str, Any] | Command[Any] | None,  # LangGraph's name
        config: Config | None = None,
        **options: Unpack[RunOptions],
    ) -> Any: ...
    @overload
    async def ainvoke(
        self: "CompiledGraph[StateT, ContextT, InputT, RecordT]",
        input: InputT | Mapping[str, Any] | Command[Any] | None,  # LangGraph's name
        config: Config | None = None,
        **options: Unpack[RunOptions],
    ) -> dict[str, Any]: ...
    @overload
    async def ainvoke(
        self,
        input: InputT | Mapping[str, Any] | Command[Any] | None,  # LangGraph's name
        config: Config | None = None,
        **options: Unpack[RunOptions],
    ) -> OutputT: ...
    @overload
    async def ainvoke(
        self,
        input: InputT | Mapping[str, Any] | Command[Any] | None,  # LangGraph's name
        config: Config | None = None,
        *,
        version: Literal["v2"],
        **options: Unpack[RunOptions],
    ) -> GraphOutput[OutputT]: ...
    @overload
    async def ainvoke(
        self,
        input: InputT | Mapping[str, Any] | Command[Any] | None,  # LangGraph's name
        config: Config | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = "values",
        subgraphs: bool = False,
        output_keys: str | Sequence[str] | None = None,
        version: Version = "v1",
        **options: Unpack[RunOptions],
    ) -> Any: ...
    async def ainvoke(
        self,
        input: InputT | Mapping[str, Any] | Command[Any] | None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = "values",
        subgraphs: bool = False,
        output_keys: str | Sequence[str] | None = None,
        version: Version = "v1",
        **options: Unpack[RunOptions],
    ) -> Any:
        """Run the graph to its end and return its output: every key of the output schema that has a value.

        `input` is a dict of state keys, an instance of the state's class, or None to resume the thread from its last
        recorded result. A `Command` answers open questions, updates the state, or chooses the next nodes. If the run
        stops for answers or at a breakpoint, the open questions are under `__interrupt__`. Answers to a thread with the
        status "running" are recorded for its current run and start nothing: the ids of their questions are under
        `__answered__`, next to the values so far. With `version="v2"` the result is a `GraphOutput`; with another
        `stream_mode` than "values" it is the list of the chunks that `astream` yields, with `subgraphs` also those of
        nested graphs.

        The options:
            thread_id: the thread of the run, up to 255 bytes of text; required with a checkpointer.
            checkpoint_id: fork from an older checkpoint; the original branch stays readable.
            durability: "sync" commits each superstep before the next starts, "async" while the next runs (a crash may
                lose the last few supersteps, in order), "exit" when the run ends, also with an error. All three commit
                input and answers before any node runs.
            recursion_limit: the maximum number of supersteps of a run. max_concurrency: of nodes at once.
            if_unfinished: what new input does if tasks are left to run: it supersedes them ("supersede", recorded in
                the checkpoint), runs them first ("resume"), or is refused ("reject": UnfinishedThreadError).
            if_finished: what new input does on a finished thread: it starts a run ("run"), is refused ("reject":
                ThreadFinishedError), or returns the values of the thread ("return", also for None).
            key: apply this request once per thread, in any process: a repetition with the same key and input returns
                the recorded result, or resumes its run if that is unfinished. Without a `thread_id` the thread is
                `run-<key>`.
            if_busy: what to do while another call of this process runs the thread: "reject" or "wait". A node that
                waits for its own thread would deadlock. A call that only answers questions need not wait.
            context: the value of `runtime.context` in nodes, an instance of the graph's `context_schema` or a dict of
                its fields; it is not stored, so pass it again on resume.
            interrupt_before, interrupt_after: breakpoints in place of those that the graph was compiled with.
            control: a `RunControl`, to stop the run after a superstep.
            debug: a node that changes its input in place fails, and without a checkpointer values are checked as with
                one.
            memory: the name of the memory, if a node calls a graph compiled with `checkpointer=True`.

        Raises:
            the error of a node, with a note that names node, superstep and thread.
            GraphRecursionError: the recursion limit is reached.
            NothingToResumeError, UnfinishedThreadError, ThreadFinishedError, ThreadBusyError, ThreadCancelledError:
                the thread is not in the state for this call.
            AmbiguousResumeError, UnknownInterruptError, InterruptAnsweredError: the Command answers no open question.
            CheckpointConflictError: another process extended the thread first. The error says which parts of the call
                are stored.
            UnfinishedChildError: a node ran the graph in a separate thread, and the run stopped before its end.
            WrongGraphError: the thread belongs to a graph of another name.
            KeyReusedError: the thread already has a different request under this key.
            GraphDrained: the run was asked to stop.
            StoreUnavailableError: the store cannot be written. No new node was started.
            InvalidUpdateError, UnknownNameError, UnstorableValueError: see there.
        """
        place = place_of(self._setup, input, config, options)
        check_version(version)
        check_keys(self._topology, output_keys)
        if stream_mode not in (None, "values"):
            chunks = self.astream(
                input,
                config,
                stream_mode=stream_mode,
                subgraphs=subgraphs,
                output_keys=output_keys,
                version=version,
                **options,
            )
            return [chunk async for chunk in chunks]
        ended = await self._run(place, NullSink())
        if version == "v1" and (unfinished := unfinished_child(place, ended)) is not None:
            raise unfinished
        return result_of(self._topology, ended, output_keys, version)

    def stream(
        self,
        input: InputT | Mapping[str, Any] | Command[Any] | None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        on_slow_reader: OnSlowReader = "wait",
        on_disconnect: OnDisconnect = "cancel",
        **options: Unpack[RunOptions],
    ) -> EventStream:
        """Run the graph and read its typed events: `async with graph.stream(...) as events: async for event in events`.

        Input, options and errors as for `ainvoke`. `on_slow_reader` and `on_disconnect`: see `EventStream`. Inside a
        node of another graph the run ends with the node, so "continue" is an error.
        """
        place = place_of(self._setup, input, config, options)
        return stream_of(self._topology, place, self._run, on_slow_reader, on_disconnect)

    async def astream(
        self,
        input: InputT | Mapping[str, Any] | Command[Any] | None,  # noqa: A002  # LangGraph's name
        config: Config | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = "updates",
        subgraphs: bool = False,
        output_keys: str | Sequence[str] | None = None,
        version: Version = "v1",
        on_slow_reader: OnSlowReader = "wait",
        on_disconnect: OnDisconnect = "cancel",
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[Any, None]:
        """Run the graph and yield LangGraph's chunks: one for each event of `stream_mode`.

        The modes: "updates", `{node: its writes}`; "values", the output after each superstep that changed it;
        "custom", the data that nodes pass to their writer; "messages", `(message, metadata)` for each `push_message`,
        and with LangChain for the tokens of its models and the messages that nodes return; "tasks", a dict when a task
        starts and when it ends; "checkpoints", a dict for each, once it can be read; "debug", both with the time.
        With a list of modes, `(mode, chunk)` pairs; with `subgraphs`, the namespace comes first, and nested graphs are
        included; with `version="v2"`, dicts of "type", "ns" and "data". `output_keys` limits the streamed keys of the
        state. Questions are under `__interrupt__`. Do not change yielded values: the run uses them.

        Results are durable when they are yielded; with `durability="exit"`, once the loop has ended. Leaving
        the loop early cancels the run once the generator is closed; `on_disconnect="continue"` lets it continue.
        Finished results are kept. Input, options and errors as for `ainvoke`, the rest as for `EventStream`.
        """
        modes = "updates" if stream_mode is None else stream_mode
        view = view_of(modes, topology=self._topology, subgraphs=subgraphs, version=version, output_keys=output_keys)
        place = place_of(self._setup, input, config, options)
        async with stream_of(self._topology, place, self._run, on_slow_reader, on_disconnect, view) as events:
            async for event in events:
                for payload in view(event):
                    yield payload
        if view.lacks_messages and not self._has_warned_of_messages:
            self._has_warned_of_messages = True
            log.no_messages(self.name)

    async def run_as_node(self, given: Any) -> Any:
        """Run this graph as a node, and return its output for the outer graph's state."""
        return await self.ainvoke(given)

    async def aclear_cache(self, nodes: Iterable[str] | None = None) -> None:
        """Delete the cached results of these nodes, by default of all of them. Raises `UnknownNameError`."""
        cache = self._setup.cache
        if cache is None:
            what = "aclear_cache() needs a cache: compile(cache=...)"
            raise InvalidOptionError("cache", None, allowed=what)
        await clear_results(cache, self._topology, nodes)

    # Its threads

    async def aget_state(
        self,
        config: Config | None = None,
        *,
        thread_id: ThreadId | None = None,
        checkpoint_id: str | None = None,
        subgraphs: bool = False,
    ) -> StateSnapshot:
        """The thread's state now, or at `checkpoint_id`. A thread that was never used has an empty state.

        With `subgraphs`, each task has the state of the graph that it runs. A config with a `checkpoint_ns`, such as a
        task's `state`, returns the state of that subgraph.

        Raises `UnknownNameError`, `CorruptCheckpointError`, `GraphChangedError`.
        """
        thread = self._threads.at("aget_state", config, thread_id, checkpoint_id)
        return await thread.snapshot(subgraphs=subgraphs)

    async def aget_state_history(
        self,
        config: Config | None = None,
        *,
        thread_id: ThreadId | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: Config | str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[StateSnapshot, None]:
        """The thread's checkpoints, newest first, including those of all forks.

        `filter` is a part of their metadata; `before` a checkpoint id, or a config that holds one; `limit` the maximum
        number. The thread may run meanwhile.

        Raises `CorruptCheckpointError` at a damaged checkpoint; pass its id as `before` to continue.
        """
        thread = self._threads.at("aget_state_history", config, thread_id)
        async for snapshot in thread.history(filter, before, limit):
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
        key: str | None = None,
    ) -> dict[str, Any]:
        """Write `values` as if `as_node` had returned them. This makes a checkpoint, whose config is returned.

        The successors of that node run when the thread is resumed; pending tasks are recorded as superseded. `as_node`
        may be omitted if a single node wrote the newest checkpoint. `START` stands for new input; `END`, without
        values, ends the pending tasks. An older checkpoint is forked. With `expected_checkpoint_id` nothing is written
        unless that checkpoint is the newest. With a `key` the thread applies this update once: a repetition returns the
        same config, another update under the key raises `KeyReusedError`. A cancelled thread stays cancelled.

        Raises `CheckpointConflictError`, `AmbiguousUpdateError`, `UnknownNameError`,
        `ThreadBusyError` and the errors of invalid values; then nothing was written.
        """
        thread = self._threads.at("aupdate_state", config, thread_id, checkpoint_id)
        return await thread.update([[StateUpdate(values, as_node, task_id)]], expected_checkpoint_id, key)

    async def abulk_update_state(
        self,
        config: Config | None,
        supersteps: Sequence[Sequence[StateUpdate]],
        *,
        thread_id: ThreadId | None = None,
        expected_checkpoint_id: str | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Apply several updates, each sequence as one superstep: all of them, or none. As `aupdate_state`."""
        thread = self._threads.at("abulk_update_state", config, thread_id)
        return await thread.update(supersteps, expected_checkpoint_id, key)

    async def adelete_thread(self, thread_id: ThreadId, *, purge: bool = False) -> None:
        """Delete all data of the thread. Its id may be used again for a new thread.

        For a day a row without the id stops processes that still write the thread; then `delete_expired_threads`
        removes the row. With `purge` no row remains, and a process that was stopped during the thread's first commit
        may create the thread again.
        """
        await self._threads.named("adelete_thread", thread_id).delete(purge=purge)

    async def acancel(self, thread_id: ThreadId) -> bool:
        """Cancel the thread permanently, whether another process, a call of this process or nobody executes it.

        Returns True if the thread is cancelled, False if no task was pending; the cancellation is stored by then. A
        call of this process is stopped at once. A run of another process notices at its next store call: it records
        the finished results, starts no superstep, and raises `ThreadCancelledError`. Resuming and answering raise
        `ThreadCancelledError` until `areopen`; new input is accepted as on any unfinished thread. Recovery ignores
        cancelled threads: `list_threads(status="running")` does not list them.

        Raises `UnknownThreadError`, `WrongGraphError`.
        """
        return await self._threads.named("acancel", thread_id).cancel()

    async def areopen(self, thread_id: ThreadId) -> bool:
        """Make a cancelled thread resumable at the point where it stopped. Returns whether it was cancelled.

        Raises `UnknownThreadError`, `WrongGraphError`.
        """
        return await self._threads.named("areopen", thread_id).reopen()

    async def acopy_thread(self, source: ThreadId, target: ThreadId) -> None:
        """Copy a thread with its history to another id. The copy runs independently.

        Raises `UnknownThreadError` for the source, `ThreadExistsError` for the target.
        """
        await self._threads.named("acopy_thread", source).copy_to(target)

    async def adiscard_calls(self, thread_id: ThreadId, task_id: str) -> int:
        """Delete the recorded calls that the last attempt at a task did not match. Returns their number.

        This is a remedy for `ReplayMismatchError`, which names thread and task. When the thread is resumed, the task
        makes the calls again, with their side effects. All other results of the task are kept and used.

        Raises `UnknownThreadError`, `UnknownNameError`, `ThreadBusyError`, `CheckpointConflictError`.
        """
        return await self._threads.named("adiscard_calls", thread_id).discard_calls(task_id)

    # Its drawing, its subgraphs and its schemas

    def get_graph(
        self, config: Config | None = None, *, xray: bool | int = False, status: StateSnapshot | None = None
    ) -> Drawing:
        """The graph as a drawing: text for Mermaid and Graphviz, shown as a picture by notebooks.

        With `xray` the drawing has the nodes of subgraphs as well, to that depth if it is a number. `status` marks the
        nodes that are done, next, interrupted and failed in that snapshot.
        """
        return self._drawing.graph(xray=xray, status=status)

    async def aget_graph(
        self, config: Config | None = None, *, xray: bool | int = False, thread_id: ThreadId | None = None
    ) -> Drawing:
        """As `get_graph`; with `thread_id`, or a config that names a thread, with that thread's status."""
        merged = merged_config(self._setup.config, config)
        if thread_id is None and not (merged or {}).get("configurable", {}).get("thread_id"):
            return self.get_graph(xray=xray)
        return self.get_graph(xray=xray, status=await self.aget_state(config, thread_id=thread_id))

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncGenerator[tuple[str, Any], None]:
        """The graphs inside this one's nodes, as (namespace, graph): nodes that are graphs, or whose functions name
        one. `namespace` chooses one graph, `recurse` includes the graphs inside these, with names joined by "|"."""
        for name, graph in self._drawing.subgraphs(namespace, recurse=recurse):
            yield name, graph

    def get_input_jsonschema(self, config: Config | None = None) -> JsonSchema:
        """A JSON schema of the graph's input: its keys by name, and the required keys of its class.

        For a pydantic model it is the model's own schema. A class that neither msgspec nor pydantic knows accepts any
        value, and the schema has only its name. For an entrypoint it is the schema of the annotation of the function's
        first parameter.
        """
        return self._drawing.input_schema()

    def get_output_jsonschema(self, config: Config | None = None) -> JsonSchema:
        """A JSON schema of the graph's output, by the rules of `get_input_jsonschema`."""
        return self._drawing.output_schema()

    def get_context_jsonschema(self) -> JsonSchema | None:
        """A JSON schema of the graph's context, None if the graph declares no context."""
        return self._drawing.context_schema()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.get_graph()._repr_mimebundle_(include, exclude)

    # Inside. Plain functions: each suspension of a node resumes all coroutines above it.

    def _run(self, place: Nested | Request, sink: EventSink) -> Awaitable[Ended]:
        library = callbacks_in_use()
        if library is None:
            return self._unobserved(place, sink)
        return observed_run(library, self._topology, place, lambda observed: self._unobserved(observed, sink))

    def _unobserved(self, place: Nested | Request, sink: EventSink) -> Awaitable[Ended]:
        own = self._setup
        if isinstance(place, Nested):
            return place.run(own.persistence, own.cache, sink)
        return run_in_turn(own.plan, self._threads.checkpointer, place, sink, own.cache)
