"""The record of a task decodes to the outcome that was encoded."""

import msgspec
import pytest

from durable_graph import Interrupt
from durable_graph._engine.header import decode_result, encode_result, questions_in
from durable_graph._engine.task import (
    Answer,
    Argument,
    Done,
    Failed,
    Handling,
    Interrupted,
    Limits,
    Outcome,
    PendingInterrupt,
    Route,
    RoutingOpen,
    Task,
    Write,
)
from durable_graph.errors import DecodeError
from durable_graph.records import Rank
from tests.engine.graphs import diamond

TASK = Task(node="a", born=3, ord=1)
CODECS = diamond().codecs
ANY = diamond().argument
WRITES = (
    Write("log", ["a"], CODECS["log"].update.encode(["a"])),
    Write("log", ["b"], CODECS["log"].value.encode(["b"]), is_overwrite=True),
)
ROUTES = (Route("b"), Route("c", Argument(1, ANY.encode(1)), Limits(1.5, None, only_heartbeats=True)))
ASKS = (PendingInterrupt(Interrupt("sure?", "0" * 32), ANY.encode("sure?")),)
ANSWERS = (Answer("1" * 32, None, ANY.encode(None)),)


@pytest.mark.parametrize(
    "outcome",
    [
        Done(TASK, 2, WRITES, ROUTES, is_handled=True, answers=ANSWERS, revision=3),
        RoutingOpen(TASK, 2, WRITES, "ValueError: no way", ROUTES, ASKS, ANSWERS, revision=3),
        Handling(TASK, 2, "ValueError: no", ANSWERS, revision=3),
        Interrupted(TASK, 2, ASKS, ANSWERS, revision=3),
        Failed(TASK, 2, "ValueError: no", tries=2, retry_at=7, answers=ANSWERS, revision=3),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_an_outcome_round_trips_through_its_record(outcome: Outcome) -> None:
    rank, data = encode_result(outcome)

    assert decode_result(diamond(), TASK, rank, 3, data) == outcome
    asks = getattr(outcome, "asks", ())
    assert questions_in(data) == (
        tuple(ask.interrupt.id for ask in asks),
        {answer.id: answer.data for answer in ANSWERS},
    )


def test_a_record_in_the_format_of_another_version_is_an_error() -> None:
    with pytest.raises(DecodeError, match="a task's record"):
        decode_result(diamond(), TASK, Rank.DONE, 1, msgspec.msgpack.encode({"node": "a"}))
