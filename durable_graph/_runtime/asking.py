"""`interrupt`: a question that the run waits for an answer to, over restarts if need be."""

from typing import Any

from durable_graph._engine.task import interrupt_id
from durable_graph._runtime.lengths import copy_of
from durable_graph._runtime.session import scope_of
from durable_graph._runtime.unwinding import GraphInterrupt
from durable_graph.errors import MissingCheckpointerError
from durable_graph.graph import Interrupt


def interrupt(value: Any) -> Any:
    """The answer to `value`, once there is one; until then the node ends here and the run waits.

    Call it in a node, a router, a task or a nested graph. `ainvoke` then returns with the open questions under
    `__interrupt__`, and `Command(resume=answer)` goes on: the node runs again from its start, and this call returns the
    answer. The n-th call of a node gets the answer to its n-th question, so it has to ask in the same order again.

    What unwinds the node is no `Exception`, and where the node catches it all the same and returns, the question is
    asked nevertheless. Raises `OutsideOfRunError` and, where nothing could keep the question,
    `MissingCheckpointerError`.
    """
    scope = scope_of("interrupt()")
    journal = scope.session.shared.journal
    if journal is None:
        what = "interrupt()"
        raise MissingCheckpointerError(what)
    id_ = interrupt_id(journal.thread.origin, scope.ns, scope.phase, scope.asked)
    scope.asked += 1
    if id_ in scope.answers:
        # A copy, for a node that changes it and is tried again.
        return copy_of(scope.answers[id_])
    asked = GraphInterrupt([Interrupt(value, id_)])
    scope.stopped_by.append(asked)
    raise asked
