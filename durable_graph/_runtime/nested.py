"""A graph run inside a node of another: in a namespace of its own of the same thread, or nowhere.

Its supersteps are committed like those of any graph. When its caller runs again, it goes on from where it was, and one
that had ended is not run again.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec

from durable_graph._engine.admit import admit
from durable_graph._engine.restore import check_plan, restore
from durable_graph._engine.state import State, initial_state
from durable_graph._runtime.at_work import AtWork
from durable_graph._runtime.audience import Audience, Both
from durable_graph._runtime.drive import Ended, Recorded, drive
from durable_graph._runtime.durability import Nowhere, Told
from durable_graph._runtime.entering import adopt, input_step, tell_resumed
from durable_graph._runtime.options import Config, RunOptions, check_config, merged_config, read_run
from durable_graph._runtime.pieces import in_pieces
from durable_graph._runtime.requests import Ledger
from durable_graph._runtime.run import Run
from durable_graph._runtime.session import Position, Rest, Scope, Session, Shared, current
from durable_graph._runtime.start import accept_unstored, input_parts
from durable_graph._runtime.telling import committed_events
from durable_graph._runtime.unwinding import GraphInterrupt
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import (
    ContradictingOptionError,
    InvalidCommandError,
    ReplayMismatchError,
    SubgraphBusyError,
    UnfinishedChildError,
    names,
)
from durable_graph.graph import START, UNSET, Command, Topology
from durable_graph.graph.subgraph import Persistence
from durable_graph.graph.topology import UNNAMED

T = TypeVar("T")


class Nested(msgspec.Struct, frozen=True):
    """A call of a graph inside a node of another."""

    scope: Scope
    graphs_at_work: AtWork
    topology: Topology
    run: Run

    def limited(self, step_timeout: float | None) -> "Nested":
        """The call of a graph whose supersteps may take so many seconds."""
        return msgspec.structs.replace(self, run=msgspec.structs.replace(self.run, step_timeout=step_timeout))

    async def go(self, persistence: Persistence, cache: Cache | None, audience: Audience) -> Ended:
        """Run it. What is told of it goes to `audience` and to the outer run's."""
        if self.scope.is_too_late():
            raise asyncio.CancelledError
        with self.graphs_at_work.begin(is_read=audience.is_heard):
            return await run_nested(self.scope, self.topology, persistence, self.run, cache, audience)


def nested_place(
    topology: Topology,
    checkpointer: Checkpointer | bool | None,
    given: Any,
    config: Config | None,
    options: RunOptions,
    defaults: Run,
) -> Nested | None:
    """The call as one inside the node that makes it; None where it is a run of its own.

    It is, outside of a node, and where a graph with a saver of its own is called for another thread.

    Raises what reading the arguments raises, and `InvalidCommandError` for answers: they belong to the outer run.
    """
    scope = current.get()
    if scope is None or scope.is_over:
        return None
    outer = scope.session.run
    configurable = check_config(config).get("configurable", {})
    thread = options.get("thread_id") or configurable.get("thread_id")
    is_other = thread is not None and str(thread) != outer.thread_id
    if isinstance(checkpointer, Checkpointer) and (is_other or scope.session.shared.journal is None):
        return None
    if is_other:
        option = "thread_id"
        raise ContradictingOptionError(option, keyword=thread, config=outer.thread_id)
    if isinstance(given, Command) and given.resume is not UNSET:
        raise InvalidCommandError("a nested run cannot be given answers: resume the run that it is a part of")
    own = RunOptions(**options)
    own["thread_id"] = own["checkpoint_id"] = None
    plain = {key: value for key, value in (config or {}).items() if key != "configurable"}
    run = read_run(plain, own, input=given, has_checkpointer=False, nodes=topology.nodes, defaults=defaults)
    merged = merged_config(outer.config, config)
    return Nested(scope, scope.graphs_at_work, topology, _within(outer, run, options, plain, merged or {}))


def unfinished_child(place: Nested | Run, ended: Ended) -> UnfinishedChildError | None:
    """What to raise where a node ran a graph in a thread of its own that has not ended: its values are no result."""
    scope = current.get()
    if isinstance(place, Nested) or not ended.is_stopped or scope is None or scope.is_over:
        return None
    pending = [task.node for task in ended.state.plan]
    can_wait = scope.session.shared.journal is not None
    return UnfinishedChildError(
        place.thread_id, scope.node, interrupts=ended.interrupts, pending=pending, can_wait=can_wait
    )


def _within(outer: Run, run: Run, options: RunOptions, config: Config, merged: Config) -> Run:
    """What the nested call says itself, over the outer run's settings."""
    return msgspec.structs.replace(
        outer,
        input=run.input,
        checkpoint=None,
        checkpoint_ns="",
        recursion_limit=_said("recursion_limit", options, config, run.recursion_limit, outer.recursion_limit),
        max_concurrency=_said("max_concurrency", options, config, run.max_concurrency, outer.max_concurrency),
        context=options.get("context", outer.context),
        config=merged,
        metadata={**outer.metadata, **run.metadata},
        tags=tuple(merged.get("tags", ())),
        stop_before=run.stop_before,
        stop_after=run.stop_after,
        is_checked=run.is_checked or outer.is_checked,
        step_timeout=None,
    )


def _said(name: str, options: Mapping[str, Any], config: Mapping[str, Any], own: T, outer: T) -> T:
    return outer if options.get(name) is None and config.get(name) is None else own


async def run_nested(
    scope: Scope, topology: Topology, persistence: Persistence, run: Run, cache: Cache | None, audience: Audience
) -> Ended:
    """Where the nested run ended. Raises what unwinds its caller too: `GraphInterrupt`, `ParentCommand`, `Draining`."""
    outer = scope.session
    count, scope.graphs = scope.graphs, scope.graphs + 1
    caller = f"{scope.ns}|{count}" if count else scope.ns
    ns = caller
    path = (*outer.path, scope.node)
    if persistence == "thread":
        # By the place of the call as well: two graphs that one node calls remember each for itself.
        ns = "|".join((*path, str(count)) if count else path)
    session = Session(
        topology,
        run,
        _heard_by(outer.shared, audience),
        ns=ns,
        path=path,
        parent=scope,
        caller=caller,
        cache=cache or outer.cache,
    )
    if outer.identity is not None:
        session.identity = msgspec.structs.replace(outer.identity, ns=ns)
    if outer.ledger is None or persistence == "none":
        session.shared = _without_store(session.shared)
        ended = await accept_unstored(session)
    else:
        ended = await _run_stored(session, scope, persistence)
    if ended.is_stopped:
        stopped = GraphInterrupt(ended.interrupts)
        scope.stopped_by.append(stopped)
        raise stopped
    return ended


def _heard_by(shared: Shared, audience: Audience) -> Shared:
    if not audience.is_heard:
        return shared
    both = Both(audience, shared.audience)
    return Shared(shared.journal, shared.durability, both, shared.resting, shared.active)


def _without_store(shared: Shared) -> Shared:
    if shared.journal is None:
        return shared
    # The journal stays: a question asked here is kept by the task that this is nested in.
    return Shared(shared.journal, Nowhere(), shared.audience, shared.resting, shared.active)


async def _run_stored(session: Session, scope: Scope, persistence: Persistence) -> Ended:
    shared = session.shared
    if session.ns in shared.active:
        raise SubgraphBusyError(session.topology.name, session.ns)
    shared.active.add(session.ns)
    try:
        found = await _earlier(session, scope, persistence)
        return await _go(session, found)
    finally:
        shared.active.discard(session.ns)
        if session.at is not None:
            shared.resting[session.ns] = Rest(session.ledger, session.at, session.topology.name, session.caller)


async def _earlier(session: Session, scope: Scope, persistence: Persistence) -> Rest | None:
    """What an earlier attempt of the caller, or an earlier call of a graph with memory, left in this namespace."""
    shared, journal = session.shared, session.shared.journal
    assert journal is not None  # noqa: S101  # it is stored
    rest = shared.resting.get(session.ns)
    nodes: Collection[str] = rest.ledger.topology.nodes if rest is not None and rest.ledger is not None else ()
    if rest is None and (not scope.is_fresh or persistence == "thread"):
        stored = await journal.load(session.ns)
        if stored is not None and stored.thread.incarnation == journal.thread.incarnation:
            restored = await in_pieces(restore(session.topology, stored, journal.max_value_bytes))
            if restored is not None:
                ledger = Ledger(session.topology, session.ns, restored.stored)
                at = Position(restored.state, restored.recorded)
                rest = Rest(ledger, at, restored.header.graph, restored.header.caller)
                planned = {task.node for task in restored.state.plan if task.node != START}
                nodes = sorted(planned.union(restored.header.writers))
    if rest is not None:
        await _check_same_graph(session, scope, rest, nodes)
    return rest


async def _check_same_graph(session: Session, scope: Scope, rest: Rest, nodes: Collection[str]) -> None:
    """Graphs are told apart by the names that they were given, and those without one by their nodes: the same graph
    may have gained or lost some since, another one has most often none of them."""
    topology, journal = session.topology, session.shared.journal
    assert journal is not None  # noqa: S101  # it is stored
    is_memory = rest.caller != session.caller
    if rest.graph == topology.name:
        if topology.name != UNNAMED or not nodes or not topology.nodes.keys().isdisjoint(nodes):
            return
        # Where a graph ended says little of one that remembers: the node that it ended with may be gone.
        if is_memory and not topology.nodes.keys().isdisjoint(await journal.recent_writers(session.ns)):
            return
    raise ReplayMismatchError(
        f"node {scope.node!r}",
        position=int(session.caller.removeprefix(scope.ns).removeprefix("|") or 0),
        recorded=_described(rest.graph, nodes),
        called=_described(topology.name, topology.nodes),
        is_memory=is_memory,
    )


def _described(name: str, nodes: Iterable[str]) -> str:
    return f"the graph {name!r} (with {names(nodes)})"


async def _go(session: Session, found: Rest | None) -> Ended:
    journal = session.shared.journal
    assert journal is not None  # noqa: S101  # it is stored
    if found is None:
        session.ledger = journal.ledger(session.topology, session.ns, None)
        return await _accept(session, initial_state(session.topology), {})
    session.ledger = found.ledger
    state, recorded = found.at.state, found.at.recorded
    if found.caller != session.caller:
        # Memory per thread: another call begins, with what the one before it left.
        return await _accept(session, state, recorded)
    session.at = found.at
    session.resumed_at = state.no
    if not state.plan:
        return Ended(state, {}, state.values)
    check_plan(session.topology, journal.thread.thread, state, recorded)
    await tell_resumed(session, state, recorded)
    # Whoever resumes the whole run passes a breakpoint in here as well.
    return await drive(session, state, recorded, passes_breakpoint=True)


async def _accept(session: Session, state: State, recorded: Recorded) -> Ended:
    writes, routes = input_parts(session, state.values)
    while True:
        admitted = admit(session.topology, state, recorded, writes, session.reserve(state), routes)
        step = input_step(session, admitted, state.no)
        taken_on = partial(session.move, admitted.state, {})
        told = Told(session.shared.audience, committed_events(session, step), taken_on)
        if await session.shared.durability.commit(session.ledger, step, told):
            return await drive(session, admitted.state, {})
        recorded = await adopt(session, state)
