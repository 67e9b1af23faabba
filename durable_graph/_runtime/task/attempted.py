"""The output of one attempt at a task."""

import msgspec

from durable_graph._engine.task import Outcome
from durable_graph.errors import ReplayMismatchError


class TaskOutput(msgspec.Struct, frozen=True):
    """The outcome of an attempt. `error` is to be raised once the outcome is recorded.

    It is a cancellation where a plain function finished in its thread after its superstep was cancelled. Of an attempt
    that contradicts what is recorded nothing is kept: it leaves the task as it was.
    """

    outcome: Outcome
    error: BaseException | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the outcome is to be recorded."""
        return not isinstance(self.error, ReplayMismatchError)
