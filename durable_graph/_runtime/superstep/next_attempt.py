"""The next attempt at a failed task: by its retry policy, then by its error handler."""

import msgspec

from durable_graph._engine.task import Failed, Handling, Outcome, Task, following
from durable_graph._runtime.task.attempt import AttemptState
from durable_graph._runtime.task.retry import retry_after
from durable_graph._runtime.task.run_context import GraphRun, TaskOutput
from durable_graph.errors import StateMutatedError
from durable_graph.graph import Node


def tried_again(run: GraphRun, task: Task, result: TaskOutput, trial: AttemptState) -> Outcome | None:
    """The outcome to record for a failed attempt if another one follows, of the node or of its error handler.

    Raises what a `retry_on` raises.
    """
    failed, error = result.outcome, result.error
    is_failure = isinstance(error, Exception) and not isinstance(error, StateMutatedError)
    if not result.is_kept or not isinstance(failed, Failed | Handling) or not is_failure:
        return None
    node = run.topology.nodes[task.node]
    if isinstance(failed, Handling):
        return failed if _is_handler_tried_again(node, error, trial) else None
    wait = retry_after(node.retry, error, failed.tries)
    if wait is not None:
        return msgspec.structs.replace(failed, retry_at=run.shared.now() + int(wait * 1_000_000))
    if node.error_handler is not None:
        trial.error = error
        handling = Handling(task, failed.attempt, failed.error, failed.answers, failed.revision)
        return following(handling, failed)
    return None


def _is_handler_tried_again(node: Node, error: BaseException | None, trial: AttemptState) -> bool:
    trial.handler_tries += 1
    wait = None if node.error_handler is None else retry_after(node.error_handler.retry, error, trial.handler_tries)
    trial.pause = wait or 0.0
    return wait is not None
