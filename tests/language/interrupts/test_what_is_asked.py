"""Interrupts and answers may have any storable value, which is stored with all of its keys."""

from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    StateGraph,
    UnstorableValueError,
    UntrackedValue,
    interrupt,
    task,
)
from durable_graph.errors import InvalidCallError
from tests.errors.kinds import of_kind


class State(TypedDict, total=False):
    answer: Any
    connection: Annotated[Any, UntrackedValue]


def asking(question: Any) -> StateGraph[State]:
    async def ask(state: State) -> State:
        return {"answer": interrupt(question)}

    return StateGraph(State).add_node(ask).add_edge(START, "ask")


async def test_an_unstorable_interrupt_value_fails_its_node_and_names_the_type(saver: Checkpointer) -> None:
    with pytest.raises(UnstorableValueError, match="the value of an interrupt is an object"):
        await asking(object()).compile(saver).ainvoke({}, thread_id="t")


async def test_an_unstorable_answer_is_refused_and_the_interrupt_stays_open(saver: Checkpointer) -> None:
    graph = asking("sure?").compile(saver)
    await graph.ainvoke({}, thread_id="t")

    with pytest.raises(UnstorableValueError, match=r"the answer to an interrupt\['why'\] is an object"):
        await graph.ainvoke(Command(resume={"why": object()}), thread_id="t")

    assert (await graph.ainvoke(Command(resume="yes"), thread_id="t"))["answer"] == "yes"


async def test_interrupts_and_answers_keep_keys_that_the_state_does_not_store(saver: Checkpointer) -> None:
    graph = asking({"connection": "which?"}).compile(saver)

    await graph.ainvoke({}, thread_id="t")
    (question,) = (await graph.aget_state(thread_id="t")).interrupts
    result = await graph.ainvoke(Command(resume={"connection": "this"}), thread_id="t")

    assert question.value == {"connection": "which?"}
    assert result["answer"] == {"connection": "this"}


async def test_a_plain_function_cannot_call_a_task_and_gets_an_error(saver: Checkpointer) -> None:
    @task
    async def look() -> int:
        return 1

    def plain(state: State) -> State:
        return {"answer": look()}

    graph = StateGraph(State).add_node(plain).add_edge(START, "plain").compile(saver)

    with pytest.raises(
        InvalidCallError, check=of_kind("plain_caller"), match="'plain' is a plain function and called the task 'look'"
    ):
        await graph.ainvoke({}, thread_id="t")
