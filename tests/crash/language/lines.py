"""What is known of a process from outside, one line at a time: it is there when the process is gone."""

from typing import Any

import msgspec

from durable_graph import CheckpointCommitted, RunInterrupted, TaskFinished, TaskInterrupted
from durable_graph._runtime.events.model import AnyEvent
from tests.crash.language.saying import Said


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that code in a process said, that the process told its client as being durable, or was told by it.

    `is_input`: it was given an input, when the thread's newest checkpoint was `head`.
    """

    said: Said | None = None
    tasks: tuple[str, ...] = ()
    checkpoints: tuple[tuple[str, str], ...] = ()
    questions: dict[str, Any] = {}
    is_input: bool = False
    head: str | None = None


def told_by(event: AnyEvent) -> Line:
    """What an event says that is durable."""
    match event:
        case TaskFinished(provisional=False):
            return Line(tasks=(event.task_id,))
        case CheckpointCommitted(provisional=False, checkpoint_id=str(told)):
            return Line(checkpoints=(("|".join(event.ns), told),))
        case RunInterrupted(provisional=False) | TaskInterrupted(provisional=False):
            return Line(questions={each.id: each.value for each in event.interrupts})
    return Line()
