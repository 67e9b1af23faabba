"""What unwinds a node that has not failed. None is an `Exception`: a node's `except Exception` must not swallow it."""

from collections.abc import Iterable
from typing import Any

from durable_graph.graph import Command, Interrupt


class GraphBubbleUp(BaseException):
    """A node ends here, and the run goes on or stops as the kind says."""


class GraphInterrupt(GraphBubbleUp):
    """The run needs answers to `interrupts`, or is stopped before a node if there are none."""

    def __init__(self, interrupts: Iterable[Interrupt] = ()) -> None:
        self.interrupts: tuple[Interrupt, ...] = tuple(interrupts)
        super().__init__(self.interrupts)


class ParentCommand(GraphBubbleUp):
    """A nested run hands a `Command` to the graph that runs it."""

    def __init__(self, command: Command[Any]) -> None:
        self.command: Command[Any] = command
        super().__init__(command)


class Draining(GraphBubbleUp):
    """The run, or one nested in it, stops before its next superstep, because the whole run was asked to."""


def unwrapped(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a user's own task group raised, if it was nothing but control flow: as if raised without the group."""
    found = list(_leaves(group))
    asked = [error for error in found if isinstance(error, GraphInterrupt)]
    if len(asked) == len(found):
        return GraphInterrupt(interrupt for error in asked for interrupt in error.interrupts)
    if len(found) == 1 and isinstance(found[0], GraphBubbleUp):
        return found[0]
    if any(isinstance(error, Draining) for error in found) and all(isinstance(e, GraphBubbleUp) for e in found):
        return Draining()
    rest = group.split(GraphBubbleUp)[1]
    return rest if rest is not None else group


def _leaves(error: BaseException) -> Iterable[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
