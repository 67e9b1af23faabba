"""A compiled graph as a node, or called by a node: its input, its output and its run."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Checkpointer, Durability, NodeError, Runtime, Send, StateGraph
from tests.graphs import THREAD, Nodes, State, history


class Phrase(TypedDict, total=False):
    text: str
    other: str


def saying(*words: str) -> StateGraph[Phrase]:
    """A graph of nodes that each append a word to the text."""

    def adds(word: str) -> Any:
        async def add(state: Phrase) -> Phrase:
            return {"text": f"{state['text']} {word}", "other": state["text"]}

        return add

    builder = StateGraph(Phrase)
    builder.add_sequence([(word, adds(word)) for word in words])
    return builder.add_edge(START, words[0])


class Parent(TypedDict, total=False):
    text: str
    mine: str


async def test_a_nested_graph_reads_and_writes_the_keys_it_shares(saver: Checkpointer, durability: Durability) -> None:
    async def after(state: Parent) -> Parent:
        return {"text": state["text"] + " again"}

    builder = StateGraph(Parent)
    builder.add_node("inner", saying("there", "back").compile())
    builder.add_node("after", after)
    builder.add_edge(START, "inner").add_edge("inner", "after")
    graph = builder.compile(saver)

    result = await graph.ainvoke({"text": "hi", "mine": "kept"}, THREAD, durability=durability)

    assert result == {"text": "hi there back again", "mine": "kept"}


async def test_a_nested_graph_reads_and_writes_the_keys_it_shares_without_a_checkpointer() -> None:
    builder = StateGraph(Parent).add_node("inner", saying("there").compile()).add_edge(START, "inner")

    assert await builder.compile().ainvoke({"text": "hi", "mine": "kept"}) == {"text": "hi there", "mine": "kept"}


async def test_a_nested_run_is_one_superstep_of_the_outer_graph(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calls.chain("a", ("inner", calls.chain("x", "y", "z").compile()), "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    assert [each.next for each in await history(graph)] == [(), ("b",), ("inner",), ("a",)]


async def test_a_reduced_key_of_both_graphs_is_merged_with_the_whole_nested_value(
    saver: Checkpointer,
) -> None:
    """The nested graph returns its whole state, including its input, as in LangGraph."""
    calls = Nodes()
    graph = calls.chain("a", ("inner", calls.chain("x").compile())).compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["a", "a", "x"]}


async def test_an_output_schema_limits_the_keys_that_a_nested_graph_returns(saver: Checkpointer) -> None:
    class Inner(TypedDict, total=False):
        text: str
        private: str

    class Out(TypedDict, total=False):
        text: str

    async def node(state: Inner) -> Inner:
        return {"text": state["text"] + "!", "private": "secret"}

    class Outer(TypedDict, total=False):
        text: str
        private: str

    inner = StateGraph(Inner, output_schema=Out).add_node("node", node).add_edge(START, "node").compile()
    graph = StateGraph(Outer).add_node("inner", inner).add_edge(START, "inner").compile(saver)

    assert await graph.ainvoke({"text": "hi"}, THREAD) == {"text": "hi!"}


async def test_keys_that_only_the_nested_graph_has_stay_inside(saver: Checkpointer) -> None:
    graph = StateGraph(Parent).add_node("inner", saying("there").compile()).add_edge(START, "inner").compile(saver)

    assert await graph.ainvoke({"text": "hi"}, THREAD) == {"text": "hi there"}


async def test_a_graph_is_called_like_a_function_by_a_node(saver: Checkpointer, durability: Durability) -> None:
    inner = saying("there").compile()

    async def call(state: Parent) -> Parent:
        result = await inner.ainvoke({"text": f"({state['mine']})"})
        return {"text": result["text"]}

    graph = StateGraph(Parent).add_node("call", call).add_edge(START, "call").compile(saver)

    assert (await graph.ainvoke({"mine": "x"}, THREAD, durability=durability))["text"] == "(x) there"


class Numbers(TypedDict, total=False):
    a: int
    b: int
    result: int


def calculating(name: str, how: Any) -> Any:
    async def calculate(state: Numbers) -> Numbers:
        return {"result": how(state["a"], state["b"])}

    return StateGraph(Numbers).add_node(name, calculate).add_edge(START, name).compile()


async def test_a_node_may_call_one_graph_twice(saver: Checkpointer, durability: Durability) -> None:
    add = calculating("add", operator.add)

    async def call(state: Numbers) -> Numbers:
        once = await add.ainvoke({"a": state["a"], "b": state["b"]})
        twice = await add.ainvoke({"a": once["result"], "b": 10})
        return {"result": twice["result"]}

    graph = StateGraph(Numbers).add_node("call", call).add_edge(START, "call").compile(saver)

    assert (await graph.ainvoke({"a": 2, "b": 3}, THREAD, durability=durability))["result"] == 15


async def test_a_node_may_call_several_graphs(saver: Checkpointer, durability: Durability) -> None:
    add, multiply = calculating("add", operator.add), calculating("multiply", operator.mul)

    async def call(state: Numbers) -> Numbers:
        given = {"a": state["a"], "b": state["b"]}
        total, product = await add.ainvoke(given), await multiply.ainvoke(given)
        return {"result": total["result"] * 100 + product["result"]}

    graph = StateGraph(Numbers).add_node("call", call).add_edge(START, "call").compile(saver)

    assert (await graph.ainvoke({"a": 2, "b": 3}, THREAD, durability=durability))["result"] == 506


async def test_a_node_may_call_graphs_concurrently(saver: Checkpointer) -> None:
    add = calculating("add", operator.add)

    async def call(state: Numbers) -> Numbers:
        results = await asyncio.gather(*(add.ainvoke({"a": n, "b": 1}) for n in range(5)))
        return {"result": sum(each["result"] for each in results)}

    graph = StateGraph(Numbers).add_node("call", call).add_edge(START, "call").compile(saver)

    assert (await graph.ainvoke({}, THREAD))["result"] == 15


async def test_one_graph_may_be_two_nodes(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile()
    graph = calls.chain(("one", inner), ("two", inner)).compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["x", "x", "x"]}


async def test_nested_graphs_run_in_parallel(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    builder = StateGraph(State)
    for name in ("one", "two", "three"):
        builder.add_node(name, calls.chain(f"{name}.x", f"{name}.y").compile())
        builder.add_edge(START, name)
    graph = builder.compile(saver)

    result = await graph.ainvoke({"log": []}, THREAD, durability=durability)

    assert result == {"log": ["one.x", "one.y", "three.x", "three.y", "two.x", "two.y"]}


async def test_graphs_nest_three_deep(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    innermost = calls.chain("x").compile()
    middle = calls.chain(("innermost", innermost), "y").compile()
    graph = calls.chain(("middle", middle), "z").compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD, durability=durability) == {"log": ["x", "y", "z"]}


class Jokes(TypedDict, total=False):
    subjects: list[str]
    jokes: Annotated[list[str], operator.add]


class Joke(TypedDict, total=False):
    subject: str


def joking(**compiled: Any) -> StateGraph[Jokes]:
    """A graph that sends each subject to its own run of a nested graph."""

    async def edit(state: Joke) -> Joke:
        return {"subject": f"{state['subject']}!"}

    async def tell(state: Joke) -> Jokes:
        return {"jokes": [f"about {state['subject']}"]}

    async def fan(state: Jokes) -> list[Send]:
        return [Send("joke", {"subject": subject}) for subject in state["subjects"]]

    inner = StateGraph(Joke, output_schema=Jokes)
    inner.add_node("edit", edit)
    inner.add_node("tell", tell)
    inner.add_edge(START, "edit").add_edge("edit", "tell")
    builder = StateGraph(Jokes)
    builder.add_node("joke", inner.compile(**compiled))
    builder.add_conditional_edges(START, fan, ["joke"])
    return builder


async def test_a_nested_graph_gets_the_argument_of_its_send(saver: Checkpointer, durability: Durability) -> None:
    graph = joking().compile(saver)

    result = await graph.ainvoke({"subjects": ["cats", "dogs"]}, THREAD, durability=durability)

    assert result["jokes"] == ["about cats!", "about dogs!"]


async def test_sends_to_nested_graphs_stop_at_a_breakpoint_and_continue_after_an_update(saver: Checkpointer) -> None:
    graph = joking(interrupt_before=["tell"]).compile(saver)
    stopped = await graph.ainvoke({"subjects": ["cats", "dogs"]}, THREAD)
    assert (stopped["subjects"], stopped["jokes"]) == (["cats", "dogs"], [])
    dogs = [task for task in (await graph.aget_state(THREAD)).tasks if task.name == "joke"][1]

    await graph.aupdate_state(dogs.state, {"subject": "turtles!"})

    assert (await graph.ainvoke(None, THREAD))["jokes"] == ["about cats!", "about turtles!"]


async def test_a_caller_may_catch_an_error_of_a_nested_graph(saver: Checkpointer) -> None:
    async def bad(state: State) -> State:
        raise ConnectionError("inside")

    inner = Nodes().chain(("bad", bad)).compile()

    async def call(state: State) -> State:
        try:
            await inner.ainvoke({"log": []})
        except ConnectionError as error:
            return {"log": [f"caught: {error}"]}
        return {}

    graph = Nodes().chain(("call", call)).compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["caught: inside"]}


async def test_the_notes_of_an_error_in_a_nested_graph_name_the_nodes(saver: Checkpointer) -> None:
    async def bad(state: State) -> State:
        raise ConnectionError("inside")

    graph = Nodes().chain(("outer", Nodes().chain(("bad", bad)).compile())).compile(saver)

    with pytest.raises(ConnectionError) as raised:
        await graph.ainvoke({"log": []}, THREAD)
    notes = "\n".join(raised.value.__notes__)
    assert "'bad'" in notes
    assert "'outer'" in notes


async def test_an_error_handler_handles_an_error_of_a_nested_graph(saver: Checkpointer) -> None:
    seen: list[NodeError] = []

    async def bad(state: Phrase) -> Phrase:
        raise ValueError("inside")

    async def handle(state: Phrase, error: NodeError) -> Phrase:
        seen.append(error)
        return {"text": "handled"}

    inner = StateGraph(Phrase).add_node("bad", bad).add_edge(START, "bad").compile()
    builder = StateGraph(Phrase).add_node("inner", inner, error_handler=handle).add_edge(START, "inner")

    assert (await builder.compile(saver).ainvoke({"text": ""}, THREAD))["text"] == "handled"
    assert seen[0].node == "inner"
    assert isinstance(seen[0].error, ValueError)


async def test_execution_info_distinguishes_a_nested_task_from_its_caller(saver: Checkpointer) -> None:
    seen: dict[str, Any] = {}

    def notes(name: str) -> Any:
        async def note(state: State, runtime: Runtime[Any]) -> State:
            seen[name] = runtime.execution_info
            return {}

        return note

    inner = Nodes().chain(("inside", notes("inside"))).compile()
    graph = Nodes().chain(("outside", notes("outside")), ("inner", inner)).compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    assert (seen["inside"].thread_id, seen["outside"].thread_id) == ("t", "t")
    assert (seen["inside"].node, seen["inside"].node_attempt) == ("inside", 1)
    assert seen["inside"].task_id != seen["outside"].task_id
    assert seen["inside"].checkpoint_ns.startswith("inner:")


async def test_context_is_passed_to_nested_graphs(saver: Checkpointer) -> None:
    class Context(TypedDict):
        user: str

    def greets(key: str) -> Any:
        async def greet(state: Phrase, runtime: Runtime[Context]) -> Any:
            return {key: f"hi {runtime.context['user']}"}

        return greet

    inner = StateGraph(Phrase, context_schema=Context).add_node("in", greets("text")).add_edge(START, "in").compile()
    builder = StateGraph(Phrase, context_schema=Context)
    builder.add_node("out", greets("other"))
    builder.add_node("inner", inner)
    builder.add_edge(START, "out").add_edge("out", "inner")

    result = await builder.compile(saver).ainvoke({}, THREAD, context={"user": "ann"})

    assert result == {"text": "hi ann", "other": "hi ann"}


async def test_a_nested_graph_sees_the_thread_id_and_the_configurable_values_of_its_run(saver: Checkpointer) -> None:
    seen: list[Any] = []

    async def note(state: State, config: dict[str, Any]) -> State:
        seen.append(config["configurable"])
        return {}

    graph = Nodes().chain(("inner", Nodes().chain(("note", note)).compile())).compile(saver)
    await graph.ainvoke({"log": []}, {"configurable": {"thread_id": "t", "mine": "too"}})

    assert (seen[0]["thread_id"], seen[0]["mine"]) == ("t", "too")


async def test_a_nested_graph_runs_in_the_durability_of_the_run(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    graph = calls.chain(("inner", calls.chain("x", "y", "ask?").compile())).compile(saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)
    (task,) = (await graph.aget_state(THREAD)).tasks

    nested = await history(graph, task.state)

    assert len(nested) == (1 if durability == "exit" else 3)
    assert nested[0].next == ("ask",)


async def test_a_nested_graph_without_shared_keys_runs_and_leaves_the_outer_state_unchanged(
    saver: Checkpointer, durability: Durability
) -> None:
    """As in LangGraph: the nested graph gets an empty input and does not change the outer state."""

    class Counted(TypedDict, total=False):
        number: int

    given: list[Any] = []

    async def counts(state: Counted) -> Counted:
        given.append(dict(state))
        return {"number": len(given)}

    inner = StateGraph(Counted).add_node("counts", counts).add_edge(START, "counts").compile(checkpointer=True)
    builder = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")
    graph = builder.compile(saver)

    for _ in range(2):
        await graph.ainvoke({"log": ["in"]}, THREAD, durability=durability)
    assert given == [{}, {"number": 1}]
    assert (await graph.aget_state(THREAD)).values == {"log": ["in", "in"]}
    inside = await graph.aget_state({"configurable": {**THREAD["configurable"], "checkpoint_ns": "inner"}})
    assert inside.values == {"number": 2}
