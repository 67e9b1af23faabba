"""The engine's own stored data: a checkpoint's header and a task's record, in a compact encoding."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from durable_graph._engine.admit import Superseded
from durable_graph._engine.task import (
    Answer,
    Argument,
    Delayed,
    Done,
    Failed,
    Handling,
    Interrupted,
    Limits,
    Outcome,
    PastInterrupt,
    PendingInterrupt,
    Route,
    RoutingOpen,
    Task,
    Unreadable,
    Write,
)
from durable_graph.checkpointing.pieces import Pace, Pieces
from durable_graph.errors import DecodeError, ValueTooLargeError
from durable_graph.graph import UNSET, Interrupt, Topology
from durable_graph.records import Rank

RECORD_COST = 1024
"""The fixed cost of decoding a record, as a number of bytes."""

Metadata = dict[str, str | int | float | bool | None]


class PlanEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task as stored. `ago` is the number of this checkpoint minus that of the one that first planned the task."""

    node: str
    ago: int
    ord: int
    argument: bytes | None = None
    limits: Limits | None = None


class DelayedEntry(PlanEntry, frozen=True, array_like=True, gc=False):
    """A task that does not begin before a time: `due`, in microseconds since 1970. Entries of other tasks end before
    it."""

    due: int = 0


class Header(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`source` is "input", "loop", "fork" or "update"; `writers` are the nodes whose writes made this checkpoint.

    In the namespace of a nested run, `caller` is the id of the call, and `graph` the graph's name.
    """

    step: int
    source: str
    plan: tuple[PlanEntry, ...]
    writers: tuple[str, ...]
    superseded: tuple[Superseded, ...] = ()
    metadata: Metadata = msgspec.field(default_factory=dict)
    caller: str = ""
    graph: str = ""


class DecodedHeader(Header, frozen=True, array_like=True, gc=False):
    """A header as it is read: each entry of the plan has a `due`, which is 0 where the stored entry has none."""

    plan: tuple[DelayedEntry, ...]


class RecordedWrite(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A write as stored."""

    channel: str
    value: bytes
    is_overwrite: bool = False


class RecordedRoute(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A route as stored. `argument` is None unless it is a Send."""

    node: str
    argument: bytes | None = None
    limits: Limits | None = None


class DelayedRoute(RecordedRoute, frozen=True, array_like=True, gc=False):
    """A route to a task that does not begin before `due`. Other routes are stored without it."""

    due: int = 0


class RecordedAsk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An interrupt as stored. `due` is in microseconds since 1970 (0: never), `default` its default answer,
    `topic` the topic of the message that it waits for."""

    id: str
    value: bytes
    key: str | None = None
    due: int = 0
    default: bytes | None = None
    topic: str | None = None


class RecordedAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An answer as stored."""

    id: str
    value: bytes
    question: str = ""
    key: str | None = None
    beside: int = 1
    is_claimed: bool = False


class Recorded(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task's record. Fields that its kind of outcome does not use have their defaults.

    `asks` are the interrupts of the last attempt, `asked` the interrupts that only earlier attempts raised.
    """

    node: str
    writes: tuple[RecordedWrite, ...] = ()
    routes: tuple[RecordedRoute, ...] = ()
    error: str | None = None
    attempt: int = 1
    is_handled: bool = False
    asks: tuple[RecordedAsk, ...] = ()
    answers: tuple[RecordedAnswer, ...] = ()
    tries: int = 0
    retry_at: int | None = None
    asked: tuple[RecordedAsk, ...] = ()


class DecodedRecord(Recorded, frozen=True, array_like=True, gc=False):
    """A task's record as it is read: each route has a `due`, which is 0 where the stored route has none."""

    routes: tuple[DelayedRoute, ...] = ()


_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_HEADER = "a checkpoint's header"
BEYOND = 1 << 62
"""No valid count is this large, and sums of smaller numbers fit into 64 bits."""

_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(DecodedHeader)
_record_decoder = msgspec.msgpack.Decoder(DecodedRecord)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def encode_header(header: Header) -> bytes:
    return _encoder.encode(header)


def decode_header(data: bytes) -> DecodedHeader:
    """Raises `DecodeError`. The digest was checked before, so another version wrote such a header, or it is forged."""
    header: DecodedHeader = _decoded(_header_decoder, data, _HEADER)
    if not -1 <= header.step < BEYOND:
        raise DecodeError(_HEADER, f"{header.step} is not the number of a superstep")
    return header


def encode_plan(plan: tuple[Task, ...], no: int) -> tuple[PlanEntry, ...]:
    entries: list[PlanEntry] = []
    for task in plan:  # no comprehension: that is one more Python call in each superstep
        data = None if task.argument is None else task.argument.data
        if task.due:
            entries.append(DelayedEntry(task.node, no - task.born, task.ord, data, task.limits, task.due))
        else:
            entries.append(PlanEntry(task.node, no - task.born, task.ord, data, task.limits))
    return tuple(entries)


def decode_plan(
    topology: Topology, entries: tuple[DelayedEntry, ...], no: int, max_value_bytes: int
) -> Pieces[tuple[Task, ...]]:
    """Raises `DecodeError`, and `ValueTooLargeError` for an argument above the limit."""
    pace = Pace()
    plan: list[Task] = []
    for entry in entries:
        size = len(entry.argument or b"")
        if size > max_value_bytes:
            raise ValueTooLargeError(channel="the argument of a Send", size=size, limit=max_value_bytes, is_stored=True)
        if not (0 <= entry.ago < no and 0 <= entry.ord < BEYOND):
            raise DecodeError(_HEADER, f"task {entry.ord} of {entry.ago} checkpoints before {no} cannot exist")
        argument, due = _argument(topology, entry.argument), _checked(entry.due, _HEADER)
        plan.append(Task(entry.node, no - entry.ago, entry.ord, argument, entry.limits, due))
        if pace.is_due(RECORD_COST + size):
            yield
    return tuple(plan)


def encode_result(outcome: Outcome) -> tuple[Rank, bytes]:
    """The rank and the encoded record of an outcome."""
    node, attempt, answers = outcome.task.node, outcome.attempt, _answered(outcome.answers)
    match outcome:
        case Done():
            writes, routes = encode_writes(outcome.writes), encode_routes(outcome.routes)
            record = Recorded(node, writes, routes, None, attempt, outcome.is_handled, (), answers)
        case RoutingOpen():
            writes, routes, asks = encode_writes(outcome.writes), encode_routes(outcome.routes), _asked(outcome.asks)
            record = Recorded(
                node, writes, routes, outcome.error, attempt, outcome.is_handled, asks, answers, outcome.tries
            )
        case Handling():
            record = Recorded(
                node,
                error=outcome.error,
                attempt=attempt,
                asks=_asked(outcome.asks),
                answers=answers,
                tries=outcome.tries,
            )
        case Interrupted():
            record = Recorded(node, attempt=attempt, asks=_asked(outcome.asks), answers=answers)
        case Failed():
            record = Recorded(
                node,
                error=outcome.error,
                attempt=attempt,
                answers=answers,
                tries=outcome.tries,
                retry_at=outcome.retry_at,
            )
        case Unreadable():
            message = "an unreadable outcome is recorded already"
            raise AssertionError(message)
    if outcome.asked:
        asked = tuple(RecordedAsk(each.id, each.data, each.key, microseconds_of(each.due)) for each in outcome.asked)
        record = msgspec.structs.replace(record, asked=asked)
    return rank_of(outcome), _encoder.encode(record)


_RANKS: Mapping[type[Outcome], Rank] = {
    Done: Rank.DONE,
    RoutingOpen: Rank.ROUTING_OPEN,
    Handling: Rank.HANDLING,
    Interrupted: Rank.INTERRUPTED,
    Delayed: Rank.INTERRUPTED,
    Failed: Rank.FAILED,
}


def rank_of(outcome: Outcome) -> Rank:
    """The rank that the outcome is recorded with. Raises `KeyError` for `Unreadable`, whose rank is not known."""
    return _RANKS[type(outcome)]


def decode_result(topology: Topology, task: Task, rank: Rank, revision: int, data: bytes) -> Outcome:
    """The outcome of `task` as it was recorded. Raises `DecodeError`."""
    record = _record(data)
    outcome = _decoded_result(topology, task, rank, revision, record)
    if not record.asked:
        return outcome
    return msgspec.structs.replace(
        outcome, asked=tuple(PastInterrupt(each.id, each.value, each.key, _moment(each.due)) for each in record.asked)
    )


def _decoded_result(topology: Topology, task: Task, rank: Rank, revision: int, record: DecodedRecord) -> Outcome:
    attempt, error, answers = record.attempt, record.error, _answers(topology, record.answers)
    match rank:
        case Rank.DONE:
            writes, routes = decode_writes(topology, record.writes), decode_routes(topology, record.routes)
            return Done(task, attempt, writes, routes, record.is_handled, answers, revision)
        case Rank.ROUTING_OPEN:
            writes, routes = decode_writes(topology, record.writes), decode_routes(topology, record.routes)
            asks = _asks(topology, record.asks)
            return RoutingOpen(
                task, attempt, writes, error, routes, asks, answers, record.is_handled, revision, record.tries
            )
        case Rank.HANDLING:
            return Handling(task, attempt, error or "", answers, revision, _asks(topology, record.asks), record.tries)
        case Rank.INTERRUPTED:
            return Interrupted(task, attempt, _asks(topology, record.asks), answers, revision)
        case Rank.FAILED:
            return Failed(task, attempt, error or "", record.tries, record.retry_at, answers, revision)


def check_parts(data: bytes, max_value_bytes: int) -> None:
    """Raises `ValueTooLargeError` if a value in a task's record is above the limit, `DecodeError` for an invalid
    record."""
    record = _record(data)
    parts = [
        *((f"channel {write.channel!r}", write.value) for write in record.writes),
        *(("the argument of a Send", route.argument or b"") for route in record.routes),
        *(("the value of an interrupt", ask.value) for ask in (*record.asks, *record.asked)),
        *(("the answer to an interrupt", each.value) for each in record.answers),
        *(("the default answer of an interrupt", ask.default or b"") for ask in record.asks),
    ]
    for where, value in parts:
        if len(value) > max_value_bytes:
            raise ValueTooLargeError(channel=where, size=len(value), limit=max_value_bytes, is_stored=True)


def questions_in(data: bytes) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """The ids of the last attempt's interrupts in a task's record, and its encoded answers by id. Raises
    `DecodeError`."""
    record = _record(data)
    return tuple(ask.id for ask in record.asks), {each.id: each.value for each in record.answers}


def open_asks_in(data: bytes) -> tuple[str, tuple[RecordedAsk, ...]]:
    """The node of a task's record, and the last attempt's interrupts without an answer, whose values are not decoded.
    Raises `DecodeError`."""
    record = _record(data)
    answered = {each.id for each in record.answers}
    return record.node, tuple(ask for ask in record.asks if ask.id not in answered)


_RECORD = "a task's record"


def _decoded(decoder: "msgspec.msgpack.Decoder[Any]", data: bytes, what: str) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(what, str(error)) from error


def _record(data: bytes) -> DecodedRecord:
    record: DecodedRecord = _decoded(_record_decoder, data, _RECORD)
    if not (0 <= record.attempt < BEYOND and 0 <= record.tries < BEYOND):
        raise DecodeError(_RECORD, f"{record.attempt} attempts and {record.tries} tries are not valid")
    return record


def decode_writes(topology: Topology, writes: tuple[RecordedWrite, ...]) -> tuple[Write, ...]:
    return tuple(_write(topology, write) for write in writes)


def decode_routes(topology: Topology, routes: tuple[DelayedRoute, ...]) -> tuple[Route, ...]:
    return tuple(
        Route(route.node, _argument(topology, route.argument), route.limits, _checked(route.due, _RECORD))
        for route in routes
    )


def _checked(due: int, where: str) -> int:
    """The time in microseconds since 1970. Raises `DecodeError` if no calendar has it."""
    if not 0 <= due <= _LATEST:
        raise DecodeError(where, f"{due} is no time")
    return due


def encode_writes(writes: tuple[Write, ...]) -> tuple[RecordedWrite, ...]:
    # A write has no bytes if its channel is not stored.
    return tuple(
        RecordedWrite(write.channel, write.data, write.is_overwrite) for write in writes if write.data is not None
    )


def encode_routes(routes: tuple[Route, ...]) -> tuple[RecordedRoute, ...]:
    return tuple(
        DelayedRoute(route.node, _data(route.argument), route.limits, route.due)
        if route.due
        else RecordedRoute(route.node, _data(route.argument), route.limits)
        for route in routes
    )


def _asked(asks: tuple[PendingInterrupt, ...]) -> tuple[RecordedAsk, ...]:
    return tuple(
        RecordedAsk(each.id, ask.data, each.key, microseconds_of(each.due), ask.default, each.topic)
        for ask in asks
        if ask.data is not None and (each := ask.interrupt)
    )


def _answered(answers: tuple[Answer, ...]) -> tuple[RecordedAnswer, ...]:
    return tuple(
        RecordedAnswer(each.id, each.data, each.question, each.key, each.beside, each.is_claimed)
        for each in answers
        if each.data is not None
    )


def _asks(topology: Topology, asks: tuple[RecordedAsk, ...]) -> tuple[PendingInterrupt, ...]:
    return tuple(_ask(topology, ask) for ask in asks)


def _ask(topology: Topology, ask: RecordedAsk) -> PendingInterrupt:
    decode = topology.argument.decode
    default = UNSET if ask.default is None else decode(ask.default)
    return PendingInterrupt(
        Interrupt(decode(ask.value), ask.id, ask.key, _moment(ask.due), default, ask.topic), ask.value, ask.default
    )


def microseconds_of(moment: datetime | None) -> int:
    """The time in microseconds since 1970, 0 for None."""
    return 0 if moment is None else (moment - _EPOCH) // _MICROSECOND


def moment_of(at: int) -> datetime:
    """The time of so many microseconds since 1970."""
    return _EPOCH + at * _MICROSECOND


def _moment(at: int) -> datetime | None:
    try:
        return moment_of(at) if at else None
    except OverflowError as error:
        raise DecodeError(_RECORD, f"{at} is no time") from error


def _answers(topology: Topology, answers: tuple[RecordedAnswer, ...]) -> tuple[Answer, ...]:
    return tuple(
        Answer(
            each.id,
            topology.argument.decode(each.value),
            each.value,
            each.question,
            each.key,
            each.beside,
            each.is_claimed,
        )
        for each in answers
    )


def _write(topology: Topology, write: RecordedWrite) -> Write:
    codec = topology.codecs.get(write.channel)
    if codec is None:
        why = f"it writes to {write.channel!r}, which this graph does not store"
        raise DecodeError(_RECORD, why)
    value = codec.value.decode(write.value) if write.is_overwrite else codec.update.decode(write.value)
    return Write(write.channel, value, write.value, write.is_overwrite)


def _data(argument: Argument | None) -> bytes | None:
    return argument.data if argument is not None else None


def _argument(topology: Topology, data: bytes | None) -> Argument | None:
    return None if data is None else Argument(topology.argument.decode(data), data)
