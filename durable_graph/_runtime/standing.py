"""Which answer stands: what the records of a thread say of a question that is not open any more."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from durable_graph._engine.answering import chosen_answers, names_questions
from durable_graph._engine.header import questions_in
from durable_graph._engine.state import State
from durable_graph._engine.task import Outcome
from durable_graph._runtime.pieces import in_pieces
from durable_graph._runtime.session import Session
from durable_graph.checkpointing.integrity import verified_records
from durable_graph.errors import (
    DurableGraphError,
    InterruptAnsweredError,
    NothingToResumeError,
    UnknownInterruptError,
)
from durable_graph.records import TaskRecord


async def by_id(
    session: Session, state: State, recorded: Mapping[tuple[int, int], Outcome], resume: Any
) -> dict[str, Any]:
    """What `Command(resume=resume)` answers on the thread as it was read, by interrupt id.

    From then on the ids hold: an answer that was meant for the question that was open does not reach the next one.

    Raises as `answers_by_id`; `InterruptAnsweredError` also where the thread has gone on since the answer, or ended.
    """
    thread = session.run.thread_id or ""
    try:
        return chosen_answers(thread, state.plan, recorded, resume)
    except (NothingToResumeError, UnknownInterruptError) as error:
        raise await error_for(session, resume, error) from None


async def error_for(session: Session, resume: Any, error: DurableGraphError) -> DurableGraphError:
    """What to tell a caller whose answer came too late: `InterruptAnsweredError` if its question was answered.

    Otherwise `error`, with what else the thread's records say.
    """
    journal = session.shared.journal
    assert journal is not None  # noqa: S101  # there is a thread
    found = await journal.saver.load_records(journal.thread.thread, "")
    if found is None or found.thread.incarnation != journal.thread.incarnation:
        return error
    questions = [_Questions.of(record) for record in await in_pieces(verified_records(found))]
    ids = tuple(resume) if names_questions(resume) else _last_asked(questions)
    answers = {id_: given for id_ in ids for each in questions if (given := each.answers.get(id_)) is not None}
    if answers:
        values = {id_: session.topology.argument.decode(data) for id_, data in answers.items()}
        first = next(iter(values))
        return InterruptAnsweredError(found.thread.thread, first, values[first], answers=values)
    is_pruned = found.thread.floor > 0
    match error:
        case UnknownInterruptError():
            is_superseded = any(error.id in each.asked for each in questions)
            return UnknownInterruptError(
                error.thread_id,
                error.id,
                open_ids=error.open_ids,
                is_superseded=is_superseded,
                is_pruned=is_pruned and not is_superseded,
            )
        case NothingToResumeError() if is_pruned:
            why = f"{error.why}; the questions of older checkpoints were pruned"
            return NothingToResumeError(error.thread_id, why)
    return error


class _Questions(msgspec.Struct, frozen=True):
    """What a task asked when it last ran, and the answers that it was given since it began, in their order."""

    born: int
    asked: tuple[str, ...]
    answers: Mapping[str, bytes]

    @classmethod
    def of(cls, record: TaskRecord) -> "_Questions":
        return cls(record.born, *questions_in(record.value))


def _last_asked(questions: Iterable[_Questions]) -> tuple[str, ...]:
    """The question that the thread asked last, as far as its records say: what an answer without an id can mean."""
    last = max((each for each in questions if each.asked or each.answers), key=lambda each: each.born, default=None)
    if last is None:
        return ()
    was_left_open = [id_ for id_ in last.asked if id_ not in last.answers]
    return tuple(was_left_open or last.answers)[-1:]
