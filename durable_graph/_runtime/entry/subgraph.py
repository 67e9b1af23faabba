"""A graph run inside a node of another: stored in its own namespace of the same thread, or not stored.

Its supersteps are committed like those of any graph, the first together with a record of the call (graph_calls.py).
When the caller runs again, the nested run resumes from its newest checkpoint; a finished nested run does not run again.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

import msgspec

from durable_graph._engine.admit import admit
from durable_graph._engine.header import decode_header
from durable_graph._engine.restore import check_plan, restore
from durable_graph._engine.state import State, initial_state
from durable_graph._runtime.commit.requests import Namespace
from durable_graph._runtime.commit.store import Store, Stored, Unstored
from durable_graph._runtime.commit.thread import KnownThread
from durable_graph._runtime.entry.options import Config, RunOptions, call_config, check_config, merged_config, read_run
from durable_graph._runtime.entry.resume import input_step, publish_resumed
from durable_graph._runtime.entry.start import accept_unstored, input_parts
from durable_graph._runtime.events.sink import EventSink, Publication, Tee
from durable_graph._runtime.request.control_flow import GraphBubbleUp, GraphInterrupt
from durable_graph._runtime.request.output import Ended, Recorded, Start
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.superstep.drive import drive
from durable_graph._runtime.superstep.publish import committed_events
from durable_graph._runtime.task.children import ChildRuns
from durable_graph._runtime.task.crossing import in_loop
from durable_graph._runtime.task.graph_calls import (
    CalledGraph,
    GraphCall,
    begin_call,
    check_memory,
    check_memory_named,
    claimed_call,
    described_graph,
    is_node_itself,
    is_of_node,
    memory_namespace,
    settings_of,
)
from durable_graph._runtime.task.lengths import copy_of
from durable_graph._runtime.task.plan import StepPlan
from durable_graph._runtime.task.run_context import GraphRun, ParkedRun, Progress, RunContext, TaskContext, current
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.integrity import damage_found, refuse_damage_since
from durable_graph.checkpointing.pieces import in_pieces
from durable_graph.checkpointing.protocol import DEFAULT_MAX_VALUE_BYTES
from durable_graph.errors import (
    InvalidCallError,
    InvalidOptionError,
    InvalidUpdateError,
    MissingCheckpointerError,
    ReplayMismatchError,
    SubgraphBusyError,
    UnfinishedChildError,
)
from durable_graph.graph import START, UNSET, Command, Topology
from durable_graph.graph.state_kinds import context_of
from durable_graph.graph.subgraph import Persistence
from durable_graph.graph.topology import UNNAMED
from durable_graph.records import StoredCheckpoint

T = TypeVar("T")


class Nested(msgspec.Struct, frozen=True):
    """A call of a graph inside a node of another."""

    context: TaskContext
    children: ChildRuns
    plan: StepPlan
    request: Request
    call: GraphCall

    @property
    def topology(self) -> Topology:
        """The graph."""
        return self.plan.topology

    def limited(self, step_timeout: float | None) -> "Nested":
        """The call with a limit on the seconds that each superstep of the graph may take."""
        return msgspec.structs.replace(self, request=msgspec.structs.replace(self.request, step_timeout=step_timeout))

    async def run(self, persistence: Persistence, cache: Cache | None, sink: EventSink) -> Ended:
        """Run the graph. Its events go to `sink` and to the sink of the outer run."""
        if self.context.is_too_late():
            raise asyncio.CancelledError
        home = self.context.home
        if home is not asyncio.get_running_loop() and sink.is_active:
            message = "a graph cannot be streamed in an event loop of a plain node's own: make the node `async def`"
            raise InvalidCallError.of_stream(message)
        # The writer and the saver belong to the run's event loop. The calling code may run in another loop.
        return await in_loop(home, lambda: self._run(persistence, cache, sink))

    async def _run(self, persistence: Persistence, cache: Cache | None, sink: EventSink) -> Ended:
        with self.children.begin(is_read=sink.is_active):
            return await run_subgraph(self, persistence, cache, sink)


class GraphSetup(msgspec.Struct, frozen=True):
    """A compiled graph, as its calls need it: its plan and what it was compiled with."""

    plan: StepPlan
    checkpointer: Checkpointer | bool | None
    cache: Cache | None
    defaults: Request
    config: Config | None
    step_timeout: float | None = None

    @property
    def persistence(self) -> Persistence:
        """How long the graph's state is kept when another graph runs it."""
        match self.checkpointer:
            case True:
                return "thread"
            case False:
                return "none"
        return "inherit"


def place_of(setup: GraphSetup, given: object, config: Config | None, options: RunOptions) -> Nested | Request:
    """A nested run if a node makes the call, else a request for a run of its own."""
    config = call_config(setup.config, config, options)
    topology = setup.plan.topology
    if "context" in options:
        options = RunOptions(**options)
        options["context"] = context_of(topology.context, options["context"])
    check_memory(options.get("memory"), is_remembering=setup.persistence == "thread" and is_inside_node())
    nested = subgraph_call(setup.plan, setup.checkpointer, given, config, options, setup.defaults)
    if nested is not None:
        return nested.limited(setup.step_timeout)
    if setup.checkpointer is True:
        what = "checkpointer=True"
        raise MissingCheckpointerError(what)
    run = read_run(
        config,
        options,
        input=given,
        has_checkpointer=setup.checkpointer is not None and setup.checkpointer is not False,
        nodes=topology.nodes,
        defaults=setup.defaults,
    )
    return msgspec.structs.replace(run, step_timeout=setup.step_timeout)


def is_inside_node() -> bool:
    """Whether the calling code runs inside a node, so that a graph called by it would be nested."""
    context = current.get()
    return context is not None and not context.is_over


def subgraph_call(
    plan: StepPlan,
    checkpointer: Checkpointer | bool | None,
    given: object,
    config: Config | None,
    options: RunOptions,
    defaults: Request,
) -> Nested | None:
    """The call as a nested call of the running node; None if it starts an independent run.

    A call outside of a node is independent. So is a call of a graph with its own saver for another thread, or inside a
    run without a checkpointer.

    Raises as reading the arguments does, and `InvalidUpdateError` for answers: they belong to the outer run.
    """
    context, topology = current.get(), plan.topology
    if context is None or context.is_over:
        return None
    outer = context.run.request
    configurable = check_config(config).get("configurable", {})
    thread = options.get("thread_id") or configurable.get("thread_id")
    is_other = thread is not None and str(thread) != outer.thread_id
    if isinstance(checkpointer, Checkpointer) and (is_other or context.run.store.thread is None):
        return None
    if is_other:
        option = "thread_id"
        raise InvalidOptionError.of_contradiction(option, keyword=thread, config=outer.thread_id)
    if isinstance(given, Command) and given.resume is not UNSET:
        raise InvalidUpdateError("a nested run cannot be given answers: resume the run that it is a part of")
    own = RunOptions(**options)
    own["thread_id"] = own["checkpoint_id"] = own["memory"] = None
    plain = {key: value for key, value in (config or {}).items() if key != "configurable"}
    given = _without_keys_of_caller(given, topology, context.run.topology)
    request = read_run(plain, own, input=given, has_checkpointer=False, nodes=topology.nodes, defaults=defaults)
    # `check_config` drops callbacks, which `request` has, and keys that are reserved for other libraries.
    merged = merged_config(outer.config, None if config is None else check_config(config))
    within = _within(outer, request, options, plain, merged or {})
    call = GraphCall(asyncio.current_task(), options.get("memory"), settings_of(topology, outer, within))
    return Nested(context, context.children, plan, within, call)


def _without_keys_of_caller(given: object, topology: Topology, caller: Topology) -> object:
    """The input without the keys that only the caller's state has: a node may pass its whole state to the graph, as a
    node that is a graph does."""
    if not isinstance(given, Mapping) or topology.input.is_single or caller.state.is_single:
        return given
    known = topology.input.keys
    if given.keys() <= set(known):
        return given
    others = {*caller.channels, *caller.state.managed}
    return {key: value for key, value in given.items() if key in known or key not in others}


def unfinished_child(place: Nested | Request, ended: Ended) -> UnfinishedChildError | None:
    """The error for a node whose call of a graph, in another thread, stopped without a result; None otherwise."""
    context = current.get()
    if isinstance(place, Nested) or not ended.is_stopped or context is None or context.is_over:
        return None
    pending = [task.node for task in ended.state.plan]
    can_wait = context.run.store.thread is not None
    return UnfinishedChildError(
        place.thread_id, context.node, interrupts=ended.interrupts, pending=pending, can_wait=can_wait
    )


def _within(outer: Request, request: Request, options: RunOptions, config: Config, merged: Config) -> Request:
    """The nested call's own settings, over the outer run's."""
    return msgspec.structs.replace(
        outer,
        input=request.input,
        checkpoint=None,
        checkpoint_ns="",
        recursion_limit=_own_or("recursion_limit", options, config, request.recursion_limit, outer.recursion_limit),
        max_concurrency=_own_or("max_concurrency", options, config, request.max_concurrency, outer.max_concurrency),
        name=request.name,
        callbacks=request.callbacks,
        context=options.get("context", outer.context),
        store=outer.store if request.store is None else request.store,
        config=merged,
        metadata={**outer.metadata, **request.metadata},
        tags=tuple(merged.get("tags", ())),
        stop_before=request.stop_before,
        stop_after=request.stop_after,
        is_checked=request.is_checked or outer.is_checked,
        step_timeout=None,
    )


def _own_or(name: str, options: Mapping[str, object], config: Mapping[str, object], own: T, outer: T) -> T:
    return outer if options.get(name) is None and config.get(name) is None else own


async def run_subgraph(nested: Nested, persistence: Persistence, cache: Cache | None, sink: EventSink) -> Ended:
    """Run a nested graph, and return how its run ended.

    Raises the control flow that unwinds its caller too: `GraphInterrupt`, `ParentCommand`, `Draining`. Raises
    `ReplayMismatchError` for a call that differs from the recorded call, and `SubgraphBusyError`
    and `InvalidCallError` for calls that cannot be distinguished.
    """
    context, topology = nested.context, nested.topology
    if is_node_itself(context):
        # A node that is a graph makes exactly one call, with the current state, so no record has to identify the call.
        own = CalledGraph(context.ns, None)
        return await _run_in(nested, own, persistence, cache, sink)
    has_failed = True
    begun = begin_call(context, topology, nested.request.input, nested.call)
    try:
        own = await claimed_call(context, begun, persistence)
        ended = await _run_in(nested, own, persistence, cache, sink)
        has_failed = False
        return ended
    finally:
        context.calls.claims.over(begun, has_failed=has_failed)


async def _run_in(
    nested: Nested, called: CalledGraph, persistence: Persistence, cache: Cache | None, sink: EventSink
) -> Ended:
    context, outer = nested.context, nested.context.run
    context.raise_mutation()
    context.keys_of_nested |= nested.topology.channels.keys()
    path = (*outer.path, context.of_node().node)
    ns = called.caller
    if persistence == "thread":
        ns = memory_namespace(context, path, nested.topology, called, nested.call.memory)
    store = _store_in(outer.store, nested, ns, persistence)
    run = GraphRun(
        nested.topology,
        nested.request,
        _with_sink(outer.shared, sink),
        store,
        nested.plan.for_run(nested.request, has_cache=(cache or outer.cache) is not None),
        ns=ns,
        path=path,
        parent=context,
        caller=called.caller,
        cache=cache or outer.cache,
    )
    if isinstance(store, Stored):
        try:
            ended = await _run_stored(run, store, context, called, is_memory=persistence == "thread")
        except (Exception, GraphBubbleUp):
            await _publish_all(run, outer)
            raise
        await _publish_all(run, outer)
    else:
        ended = await drive(run, await accept_unstored(run))
    if ended.is_stopped:
        context.stopped_by.append(tuple(ended.interrupts))
        raise GraphInterrupt(ended.interrupts)
    # The caller gets copies: a later attempt must not see the changes that the caller makes to the values.
    return msgspec.structs.replace(ended, values={key: copy_of(value) for key, value in ended.values.items()})


async def _publish_all(run: GraphRun, outer: GraphRun) -> None:
    """Have all events of a nested run published that has a reader of its own: its stream is about to end."""
    if run.shared.sink is not outer.shared.sink:
        await run.store.catch_up(run.shared.sink)


def _with_sink(shared: RunContext, sink: EventSink) -> RunContext:
    if not sink.is_active:
        return shared
    return replace(shared, sink=Tee(sink, shared.sink))


def _store_in(outer: Store, nested: Nested, ns: str, persistence: Persistence) -> Store:
    """The store of a run in the namespace `ns`, nested in a run on the store `outer`."""
    if isinstance(outer, Stored) and persistence != "none":
        return Stored.of(outer.writer, outer.writer.namespace(nested.topology, ns, None))
    # The task around this run records the interrupts that are raised in it, so it still belongs to the thread.
    limit = DEFAULT_MAX_VALUE_BYTES if outer.thread is None and nested.request.is_checked else None
    return Unstored(outer.thread, msgspec.structs.replace(outer.identity, ns=ns), limit)


async def _run_stored(
    run: GraphRun, store: Stored, context: TaskContext, called: CalledGraph, *, is_memory: bool
) -> Ended:
    shared = run.shared
    if run.ns in shared.active:
        raise SubgraphBusyError(run.topology.name, run.ns)
    shared.active.add(run.ns)
    try:
        found = await _earlier(run, store, context, called, is_memory=is_memory)
        if is_memory and found is not None and found.caller != run.caller:
            check_memory_named(run, context, found.caller)
            if called.is_recorded and (end := await _end_of_turn(run, store.thread)) is not None:
                return end
            if is_of_node(context, found.caller):
                # Commit the end of that earlier call as its own checkpoint: the next attempt finds its result there.
                await store.writer.flush()
        start = await _start_from(run, store, found, called)
        ended = start if isinstance(start, Ended) else await drive(run, start)
        if is_memory and not ended.is_stopped:
            shared.turns[run.caller] = ended.state
        return ended
    finally:
        shared.active.discard(run.ns)
        if run.at is not None:
            shared.resting[run.ns] = ParkedRun(store.own, run.at, run.topology.name, run.caller)


async def _end_of_turn(run: GraphRun, thread: KnownThread) -> Ended | None:
    """The result of a finished call of a graph with memory that a later call has followed; None if it had not
    finished."""
    state = run.shared.turns.get(run.caller)
    if state is None:
        stored = await end_of_turn(thread, run.ns, run.caller)
        restored = None
        if stored is not None:
            restored = await in_pieces(restore(run.topology, stored, thread.max_value_bytes))
        state = None if restored is None else restored.state
    return None if state is None or state.plan else Ended(state, {}, state.values)


async def _earlier(
    run: GraphRun, store: Stored, context: TaskContext, called: CalledGraph, *, is_memory: bool
) -> ParkedRun | None:
    """The run that an earlier attempt of the caller, or an earlier call of a graph with memory, left in this
    namespace."""
    thread = store.thread
    is_known = called.is_recorded or (called.begun is None and not context.is_fresh)
    if not is_known and not is_memory and called.begun is not None:
        return None
    rest = run.shared.resting.get(run.ns)
    nodes: Collection[str] = rest.own.topology.nodes if rest is not None else ()
    if rest is None and (is_known or is_memory):
        stored = await thread.load(run.ns)
        if stored is not None and stored.thread.incarnation == thread.row.incarnation:
            restored = await in_pieces(restore(run.topology, stored, thread.max_value_bytes))
            if restored is not None:
                own = Namespace(run.topology, run.ns, restored.stored)
                at = Progress(restored.state, restored.recorded)
                rest = ParkedRun(own, at, restored.header.graph, restored.header.caller)
                planned = {task.node for task in restored.state.plan if task.node != START}
                nodes = sorted(planned.union(restored.header.writers))
    if rest is not None:
        await _check_same_graph(run, thread, context, rest, nodes)
    return rest


async def _check_same_graph(
    run: GraphRun, thread: KnownThread, context: TaskContext, rest: ParkedRun, nodes: Collection[str]
) -> None:
    """Raise `ReplayMismatchError` if another graph made the records.

    Graphs are identified by their names, and unnamed graphs by their nodes. A changed graph still has some of its
    earlier nodes, while a different graph mostly has none of them. A graph may have been renamed (`formerly`), or have
    been unnamed before."""
    topology = run.topology
    is_memory = rest.caller != run.caller
    is_unnamed = rest.graph == UNNAMED
    if rest.graph == topology.name or rest.graph in topology.formerly or is_unnamed:
        if not is_unnamed or not nodes or not topology.nodes.keys().isdisjoint(nodes):
            return
        # One checkpoint is too little to compare a graph with memory by: its last node may have been removed since.
        if is_memory and not topology.nodes.keys().isdisjoint(await recent_writers(thread, run.ns)):
            return
    raise ReplayMismatchError(
        f"node {context.node[:40]!r}",
        recorded=described_graph(rest.graph, nodes),
        called=described_graph(topology.name, topology.nodes),
        kind="memory" if is_memory else "call",
    )


async def _start_from(run: GraphRun, store: Stored, found: ParkedRun | None, called: CalledGraph) -> Start | Ended:
    if found is None:
        return await _accept(run, store, initial_state(run.topology), {}, called)
    store.own = found.own
    state, recorded = found.at.state, found.at.recorded
    if found.caller != run.caller:
        # Memory per thread: a new call starts from the state that the previous call left.
        return await _accept(run, store, state, recorded, called)
    run.at = found.at
    run.resumed_at = state.no
    if not state.plan:
        return Ended(state, {}, state.values)
    check_plan(run.topology, store.thread.id, state, recorded)
    await publish_resumed(run, state, recorded)
    # Resuming the outer run also passes a breakpoint inside the nested run.
    return Start(state, recorded, passes_breakpoint=True)


async def _accept(run: GraphRun, store: Stored, state: State, recorded: Recorded, called: CalledGraph) -> Start:
    writes, routes = input_parts(run, state.values)
    while True:
        admitted = admit(run.topology, state, recorded, writes, store.reserve(state), routes)
        step = input_step(run, admitted, state.no, calls=called.records(store.thread))
        publication = Publication(run.shared.sink, committed_events(run, step))
        try:
            adopted = await store.commit(state.plan, step, publication)
        finally:
            if publication.is_accepted:
                run.at = Progress(admitted.state, {})
                called.keep()
        if adopted is None:
            return Start(admitted.state)
        recorded = adopted


_PAGE = 50


async def end_of_turn(thread: KnownThread, ns: str, caller: str) -> StoredCheckpoint | None:
    """The newest checkpoint of a namespace that the call `caller` made. Raises for damage in it or in newer ones."""
    before: int | None = None
    while True:
        page = await thread.history(ns, before, _PAGE)
        if page is None:
            return None
        with thread.reading():
            found = await in_pieces(damage_found(page))
            for row in page.checkpoints:
                refuse_damage_since(row.no, found)
                if decode_header(row.header).caller == caller:
                    return await thread.load(ns, row.no)
            refuse_damage_since(0, found)
        if not page.older:
            return None
        before = page.older


async def recent_writers(thread: KnownThread, ns: str) -> frozenset[str]:
    """The nodes that wrote the newest checkpoints of a namespace. Damaged checkpoints are skipped."""
    page = await thread.history(ns, None, _PAGE)
    if page is None:
        return frozenset()
    found = await in_pieces(damage_found(page))
    sound = (row for row in page.checkpoints if row.no not in found)
    return frozenset(node for row in sound for node in decode_header(row.header).writers)
