"""What is known of a process from outside, one line at a time: it is there when the process is gone."""

from typing import Any

import msgspec

from durable_graph import CheckpointCommitted, RunInterrupted, TaskFinished, TaskInterrupted
from durable_graph._runtime.events.model import AnyEvent
from tests.crash.engine.reporting import Report


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that code in a process said, that the process told its client as being durable, or was told by it.

    `is_input`: it was given an input, when the thread's newest checkpoint was `head`.
    """

    report: Report | None = None
    tasks: tuple[str, ...] = ()
    checkpoints: tuple[tuple[str, str], ...] = ()
    questions: dict[str, Any] = {}
    is_input: bool = False
    head: str | None = None


def log_line_of(event: AnyEvent) -> LogLine:
    """What an event says that is durable."""
    match event:
        case TaskFinished(provisional=False):
            return LogLine(tasks=(event.task_id,))
        case CheckpointCommitted(provisional=False, checkpoint_id=str(told)):
            return LogLine(checkpoints=(("|".join(event.ns), told),))
        case RunInterrupted(provisional=False) | TaskInterrupted(provisional=False):
            return LogLine(questions={each.id: each.value for each in event.interrupts})
    return LogLine()
