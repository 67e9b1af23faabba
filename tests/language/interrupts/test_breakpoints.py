"""Static breakpoints: a run stops before or after nodes that the graph or the caller names."""

from typing import Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    GraphValidationError,
    InvalidOptionError,
    MissingCheckpointerError,
    NothingToResumeError,
    Send,
    StateGraph,
)
from tests.graphs import Nodes, State, chain, fan_out, questions_of


def three(nodes: Nodes) -> StateGraph[State]:
    return chain(*((name, nodes.noting(name)) for name in "abc"))


async def test_a_run_stops_before_a_node_and_continues_with_none(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = three(nodes).compile(saver, interrupt_before=["b"])

    result = await graph.ainvoke({}, thread_id="t", durability=durability)

    assert result["log"] == ["a"]
    assert (await graph.aget_state(thread_id="t")).next == ("b",)
    assert nodes.calls == {"a": 1}
    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["a", "b", "c"]}
    assert nodes.calls == {"a": 1, "b": 1, "c": 1}


async def test_a_run_stops_after_a_node_and_continues_with_none(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = three(nodes).compile(saver, interrupt_after=["b"])

    result = await graph.ainvoke({}, thread_id="t", durability=durability)

    assert result["log"] == ["a", "b"]
    assert (await graph.aget_state(thread_id="t")).next == ("c",)
    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["a", "b", "c"]}


async def test_a_breakpoint_is_not_an_interrupt(saver: Checkpointer) -> None:
    graph = three(Nodes()).compile(saver, interrupt_before=["b"])

    result = await graph.ainvoke({}, thread_id="t")

    assert result == {"log": ["a"]}
    assert (await graph.aget_state(thread_id="t")).interrupts == ()
    assert [thread.status for thread in await saver.list_threads()] == ["interrupted"]


async def test_interrupt_after_star_stops_after_every_node(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = three(nodes).compile(saver, interrupt_after="*")

    results: list[Any] = [await graph.ainvoke({}, thread_id="t", durability=durability)]
    while (await graph.aget_state(thread_id="t")).next:
        results.append(await graph.ainvoke(None, thread_id="t", durability=durability))

    assert [result["log"] for result in results] == [["a"], ["a", "b"], ["a", "b", "c"]]
    assert nodes.calls == {"a": 1, "b": 1, "c": 1}


async def test_interrupt_before_star_stops_before_every_node(saver: Checkpointer) -> None:
    graph = three(Nodes()).compile(saver, interrupt_before="*")

    results = [await graph.ainvoke({"log": []}, thread_id="t")]
    while (await graph.aget_state(thread_id="t")).next:
        results.append(await graph.ainvoke(None, thread_id="t"))

    assert [result["log"] for result in results] == [[], ["a"], ["a", "b"], ["a", "b", "c"]]


async def test_a_call_may_have_breakpoints_of_its_own(saver: Checkpointer, durability: Durability) -> None:
    graph = three(Nodes()).compile(saver)

    first = await graph.ainvoke({}, thread_id="t", interrupt_before=["b"], durability=durability)
    second = await graph.ainvoke(None, thread_id="t", interrupt_after=["b"], durability=durability)
    third = await graph.ainvoke(None, thread_id="t", durability=durability)

    assert [result["log"] for result in (first, second, third)] == [["a"], ["a", "b"], ["a", "b", "c"]]


async def test_breakpoints_of_a_call_replace_those_of_the_graph(saver: Checkpointer) -> None:
    graph = three(Nodes()).compile(saver, interrupt_before=["b"])

    assert (await graph.ainvoke({}, thread_id="t", interrupt_before=["c"]))["log"] == ["a", "b"]


async def test_a_breakpoint_after_the_last_node_does_not_stop_the_run(saver: Checkpointer) -> None:
    graph = three(Nodes()).compile(saver, interrupt_after=["c"])

    result = await graph.ainvoke({}, thread_id="t")

    assert result["log"] == ["a", "b", "c"]
    assert (await graph.aget_state(thread_id="t")).next == ()


async def test_breakpoints_stop_after_nodes_that_write_nothing(saver: Checkpointer, durability: Durability) -> None:
    async def nothing(state: State) -> None:
        """Writes nothing."""

    graph = chain(*((name, nothing) for name in ("one", "two", "three"))).compile(saver, interrupt_after="*")
    await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)
    stops = [(await graph.aget_state(thread_id="t")).next]
    for _ in range(2):
        await graph.ainvoke(None, thread_id="t", durability=durability)
        stops.append((await graph.aget_state(thread_id="t")).next)

    assert stops == [("two",), ("three",), ()]


async def test_a_breakpoint_in_a_loop_stops_at_every_iteration(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = chain(("a", nodes.noting("a")))
    builder.add_conditional_edges("a", lambda state: "a" if len(state["log"]) < 3 else END, ["a", END])
    graph = builder.compile(saver, interrupt_before=["a"])

    results = [await graph.ainvoke({"log": []}, thread_id="t")]
    while (await graph.aget_state(thread_id="t")).next:
        results.append(await graph.ainvoke(None, thread_id="t"))

    assert [len(result["log"]) for result in results] == [0, 1, 2, 3]


async def test_a_breakpoint_before_one_of_two_parallel_nodes_stops_both(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["b"])

    await graph.ainvoke({}, thread_id="t")

    assert nodes.calls == {}
    assert (await graph.aget_state(thread_id="t")).next == ("a", "b")
    assert await graph.ainvoke(None, thread_id="t") == {"log": ["a", "b"]}


async def test_a_breakpoint_stops_before_sends(saver: Checkpointer) -> None:
    nodes = Nodes()

    async def work(job: Any) -> State:
        return {"log": [str(job)]}

    builder = chain(("a", nodes.noting("a")))
    builder.add_node("work", work)
    builder.add_conditional_edges("a", lambda _: [Send("work", job) for job in range(100)], ["work"])
    graph = builder.compile(saver, interrupt_before=["work"])

    assert (await graph.ainvoke({}, thread_id="t", max_concurrency=10))["log"] == ["a"]
    done = await graph.ainvoke(None, thread_id="t", max_concurrency=10)

    assert done["log"] == ["a", *(str(job) for job in range(100))]


async def test_a_breakpoint_stops_before_sends_of_a_command(saver: Checkpointer) -> None:
    async def plan(state: State) -> Command[Any]:
        return Command(update={"log": ["plan"]}, goto=[Send("work", job) for job in "xy"])

    async def work(job: Any) -> State:
        return {"log": [job]}

    builder = StateGraph(State)
    builder.add_node("plan", plan, destinations=("work",))
    builder.add_node("work", work)
    builder.add_edge(START, "plan")
    graph = builder.compile(saver, interrupt_before=["work"])

    assert (await graph.ainvoke({}, thread_id="t"))["log"] == ["plan"]
    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["plan", "x", "y"]


async def test_a_breakpoint_after_the_last_source_stops_before_the_join(saver: Checkpointer) -> None:
    nodes = Nodes()
    builder = chain(("a", nodes.noting("a")), ("b", nodes.noting("b")))
    builder.add_node("side", nodes.noting("side"))
    builder.add_node("end", nodes.noting("end"))
    builder.add_edge(START, "side")
    builder.add_edge(["b", "side"], "end")
    graph = builder.compile(saver, interrupt_after=["b"])

    assert (await graph.ainvoke({}, thread_id="t"))["log"] == ["a", "side", "b"]
    assert nodes.calls["end"] == 0
    assert (await graph.ainvoke(None, thread_id="t"))["log"] == ["a", "side", "b", "end"]


async def test_an_answer_to_a_breakpoint_is_refused(saver: Checkpointer) -> None:
    """In LangGraph the run continues and the answer is lost."""
    nodes = Nodes()
    graph = three(nodes).compile(saver, interrupt_before=["a"])
    await graph.ainvoke({}, thread_id="t")

    with pytest.raises(NothingToResumeError, match="resume the thread with None"):
        await graph.ainvoke(Command(resume="go"), thread_id="t")

    assert nodes.calls == {}


async def test_an_interrupt_may_follow_a_breakpoint(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver, interrupt_before=["ask"])

    await graph.ainvoke({}, thread_id="t", durability=durability)
    assert nodes.calls == {}
    assert questions_of(await graph.ainvoke(None, thread_id="t", durability=durability)) == ["sure?"]
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    assert result == {"log": ["ask:yes"]}
    assert nodes.calls == {"ask": 2}


async def test_an_update_is_applied_to_a_run_that_is_stopped_at_a_breakpoint(
    saver: Checkpointer, durability: Durability
) -> None:
    class Text(TypedDict):
        text: str

    async def first(state: Text) -> Text:
        return {"text": state["text"] + "|first"}

    async def second(state: Text) -> Text:
        return {"text": state["text"] + "|second"}

    builder = StateGraph(Text)
    builder.add_sequence([first, second])
    builder.add_edge(START, "first")
    graph = builder.compile(saver, interrupt_before=["first"])
    await graph.ainvoke({"text": "abc"}, thread_id="t", durability=durability)

    result = await graph.ainvoke(Command(update={"text": "def"}), thread_id="t", durability=durability)

    assert result == {"text": "def|first|second"}


async def test_a_goto_runs_its_target_in_parallel_with_the_node_at_the_breakpoint(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.noting("a")), ("b", nodes.noting("b"))).compile(saver, interrupt_before=["a"])
    await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    result = await graph.ainvoke(Command(goto=["b"]), thread_id="t", durability=durability)

    assert result == {"log": ["in", "a", "b", "b"]}


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
def test_a_breakpoint_at_an_unknown_node_is_refused_when_compiling(where: str) -> None:
    stops: Any = {where: ["nowhere"]}

    with pytest.raises((GraphValidationError, ValueError), match="nowhere"):
        three(Nodes()).compile(**stops)


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
async def test_a_breakpoint_at_an_unknown_node_is_refused_when_calling(saver: Checkpointer, where: str) -> None:
    nodes = Nodes()
    stops: Any = {where: ["nowhere"]}

    with pytest.raises((InvalidOptionError, LookupError), match="nowhere"):
        await three(nodes).compile(saver).ainvoke({}, thread_id="t", **stops)

    assert nodes.calls == {}


async def test_a_breakpoint_without_a_checkpointer_is_refused() -> None:
    """Reference P17: the stopped run could never be resumed."""
    nodes = Nodes()

    with pytest.raises(MissingCheckpointerError, match=r"breakpoint.* needs a checkpointer"):
        await three(nodes).compile(interrupt_before=["b"]).ainvoke({})

    assert nodes.calls == {}


async def test_a_stopped_run_continues_in_a_graph_without_the_breakpoint(saver: Checkpointer) -> None:
    await three(Nodes()).compile(saver, interrupt_before=["b"]).ainvoke({}, thread_id="t")

    assert (await three(Nodes()).compile(saver).ainvoke(None, thread_id="t"))["log"] == ["a", "b", "c"]


async def test_new_input_at_a_breakpoint_starts_over_and_stops_again(saver: Checkpointer) -> None:
    graph = three(Nodes()).compile(saver, interrupt_before=["b"])
    await graph.ainvoke({"log": ["one"]}, thread_id="t")

    result = await graph.ainvoke({"log": ["two"]}, thread_id="t")

    assert result["log"] == ["one", "a", "two", "a"]
    assert [task.name for task in (await graph.aget_state(thread_id="t")).tasks] == ["b"]
