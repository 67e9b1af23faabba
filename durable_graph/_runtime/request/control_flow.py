"""Control flow that unwinds a node without a failure. A node's `except Exception` must not catch these classes."""

from collections.abc import Iterable

from durable_graph.graph import Command, Interrupt


class GraphBubbleUp(BaseException):
    """Unwinds a node; the subclass says whether the run stops or continues."""


class GraphInterrupt(GraphBubbleUp):
    """The run needs answers to `interrupts`, or stops at a breakpoint if there are none."""

    def __init__(self, interrupts: Iterable[Interrupt] = ()) -> None:
        self.interrupts: tuple[Interrupt, ...] = tuple(interrupts)
        super().__init__(self.interrupts)


class ParentCommand(GraphBubbleUp):
    """A nested run passes a `Command` to the graph that called it."""

    def __init__(self, command: Command) -> None:
        self.command: Command = command
        super().__init__(command)


class Draining(GraphBubbleUp):
    """The run, or a nested run, stops before its next superstep, because the whole run is drained."""


def unwrapped(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The control flow in the exception group of a user's own task group, as if raised without the group. If the group
    has failures, those without the control flow."""
    found = list(_leaves(group))
    interrupts = [error for error in found if isinstance(error, GraphInterrupt)]
    if len(interrupts) == len(found):
        return GraphInterrupt(interrupt for error in interrupts for interrupt in error.interrupts)
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
