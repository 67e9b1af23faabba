"""Error handlers run when a node has failed and has no attempts left."""

import asyncio
from typing import Any, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    Durability,
    NodeError,
    RetryPolicy,
    StateGraph,
    UnknownNameError,
)
from durable_graph.testing.crash import CrashingSaver, CrashPoint, SimulatedCrashError
from tests.errors.kinds import of_kind
from tests.graphs import Nodes, State, chain

TWICE = RetryPolicy(initial_interval=0, jitter=False, max_attempts=2, retry_on=ValueError)


async def handle(state: State, error: NodeError) -> State:
    """Log the node and the error."""
    return {"log": [f"{error.node}: {type(error.error).__name__}: {error.error}"]}


class Failing:
    """A node that always fails, and counts its calls."""

    def __init__(self, message: str = "broken") -> None:
        self.calls = 0
        self.message = message

    async def __call__(self, state: State) -> State:
        self.calls += 1
        raise ValueError(self.message)


def handled(node: Any, handler: Any = handle, **options: Any) -> StateGraph[State]:
    builder = StateGraph(State)
    builder.add_node("fail", node, error_handler=handler, **options)
    builder.add_edge(START, "fail")
    return builder


async def test_a_handler_receives_node_and_error_and_its_update_is_applied(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = handled(Failing()).compile(saver)

    result = await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    assert result == {"log": ["in", "fail: ValueError: broken"]}
    assert (await graph.aget_state(thread_id="t")).next == ()


async def test_a_handler_is_called_without_a_checkpointer() -> None:
    assert await handled(Failing()).compile().ainvoke({}) == {"log": ["fail: ValueError: broken"]}


async def test_a_handler_is_called_after_the_last_attempt(saver: Checkpointer) -> None:
    failing = Failing()

    result = await handled(failing, retry_policy=TWICE).compile(saver).ainvoke({}, thread_id="t")

    assert result == {"log": ["fail: ValueError: broken"]}
    assert failing.calls == 2


async def test_a_handler_is_not_called_when_a_later_attempt_succeeds(saver: Checkpointer) -> None:
    calls = 0

    async def flaky(state: State) -> State:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError
        return {"log": ["fine"]}

    assert await handled(flaky, retry_policy=TWICE).compile(saver).ainvoke({}, thread_id="t") == {"log": ["fine"]}


async def test_a_command_of_a_handler_is_followed(saver: Checkpointer, durability: Durability) -> None:
    async def reroute(state: State, error: NodeError) -> Command[Any]:
        return Command(update={"log": [f"handled {error.node}"]}, goto="rescue")

    builder = handled(Failing(), reroute, destinations=("rescue",))
    builder.add_node("rescue", Nodes().noting("rescue"))

    result = await builder.compile(saver).ainvoke({}, thread_id="t", durability=durability)

    assert result == {"log": ["handled fail", "rescue"]}


async def test_a_handler_may_omit_the_error_parameter(saver: Checkpointer) -> None:
    def shrug(state: State) -> State:
        return {"log": ["whatever"]}

    assert await handled(Failing(), shrug).compile(saver).ainvoke({}, thread_id="t") == {"log": ["whatever"]}


async def test_a_handler_gets_the_input_of_its_node(saver: Checkpointer) -> None:
    class Job(TypedDict):
        name: str

    async def fail(state: Job) -> State:
        raise ValueError(state["name"])

    async def look(state: Job, error: NodeError) -> State:
        return {"log": [f"{state['name']}: {error.error}"]}

    class Whole(State, total=False):
        name: str

    builder = StateGraph(Whole)
    builder.add_node("fail", fail, input_schema=Job, error_handler=look)
    builder.add_edge(START, "fail")

    assert (await builder.compile(saver).ainvoke({"name": "a job"}, thread_id="t"))["log"] == ["a job: a job"]


async def test_the_edges_of_a_failed_node_with_a_handler_are_not_followed(saver: Checkpointer) -> None:
    """As in LangGraph: the handler of a failed node decides which nodes run next."""
    builder = handled(Failing())
    builder.add_node("after", Nodes().noting("after"))
    builder.add_edge("fail", "after")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["fail: ValueError: broken"]}


async def test_each_node_has_its_own_handler(saver: Checkpointer) -> None:
    def handler(name: str) -> Any:
        async def handle_it(state: State, error: NodeError) -> State:
            return {"log": [f"{name} handled {error.node}"]}

        return handle_it

    builder = StateGraph(State)
    for name in "ab":
        builder.add_node(name, Failing(), error_handler=handler(f"handler of {name}"))
        builder.add_edge(START, name)

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {
        "log": ["handler of a handled a", "handler of b handled b"]
    }


async def test_a_node_without_a_handler_still_fails_the_run(saver: Checkpointer) -> None:
    builder = handled(Failing())
    builder.add_node("other", Failing("unhandled"))
    builder.add_edge(START, "other")

    with pytest.raises(ValueError, match="unhandled"):
        await builder.compile(saver).ainvoke({}, thread_id="t")


async def test_a_failed_handler_fails_the_run_and_on_resume_only_the_handler_runs_again(
    saver: Checkpointer, durability: Durability
) -> None:
    failing = Failing()
    seen: list[str] = []
    is_broken = True

    async def shaky(state: State, error: NodeError) -> State:
        seen.append(f"{error.node}: {error.error}")
        if is_broken:
            message = "the handler too"
            raise RuntimeError(message)
        return {"log": ["recovered"]}

    graph = handled(failing, shaky).compile(saver)
    with pytest.raises(RuntimeError, match="the handler too"):
        await graph.ainvoke({}, thread_id="t", durability=durability)
    assert (await graph.aget_state(thread_id="t")).next == ("fail",)
    is_broken = False

    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"log": ["recovered"]}
    assert failing.calls == 1
    assert seen[0] == "fail: broken"
    assert "broken" in seen[1]


async def test_handlers_of_parallel_nodes_run_in_parallel(saver: Checkpointer) -> None:
    entered = {name: asyncio.Event() for name in "ab"}

    async def meet(state: State, error: NodeError) -> State:
        entered[error.node].set()
        await entered["b" if error.node == "a" else "a"].wait()
        return {"log": [error.node]}

    builder = StateGraph(State)
    for name in "ab":
        builder.add_node(name, Failing(), error_handler=meet)
        builder.add_edge(START, name)

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["a", "b"]}


async def test_a_sibling_continues_while_a_failure_is_handled(saver: Checkpointer) -> None:
    is_handled = asyncio.Event()

    async def handle_it(state: State, error: NodeError) -> State:
        is_handled.set()
        return {"log": ["handled"]}

    async def slow(state: State) -> State:
        await is_handled.wait()
        return {"log": ["slow"]}

    builder = handled(Failing(), handle_it)
    builder.add_node("slow", slow)
    builder.add_edge(START, "slow")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["handled", "slow"]}


async def test_the_failure_of_a_node_is_durable_before_its_handler_runs(saver: Checkpointer) -> None:
    """A process that dies in the handler resumes with the handler, and never with the node."""
    failing = Failing()
    entered = asyncio.Event()
    is_stuck = True

    async def slow(state: State, error: NodeError) -> State:
        entered.set()
        if is_stuck:
            await asyncio.Event().wait()
        return {"log": [f"handled: {error.node}"]}

    dying = CrashingSaver(saver)
    running = asyncio.create_task(handled(failing, slow).compile(dying).ainvoke({}, thread_id="t"))
    await entered.wait()
    # From here on nothing reaches the store.
    dying.crashed = True
    running.cancel()
    with pytest.raises((asyncio.CancelledError, SimulatedCrashError)):
        await running
    is_stuck = False

    result = await handled(failing, slow).compile(saver).ainvoke(None, thread_id="t")

    assert result == {"log": ["handled: fail"]}
    assert failing.calls == 1


async def test_a_handler_does_not_run_if_the_failure_cannot_be_recorded(saver: Checkpointer) -> None:
    calls = 0

    async def count(state: State, error: NodeError) -> State:
        nonlocal calls
        calls += 1
        return {}

    dying = CrashingSaver(saver, CrashPoint(3, "before"))

    with pytest.raises(SimulatedCrashError):
        await handled(Failing(), count).compile(dying).ainvoke({}, thread_id="t")

    assert (dying.names[:3], calls) == (["load", "commit", "save_writes"], 0)


async def test_a_failure_in_a_nested_graph_is_handled_by_the_handler_of_the_calling_node(
    saver: Checkpointer, durability: Durability
) -> None:
    inner = chain(("deep", Failing("from the deep"))).compile()

    async def log_error(state: State, error: NodeError) -> State:
        return {"log": [f"{error.node}: {error.error}"]}

    graph = handled(inner, log_error).compile(saver)

    assert await graph.ainvoke({}, thread_id="t", durability=durability) == {"log": ["fail: from the deep"]}


async def test_a_cancellation_is_not_handled(saver: Checkpointer) -> None:
    calls = 0
    entered = asyncio.Event()

    async def slow(state: State) -> State:
        entered.set()
        await asyncio.Event().wait()
        return {}

    async def count(state: State, error: NodeError) -> State:
        nonlocal calls
        calls += 1
        return {}

    running = asyncio.create_task(handled(slow, count).compile(saver).ainvoke({}, thread_id="t"))
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert calls == 0


async def test_a_node_that_cancels_itself_is_handled(saver: Checkpointer) -> None:
    async def confused(state: State) -> State:
        raise asyncio.CancelledError

    result = await handled(confused).compile(saver).ainvoke({}, thread_id="t")

    assert result["log"][0].startswith("fail: NodeCancelledError")


async def test_a_handler_that_routes_to_an_unknown_node_is_an_error(saver: Checkpointer) -> None:
    """Reference P21."""

    async def astray(state: State, error: NodeError) -> Command[Any]:
        return Command(goto="nowhere")

    graph = handled(Failing(), astray).compile(saver)

    with pytest.raises(UnknownNameError, check=of_kind("route"), match="'nowhere'"):
        await graph.ainvoke({}, thread_id="t")


async def test_a_handler_may_end_the_run(saver: Checkpointer) -> None:
    async def end(state: State, error: NodeError) -> Command[Any]:
        return Command(update={"log": ["the end"]}, goto=END)

    builder = handled(Failing(), end)
    builder.add_node("after", Nodes().noting("after"))
    builder.add_edge("fail", "after")

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"log": ["the end"]}


async def test_a_failure_of_a_router_does_not_call_the_handler_of_its_node(saver: Checkpointer) -> None:
    """The node has returned: its result is kept, and only its router runs again (reference P11)."""
    failing = True

    def router(state: State) -> str:
        if failing:
            message = "the router"
            raise ConnectionError(message)
        return END

    builder = handled(Nodes().noting("fine"))
    builder.add_conditional_edges("fail", router, [END])
    graph = builder.compile(saver)
    with pytest.raises(ConnectionError, match="the router"):
        await graph.ainvoke({}, thread_id="t")
    failing = False

    assert await graph.ainvoke(None, thread_id="t") == {"log": ["fine"]}
