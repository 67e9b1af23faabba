"""With `debug=True` whole values are compared: a node's change in place is detected at any depth."""

from typing import Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, Command, Durability, Send, StateGraph, StateMutatedError


class Basket(TypedDict, total=False):
    items: list[str]
    prices: dict[str, int]


def with_node(action: Any) -> StateGraph[Basket]:
    builder = StateGraph(Basket)
    builder.add_node("node", action)
    builder.add_edge(START, "node")
    return builder


async def test_changing_a_list_in_place_is_an_error_that_names_node_and_key(
    saver: Checkpointer, durability: Durability
) -> None:
    """Reference P25: the next node saw the change, and after a restart it was gone."""

    async def node(state: Basket) -> None:
        state["items"].append("milk")

    graph = with_node(node).compile(saver, debug=True)

    with pytest.raises(StateMutatedError, match="'items'") as raised:
        await graph.ainvoke({"items": ["tea"], "prices": {}}, thread_id="t", durability=durability)

    assert (raised.value.nodes, raised.value.channels) == (("node",), ("items",))
    assert (await graph.aget_state(thread_id="t")).values == {"items": ["tea"], "prices": {}}


async def test_a_change_in_a_nested_value_is_detected(saver: Checkpointer) -> None:
    """Reference P25."""

    def node(state: Basket) -> None:
        state["prices"]["tea"] += 1

    graph = with_node(node).compile(saver, debug=True)

    with pytest.raises(StateMutatedError, match="'prices'"):
        await graph.ainvoke({"items": [], "prices": {"tea": 1}}, thread_id="t")


async def test_a_change_in_place_that_is_also_returned_is_an_error(saver: Checkpointer) -> None:
    """Reference P25."""

    async def node(state: Basket) -> Basket:
        state["items"].append("milk")
        return {"items": state["items"]}

    graph = with_node(node).compile(saver, debug=True)

    with pytest.raises(StateMutatedError, match="'items'"):
        await graph.ainvoke({"items": ["tea"]}, thread_id="t")


async def test_a_change_in_place_before_a_command_is_detected(saver: Checkpointer) -> None:
    """Reference P25."""

    async def node(state: Basket) -> Command[Any]:
        state["items"].clear()
        return Command(update={"prices": {"tea": 1}})

    graph = with_node(node).compile(saver, debug=True)

    with pytest.raises(StateMutatedError, match="'items'"):
        await graph.ainvoke({"items": ["tea"]}, thread_id="t")


async def test_a_change_of_a_copy_is_not_a_change_in_place(saver: Checkpointer) -> None:
    async def node(state: Basket) -> Basket:
        items = [*state["items"], "milk"]
        items.sort()
        return {"items": items, "prices": {**state["prices"], "milk": 2}}

    graph = with_node(node).compile(saver, debug=True)

    result = await graph.ainvoke({"items": ["tea"], "prices": {"tea": 1}}, thread_id="t")

    assert result == {"items": ["milk", "tea"], "prices": {"tea": 1, "milk": 2}}


async def test_an_assignment_to_a_key_of_the_state_dict_has_no_effect(saver: Checkpointer) -> None:
    async def node(state: Basket) -> None:
        state["items"] = ["mine alone"]

    graph = with_node(node).compile(saver, debug=True)

    assert await graph.ainvoke({"items": ["tea"]}, thread_id="t") == {"items": ["tea"]}


async def test_a_change_in_place_of_the_argument_of_a_send_is_an_error(saver: Checkpointer) -> None:
    async def work(argument: Any) -> Basket:
        argument["items"].append("x")
        return {"items": argument["items"]}

    builder = StateGraph(Basket)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", {"items": ["tea"]})], ["work"])
    graph = builder.compile(saver, debug=True)

    with pytest.raises(StateMutatedError, match="the argument of its Send"):
        await graph.ainvoke({}, thread_id="t")
