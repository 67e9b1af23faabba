"""The modes "values" and "updates". Interrupts in them are tested in tests/language/interrupts as well."""

import asyncio
import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    GraphOutput,
    InvalidOptionError,
    Send,
    StateGraph,
    StateKeyError,
    entrypoint,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import Nodes, State, chain, fan_out, node_names, stream_parts


class Wide(TypedDict, total=False):
    a: str
    b: str
    c: str


def writing(**update: Any) -> Any:
    async def node(state: Any) -> Any:
        return update

    return node


def row_of(saver: Checkpointer, *updates: dict[str, Any]) -> Any:
    """A graph whose nodes "1", "2", ... write these updates."""
    builder, before = StateGraph(Wide), START
    for number, update in enumerate(updates, 1):
        builder.add_node(str(number), writing(**update)).add_edge(before, str(number))
        before = str(number)
    return builder.compile(saver)


# Streamed parts


async def test_an_update_is_streamed_as_soon_as_it_is_recorded(saver: Checkpointer, durability: Durability) -> None:
    """The update does not wait for the end of its superstep: a sibling is still running."""
    was_streamed = asyncio.Event()

    async def slow(state: State) -> State:
        await was_streamed.wait()
        return {"log": ["slow"]}

    graph = fan_out(("slow", slow), ("fast", Nodes().noting("fast"))).compile(saver)

    seen = []
    async with asyncio.timeout(20):
        async for part in graph.astream({}, thread_id="t", durability=durability):
            seen.append(part)
            was_streamed.set()

    assert seen == [{"fast": {"log": ["fast"]}}, {"slow": {"log": ["slow"]}}]


async def test_values_are_the_whole_state_of_each_superstep_that_wrote(saver: Checkpointer) -> None:
    """As in LangGraph: the output schema applies to the result of `ainvoke` only."""

    class Out(TypedDict, total=False):
        b: str

    builder = StateGraph(Wide, output_schema=Out)
    builder.add_sequence([("1", writing(a="private")), ("2", writing(b="seen")), ("3", writing())])
    graph = builder.add_edge(START, "1").compile(saver)

    assert await stream_parts(graph, {"a": "in"}, stream_mode="values") == [
        {"a": "in"},
        {"a": "private"},
        {"a": "private", "b": "seen"},
    ]
    assert await graph.ainvoke({"a": "in"}, thread_id="u") == {"b": "seen"}
    assert await graph.ainvoke({"a": "in"}, thread_id="v", output_keys=["a"]) == {"a": "private"}


async def test_no_values_are_streamed_for_an_input_that_writes_nothing(saver: Checkpointer) -> None:
    graph = row_of(saver, {"a": "1"})

    assert await stream_parts(graph, {}, stream_mode="values") == [{"a": "1"}]
    assert await stream_parts(graph, {}, stream_mode="values") == [{"a": "1"}]


async def test_each_send_has_an_update_of_its_own(saver: Checkpointer, durability: Durability) -> None:
    async def work(job: Any) -> State:
        return {"log": [job]}

    builder = StateGraph(State).add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in "xyz"], ["work"])

    streamed = await stream_parts(builder.compile(saver), {}, durability=durability)

    assert sorted(part["work"]["log"][0] for part in streamed) == ["x", "y", "z"]


async def test_several_commands_of_a_node_are_a_list_of_updates(saver: Checkpointer) -> None:
    async def node(state: Wide) -> list[Command[Any]]:
        return [Command(update={"log": ["1"]}), Command(), Command(update={"log": ["2"]})]

    graph = chain(("node", node)).compile(saver)

    assert await stream_parts(graph, {}) == [{"node": [{"log": ["1"]}, {"log": ["2"]}]}]


async def test_the_stream_of_a_replay_begins_with_the_values_of_its_checkpoint(saver: Checkpointer) -> None:
    graph = row_of(saver, {"a": "1"}, {"b": "2"})
    await graph.ainvoke({}, thread_id="t")
    first = [each async for each in graph.aget_state_history(thread_id="t")][1]

    streamed = await stream_parts(graph, None, config=first.config, thread_id=None, stream_mode=["values", "updates"])

    assert streamed == [("values", {"a": "1"}), ("updates", {"2": {"b": "2"}}), ("values", {"a": "1", "b": "2"})]


async def test_an_answer_with_an_update_emits_the_values_once(saver: Checkpointer) -> None:
    async def ask(state: Wide) -> Wide:
        return {"a": interrupt("?")}

    graph = StateGraph(Wide).add_node("ask", ask).add_edge(START, "ask").compile(saver)
    await graph.ainvoke({}, thread_id="t")

    streamed = await stream_parts(graph, Command(resume="yes", update={"b": "too"}), stream_mode="values")

    assert streamed == [{"b": "too"}, {"a": "yes", "b": "too"}]


async def test_an_interrupt_is_streamed_while_a_sibling_is_still_running(saver: Checkpointer) -> None:
    was_asked = asyncio.Event()

    async def slow(state: State) -> State:
        await was_asked.wait()
        return {"log": ["slow"]}

    graph = fan_out(("ask", Nodes().asking("ask", "sure?")), ("slow", slow)).compile(saver)

    seen = []
    async with asyncio.timeout(20):
        async for part in graph.astream({}, thread_id="t"):
            seen.append(list(part))
            was_asked.set()

    assert seen == [["__interrupt__"], ["slow"]]


# Entrypoints, whose output is a single value


async def test_an_entrypoint_emits_no_values_before_its_result(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def shout(text: str) -> dict[str, str]:
        return {"loud": text.upper()}

    assert await stream_parts(shout, "a", stream_mode="values") == [{"loud": "A"}]
    assert await stream_parts(shout, "b", stream_mode=["values", "updates"]) == [
        ("updates", {"shout": {"loud": "B"}}),
        ("values", {"loud": "B"}),
    ]


# States that are a single value


async def test_a_single_value_state_is_streamed_as_that_value(saver: Checkpointer) -> None:
    async def node(state: list[str]) -> list[str]:
        return ["node"]

    async def ask(state: list[str]) -> list[str]:
        return [interrupt("?")]

    schema: Any = Annotated[list[str], operator.add]
    builder: Any = StateGraph(schema)
    builder.add_sequence([("node", node), ("ask", ask)]).add_edge(START, "node")
    graph = builder.compile(saver)

    streamed = await stream_parts(graph, ["in"], stream_mode=["values", "updates"])

    assert streamed[:3] == [("values", ["in"]), ("updates", {"node": ["node"]}), ("values", ["in", "node"])]
    assert [(mode, list(part)) for mode, part in streamed[3:]] == [
        ("updates", ["__interrupt__"]),
        ("values", ["__interrupt__"]),
    ]


# Classes


@dataclass
class Form:
    name: str
    log: list[str] = field(default_factory=list)
    age: int = 0


def form_graph(saver: Checkpointer) -> Any:
    async def ask(form: Form) -> dict[str, Any]:
        return {"age": interrupt("age?")}

    builder = StateGraph(Form).add_node("note", writing(log=["noted"])).add_node("ask", ask)
    return builder.add_edge(START, "note").add_edge("note", "ask").compile(saver)


async def test_version_2_streams_values_as_instances_of_the_state_class(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = form_graph(saver)

    streamed = await stream_parts(graph, {"name": "Ann"}, stream_mode="values", version="v2", durability=durability)

    assert [part["data"] for part in streamed] == [Form("Ann"), Form("Ann", ["noted"]), Form("Ann", ["noted"])]
    assert [[each.value for each in part["interrupts"]] for part in streamed] == [[], [], ["age?"]]
    answered = await graph.ainvoke(Command(resume=7), thread_id="t", version="v2", durability=durability)
    assert answered == GraphOutput(Form("Ann", ["noted"], 7), ())


async def test_version_2_of_a_result_has_its_interrupts_in_a_field_of_their_own(saver: Checkpointer) -> None:
    output = await form_graph(saver).ainvoke({"name": "Ann"}, thread_id="t", version="v2")

    assert output.value == Form("Ann", ["noted"])
    assert [each.value for each in output.interrupts] == ["age?"]


async def test_version_2_returns_a_dict_if_the_state_class_cannot_be_instantiated_yet(saver: Checkpointer) -> None:
    @dataclass
    class Late:
        name: str

    class Nothing(TypedDict):
        pass

    async def ask(state: Any) -> dict[str, str]:
        return {"name": interrupt("who?")}

    builder = StateGraph(Late, input_schema=Nothing).add_node("ask", ask, input_schema=Nothing)
    graph = builder.add_edge(START, "ask").compile(saver)

    asked: Any = await graph.ainvoke({}, thread_id="t", version="v2")
    streamed = await stream_parts(graph, Command(resume="Ann"), stream_mode="values", version="v2")

    assert (asked.value, len(asked.interrupts)) == ({}, 1)
    assert [part["data"] for part in streamed] == [{}, Late("Ann")]


# Keys


async def test_a_single_output_key_streams_its_value(saver: Checkpointer) -> None:
    graph = row_of(saver, {"a": "1"}, {"b": "2"}, {"a": "3", "c": "4"})

    assert await stream_parts(graph, {"b": "in"}, stream_mode=["values", "updates"], output_keys="a") == [
        ("updates", {"1": "1"}),
        ("values", "1"),
        ("updates", {"2": None}),
        ("updates", {"3": "3"}),
        ("values", "3"),
    ]


async def test_several_output_keys_stream_a_part_of_the_state(saver: Checkpointer) -> None:
    graph = row_of(saver, {"a": "1"}, {"b": "2"}, {"c": "3"})

    assert await stream_parts(graph, {"b": "in"}, stream_mode=["values", "updates"], output_keys=["a", "b"]) == [
        ("values", {"b": "in"}),
        ("updates", {"1": {"a": "1"}}),
        ("values", {"a": "1", "b": "in"}),
        ("updates", {"2": {"b": "2"}}),
        ("values", {"a": "1", "b": "2"}),
        ("updates", {"3": None}),
    ]


async def test_output_keys_apply_to_each_update_of_a_list(saver: Checkpointer) -> None:
    async def node(state: State) -> list[Command[Any]]:
        return [Command(update={"log": ["1"]}), Command(update={"log": ["2"]})]

    graph = chain(("node", node)).compile(saver)

    assert await stream_parts(graph, {}, output_keys=["log"]) == [{"node": [{"log": ["1"]}, {"log": ["2"]}]}]
    assert await stream_parts(graph, {}, thread_id="u", output_keys="log") == [{"node": [["1"], ["2"]]}]


async def test_an_interrupt_takes_the_place_of_a_single_output_key(saver: Checkpointer) -> None:
    graph = chain(("note", Nodes().noting("note")), ("ask", Nodes().asking("ask", "?"))).compile(saver)

    *_, last = await stream_parts(graph, {}, stream_mode="values", output_keys="log")
    result = await graph.ainvoke(None, thread_id="t", output_keys="log")

    assert ([each.value for each in last["__interrupt__"]], list(last)) == (["?"], ["__interrupt__"])
    assert ([each.value for each in result["__interrupt__"]], list(result)) == (["?"], ["__interrupt__"])


@pytest.mark.parametrize("keys", ["d", ["a", "d"]])
async def test_an_unknown_output_key_is_refused_before_any_node_runs(saver: Checkpointer, keys: Any) -> None:
    graph = row_of(saver, {"a": "1"})

    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="'d'"):
        await stream_parts(graph, {}, output_keys=keys)
    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="'d'"):
        await graph.ainvoke({}, thread_id="t", output_keys=keys)
    assert (await graph.aget_state(thread_id="t")).metadata is None


# Options


async def test_none_is_the_same_as_an_omitted_option(saver: Checkpointer) -> None:
    """The defaults of LangGraph are None."""
    graph = row_of(saver, {"a": "1"})

    assert await stream_parts(graph, {}, stream_mode=None, durability=None) == [{"1": {"a": "1"}}]
    assert await graph.ainvoke({}, thread_id="other", stream_mode=None, durability=None) == {"a": "1"}


async def test_a_mode_that_is_given_twice_is_streamed_once(saver: Checkpointer) -> None:
    graph = row_of(saver, {"a": "1"})

    assert await stream_parts(graph, {}, stream_mode=["updates", "updates"]) == [("updates", {"1": {"a": "1"}})]


@pytest.mark.parametrize("mode", ["value", ["values", "nothing"], [], 5])
async def test_an_invalid_mode_is_refused(saver: Checkpointer, mode: Any) -> None:
    """LangGraph streams nothing for a mode that it does not know."""
    graph = row_of(saver, {"a": "1"})

    with pytest.raises(InvalidOptionError, match="stream_mode"):
        await stream_parts(graph, {}, stream_mode=mode)
    assert (await graph.aget_state(thread_id="t")).metadata is None


async def test_an_unknown_version_is_refused(saver: Checkpointer) -> None:
    """LangGraph treats an unknown version as version 1."""
    graph = row_of(saver, {"a": "1"})
    version: Any = "v3"

    with pytest.raises(InvalidOptionError, match="version"):
        await stream_parts(graph, {}, version=version)
    with pytest.raises(InvalidOptionError, match="version"):
        await graph.ainvoke({}, thread_id="t", version=version)
    assert (await graph.aget_state(thread_id="t")).metadata is None


# Shapes


async def test_the_shape_of_a_part_depends_on_a_list_of_modes_and_on_subgraphs(saver: Checkpointer) -> None:
    graph = row_of(saver, {"a": "1"})
    update = {"1": {"a": "1"}}
    streamed = {
        (is_list, subgraphs): await stream_parts(
            graph,
            {},
            thread_id=f"{is_list} {subgraphs}",
            stream_mode=["updates"] if is_list else "updates",
            subgraphs=subgraphs,
        )
        for is_list in (False, True)
        for subgraphs in (False, True)
    }

    assert streamed == {
        (False, False): [update],
        (True, False): [("updates", update)],
        (False, True): [((), update)],
        (True, True): [((), "updates", update)],
    }


@pytest.mark.parametrize("mode", ["updates", ["updates"]])
async def test_version_2_has_one_shape(saver: Checkpointer, mode: Any) -> None:
    graph = row_of(saver, {"a": "1"})

    assert await stream_parts(graph, {}, stream_mode=mode, version="v2") == [
        {"type": "updates", "ns": (), "data": {"1": {"a": "1"}}}
    ]
    assert await stream_parts(graph, {}, thread_id="u", stream_mode="values", version="v2") == [
        {"type": "values", "ns": (), "data": {"a": "1"}, "interrupts": ()},
    ]


async def test_version_2_names_the_namespace_of_nested_graphs(saver: Checkpointer) -> None:
    inner = StateGraph(Wide).add_node("x", writing(b="x")).add_edge(START, "x").compile()
    graph = StateGraph(Wide).add_node("inner", inner).add_edge(START, "inner").compile(saver)

    streamed = await stream_parts(graph, {}, version="v2", subgraphs=True)

    assert [(node_names(part["ns"]), part["data"]) for part in streamed] == [
        (("inner",), {"x": {"b": "x"}}),
        ((), {"inner": {"b": "x"}}),
    ]


async def test_ainvoke_with_another_mode_returns_the_list_of_streamed_parts(saver: Checkpointer) -> None:
    graph = row_of(saver, {"a": "1"})
    both: list[Any] = ["updates", "values"]

    assert await graph.ainvoke({}, thread_id="t", stream_mode="updates") == [{"1": {"a": "1"}}]
    assert await graph.ainvoke({}, thread_id="u", stream_mode=both) == [
        ("updates", {"1": {"a": "1"}}),
        ("values", {"a": "1"}),
    ]
