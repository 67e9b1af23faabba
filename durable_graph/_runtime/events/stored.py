"""The values of the rows of an event log, as bytes. The graph encodes the values of custom events and messages."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from durable_graph._engine.header import encode_result
from durable_graph._engine.task import Done, Outcome, Unreadable, interrupts_of
from durable_graph.errors import DecodeError
from durable_graph.records import Rank, TaskRecord
from durable_graph.run_records import EventKind, EventRow

_EVENT = "an event of a run"


class StoredOutcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A copy of a task's record, which later attempts replace. `at` is in seconds since the epoch."""

    at: float
    rank: int
    revision: int
    record: bytes


class AskingTask(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A copy of the record of a task that waits, with its key."""

    born: int
    ord: int
    rank: int
    revision: int
    record: bytes


class StoredWait(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The end of an execution that waits: the tasks that ask, and the keys of those whose results are recorded."""

    at: float
    asking: tuple[AskingTask, ...] = ()
    done: tuple[tuple[int, int], ...] = ()


_encoder = msgspec.msgpack.Encoder()
_outcome_decoder = msgspec.msgpack.Decoder(StoredOutcome)
_wait_decoder = msgspec.msgpack.Decoder(StoredWait)
_time_decoder = msgspec.msgpack.Decoder(float)


def record_row(record: TaskRecord, at: float) -> EventRow:
    """The event of a task's record, without its place in the log."""
    if record.rank is Rank.DONE:
        kind, value = EventKind.RESULT, _encoder.encode(at)
    else:
        kind = EventKind.OUTCOME
        value = _encoder.encode(StoredOutcome(at, record.rank.value, record.revision, record.value))
    return EventRow(0, 0, 0, 0, kind, value, record.ns, record.born, record.ord)


def wait_row(outcomes: Mapping[tuple[int, int], Outcome], at: float) -> EventRow:
    """The event of a run that waits, with the outcomes so far of its superstep."""
    asking = tuple(_asking(outcome) for outcome in outcomes.values() if interrupts_of(outcome))
    done = tuple(key for key, outcome in outcomes.items() if isinstance(outcome, Done))
    return EventRow(0, 0, 0, 0, EventKind.WAITING, _encoder.encode(StoredWait(at, asking, done)))


def _asking(outcome: Outcome) -> AskingTask:
    rank, record = encode_result(outcome)
    return AskingTask(*outcome.task.key, rank.value, outcome.revision, record)


def outcome_row(ns: str, outcome: Outcome, at: float) -> EventRow | None:
    """The event of a recorded outcome, without its place in the log; None for a record that cannot be read."""
    if isinstance(outcome, Unreadable):
        return None
    born, order = outcome.task.key
    if isinstance(outcome, Done):
        return EventRow(0, 0, 0, 0, EventKind.RESULT, _encoder.encode(at), ns, born, order)
    rank, record = encode_result(outcome)
    value = _encoder.encode(StoredOutcome(at, rank.value, outcome.revision, record))
    return EventRow(0, 0, 0, 0, EventKind.OUTCOME, value, ns, born, order)


def rows_of_records(records: Iterable[TaskRecord], at: float) -> list[EventRow]:
    """The events of these records. Notes about calls, and answers, have none."""
    return [record_row(record, at) for record in records if record.ord >= 0]


def decoded_outcome(data: bytes) -> StoredOutcome:
    """Raises `DecodeError`."""
    stored: StoredOutcome = _decoded(_outcome_decoder, data)
    return stored


def decoded_wait(data: bytes) -> StoredWait:
    """Raises `DecodeError`."""
    stored: StoredWait = _decoded(_wait_decoder, data)
    return stored


def decoded_time(data: bytes) -> float:
    """Raises `DecodeError`."""
    at: float = _decoded(_time_decoder, data)
    return at


def _decoded(decoder: "msgspec.msgpack.Decoder[Any]", data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(_EVENT, str(error)) from error
