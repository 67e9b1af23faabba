"""The log of a process, kept outside of it line by line, so that it survives the process."""

from typing import Any

import msgspec

from durable_graph import CheckpointCommitted, RunInterrupted, TaskFinished, TaskInterrupted
from durable_graph._runtime.events.model import AnyEvent
from tests.crash.engine.reporting import Report


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A report of code in a process, a durable event of the process for its client, or an input of the client.

    `is_input`: the process got an input, when the thread's newest checkpoint was `head`.
    """

    report: Report | None = None
    tasks: tuple[str, ...] = ()
    checkpoints: tuple[tuple[str, str], ...] = ()
    questions: dict[str, Any] = {}
    is_input: bool = False
    head: str | None = None


def log_line_of(event: AnyEvent) -> LogLine:
    """The durable part of an event."""
    match event:
        case TaskFinished(provisional=False):
            return LogLine(tasks=(event.task_id,))
        case CheckpointCommitted(provisional=False, checkpoint_id=str(committed)):
            return LogLine(checkpoints=(("|".join(event.ns), committed),))
        case RunInterrupted(provisional=False) | TaskInterrupted(provisional=False):
            return LogLine(questions={each.id: each.value for each in event.interrupts})
    return LogLine()
