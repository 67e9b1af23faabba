"""Log records for operators, with facts as fields."""

import logging
import operator
from typing import Annotated, TypedDict

import pytest

from durable_graph import START, Checkpointer, StateGraph


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


async def test_the_error_of_a_node_is_a_short_line_of_the_log(
    saver: Checkpointer, caplog: pytest.LogCaptureFixture
) -> None:
    async def node(state: State) -> None:
        raise ValueError("x" * 100_000)

    graph = StateGraph(State).add_node("call", node).add_edge(START, "call").compile(saver)
    with pytest.raises(ValueError, match="xxx"):
        await graph.ainvoke(State(), thread_id="t")
    (message,) = [record.getMessage() for record in caplog.records if "failed in superstep" in record.getMessage()]
    assert "ValueError('xxx" in message
    assert len(message) < 500


async def test_failures_resumes_and_superseded_tasks_are_logged_with_thread_and_node(
    saver: Checkpointer, caplog: pytest.LogCaptureFixture
) -> None:
    failing = True

    async def node(state: State) -> None:
        if failing:
            raise ConnectionError("no line")

    builder = StateGraph(State)
    builder.add_node("call", node)
    builder.add_edge(START, "call")
    graph = builder.compile(saver)
    caplog.set_level(logging.INFO, "durable_graph")
    for given in (State(), None, State()):
        with pytest.raises(ConnectionError):
            await graph.ainvoke(given, thread_id="t")

    failed = [record for record in caplog.records if "failed in superstep" in record.getMessage()]
    assert [(vars(record)["thread_id"], vars(record)["node"], vars(record)["attempt"]) for record in failed] == [
        ("t", "call", 1),
        ("t", "call", 2),
        ("t", "call", 1),
    ]
    assert {record.levelname for record in failed} == {"WARNING"}
    messages = [record.getMessage() for record in caplog.records]
    assert any("thread t resumes from checkpoint" in message for message in messages)
    assert any("new input supersedes ['call']" in message for message in messages)
