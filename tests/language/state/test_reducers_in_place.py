"""A reducer may change its arguments in place: earlier values do not change."""

from collections import Counter, defaultdict, deque
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import END, START, Checkpointer, Durability, StateGraph


def appended(value: dict[str, Any], write: dict[str, Any]) -> dict[str, Any]:
    for key, items in write.items():
        value.setdefault(key, []).extend(items)
    return value


def counted(value: Counter[str], write: Counter[str]) -> Counter[str]:
    value.update(write)
    return value


class State(TypedDict, total=False):
    by_topic: Annotated[dict[str, list[str]], appended]
    counts: Annotated[Counter[str], counted]


def builder() -> StateGraph[State]:
    async def node(state: State) -> State:
        return {"by_topic": {"tea": ["node"]}, "counts": Counter("n")}

    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_conditional_edges("node", lambda state: END)
    return graph


INPUT: State = {"by_topic": {"tea": ["in"]}, "counts": Counter("i")}
AFTER: State = {"by_topic": {"tea": ["in", "node"]}, "counts": Counter("in")}


async def test_a_router_does_not_apply_the_writes_of_its_node_twice(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = builder().compile(saver)

    assert await graph.ainvoke(INPUT, thread_id="t", durability=durability) == AFTER
    assert (await graph.aget_state(thread_id="t")).values == AFTER
    assert INPUT["by_topic"] == {"tea": ["in"]}


async def test_an_update_as_a_node_with_a_router_is_applied_once(saver: Checkpointer) -> None:
    graph = builder().compile(saver)
    await graph.ainvoke(INPUT, thread_id="t")

    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"by_topic": {"tea": ["by hand"]}}, as_node="node")

    values = (await graph.aget_state(thread_id="t")).values
    assert values["by_topic"] == {"tea": ["in", "node", "by hand"]}


async def test_streamed_values_do_not_change_afterwards() -> None:
    streamed = [values async for values in builder().compile().astream(INPUT, stream_mode="values")]

    assert streamed == [INPUT, AFTER]


@pytest.mark.parametrize(
    "value",
    [{"k": ["v"]}, [["v"]], ([["v"]],), deque([["v"]]), defaultdict(list, k=["v"])],
    ids=["dict", "list", "tuple", "deque", "defaultdict"],
)
async def test_the_result_of_a_reducer_shares_no_container_with_the_write(value: Any) -> None:
    def grown(current: list[Any], write: Any) -> list[Any]:
        current.append(write)
        first = current[0]
        inner = first["k"] if isinstance(first, dict) else first[0]
        inner.append("more")
        return current

    class Grown(TypedDict, total=False):
        items: Annotated[list[Any], grown]

    async def node(state: Grown) -> dict[str, Any]:
        return {"items": "last"}

    graph = StateGraph(Grown)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_conditional_edges("node", lambda state: END)
    before = repr(value)

    result = await graph.compile().ainvoke({"items": value})

    assert repr(value) == before
    assert repr(result["items"][0]).count("more") == 2


async def test_a_cyclic_value_can_be_reduced_without_a_checkpointer() -> None:
    cyclic: dict[str, Any] = {"items": [1]}
    cyclic["self"] = cyclic

    def kept(value: dict[str, Any], write: dict[str, Any]) -> dict[str, Any]:
        return write

    class Kept(TypedDict, total=False):
        value: Annotated[dict[str, Any], kept]

    graph = StateGraph(Kept)
    graph.add_node("node", lambda state: None)
    graph.add_edge(START, "node")

    result = await graph.compile(debug=False).ainvoke({"value": cyclic})

    assert result["value"]["self"] is result["value"]
