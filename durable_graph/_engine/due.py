"""Interrupts that time answers: the end of a sleep, and the default answer of an interrupt whose time is over."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from durable_graph._engine.header import microseconds_of
from durable_graph._engine.questions import asked_at_once
from durable_graph._engine.task import (
    Answer,
    Failed,
    Outcome,
    PendingInterrupt,
    answers_of,
    interrupts_of,
    open_interrupts,
)

Recorded = Mapping[tuple[int, int], Outcome]


def next_due(outcomes: Iterable[Outcome]) -> int:
    """The time at which the first of these tasks continues by itself, in microseconds since 1970; 0 if none does.

    It is the end of a sleep, the time-out of an interrupt, or the time of the next attempt at a failed task.
    """
    times = [at for outcome in outcomes for at in _times(outcome)]
    return min(times, default=0)


def _times(outcome: Outcome) -> Iterable[int]:
    if isinstance(outcome, Failed):
        return () if outcome.retry_at is None else (outcome.retry_at,)
    return (microseconds_of(due) for ask in open_interrupts(outcome) if (due := ask.interrupt.due) is not None)


def awoken(recorded: Recorded, now: datetime, nothing: bytes) -> dict[tuple[int, int], Outcome]:
    """The outcomes, in which sleeps that are over count as answered. `nothing` is None as it is stored.

    Nothing is recorded for that: what was due once stays due.
    """
    return {key: _awoken(outcome, now, nothing) for key, outcome in recorded.items()}


def _awoken(outcome: Outcome, now: datetime, nothing: bytes) -> Outcome:
    over = [ask for ask in open_interrupts(outcome) if ask.interrupt.is_sleep and _is_due(ask, now)]
    if not over:
        return outcome
    ids = [ask.interrupt.id for ask in interrupts_of(outcome)]
    answers = (
        Answer(id_ := ask.interrupt.id, None, nothing, "sleep", ask.interrupt.key, asked_at_once(id_, ids))
        for ask in over
    )
    return msgspec.structs.replace(outcome, answers=(*answers_of(outcome), *answers))


def timed_out(recorded: Recorded, now: datetime) -> dict[str, Any]:
    """The default answers, by id, of the open interrupts whose time is over."""
    asks = (ask for outcome in recorded.values() for ask in open_interrupts(outcome))
    return {ask.interrupt.id: ask.interrupt.default for ask in asks if not ask.interrupt.is_sleep and _is_due(ask, now)}


def awaited(outcomes: Iterable[Outcome]) -> list[PendingInterrupt]:
    """The open interrupts of these tasks that wait for messages."""
    asks = (ask for outcome in outcomes for ask in open_interrupts(outcome))
    return [ask for ask in asks if ask.interrupt.topic is not None]


def topics_of(outcomes: Iterable[Outcome]) -> frozenset[str]:
    """The topics of the messages that these tasks wait for."""
    return frozenset(ask.interrupt.topic or "" for ask in awaited(outcomes))


def unanswered(outcomes: Iterable[Outcome]) -> list[str]:
    """The ids of the open interrupts of these tasks that wait for answers."""
    asks = (ask.interrupt for outcome in outcomes for ask in open_interrupts(outcome))
    return [ask.id for ask in asks if ask.topic is None and not ask.is_sleep]


def _is_due(ask: PendingInterrupt, now: datetime) -> bool:
    return ask.interrupt.due is not None and ask.interrupt.due <= now
