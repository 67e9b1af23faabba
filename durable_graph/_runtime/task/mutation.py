"""Whether a node changed in place what it was given: visible to the nodes after it, and to no store."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from durable_graph._engine.task import Argument, Task
from durable_graph._runtime.task.lengths import ARGUMENT, ArgumentLengths, PrivateLengths
from durable_graph._runtime.task.read_result import Result
from durable_graph._runtime.task.run_context import GraphRun
from durable_graph._runtime.task.writes import stored_part
from durable_graph.errors import StateMutatedError, UnstorableValueError
from durable_graph.graph import Node, Topology


class Given:
    """The inputs of the tasks of one superstep, and the error once any of them was changed in place.

    Lengths are compared here, of all that is common to the tasks; what is compared below belongs to one attempt.
    """

    def __init__(self, run: GraphRun, plan: Sequence[Task]) -> None:
        self._run = run
        self._plan = plan
        has_arguments = any(task.argument is not None for task in plan)
        self._arguments = ArgumentLengths(plan) if has_arguments else None
        self._mutation: StateMutatedError | None = None

    def mutation(self) -> StateMutatedError | None:
        """The error, if anything was changed. It stays the same from then on."""
        if self._mutation is None and (keys := self._run.changed_in_place()):
            self.report(keys)
        if self._mutation is None and self._arguments is not None and (found := self._arguments.changed(self._plan)):
            self.report([where for _, where in found], dict.fromkeys(node for node, _ in found))
        return self._mutation

    def report(self, keys: Collection[str], nodes: Iterable[str] = ()) -> StateMutatedError:
        """The error about these keys, by default with the nodes that were given one of them."""
        self._mutation = StateMutatedError(list(nodes) or self._nodes_given(keys), keys)
        self._run.report_mutation(self._mutation)
        return self._mutation

    def _nodes_given(self, keys: Collection[str]) -> list[str]:
        """All nodes of the superstep where none of them reads any of the keys: then a router may have."""
        nodes = list(dict.fromkeys(task.node for task in self._plan))
        known = self._run.topology.nodes
        return [each for each in nodes if each in known and not set(keys).isdisjoint(known[each].input.keys)] or nodes


def is_debugging() -> bool:
    """Whether `DURABLE_GRAPH_DEBUG` asks for the check in every graph that does not say otherwise."""
    return os.environ.get("DURABLE_GRAPH_DEBUG", "0") not in ("", "0")


def compared(run: GraphRun, node: str, values: Mapping[str, Any], keys: Iterable[str]) -> AbstractContextManager[None]:
    """Compare whole values around the code of a node, if the graph is debugged.

    Raises `StateMutatedError` if the code returned and any of these keys is not what it was.
    """
    return _compared(run, node, values, keys) if run.request.is_checked else _UNCHECKED


_UNCHECKED = nullcontext()


@contextmanager
def _compared(run: GraphRun, node: str, values: Mapping[str, Any], keys: Iterable[str]) -> Iterator[None]:
    before = {key: _bytes(run.topology, key, values[key]) for key in keys if key in values}
    yield
    changed = [key for key, data in before.items() if _bytes(run.topology, key, values[key]) != data]
    if changed:
        raise StateMutatedError([node], changed)


def check_result(run: GraphRun, node: Node, own: Result, private: PrivateLengths | None, *, is_cached: bool) -> None:
    """Raise `StateMutatedError` for a change that the check of the superstep does not see, or would see too late."""
    if private is None and not is_cached:
        return
    lost = [] if private is None else private.lost(write.channel for write in own.writes)
    # A cache would hand the result to runs in which nothing was changed.
    if changed := [*lost, *(run.changed_in_place() if is_cached else ())]:
        raise StateMutatedError([node.name], changed)


def check_argument_unchanged(topology: Topology, node: str, argument: Argument) -> None:
    """Raises `StateMutatedError` if what a Send carried is not what is stored of it for a later attempt."""
    try:
        is_same = argument.data is None or _encoded(topology, argument) == argument.data
    except UnstorableValueError:
        is_same = False
    if not is_same:
        raise StateMutatedError([node], [ARGUMENT])


def _encoded(topology: Topology, argument: Argument) -> bytes:
    return topology.argument.encode(stored_part(topology, argument.value))


def _bytes(topology: Topology, key: str, value: Any) -> bytes | None:
    codec = topology.codecs.get(key)
    if codec is None:
        return None
    try:
        return codec.value.encode(value)
    except UnstorableValueError:
        # It was stored or is about to be: only a change in place can have made it so.
        return b""
