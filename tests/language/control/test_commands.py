"""A node returns a Command: an update to write, and the nodes to run next."""

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidNodeResultError,
    InvalidUpdateError,
    Send,
    StateGraph,
    StateKeyError,
    UnknownNameError,
)
from tests.errors.kinds import of_kind
from tests.graphs import Nodes, State, chain


def from_a(action: Any, nodes: Nodes, *targets: str) -> StateGraph[State]:
    """A graph of the node `a`, and of targets to which only a Command of `a` leads."""
    builder = StateGraph(State)
    builder.add_node("a", action, destinations=targets)
    for name in targets:
        builder.add_node(name, nodes.noting(name))
    builder.add_edge(START, "a")
    return builder


async def test_a_command_writes_its_update_and_runs_its_target(saver: Checkpointer, durability: Durability) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(update={"log": ["a"]}, goto="c")

    nodes = Nodes()
    graph = from_a(a, nodes, "b", "c").compile(saver)

    assert await graph.ainvoke({}, thread_id="t", durability=durability) == {"log": ["a", "c"]}
    assert nodes.calls == {"c": 1}


async def test_a_plain_function_may_return_a_command(saver: Checkpointer) -> None:
    def a(state: State) -> Command[Any]:
        return Command(update={"log": ["a"]}, goto="b")

    assert await from_a(a, Nodes(), "b").compile(saver).ainvoke({}, thread_id="t") == {"log": ["a", "b"]}


async def test_a_command_without_an_update_only_routes(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(goto="b")

    assert await from_a(a, Nodes(), "b").compile(saver).ainvoke({"log": ["in"]}, thread_id="t") == {"log": ["in", "b"]}


async def test_a_command_without_a_goto_follows_the_edges(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(update={"log": ["a"]})

    graph = chain(("a", a), ("b", Nodes().noting("b"))).compile(saver)

    assert await graph.ainvoke({}, thread_id="t") == {"log": ["a", "b"]}


async def test_an_empty_command_is_an_empty_update(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command()

    graph = chain(("a", a), ("b", Nodes().noting("b"))).compile(saver)

    assert await graph.ainvoke({}, thread_id="t") == {"log": ["b"]}


async def test_a_command_runs_several_nodes_in_one_superstep(saver: Checkpointer, durability: Durability) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(update={"log": ["a"]}, goto=["c", "b"])

    graph = from_a(a, Nodes(), "b", "c").compile(saver)

    assert await graph.ainvoke({}, thread_id="t", durability=durability) == {"log": ["a", "b", "c"]}


async def test_targets_may_be_a_tuple(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(goto=("b", "c"))

    assert await from_a(a, Nodes(), "b", "c").compile(saver).ainvoke({}, thread_id="t") == {"log": ["b", "c"]}


async def test_a_target_that_is_named_twice_runs_once(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(goto=["b", "b"])

    assert await from_a(a, Nodes(), "b").compile(saver).ainvoke({}, thread_id="t") == {"log": ["b"]}


async def test_a_goto_to_the_end_runs_no_node(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(update={"log": ["a"]}, goto=END)

    assert await from_a(a, Nodes(), "b").compile(saver).ainvoke({}, thread_id="t") == {"log": ["a"]}


async def test_the_edges_of_a_node_are_followed_together_with_its_goto(saver: Checkpointer) -> None:
    """As in LangGraph: the edges are followed too."""

    async def a(state: State) -> Command[Any]:
        return Command(update={"log": ["a"]}, goto="b")

    nodes = Nodes()
    builder = from_a(a, nodes, "b", "c")
    builder.add_edge("a", "c")
    graph = builder.compile(saver)

    assert await graph.ainvoke({}, thread_id="t") == {"log": ["a", "b", "c"]}


async def test_a_goto_to_the_target_of_an_edge_runs_it_once(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(goto="b")

    nodes = Nodes()
    graph = chain(("a", a), ("b", nodes.noting("b"))).compile(saver)

    assert await graph.ainvoke({}, thread_id="t") == {"log": ["b"]}


async def test_the_routers_of_a_node_are_followed_together_with_its_goto(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(goto="b")

    builder = from_a(a, Nodes(), "b", "c")
    builder.add_conditional_edges("a", lambda _: "c", ["c"])

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["b", "c"]}


async def test_a_router_sees_the_update_of_the_command(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(update={"log": ["c"]})

    builder = from_a(a, Nodes(), "b", "c")
    builder.add_conditional_edges("a", lambda state: state["log"][-1], ["b", "c"])

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["c", "c"]}


async def test_a_goto_may_contain_sends(saver: Checkpointer, durability: Durability) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(update={"log": ["a"]}, goto=[Send("work", {"job": number}) for number in (3, 1, 2)])

    async def work(argument: Any) -> State:
        return {"log": [f"job {argument['job']}"]}

    builder = StateGraph(State)
    builder.add_node("a", a, destinations=("work",))
    builder.add_node("work", work)
    builder.add_edge(START, "a")
    graph = builder.compile(saver)

    result = await graph.ainvoke({}, thread_id="t", durability=durability)

    assert result == {"log": ["a", "job 3", "job 1", "job 2"]}


async def test_a_goto_may_be_a_single_send(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(goto=Send("work", "x"))

    async def work(argument: Any) -> State:
        return {"log": [argument]}

    builder = StateGraph(State)
    builder.add_node("a", a, destinations=("work",))
    builder.add_node("work", work)
    builder.add_edge(START, "a")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["x"]}


async def test_names_and_sends_may_be_mixed(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(goto=[Send("work", "x"), "b", Send("work", "y")])

    async def work(argument: Any) -> State:
        return {"log": [argument]}

    builder = from_a(a, Nodes(), "b")
    builder.add_node("work", work)
    builder.add_conditional_edges("b", lambda _: END, ["work", END])

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["b", "x", "y"]}


async def test_a_cycle_of_commands_ends_with_a_goto_to_the_end(saver: Checkpointer, durability: Durability) -> None:
    class Count(TypedDict):
        value: int

    async def up(state: Count) -> Command[Any]:
        return Command(update={"value": state["value"] + 1}, goto="check")

    async def check(state: Count) -> Command[Any]:
        return Command(goto=END if state["value"] >= 5 else "up")

    builder = StateGraph(Count)
    builder.add_node("up", up, destinations=("check",))
    builder.add_node("check", check, destinations=("up", END))
    builder.add_edge(START, "up")

    assert await builder.compile(saver).ainvoke({"value": 0}, thread_id="t", durability=durability) == {"value": 5}


async def test_the_return_annotation_of_a_node_declares_the_targets_of_its_commands(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Literal["b"]]:
        return Command(goto="b")

    builder = StateGraph(State)
    builder.add_node("a", a)
    builder.add_node("b", Nodes().noting("b"))
    builder.add_edge(START, "a")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["b"]}


# Several Commands


async def test_a_list_of_commands_is_applied_in_order(saver: Checkpointer, durability: Durability) -> None:
    async def a(state: State) -> list[Command[Any]]:
        return [Command(update={"log": ["a1"]}), Command(update={"log": ["a2"]})]

    graph = chain(("a", a), ("b", Nodes().noting("b"))).compile(saver)

    assert await graph.ainvoke({}, thread_id="t", durability=durability) == {"log": ["a1", "a2", "b"]}


async def test_a_list_of_commands_runs_the_targets_of_all_its_commands(saver: Checkpointer) -> None:
    async def a(state: State) -> list[Command[Any]]:
        return [Command(update={"log": ["a1"]}, goto="c"), Command(goto="b"), Command(update={"log": ["a2"]})]

    assert await from_a(a, Nodes(), "b", "c").compile(saver).ainvoke({}, thread_id="t") == {
        "log": ["a1", "a2", "b", "c"]
    }


async def test_dicts_and_commands_may_be_mixed(saver: Checkpointer) -> None:
    async def a(state: State) -> list[Command[Any] | dict[str, Any]]:
        return [{"log": ["plain"]}, Command(update={"log": ["command"]}, goto="b")]

    assert await from_a(a, Nodes(), "b").compile(saver).ainvoke({}, thread_id="t") == {"log": ["plain", "command", "b"]}


# Forms of an update


async def test_an_update_may_be_a_list_of_pairs(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(update=[("log", ["first"]), ("log", ["second"])])

    assert await chain(("a", a)).compile(saver).ainvoke({}, thread_id="t") == {"log": ["first", "second"]}


async def test_an_update_may_be_an_instance_of_the_state(saver: Checkpointer) -> None:
    @dataclass
    class Doc:
        title: str = ""
        tags: Annotated[list[str], operator.add] = field(default_factory=list)

    async def a(state: Doc) -> Command[Any]:
        return Command(update=Doc(title="new", tags=["a"]), goto="b")

    async def b(state: Doc) -> Doc:
        return Doc(title=state.title + "!", tags=["b"])

    builder = StateGraph(Doc)
    builder.add_node("a", a, destinations=("b",))
    builder.add_node("b", b)
    builder.add_edge(START, "a")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"title": "new!", "tags": ["a", "b"]}


# Invalid Commands


async def test_a_goto_to_an_unknown_node_is_an_error_that_names_it(saver: Checkpointer, durability: Durability) -> None:
    """Reference P21: the run "succeeded" without going there."""
    target = "nowhere"

    async def a(state: State) -> Command[Any]:
        return Command(update={"log": ["a"]}, goto=target)

    nodes = Nodes()
    graph = from_a(a, nodes, "b").compile(saver)

    with pytest.raises(UnknownNameError, check=of_kind("route"), match=r"'nowhere'.*the graph has: a, b") as raised:
        await graph.ainvoke({}, thread_id="t", durability=durability)

    assert raised.value.known == ("a", "b")
    assert any("'a'" in note for note in raised.value.__notes__)
    assert (await graph.aget_state(thread_id="t")).next == ("a",)
    target = "b"
    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["a", "b"]}


async def test_a_send_to_an_unknown_node_is_an_error_that_names_it(saver: Checkpointer, durability: Durability) -> None:
    """Reference P21."""
    target = "nowhere"

    async def a(state: State) -> Command[Any]:
        return Command(goto=[Send("b", {}), Send(target, {})])

    nodes = Nodes()
    graph = from_a(a, nodes, "b").compile(saver)

    with pytest.raises(UnknownNameError, check=of_kind("send"), match=r"'nowhere'.*the graph has: a, b"):
        await graph.ainvoke({}, thread_id="t", durability=durability)

    assert nodes.calls == {}
    target = "b"
    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["b", "b"]}


async def test_a_send_to_the_end_is_an_error(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(goto=Send(END, {}))

    with pytest.raises(UnknownNameError, check=of_kind("send"), match="__end__"):
        await from_a(a, Nodes(), "b").compile(saver).ainvoke({}, thread_id="t")


async def test_an_unknown_key_in_an_update_is_an_error_that_names_it(saver: Checkpointer) -> None:
    """Reference P21: the key was dropped."""

    async def a(state: State) -> Command[Any]:
        return Command(update={"lgo": ["a"]}, goto="b")

    nodes = Nodes()

    with pytest.raises(StateKeyError, check=of_kind("unknown"), match=r"'lgo'.*its keys: log"):
        await from_a(a, nodes, "b").compile(saver).ainvoke({}, thread_id="t")

    assert nodes.calls == {}


@pytest.mark.parametrize("result", [42, "b", [42], [Command(), "b"], {1, 2}, object()])
async def test_a_node_result_of_any_other_type_is_an_error(saver: Checkpointer, result: object) -> None:
    async def a(state: State) -> Any:
        return result

    with pytest.raises(InvalidNodeResultError, check=of_kind("update"), match="node 'a' returned"):
        await chain(("a", a)).compile(saver).ainvoke({}, thread_id="t")


@pytest.mark.parametrize("goto", [42, [42], [None], {"b": 1}, {"b"}])
async def test_a_goto_of_an_invalid_type_is_an_error(saver: Checkpointer, goto: Any) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(goto=goto)

    with pytest.raises((UnknownNameError, InvalidUpdateError), match=r"node 'a' returned a Command (that|whose)"):
        await from_a(a, Nodes(), "b").compile(saver).ainvoke({}, thread_id="t")


async def test_a_command_with_a_resume_value_from_a_node_is_refused(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        return Command(resume="yes")

    with pytest.raises(InvalidUpdateError, match="interrupt"):
        await chain(("a", a)).compile(saver).ainvoke({}, thread_id="t")


async def test_a_command_for_an_unknown_graph_is_refused(saver: Checkpointer) -> None:
    async def a(state: State) -> Command[Any]:
        graph: Any = "somewhere"
        return Command(graph=graph, update={"log": ["a"]})

    with pytest.raises(InvalidUpdateError, match="somewhere"):
        await chain(("a", a)).compile(saver).ainvoke({}, thread_id="t")
