"""Runs of nodes and routers whose inputs are classes of their own."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pydantic

from durable_graph import END, START, MemorySaver, Send, StateGraph


class State(TypedDict):
    topic: str
    drafts: Annotated[list[str], operator.add]


class Notes(TypedDict):
    notes: Annotated[list[str], operator.add]


@dataclass
class Job:
    number: int


class Topic(pydantic.BaseModel):
    topic: str


async def read_up(state: State) -> dict[str, Any]:
    return {"notes": [f"on {state['topic']}"]}


async def write(state: Notes) -> dict[str, Any]:
    return {"drafts": [*state["notes"], str(sorted(state))]}


def choose(topic: Topic) -> str:
    return "write" if topic.topic == "tea" else END


def split(state: State) -> list[Send]:
    return [Send("work", Job(number)) for number in range(2)]


async def work(job: Job) -> dict[str, Any]:
    return {"drafts": [f"job {job.number}"]}


async def test_private_keys_pass_between_nodes_and_stay_out_of_the_result() -> None:
    builder: Any = StateGraph(State)
    builder.add_node(read_up).add_node(write).add_edge(START, "read_up").add_edge("read_up", "write")
    graph = builder.compile(MemorySaver())

    result = await graph.ainvoke({"topic": "tea"}, thread_id="t")

    assert result == {"topic": "tea", "drafts": ["on tea", "['notes']"]}


async def test_a_router_receives_an_instance_of_the_class_in_its_annotation() -> None:
    builder: Any = StateGraph(State)
    builder.add_node(read_up).add_node(write).add_edge(START, "read_up")
    graph = builder.add_conditional_edges("read_up", choose, ["write", END]).compile()

    assert len((await graph.ainvoke({"topic": "tea"}))["drafts"]) == 2
    assert (await graph.ainvoke({"topic": "coffee"}))["drafts"] == []


async def test_a_send_may_carry_an_instance_of_the_input_class_of_its_node() -> None:
    builder = StateGraph(State).add_node(work, input_schema=Job).set_conditional_entry_point(split)

    result = await builder.compile(MemorySaver()).ainvoke({"topic": "tea"}, thread_id="t")

    assert result["drafts"] == ["job 0", "job 1"]
