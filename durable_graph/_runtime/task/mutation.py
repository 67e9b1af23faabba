"""Whether a node changed in place what it was given: visible to the nodes after it, and to no store."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from durable_graph._engine.task import Argument, Task
from durable_graph._runtime.task.lengths import ARGUMENT, ArgumentLengths
from durable_graph._runtime.task.run_context import GraphRun
from durable_graph._runtime.task.writes import stored_part
from durable_graph.errors import StateMutatedError, UnstorableValueError
from durable_graph.graph import Topology


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


class WholeValues:
    """What code of a debugged graph is given, encoded before it runs."""

    def __init__(
        self, topology: Topology, values: Mapping[str, object], keys: Iterable[str], argument: Argument | None = None
    ) -> None:
        self._topology = topology
        self._values = values
        self._argument = argument
        self._before = {key: _bytes(topology, key, values[key]) for key in keys if key in values}

    def changed(self) -> list[str]:
        """What of it is not what it was: keys, or the argument that a Send carried."""
        values, topology = self._values, self._topology
        changed = [key for key, data in self._before.items() if _bytes(topology, key, values[key]) != data]
        if self._argument is not None and not _is_as_stored(topology, self._argument):
            changed.append(ARGUMENT)
        return changed


def _is_as_stored(topology: Topology, argument: Argument) -> bool:
    try:
        return argument.data is None or _encoded(topology, argument) == argument.data
    except UnstorableValueError:
        return False


def _encoded(topology: Topology, argument: Argument) -> bytes:
    return topology.argument.encode(stored_part(topology, argument.value))


def _bytes(topology: Topology, key: str, value: object) -> bytes | None:
    codec = topology.codecs.get(key)
    if codec is None:
        return None
    try:
        return codec.value.encode(value)
    except UnstorableValueError:
        # It was stored or is about to be: only a change in place can have made it so.
        return b""
