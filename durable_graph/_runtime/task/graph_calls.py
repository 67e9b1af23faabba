"""A call of a nested graph: what it is recognised by, where its state is kept, and which memory it has."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from durable_graph._engine.digesting import digest_of
from durable_graph._engine.matching import Mark
from durable_graph._runtime.commit.thread import KnownThread
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task.claims import Begun, Claims, RecordedCall
from durable_graph._runtime.task.run_context import GraphRun, TaskContext
from durable_graph.errors import InvalidCallError, InvalidOptionError
from durable_graph.graph import Topology
from durable_graph.graph.subgraph import Persistence
from durable_graph.graph.topology import UNNAMED
from durable_graph.records import TaskRecord

_MAX_MEMORY_BYTES = 255
_PLACES = ("thread_id", "checkpoint_id", "checkpoint_ns")


class GraphCall(msgspec.Struct, frozen=True):
    """How a node calls a graph: in which asyncio task, with which memory, and with which settings of its own."""

    by: "asyncio.Task[object] | None"
    memory: str | None
    settings: object


@dataclass(frozen=True, slots=True)
class CalledGraph:
    """A call with its place. `caller` tells it from every other call of the thread: most graphs keep their state in the
    namespace of that name. The node that is the graph itself has no call of its own, and so none that `begun`.
    """

    caller: str
    begun: Begun | None
    claims: Claims | None = None
    is_main: bool = False
    is_recorded: bool = False

    def records(self, thread: KnownThread) -> tuple[TaskRecord, ...]:
        """The records of the call, committed together with its input."""
        if self.begun is None or self.claims is None:
            return ()
        return (self.claims.record(thread, self.begun.place, self._recorded(self.begun)),)

    def keep(self) -> None:
        """It is recorded."""
        if self.begun is not None and self.claims is not None:
            self.claims.keep(self.begun.place, self._recorded(self.begun))

    def _recorded(self, begun: Begun) -> RecordedCall:
        return begun.recorded(is_main=self.is_main)


def is_node_itself(context: TaskContext) -> bool:
    """Whether the code that calls a graph is a node that is this graph."""
    if context.around is not None or context.phase != "node":
        return False
    node = context.run.topology.nodes.get(context.node)
    return node is not None and node.subgraph is not None


def settings_of(topology: Topology, outer: Request, request: Request) -> object:
    """The settings of a call besides its input that are not the outer run's, which may differ on resume."""
    own = {key: value for key, value in _configurable(request).items() if key not in _PLACES}
    around = _configurable(outer)
    differing = {
        key: value for key, value in own.items() if key not in around or not _is_same(topology, value, around[key])
    }
    context = None if _is_same(topology, request.context, outer.context) else request.context
    return [differing, context] if differing or context is not None else None


def _configurable(request: Request) -> Mapping[str, object]:
    found: Mapping[str, object] = request.config.get("configurable") or {}
    return found


def _is_same(topology: Topology, one: object, other: object) -> bool:
    if one is other:
        return True
    encode = topology.argument.encode
    mine, theirs = digest_of(encode, one), digest_of(encode, other)
    return mine.digest == theirs.digest and not mine.differs_unseen(theirs)


def begin_call(context: TaskContext, topology: Topology, given: object, call: GraphCall) -> Begun:
    """The call begins. Raises `InvalidCallError` where nothing tells it from one that is under way."""
    content = digest_of(topology.argument.encode, given, call.settings, call.memory)
    nodes = tuple(sorted(topology.nodes)) if topology.name == UNNAMED else ()
    mark = Mark("graph", topology.name, content.digest, nodes)
    claims: Claims = context.calls.claims
    return claims.call(context, mark, content, topology, call.by)


async def claimed_call(context: TaskContext, begun: Begun, persistence: Persistence) -> CalledGraph:
    """The call with its place: that of its record, or a new one. Raises `ReplayMismatchError`."""
    claims: Claims = context.calls.claims
    recorded = await claims.claim(context, begun)
    if isinstance(recorded, RecordedCall):
        return CalledGraph(
            _caller(context, begun, is_main=recorded.is_main), begun, claims, recorded.is_main, is_recorded=True
        )
    # The first graph whose state is kept with the task has the task's own namespace, where snapshots look for it.
    is_main = persistence == "inherit" and context.run.store.is_stored and claims.take_main(begun)
    if is_main and await _has_state(context):
        # Left by a node that was the graph itself, before it became a function that calls it.
        return CalledGraph(context.ns, None, is_recorded=True, is_main=True)
    return CalledGraph(_caller(context, begun, is_main=is_main), begun, claims, is_main)


async def _has_state(context: TaskContext) -> bool:
    resting, thread = context.run.shared.resting, context.run.store.thread
    if context.is_fresh or thread is None or context.ns in resting:
        return context.ns in resting
    stored = await thread.load(context.ns)
    return stored is not None and stored.checkpoint is not None


def _caller(context: TaskContext, begun: Begun, *, is_main: bool) -> str:
    return context.ns if is_main else f"{context.ns}|{begun.place}"


# Memory per thread


def memory_namespace(
    context: TaskContext, path: tuple[str, ...], topology: Topology, called: CalledGraph, memory: str | None
) -> str:
    """Where a graph with memory per thread keeps it: by the path of the nodes, and by the memory's name if it has one.

    Raises `InvalidCallError` for a second call of one node without a name.
    """
    ns = "|".join(path)
    if memory is not None:
        # No node's name begins so.
        return f"{ns}|:{_escaped(memory)}"
    node = context.of_node()
    if node.memories.setdefault(ns, called.caller) != called.caller:
        raise InvalidCallError.of_unnamed_memory(topology.name, node.node)
    return ns


def check_memory_named(run: GraphRun, context: TaskContext, last: str) -> None:
    """Raises `InvalidCallError` where the call `last` of an unnamed memory was made by other code of this very node:
    by a task whose result is recorded, by its error handler. So, too, where it was made side by side with this node, in
    another task of the same superstep: which of them has the memory first would be a matter of time."""
    is_named = run.ns != "|".join(run.path)
    is_own = last == context.ns or last.rpartition("|")[0] == context.ns
    is_unclear = (not is_own and is_of_node(context, last)) or _are_side_by_side(context.of_node().task_ns, last)
    if not is_named and is_unclear:
        raise InvalidCallError.of_unnamed_memory(run.topology.name, context.of_node().node)


def _are_side_by_side(one: str, other: str) -> bool:
    """Whether two namespaces part in two tasks of one superstep, or in two graphs that one task calls."""
    for mine, theirs in zip(one.split("|"), other.split("|"), strict=False):
        if mine != theirs:
            are_calls = mine.isdecimal() or theirs.isdecimal()
            return are_calls or mine.rpartition(".")[0] == theirs.rpartition(".")[0]
    return False


def is_of_node(context: TaskContext, caller: str) -> bool:
    """Whether a call was made by the very task of a node that this code is part of."""
    ns = context.of_node().task_ns
    return caller == ns or caller.startswith(f"{ns}|")


def check_memory(memory: object, *, is_remembering: bool) -> None:
    """Raises `InvalidOptionError` for what is no name of a memory, and for a graph that has none."""
    option = "memory"
    if memory is None:
        return
    if not is_remembering:
        allowed = "None here; a named memory needs a graph that is compiled with checkpointer=True and called in a node"
        raise InvalidOptionError(option, memory, allowed=allowed)
    try:
        size = len(memory.encode()) if isinstance(memory, str) else 0
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= _MAX_MEMORY_BYTES or not str(memory).isprintable():
        raise InvalidOptionError(
            option, memory, allowed=f"1 to {_MAX_MEMORY_BYTES} bytes of text without control characters"
        )


def _escaped(memory: str) -> str:
    """The name without what has a meaning in a namespace: parts, and the numbers of tasks."""
    return memory.replace("%", "%25").replace("|", "%7C").replace(":", "%3A").replace(".", "%2E")


def described_graph(name: str, nodes: Iterable[str]) -> str:
    """A graph in an error's text."""
    listed = ", ".join(sorted(nodes)) or "no node"
    return f"the graph {name[:40]!r} (with {listed if len(listed) <= 40 else listed[:37] + '...'})"
