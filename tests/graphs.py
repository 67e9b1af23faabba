"""Small graphs whose nodes record their calls, and short ways to read the results of runs."""

import operator
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Final, TypedDict

from durable_graph import START, Checkpointer, CompiledGraph, Interrupt, StateGraph, StateSnapshot, interrupt

THREAD: Final[dict[str, Any]] = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


Node = Callable[[State], Awaitable[State]]


class Nodes:
    """Nodes of one test that add to the log. `calls` counts the calls of each; `taken` returns them in order."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._called: list[str] = []

    def note(self, name: str) -> None:
        """Count a call of the node `name`."""
        self.calls[name] += 1
        self._called.append(name)

    def taken(self) -> list[str]:
        """The names of the nodes that were called since the last look, in order."""
        called, self._called = self._called, []
        return called

    def noting(self, name: str) -> Node:
        """A node that logs its name."""

        async def node(state: State) -> State:
            self.note(name)
            return {"log": [name]}

        return node

    def asking(self, name: str, *questions: Any) -> Node:
        """A node that interrupts with its questions in sequence, and logs `name:answer,answer`.

        Without questions it interrupts with `<name>?` and logs `<name>=<answer>`.
        """

        async def node(state: State) -> State:
            self.note(name)
            if not questions:
                return {"log": [f"{name}={interrupt(f'{name}?')}"]}
            answers = [interrupt(question) for question in questions]
            return {"log": [f"{name}:{','.join(map(str, answers))}"]}

        return node

    def chain(self, *nodes: "str | tuple[str, Any]") -> StateGraph[State]:
        """A graph of nodes in sequence. A node `name?` interrupts; its name has no question mark."""
        return chain(*(self._described(node) for node in nodes))

    def _described(self, node: "str | tuple[str, Any]") -> tuple[str, Any]:
        if isinstance(node, tuple):
            return node
        name = node.removesuffix("?")
        return name, self.noting(name) if name == node else self.asking(name)


def chain(*nodes: tuple[str, Any]) -> StateGraph[State]:
    """A graph of nodes in sequence."""
    builder = StateGraph(State)
    previous = START
    for name, node in nodes:
        builder.add_node(name, node)
        builder.add_edge(previous, name)
        previous = name
    return builder


def fan_out(*nodes: tuple[str, Any]) -> StateGraph[State]:
    """A graph of nodes that all run in the first superstep."""
    builder = StateGraph(State)
    for name, node in nodes:
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder


LONG_CHAIN: Final = tuple(f"s{number}" for number in range(10))
"""The nodes of a graph that runs longer than the other graphs of a test."""


def graph_calling(call: Callable[[], Awaitable[list[Any]]], saver: Checkpointer | None, **node: Any) -> Any:
    """A graph whose only node returns the logs of the graphs that `call` runs."""

    async def run(state: State) -> State:
        return {"log": [entry for result in await call() for entry in result["log"]]}

    return StateGraph(State).add_node("run", run, **node).add_edge(START, "run").compile(saver)


# Results, snapshots and streams


def interrupts_of(result: Any) -> list[Interrupt]:
    """The interrupts that a run returned."""
    found: list[Interrupt] = result["__interrupt__"]
    return found


def questions_of(found: Any) -> list[Any]:
    """The values of the interrupts of a result, or of a snapshot's `interrupts`."""
    return [each.value for each in _interrupts(found)]


def interrupt_ids(found: Any) -> dict[Any, str]:
    """The ids of interrupts by their values."""
    return {each.value: each.id for each in _interrupts(found)}


def _interrupts(found: Any) -> Iterable[Interrupt]:
    if isinstance(found, Mapping):
        return interrupts_of(found) if "__interrupt__" in found else ()
    listed: Iterable[Interrupt] = found
    return listed


async def history(graph: Any, config: Any = THREAD, **options: Any) -> list[StateSnapshot]:
    """All checkpoints, newest first."""
    return [snapshot async for snapshot in graph.aget_state_history(config, **options)]


def newest_before(snapshots: Iterable[StateSnapshot], node: str) -> StateSnapshot:
    """The newest checkpoint whose only next node is `node`."""
    return next(snapshot for snapshot in snapshots if snapshot.next == (node,))


async def checkpoint_before(graph: Any, node: str, config: Any = THREAD) -> Any:
    """The config of the newest checkpoint whose only next node is `node`."""
    return newest_before(await history(graph, config), node).config


async def nested_state(graph: Any, config: Any = THREAD) -> StateSnapshot:
    """The state of the graph that the only pending task runs."""
    (task,) = (await graph.aget_state(config, subgraphs=True)).tasks
    assert isinstance(task.state, StateSnapshot)
    return task.state


def checkpoint_id_of(snapshot: StateSnapshot) -> str:
    """The id of a checkpoint."""
    found = snapshot.config["configurable"]["checkpoint_id"]
    assert isinstance(found, str)
    return found


def outline(snapshots: Iterable[StateSnapshot]) -> list[tuple[Any, tuple[str, ...], Any]]:
    """Source, next nodes and log of each checkpoint."""
    return [((each.metadata or {})["source"], each.next, each.values.get("log")) for each in snapshots]


async def stream_parts(graph: CompiledGraph[Any, Any, Any, Any], given: Any, **options: Any) -> list[Any]:
    """The parts that `astream` yields, on the thread "t" unless the options name another."""
    options.setdefault("thread_id", "t")
    return [part async for part in graph.astream(given, **options)]


def node_names(ns: tuple[str, ...]) -> tuple[str, ...]:
    """A namespace without the numbers of its tasks."""
    return tuple(part.split(":")[0] for part in ns)


# Graphs of any state, whose nodes record their inputs


Returns = Callable[[Any], Any]


class Inputs:
    """The inputs of the calls of nodes, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def node(self, name: str, result: Any) -> Any:
        """A node that records its input and returns `result`, or the result of the function `result` on the input."""

        async def node(state: Any) -> Any:
            self.calls.append((name, dict(state) if isinstance(state, dict) else state))
            return result(state) if callable(result) else result

        return node

    def of(self, name: str) -> list[Any]:
        """The inputs of the node `name`."""
        return [given for called, given in self.calls if called == name]


def chain_of(schema: Any, inputs: Inputs, *nodes: tuple[str, Any], **options: Any) -> StateGraph[Any]:
    """A graph of nodes in sequence."""
    builder = _with_nodes(schema, inputs, nodes, options)
    for source, target in pairwise([START, *(name for name, _ in nodes)]):
        builder.add_edge(source, target)
    return builder


def fan_out_of(schema: Any, inputs: Inputs, *nodes: tuple[str, Any], then: tuple[str, Any]) -> StateGraph[Any]:
    """A graph of nodes that run in one superstep, and of the node `then` that runs after them."""
    builder = _with_nodes(schema, inputs, (*nodes, then), {})
    for name, _ in nodes:
        builder.add_edge(START, name)
    return builder.add_edge([name for name, _ in nodes], then[0])


def _with_nodes(schema: Any, inputs: Inputs, nodes: Iterable[tuple[str, Any]], options: Any) -> StateGraph[Any]:
    builder: StateGraph[Any] = StateGraph(schema, **options)
    for name, result in nodes:
        builder.add_node(name, inputs.node(name, result))
    return builder


class OnceError(Exception):
    """Stops a run between two nodes."""


def fails_once(result: Any) -> Returns:
    """A result for a node that fails at its first call, so that another process runs the rest."""
    calls: list[Any] = []

    def returns(state: Any) -> Any:
        calls.append(state)
        if len(calls) == 1:
            raise OnceError
        return result(state) if callable(result) else result

    return returns
