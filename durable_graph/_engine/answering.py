"""Matching answers to interrupts, and the records with the answers."""

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
    """The answers of `Command(resume=resume)` by interrupt id, given the pending interrupts and the answers so far.

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
    # An answer without an id is a person's: it ends no sleep, and is no message.
    ids = [ask.interrupt.id for ask in open_ if ask.interrupt.is_question]
    if len(ids) == 1:
        return {ids[0]: resume}
    if ids:
        why = f"{len(ids)} questions are open, and one answer was given"
        raise AmbiguousResumeError(thread, why, open_ids=ids)
    if given:
        # The last answer is the newest: a task keeps its answers in order.
        id_, value = list(given.items())[-1]
        raise InterruptAnsweredError(thread, id_, value, answers=given)
    why = "no question is open; if tasks are left to run, resume the thread with None"
    raise NothingToResumeError(thread, why)


def names_questions(resume: object) -> TypeGuard[dict[str, Any]]:
    """Whether the answer is a dict of answers by interrupt id."""
    return isinstance(resume, dict) and all(_is_id(key) for key in resume)


def _is_id(key: object) -> bool:
    return isinstance(key, str) and len(key) == ID_DIGITS and all(digit in "0123456789abcdef" for digit in key)


def chosen_answers(
    thread: str, plan: Sequence[Task], recorded: Mapping[tuple[int, int], Outcome], resume: Any
) -> dict[str, Any]:
    """The answers of `Command(resume=resume)` to interrupts of these tasks, by id. Raises as `answers_by_id`."""
    outcomes = [outcome for task in plan if (outcome := recorded.get(task.key)) is not None]
    open_ = [ask for outcome in outcomes for ask in open_interrupts(outcome)]
    given = {each.id: each.value for outcome in outcomes for each in answers_of(outcome)}
    return answers_by_id(thread, resume, open_, given)


def on_new_line(
    resume: dict[str, Any],
    old: tuple[Sequence[Task], Mapping[tuple[int, int], Outcome]],
    new: tuple[Sequence[Task], Mapping[tuple[int, int], Outcome]],
) -> dict[str, Any]:
    """Answers to interrupts of an older checkpoint, under the ids that the same interrupts have on a new branch.

    An interrupt of the new branch is the same if it has the same key, or without a key the same value; order decides
    among equals. An answer without an interrupt on the new branch keeps its id, which is unknown there.
    """
    ids: dict[str, str] = {}
    # The new branch may have continued to other tasks.
    for before, after in zip(old[0], new[0], strict=False):
        pending, pending_anew = open_interrupts(old[1].get(before.key)), list(open_interrupts(new[1].get(after.key)))
        for ask in pending:
            found = next((other for other in pending_anew if _is_same_question(ask, other)), None)
            if found is not None:
                pending_anew.remove(found)
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
    """The outcomes of the answered tasks, with the answers of `Command(resume=resume)`. Raises as `answers_by_id`."""
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
