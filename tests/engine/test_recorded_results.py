"""A task's record, read back as the outcome that it was."""

import msgspec
import pytest

from durable_graph._engine.header import decode_result, encode_result
from durable_graph._engine.task import Done, Failed, Outcome, Route, RoutingOpen, Task, Write
from durable_graph.errors import DecodeError
from durable_graph.records import Rank
from tests.engine.graphs import diamond

TASK = Task(node="a", born=3, ord=1)
WRITES = (Write("log", ["a"], diamond().codecs["log"].update.encode(["a"])),)


@pytest.mark.parametrize(
    "outcome",
    [
        Done(TASK, 2, WRITES, (Route("b"),)),
        RoutingOpen(TASK, 2, WRITES, "ValueError: no way"),
        Failed(TASK, 2, "ValueError: no"),
    ],
    ids=["done", "routing open", "failed"],
)
def test_an_outcome_comes_back_as_it_was_recorded(outcome: Outcome) -> None:
    rank, data = encode_result(outcome)

    assert decode_result(diamond(), TASK, rank, 2, data) == outcome


def test_a_task_that_waits_for_an_answer_is_not_read_as_done() -> None:
    _, data = encode_result(Done(TASK, 1, WRITES, ()))

    with pytest.raises(DecodeError, match="waits for an answer"):
        decode_result(diamond(), TASK, Rank.INTERRUPTED, 1, data)


def test_a_record_that_another_version_wrote_is_an_error() -> None:
    with pytest.raises(DecodeError, match="a task's record"):
        decode_result(diamond(), TASK, Rank.DONE, 1, msgspec.msgpack.encode({"node": "a"}))
