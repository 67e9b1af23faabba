"""Which question an answer is for, and the records that say that it was given."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import msgspec

from durable_graph._engine.questions import ID_DIGITS, asked_at_once
from durable_graph._engine.task import (
    Answer,
    Outcome,
    PendingInterrupt,
    Task,
    answers_of,
    interrupts_of,
    open_interrupts,
)
from durable_graph.errors import (
    AmbiguousResumeError,
    InterruptAnsweredError,
    NothingToResumeError,
    UnknownInterruptError,
)
from durable_graph.errors.shown import start_of


def answers_by_id(
    thread: str, resume: Any, open_: Sequence[PendingInterrupt], given: Mapping[str, Any]
) -> dict[str, Any]:
    """What `Command(resume=resume)` answers, given the open questions and the answers so far.

    Raises `NothingToResumeError`, `AmbiguousResumeError`, `UnknownInterruptError`, `InterruptAnsweredError`.
    """
    ids = [ask.interrupt.id for ask in open_]
    if names_questions(resume) and (resume or ids):
        if not resume:
            why = "resume={} has no answer"
            raise AmbiguousResumeError(thread, why, open_ids=ids)
        if answered := {id_: given[id_] for id_ in resume if id_ in given}:
            first = next(iter(answered))
            raise InterruptAnsweredError(thread, first, answered[first], answers=answered)
        for id_ in resume:
            if id_ not in ids:
                raise UnknownInterruptError(thread, id_, open_ids=ids)
        return dict(resume)
    if len(ids) == 1:
        return {ids[0]: resume}
    if ids:
        why = f"{len(ids)} questions are open, and one answer was given"
        raise AmbiguousResumeError(thread, why, open_ids=ids)
    if given:
        # The last one: a task keeps its answers in the order of its questions.
        id_, value = list(given.items())[-1]
        raise InterruptAnsweredError(thread, id_, value, answers=given)
    why = "no question is open; if tasks are left to run, resume the thread with None"
    raise NothingToResumeError(thread, why)


def names_questions(resume: object) -> TypeGuard[dict[str, Any]]:
    """Whether the answer is a map of them, by interrupt id."""
    return isinstance(resume, dict) and all(_is_id(key) for key in resume)


def _is_id(key: object) -> bool:
    return isinstance(key, str) and len(key) == ID_DIGITS and all(digit in "0123456789abcdef" for digit in key)


def chosen_answers(
    thread: str, plan: Sequence[Task], recorded: Mapping[tuple[int, int], Outcome], resume: Any
) -> dict[str, Any]:
    """Which questions of these tasks `Command(resume=resume)` answers, and with what. Raises as `answers_by_id`."""
    outcomes = [outcome for task in plan if (outcome := recorded.get(task.key)) is not None]
    open_ = [ask for outcome in outcomes for ask in open_interrupts(outcome)]
    given = {each.id: each.value for outcome in outcomes for each in answers_of(outcome)}
    return answers_by_id(thread, resume, open_, given)


def on_new_line(
    resume: dict[str, Any],
    old: tuple[Sequence[Task], Mapping[tuple[int, int], Outcome]],
    new: tuple[Sequence[Task], Mapping[tuple[int, int], Outcome]],
) -> dict[str, Any]:
    """Answers to questions of an older checkpoint, under the ids that the same tasks ask by on a line of their own.

    A question of the new line is the old one if it has the same name, or without one the same value; order decides
    among equals. What is not asked there keeps its id, which nobody waits for.
    """
    ids: dict[str, str] = {}
    # The new line may have got further, to tasks that are not these.
    for before, after in zip(old[0], new[0], strict=False):
        asked, asks_anew = open_interrupts(old[1].get(before.key)), list(open_interrupts(new[1].get(after.key)))
        for ask in asked:
            found = next((other for other in asks_anew if _is_same_question(ask, other)), None)
            if found is not None:
                asks_anew.remove(found)
                ids[ask.interrupt.id] = found.interrupt.id
    return {ids.get(id_, id_): value for id_, value in resume.items()}


def _is_same_question(one: PendingInterrupt, other: PendingInterrupt) -> bool:
    if one.interrupt.key is not None or other.interrupt.key is not None:
        return one.interrupt.key == other.interrupt.key
    return one.data == other.data


def answer(
    thread: str,
    plan: Sequence[Task],
    recorded: Mapping[tuple[int, int], Outcome],
    resume: Any,
    encode: Callable[[Any], bytes | None],
) -> tuple[Outcome, ...]:
    """The outcomes of the tasks that `Command(resume=resume)` answers, with the answers. Raises as `answers_by_id`."""
    chosen = chosen_answers(thread, plan, recorded, resume)
    answered = []
    for task in plan:
        outcome = recorded.get(task.key)
        if outcome is None:
            continue
        asked = interrupts_of(outcome)
        ids = [ask.interrupt.id for ask in asked]
        own = tuple(
            Answer(
                id_ := ask.interrupt.id,
                value := chosen[id_],
                encode(value),
                question=start_of(ask.interrupt.value),
                key=ask.interrupt.key,
                beside=asked_at_once(id_, ids),
            )
            for ask in asked
            if ask.interrupt.id in chosen
        )
        if own:
            answers = (*answers_of(outcome), *own)
            answered.append(msgspec.structs.replace(outcome, answers=answers, revision=outcome.revision + 1))
    return tuple(answered)
