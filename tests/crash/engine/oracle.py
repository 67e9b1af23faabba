"""The promises, and the violations of a survival: every violation is a sentence. An empty list means success."""

from collections.abc import Iterator
from itertools import pairwise

from durable_graph import Durability
from tests.crash.engine.stored_thread import Stored
from tests.crash.engine.survival import Life, Survival


def violations(undisturbed: Survival, survived: Survival, mode: Durability) -> list[str]:
    """The differences from the undisturbed run, and the broken promises of each life."""
    return [*_of_the_end(undisturbed, survived), *_of_every_life(undisturbed, survived, mode)]


def _of_the_end(undisturbed: Survival, survived: Survival) -> Iterator[str]:
    wanted, got = undisturbed.found[-1], survived.found[-1]
    if not got.is_finished:
        yield "the run did not reach its end"
    if got.state != wanted.state:
        yield f"the final state differs: {got.state} instead of {wanted.state}"
    numbers, wanted_numbers = _numbers(got), _numbers(wanted)
    if numbers != wanted_numbers:
        yield f"checkpoints are missing, doubled or elsewhere: {numbers} instead of {wanted_numbers}"
    elif got.checkpoints != wanted.checkpoints:
        yield "a checkpoint holds another plan or another step"
    if got.values != wanted.values:
        yield "the bytes of the state differ"
    if got.records != wanted.records:
        yield "the task records differ"
    ran = {task for life in survived.lives for task in life.started}
    planned = set(undisturbed.lives[0].started)
    if ran - planned:
        yield f"{len(ran - planned)} tasks ran that the undisturbed run does not have"
    if planned - ran:
        yield f"{len(planned - ran)} tasks never ran"


def _of_every_life(undisturbed: Survival, survived: Survival, mode: Durability) -> Iterator[str]:
    end = undisturbed.found[-1]
    for life, (before, after) in zip(survived.lives, pairwise(survived.found), strict=True):
        again = before.recorded & set(life.started)
        if again:
            yield f"{len(again)} tasks ran again although their result was recorded"
        if len(life.started) != len(set(life.started)):
            yield "a task ran twice in one process"
        if life.started and not after.exists:
            yield "nodes ran before the input was accepted"
        if before.recorded - after.recorded:
            yield f"{len(before.recorded - after.recorded)} recorded results are lost"
        if after.checkpoints != end.checkpoints[: len(after.checkpoints)]:
            yield "after the crash the store had checkpoints that the undisturbed run does not have"
        yield from _of_reports(life, after, mode)


def _of_reports(life: Life, after: Stored, mode: Durability) -> Iterator[str]:
    if life.reported_tasks - after.recorded:
        yield f"{len(life.reported_tasks - after.recorded)} tasks were reported as finished and were not recorded"
    if life.reported_checkpoints - after.checkpoint_ids:
        yield f"{len(life.reported_checkpoints - after.checkpoint_ids)} checkpoints were reported and not committed"
    if mode == "sync" and life.crashed and life.point is not None and life.point.moment != "after" and life.late:
        yield f"{len(life.late)} nodes were started although the store could not be written"


def _numbers(stored: Stored) -> list[tuple[int, int]]:
    return [(checkpoint[0], checkpoint[1]) for checkpoint in stored.checkpoints]


def unrecorded(survived: Survival) -> list[str]:
    """Violations by results that were held back. For the mode "sync", and a store whose calls take no turn of the loop.

    There nodes end one by one, so only the node whose record was being sent when the process died may lack it.
    """
    lives = zip(survived.lives, survived.found[1:], strict=True)
    kept_back = [len(set(life.ended) - after.recorded) for life, after in lives]
    return [f"{number} tasks had ended and were not recorded" for number in kept_back if number > 1]
