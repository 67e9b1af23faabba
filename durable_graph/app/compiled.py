"""The graph that callers run: arguments in, a frozen `Run` to the runtime, results out."""

import typing
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, Never, Protocol, Self, TypeVar, Unpack, overload

import msgspec

from durable_graph._runtime.entry.observed_run import observed_run
from durable_graph._runtime.entry.options import Config, RunOptions, call_config, check_bound, merged_config, read_run
from durable_graph._runtime.entry.start import run_in_turn
from durable_graph._runtime.entry.subgraph import Nested, is_inside_node, subgraph_call, unfinished_child
from durable_graph._runtime.events.model import AnyEvent
from durable_graph._runtime.events.modes import StreamMode, view_of
from durable_graph._runtime.events.sink import EventSink, NullSink
from durable_graph._runtime.events.stream import EventStream, OnDisconnect, OnSlowReader
from durable_graph._runtime.request import log
from durable_graph._runtime.request.callbacks import callbacks_in_use
from durable_graph._runtime.request.output import Ended, GraphOutput, check_keys, check_version, result_of
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.graph_calls import check_memory
from durable_graph._runtime.task.plan import StepPlan
from durable_graph._runtime.task.result_cache import namespace_of_node
from durable_graph.app.picture import GraphPicture
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import InvalidOptionError, MissingCheckpointerError, UnknownNameError
from durable_graph.errors.elsewhere import GRAPH, missing_attribute
from durable_graph.graph import Command, Topology
from durable_graph.graph.policies import time_limit
from durable_graph.graph.state_kinds import context_of
from durable_graph.graph.subgraph import Persistence
from durable_graph.graph.type_variables import ContextT, InputT, OutputT, StateT

Version = Literal["v1", "v2"]


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _Struct(Protocol):
    __struct_fields__: ClassVar[tuple[str, ...]]


class _Model(Protocol):
    __pydantic_fields__: ClassVar[dict[str, Any]]


RecordT = TypeVar("RecordT", bound=_Dataclass | _Struct | _Model)
"""An output class with fields: `ainvoke` returns a dict of the fields, not an instance."""


class CompiledGraph(GraphPicture, Generic[StateT, ContextT, InputT, OutputT]):
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
        saver = None if isinstance(checkpointer, bool) else checkpointer
        super().__init__(topology, saver, defaults or Request(None), config)
        self._plan = StepPlan(topology)
        self._given_checkpointer = checkpointer
        self._cache = cache
        self._step_timeout: float | None = None
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
        return self._checkpointer

    @checkpointer.setter
    def checkpointer(self, checkpointer: Checkpointer | bool | None) -> None:
        check_savers(checkpointer, None)
        self._given_checkpointer = checkpointer
        self._checkpointer = None if isinstance(checkpointer, bool) else checkpointer

    @property
    def step_timeout(self) -> float | None:
        """The time limit of a superstep in seconds; None sets no limit. It may be set.

        Raises `InvalidOptionError` when it is set to an invalid time.
        """
        return self._step_timeout

    @step_timeout.setter
    def step_timeout(self, seconds: float | None) -> None:
        self._step_timeout = time_limit("step_timeout", seconds)

    @property
    def topology(self) -> Topology:
        """The validated graph."""
        return self._topology

    @property
    def persistence(self) -> Persistence:
        """How long this graph's state is kept when another graph runs it."""
        match self._given_checkpointer:
            case True:
                return "thread"
            case False:
                return "none"
        return "inherit"

    def with_config(self, config: Config | None = None, **keys: Any) -> Self:
        """The same graph with a default config, which the config of each call overrides."""
        bound = merged_config(self._config, merged_config(config, keys))
        check_bound(bound)
        copy = type(self)(self._topology, self._given_checkpointer, self._cache, self._defaults, bound)
        copy.step_timeout = self.step_timeout
        return copy

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
        place = self._place(input, config, options)
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
        return self._stream(self._place(input, config, options), on_slow_reader, on_disconnect)

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
        place = self._place(input, config, options)
        stream = self._stream(place, on_slow_reader, on_disconnect, wants=view.wants, takes_messages=view.has_messages)
        async with stream as events:
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
        if self._cache is None:
            what = "aclear_cache() needs a cache: compile(cache=...)"
            raise InvalidOptionError("cache", None, allowed=what)
        chosen = list(self._topology.nodes if nodes is None else nodes)
        for name in chosen:
            if name not in self._topology.nodes:
                raise UnknownNameError.of_node(name, where="aclear_cache() was given", known=self._topology.nodes)
        await self._cache.aclear([namespace_of_node(name, self._topology.nodes[name].action) for name in chosen])

    # Inside

    def _place(self, given: Any, config: Config | None, options: RunOptions) -> "Nested | Request":
        """A request for a run of its own, or a nested run if a node makes the call."""
        config = call_config(self._config, config, options)
        if "context" in options:
            options = RunOptions(**options)
            options["context"] = context_of(self._topology.context, options["context"])
        check_memory(options.get("memory"), is_remembering=self.persistence == "thread" and is_inside_node())
        nested = subgraph_call(self._plan, self._given_checkpointer, given, config, options, self._defaults)
        if nested is not None:
            return nested.limited(self.step_timeout)
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

    def _stream(
        self,
        place: "Nested | Request",
        on_slow_reader: OnSlowReader,
        on_disconnect: OnDisconnect,
        *,
        wants: Callable[[AnyEvent], bool] | None = None,
        takes_messages: bool = True,
    ) -> EventStream:
        if isinstance(place, Nested) and on_disconnect == "continue":
            option = "on_disconnect"
            raise InvalidOptionError(
                option, on_disconnect, allowed="'cancel' inside a node, because a nested run ends with its node"
            )

        async def run(sink: EventSink) -> Any:
            ended = await self._run(place, sink)
            # Returned and not raised: the events already reported the stop, so only `output` raises this error.
            return unfinished_child(place, ended) or result_of(self._topology, ended, None, "v1")

        return EventStream(
            run,
            on_slow_reader=on_slow_reader,
            on_disconnect=on_disconnect,
            wants=wants,
            takes_messages=takes_messages,
        )

    # Plain functions: each suspension of a node resumes all coroutines above it.

    def _run(self, place: "Nested | Request", sink: EventSink) -> Awaitable[Ended]:
        library = callbacks_in_use()
        if library is None:
            return self._unobserved(place, sink)
        return observed_run(library, self._topology, place, lambda observed: self._unobserved(observed, sink))

    def _unobserved(self, place: "Nested | Request", sink: EventSink) -> Awaitable[Ended]:
        if isinstance(place, Nested):
            return place.run(self.persistence, self._cache, sink)
        return run_in_turn(self._plan, self._checkpointer, place, sink, self._cache)


def check_savers(checkpointer: object, cache: object) -> None:
    """Raises `InvalidOptionError` for a checkpointer or a cache that is none."""
    if checkpointer is not None and not isinstance(checkpointer, bool | Checkpointer):
        option = "checkpointer"
        raise InvalidOptionError(option, checkpointer, allowed="a saver, such as SqliteSaver('runs.db'), or None")
    if cache is not None and not isinstance(cache, Cache):
        option = "cache"
        raise InvalidOptionError(option, cache, allowed="a cache, such as InMemoryCache(), or None")
