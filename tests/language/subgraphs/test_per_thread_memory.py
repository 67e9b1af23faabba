"""`compile(checkpointer=True)`: a nested graph keeps its state per thread and per path of nodes that lead to it."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    InvalidCallError,
    ReplayMismatchError,
    Send,
    StateGraph,
    SubgraphBusyError,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes, State, history, nested_state, questions_of

OTHER = {"configurable": {"thread_id": "other"}}


class Result(TypedDict, total=False):
    result: str
    round: Annotated[int, operator.add]


def calling(inner: Any, saver: Checkpointer, calls: Nodes) -> Any:
    """A graph whose node calls `inner` with another mark in each round and returns all of its marks."""

    async def call(state: Result) -> Result:
        calls.note("call")
        result = await inner.ainvoke({"log": [f"round{state['round']}"]})
        return {"result": " ".join(result["log"])}

    return StateGraph(Result).add_node("call", call).add_edge(START, "call").compile(saver)


async def test_a_memory_grows_with_each_invocation(saver: Checkpointer, durability: Durability) -> None:
    calls = Nodes()
    graph = calling(calls.chain("x").compile(checkpointer=True), saver, calls)

    results = [await graph.ainvoke({"round": 1}, THREAD, durability=durability) for _ in range(3)]

    assert [each["result"] for each in results] == [
        "round1 x",
        "round1 x round2 x",
        "round1 x round2 x round3 x",
    ]


async def test_each_thread_has_its_own_memory(saver: Checkpointer) -> None:
    calls = Nodes()
    graph = calling(calls.chain("x").compile(checkpointer=True), saver, calls)
    await graph.ainvoke({"round": 1}, THREAD)

    assert (await graph.ainvoke({"round": 7}, OTHER))["result"] == "round7 x"


async def test_a_graph_with_memory_interrupts_resumes_and_keeps_its_state(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    graph = calling(calls.chain("x", "ask?", "y").compile(checkpointer=True), saver, calls)

    assert questions_of(await graph.ainvoke({"round": 1}, THREAD, durability=durability)) == ["ask?"]
    result = await graph.ainvoke(Command(resume="1"), THREAD, durability=durability)
    assert result["result"] == "round1 x ask=1 y"
    assert calls.taken() == ["call", "x", "ask", "call", "ask", "y"]

    assert questions_of(await graph.ainvoke({"round": 1}, THREAD, durability=durability)) == ["ask?"]
    result = await graph.ainvoke(Command(resume="2"), THREAD, durability=durability)
    assert result["result"] == "round1 x ask=1 y round2 x ask=2 y"
    assert calls.taken() == ["call", "x", "ask", "call", "ask", "y"]


async def test_a_graph_with_memory_as_a_node_merges_its_input_into_its_memory(saver: Checkpointer) -> None:
    class Inner(TypedDict, total=False):
        text: Annotated[str, operator.add]
        seen: str

    class Outer(TypedDict, total=False):
        text: str

    async def one(state: Inner) -> Inner:
        return {"text": " got here", "seen": state["text"]}

    async def two(state: Inner) -> Inner:
        return {"text": " and there"}

    async def again(state: Outer) -> str:
        return "inner" if state["text"].count("there") < 2 else "__end__"

    inner = StateGraph(Inner).add_sequence([("one", one), ("two", two)]).add_edge(START, "one")
    builder = StateGraph(Outer).add_node("inner", inner.compile(checkpointer=True)).add_edge(START, "inner")
    builder.add_conditional_edges("inner", again, ["inner", "__end__"])

    result = await builder.compile(saver).ainvoke({"text": ""}, THREAD)

    once = " got here and there"
    assert result == {"text": once + once + once}


async def test_a_graph_with_memory_keeps_its_state_between_iterations_of_a_loop(saver: Checkpointer) -> None:
    calls = Nodes()
    seen: list[str | None] = []

    class Sub(TypedDict, total=False):
        foo: str
        bar: str

    class Parent(TypedDict, total=False):
        foo: str
        counter: int

    async def first(state: Sub) -> Sub:
        calls.note("first")
        seen.append(state.get("bar"))
        return {"foo": "first"}

    async def second(state: Sub) -> Sub:
        calls.note("second")
        return {"foo": "second", "bar": interrupt("value?") + "!"}

    sub = StateGraph(Sub).add_sequence([("first", first), ("second", second)]).add_edge(START, "first")
    remembering = sub.compile(checkpointer=True)

    async def call(state: Parent) -> Parent:
        calls.note("call")
        return {"foo": (await remembering.ainvoke({"foo": state["foo"]}))["foo"]}

    async def decide(state: Parent) -> Any:
        calls.note("decide")
        if state["counter"] < 1:
            return Command(goto="call", update={"counter": state["counter"] + 1})
        return {"foo": f"{state['foo']}|done"}

    builder = StateGraph(Parent).add_node("call", call).add_node("decide", decide, destinations=("call",))
    graph = builder.add_edge(START, "call").add_edge("call", "decide").compile(saver)

    assert questions_of(await graph.ainvoke({"foo": "", "counter": 0}, THREAD)) == ["value?"]
    again = await graph.ainvoke(Command(resume="bar"), THREAD)
    assert (questions_of(again), again["foo"], again["counter"]) == (["value?"], "second", 1)
    assert await graph.ainvoke(Command(resume="qux"), THREAD) == {"foo": "second|done", "counter": 1}
    turn = ["call", "first", "second", "call", "second", "decide"]
    assert calls.taken() == [*turn, *turn]

    assert questions_of(await graph.ainvoke({"foo": "new", "counter": 0}, THREAD)) == ["value?"]
    assert seen == [None, "bar!", "qux!"]


async def test_two_graphs_that_one_node_calls_have_separate_memories(saver: Checkpointer) -> None:
    calls = Nodes()
    fruit = calls.chain("fruit").compile(checkpointer=True)
    root = calls.chain("root").compile(checkpointer=True)
    seen: list[list[str]] = []

    async def call(state: State) -> State:
        for name, each in {"fruit": fruit, "root": root}.items():
            seen.append((await each.ainvoke({"log": ["in"]}, memory=name))["log"])
        return {}

    graph = calls.chain(("call", call)).compile(saver)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    assert seen == [
        ["in", "fruit"],
        ["in", "root"],
        ["in", "fruit", "in", "fruit"],
        ["in", "root", "in", "root"],
    ]


async def test_one_graph_that_two_nodes_call_has_two_memories(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile(checkpointer=True)
    seen: dict[str, list[str]] = {}

    def calls_it(name: str) -> Any:
        async def call(state: State) -> State:
            seen[name] = (await inner.ainvoke({"log": [name]}))["log"]
            return {}

        return call

    graph = calls.chain(("one", calls_it("one")), ("two", calls_it("two"))).compile(saver)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    assert seen == {"one": ["one", "x", "one", "x"], "two": ["two", "x", "two", "x"]}


async def test_a_node_may_call_a_graph_with_memory_and_a_graph_without_memory(saver: Checkpointer) -> None:
    class Counter(TypedDict):
        n: Annotated[int, operator.add]

    def adding(n: int, **compiled: Any) -> Any:
        async def add(state: Counter) -> Counter:
            return {"n": n}

        return StateGraph(Counter).add_node("add", add).add_edge(START, "add").compile(**compiled)

    remembers, forgets = adding(2, checkpointer=True), adding(3)

    class Total(TypedDict):
        total: int

    async def call(state: Total) -> Total:
        first = await remembers.ainvoke({"n": state["total"]})
        return {"total": (await forgets.ainvoke({"n": first["n"]}))["n"]}

    graph = StateGraph(Total).add_node("call", call).add_edge(START, "call").compile(saver)

    assert [(await graph.ainvoke({"total": 0}, THREAD))["total"] for _ in range(3)] == [5, 7, 9]


async def test_a_graph_without_memory_inside_a_graph_with_memory_starts_over_each_time(saver: Checkpointer) -> None:
    calls = Nodes()
    seen: list[list[str]] = []

    async def look(state: State) -> State:
        seen.append(list(state["log"]))
        return {"log": ["x"]}

    inner = calls.chain(("look", look)).compile()

    async def call_inner(state: State) -> State:
        await inner.ainvoke({"log": []})
        return {"log": ["m"]}

    middle = calls.chain(("call_inner", call_inner)).compile(checkpointer=True)
    kept: list[list[str]] = []

    async def call(state: State) -> State:
        kept.append((await middle.ainvoke({"log": []}))["log"])
        return {}

    graph = calls.chain(("call", call)).compile(saver)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    assert (seen, kept) == ([[], []], [["m"], ["m", "m"]])


async def test_a_graph_with_memory_inside_a_graph_with_memory_keeps_its_state(saver: Checkpointer) -> None:
    seen: list[tuple[str, list[str]]] = []

    def looks(name: str) -> Any:
        async def look(state: State) -> State:
            seen.append((name, list(state["log"])))
            return {"log": [name]}

        return look

    calls = Nodes()
    inner = calls.chain(("inner", looks("inner"))).compile(checkpointer=True)

    async def call_inner(state: State) -> State:
        await inner.ainvoke({"log": []})
        return {}

    middle = calls.chain(("middle", looks("middle")), ("call_inner", call_inner)).compile(checkpointer=True)

    async def call_middle(state: State) -> State:
        await middle.ainvoke({"log": []})
        return {}

    graph = calls.chain(("call_middle", call_middle)).compile(saver)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    assert seen == [("middle", []), ("inner", []), ("middle", ["middle"]), ("inner", ["inner"])]


async def test_sequential_and_concurrent_calls_of_one_node_have_the_memories_that_they_name(
    saver: Checkpointer,
) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile(checkpointer=True)
    seen: list[list[str]] = []

    async def call(state: State) -> State:
        seen.append((await inner.ainvoke({"log": ["once"]}, memory="once"))["log"])
        results = await asyncio.gather(*(inner.ainvoke({"log": [f"{n}"]}, memory=f"{n}") for n in range(2)))
        seen.extend(each["log"] for each in results)
        return {}

    graph = calls.chain(("call", call)).compile(saver)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    first = [["once", "x"], ["0", "x"], ["1", "x"]]
    assert seen == [*first, *([*each, *each] for each in first)]


async def test_sends_to_a_graph_with_memory_in_one_superstep_are_refused(saver: Checkpointer) -> None:
    """The memory of each run would lack the writes of the other run."""
    calls = Nodes()

    async def fan(state: State) -> list[Send]:
        return [Send("inner", {"log": [f"{n}"]}) for n in range(2)]

    builder = calls.chain("a")
    builder.add_node("inner", calls.chain("x").compile(checkpointer=True, name="talker"))
    builder.add_conditional_edges("a", fan, ["inner"])

    graph = builder.compile(saver)

    with pytest.raises(SubgraphBusyError, match="'talker' is already running in 'inner'"):
        await graph.ainvoke({"log": []}, THREAD)

    # Sequential runs are refused as well: the second run would read the input of the first.
    with pytest.raises(InvalidCallError, check=of_kind("unnamed_memory"), match="'talker'"):
        await graph.ainvoke(None, THREAD, max_concurrency=1)


@pytest.mark.parametrize("is_nested", [False, True])
async def test_an_unnamed_memory_is_not_shared_with_a_later_send_of_the_same_superstep(
    saver: Checkpointer, is_nested: bool
) -> None:
    inner = Nodes().chain("x").compile(checkpointer=True, name="talker")
    has_finished = asyncio.Event()

    async def tell(state: State) -> State:
        if state["log"] == ["bob"]:
            await has_finished.wait()
        found = await inner.ainvoke({"log": state["log"]})
        has_finished.set()
        return {"log": found["log"]}

    telling = StateGraph(State).add_node("tell", tell).add_edge(START, "tell")

    async def fan(state: State) -> list[Send]:
        return [Send("tell", {"log": [who]}) for who in ("alice", "bob")]

    builder = StateGraph(State).add_node("tell", telling.compile() if is_nested else tell)
    graph = builder.add_conditional_edges(START, fan, ["tell"]).compile(saver)
    with pytest.raises(InvalidCallError, check=of_kind("unnamed_memory")):
        await graph.ainvoke({"log": []}, THREAD)
    for _ in range(2):
        with pytest.raises(InvalidCallError, check=of_kind("unnamed_memory")):
            await graph.ainvoke(None, THREAD)


async def test_an_unnamed_memory_is_not_shared_between_two_nested_runs_that_a_node_calls(
    saver: Checkpointer,
) -> None:
    inner = Nodes().chain("x").compile(checkpointer=True, name="talker")
    tells = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile()

    async def call(state: State) -> State:
        for who in state["log"]:
            await tells.ainvoke({"log": [who]})
        return {}

    graph = Nodes().chain(("call", call)).compile(saver)
    with pytest.raises(InvalidCallError, check=of_kind("unnamed_memory")):
        await graph.ainvoke({"log": ["alice", "bob"]}, THREAD)


async def test_the_state_of_an_interrupted_graph_with_memory_can_be_read(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    graph = calls.chain("a", ("inner", calls.chain("x", "ask?").compile(checkpointer=True))).compile(saver)
    await graph.ainvoke({"log": []}, THREAD, durability=durability)

    nested = await nested_state(graph)

    assert (nested.values, nested.next) == ({"log": ["a", "x"]}, ("ask",))
    assert nested.config["configurable"]["checkpoint_ns"] == "inner"
    result = await graph.ainvoke(Command(resume="yes"), THREAD, durability=durability)
    assert result == {"log": ["a", "a", "x", "ask=yes"]}


async def test_the_history_of_a_memory_spans_its_invocations(saver: Checkpointer) -> None:
    calls = Nodes()
    inner = calls.chain("x").compile(checkpointer=True)

    async def call(state: State) -> State:
        await inner.ainvoke({"log": ["in"]})
        return {}

    graph = calls.chain(("call", call)).compile(saver)
    for _ in range(2):
        await graph.ainvoke({"log": []}, THREAD)

    shown = await history(graph, {"configurable": {"thread_id": "t", "checkpoint_ns": "call"}})

    assert [each.values["log"] for each in shown] == [["in", "x", "in", "x"], ["in", "x", "in"], ["in", "x"], ["in"]]


async def test_a_failed_graph_with_memory_continues_at_the_failed_node(saver: Checkpointer) -> None:
    calls = Nodes()
    is_failing = True

    async def flaky(state: State) -> State:
        calls.note("flaky")
        if is_failing:
            raise ConnectionError
        return {"log": ["flaky"]}

    inner = calls.chain("x", ("flaky", flaky)).compile(checkpointer=True)
    graph = calling(inner, saver, calls)
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"round": 1}, THREAD)
    is_failing = False

    assert (await graph.ainvoke(None, THREAD))["result"] == "round1 x flaky"
    assert calls.taken() == ["call", "x", "flaky", "call", "flaky"]


@pytest.mark.parametrize("after", [("x", "y", "z"), ("x",), ("x", "other")])
async def test_a_memory_survives_added_and_removed_nodes(saver: Checkpointer, after: tuple[str, ...]) -> None:
    """Even if the last node of the earlier run was removed."""
    calls = Nodes()
    before = calling(calls.chain("x", "y").compile(checkpointer=True), saver, calls)
    assert (await before.ainvoke({"round": 1}, THREAD))["result"] == "round1 x y"

    changed = calling(calls.chain(*after).compile(checkpointer=True), saver, calls)

    assert (await changed.ainvoke({"round": 1}, THREAD))["result"] == " ".join(("round1 x y round2", *after))


async def test_a_memory_is_found_by_the_name_of_its_graph(saver: Checkpointer) -> None:
    calls = Nodes()
    before = calling(calls.chain("x").compile(checkpointer=True, name="helper"), saver, calls)
    await before.ainvoke({"round": 1}, THREAD)

    changed = calling(calls.chain("y").compile(checkpointer=True, name="helper"), saver, calls)

    assert (await changed.ainvoke({"round": 1}, THREAD))["result"] == "round1 x round2 y"


@pytest.mark.parametrize("name", ["graph", "other"])
async def test_another_graph_in_the_same_place_is_a_mismatch_and_does_not_get_the_memory(
    saver: Checkpointer, name: str
) -> None:
    """In the first case neither graph has a name, since "graph" is the default."""
    calls = Nodes()
    first = calls.chain("x").compile(checkpointer=True)
    await calling(first, saver, calls).ainvoke({"round": 1}, THREAD)
    other = calls.chain("y").compile(checkpointer=True, name=name)

    with pytest.raises(ReplayMismatchError, match=r"another graph.*compile\(name=.*another name"):
        await calling(other, saver, calls).ainvoke({"round": 1}, THREAD)

    assert (await calling(first, saver, calls).ainvoke({"round": 0}, THREAD))["result"] == "round1 x round2 x"
