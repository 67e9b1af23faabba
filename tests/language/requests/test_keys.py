"""A request with a key is applied once, however often it is repeated."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    InvalidOptionError,
    KeyReusedError,
    MissingCheckpointerError,
    NothingToResumeError,
    StateGraph,
    ThreadBusyError,
    UntrackedValue,
    interrupt,
)
from durable_graph._runtime.commit.busy import only_run

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Shop:
    """A graph that charges orders, and the orders that it charged."""

    def __init__(
        self,
        saver: Checkpointer | None,
        *,
        fails: int = 0,
        asks: bool = False,
        name: str | None = "shop",
        formerly: tuple[str, ...] = (),
    ) -> None:
        self.charged: list[str] = []
        self.fails = fails
        self.asks = asks

        async def charge(state: State) -> dict[str, list[str]]:
            if self.fails:
                self.fails -= 1
                raise RuntimeError("the till is shut")
            answer = [interrupt("charge?")] if self.asks else []
            self.charged.append(state["log"][-1])
            return {"log": [f"charged {state['log'][-1]}", *answer]}

        builder = StateGraph(State).add_node("charge", charge).add_edge(START, "charge")
        self.graph: CompiledGraph[Any] = builder.compile(saver, name=name, formerly=formerly)


async def test_a_repeated_request_returns_the_recorded_result_and_runs_no_node(saver: Checkpointer) -> None:
    shop = Shop(saver)
    results = [
        await shop.graph.ainvoke({"log": ["order 7"]}, thread_id="t", key="order-7", version="v2") for _ in range(3)
    ]
    assert [result.value for result in results] == [{"log": ["order 7", "charged order 7"]}] * 3
    assert [result.was_applied for result in results] == [True, False, False]
    assert shop.charged == ["order 7"]


async def test_the_thread_of_a_request_without_one_is_named_after_the_key(saver: Checkpointer) -> None:
    shop = Shop(saver)
    for _ in range(2):
        await shop.graph.ainvoke({"log": ["order 7"]}, key="order-7")
    assert shop.charged == ["order 7"]
    assert [info.thread for info in await saver.list_threads()] == ["run-order-7"]


async def test_a_repeated_request_after_a_failure_resumes_the_run(saver: Checkpointer) -> None:
    shop = Shop(saver, fails=1)
    with pytest.raises(RuntimeError):
        await shop.graph.ainvoke({"log": ["order 7"]}, key="order-7")
    result = await shop.graph.ainvoke({"log": ["order 7"]}, key="order-7", version="v2")
    assert (result.value, result.was_applied) == ({"log": ["order 7", "charged order 7"]}, False)


async def test_another_input_with_a_used_key_is_refused_and_changes_nothing(saver: Checkpointer) -> None:
    shop = Shop(saver)
    await shop.graph.ainvoke({"log": ["order 7"]}, thread_id="t", key="k")
    before = await saver.load("t")
    with pytest.raises(KeyReusedError) as caught:
        await shop.graph.ainvoke({"log": ["order 8"]}, thread_id="t", key="k")
    assert caught.value.key == "k"
    assert caught.value.stored != caught.value.given
    assert await saver.load("t") == before


async def test_a_repeated_earlier_request_returns_the_result_of_its_own_run(saver: Checkpointer) -> None:
    shop = Shop(saver)
    for number in range(3):
        await shop.graph.ainvoke({"log": [f"order {number}"]}, thread_id="t", key=f"k{number}")
    first = await shop.graph.ainvoke({"log": ["order 0"]}, thread_id="t", key="k0")
    second = await shop.graph.ainvoke({"log": ["order 1"]}, thread_id="t", key="k1")
    assert first == {"log": ["order 0", "charged order 0"]}
    assert second == {"log": ["order 0", "charged order 0", "order 1", "charged order 1"]}
    assert shop.charged == ["order 0", "order 1", "order 2"]


async def test_a_repeated_request_of_an_abandoned_branch_has_no_result(saver: Checkpointer) -> None:
    shop = Shop(saver)
    await shop.graph.ainvoke({"log": ["order 0"]}, thread_id="t", key="k0")
    start = (await shop.graph.aget_state(thread_id="t")).config["configurable"]["checkpoint_id"]
    await shop.graph.ainvoke({"log": ["order 1"]}, thread_id="t", key="k1")
    await shop.graph.ainvoke({"log": ["other"]}, thread_id="t", checkpoint_id=start)
    with pytest.raises(NothingToResumeError, match="branch"):
        await shop.graph.ainvoke({"log": ["order 1"]}, thread_id="t", key="k1")
    assert await shop.graph.ainvoke({"log": ["order 0"]}, thread_id="t", key="k0") == {
        "log": ["order 0", "charged order 0"]
    }


@pytest.mark.parametrize("keep_last", [1, 2])
async def test_a_prune_removes_the_result_of_an_earlier_request(saver: Checkpointer, keep_last: int) -> None:
    shop = Shop(saver)
    for number in range(2):
        await shop.graph.ainvoke({"log": [f"order {number}"]}, thread_id="t", key=f"k{number}")
    await saver.prune("t", keep_last=keep_last)
    with pytest.raises(NothingToResumeError, match="prune"):
        await shop.graph.ainvoke({"log": ["order 0"]}, thread_id="t", key="k0")
    again = await shop.graph.ainvoke({"log": ["order 1"]}, thread_id="t", key="k1", version="v2")
    assert (again.was_applied, again.value["log"][-1]) == (False, "charged order 1")
    assert shop.charged == ["order 0", "order 1"]


async def test_a_prune_may_remove_the_result_of_the_newest_request(saver: Checkpointer) -> None:
    """The thread is intact, but its newest checkpoint could belong to another run."""
    ran: list[str] = []

    async def pack(state: State) -> State:
        ran.append("pack")
        return {"log": ["packed"]}

    async def send(state: State) -> State:
        ran.append("send")
        return {"log": ["sent"]}

    builder = StateGraph(State).add_node("pack", pack).add_node("send", send)
    graph = builder.add_edge(START, "pack").add_edge("pack", "send").compile(saver)
    await graph.ainvoke({"log": ["order 7"]}, thread_id="t", key="k")
    await saver.prune("t", keep_last=1)
    with pytest.raises(NothingToResumeError, match=r"prune.*not applied again: read the thread's state"):
        await graph.ainvoke({"log": ["order 7"]}, thread_id="t", key="k")
    assert ran == ["pack", "send"]


async def test_one_of_many_concurrent_requests_with_one_key_is_applied(saver: Checkpointer) -> None:
    shop = Shop(saver)
    calls = (shop.graph.ainvoke({"log": ["order 7"]}, key="order-7", if_busy="wait", version="v2") for _ in range(10))
    results = await asyncio.gather(*calls)
    assert [result.value for result in results] == [{"log": ["order 7", "charged order 7"]}] * 10
    assert [result.was_applied for result in results].count(True) == 1
    assert shop.charged == ["order 7"]


async def test_an_answer_with_a_key_may_be_repeated(saver: Checkpointer) -> None:
    shop = Shop(saver, asks=True)
    await shop.graph.ainvoke({"log": ["order 7"]}, thread_id="t")
    answers = [
        await shop.graph.ainvoke(Command(resume="yes"), thread_id="t", key="answer-1", version="v2") for _ in range(2)
    ]
    assert [answer.value for answer in answers] == [{"log": ["order 7", "charged order 7", "yes"]}] * 2
    assert [answer.was_applied for answer in answers] == [True, False]
    with pytest.raises(KeyReusedError):
        await shop.graph.ainvoke(Command(resume="no"), thread_id="t", key="answer-1")


async def test_an_update_with_a_key_is_written_once(saver: Checkpointer) -> None:
    shop = Shop(saver)
    await shop.graph.ainvoke({"log": ["order 7"]}, thread_id="t")
    configs = [
        await shop.graph.aupdate_state(values={"log": ["note"]}, as_node="charge", thread_id="t", key="note-1")
        for _ in range(2)
    ]
    assert configs[0] == configs[1]
    assert (await shop.graph.aget_state(thread_id="t")).values["log"][-1:] == ["note"]
    with pytest.raises(KeyReusedError):
        await shop.graph.aupdate_state(values={"log": ["other"]}, as_node="charge", thread_id="t", key="note-1")
    # Updates and runs of a thread share its keys.
    with pytest.raises(KeyReusedError):
        await shop.graph.ainvoke({"log": ["order 8"]}, thread_id="t", key="note-1")


async def test_a_repeated_update_is_known_while_another_call_has_the_thread(saver: Checkpointer) -> None:
    shop = Shop(saver)
    await shop.graph.ainvoke({"log": ["order 7"]}, thread_id="t")
    note: Any = {"values": {"log": ["note"]}, "as_node": "charge", "thread_id": "t"}
    first = await shop.graph.aupdate_state(**note, key="note-1")
    async with only_run(saver, "t", None):
        assert await shop.graph.aupdate_state(**note, key="note-1") == first
        with pytest.raises(ThreadBusyError):
            await shop.graph.aupdate_state(**note, key="note-2")


async def test_keys_of_different_threads_are_independent(saver: Checkpointer) -> None:
    shop = Shop(saver)
    for thread in ("a", "b"):
        await shop.graph.ainvoke({"log": [thread]}, thread_id=thread, key="k")
    assert shop.charged == ["a", "b"]
    await shop.graph.adelete_thread("a")
    await shop.graph.ainvoke({"log": ["a again"]}, thread_id="a", key="k")
    assert shop.charged == ["a", "b", "a again"]


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800", "k" * 252, 7, b"k"])
async def test_an_invalid_key_is_refused(saver: Checkpointer, key: Any) -> None:
    with pytest.raises(InvalidOptionError):
        await Shop(saver).graph.ainvoke({"log": ["x"]}, thread_id="t", key=key)
    assert await saver.list_threads() == []


async def test_a_key_needs_a_checkpointer_and_an_input(saver: Checkpointer) -> None:
    with pytest.raises(MissingCheckpointerError):
        await Shop(None).graph.ainvoke({"log": ["x"]}, key="k")
    with pytest.raises(InvalidOptionError):
        await Shop(saver).graph.ainvoke(None, thread_id="t", key="k")


class WithClient(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    client: Annotated[Any, UntrackedValue]


async def test_a_key_with_an_input_that_cannot_be_compared_is_refused(saver: Checkpointer) -> None:
    """A different input would count as a repetition, and would not be applied."""
    asked: list[str] = []

    async def ask(state: WithClient) -> WithClient:
        asked.extend(state["log"])
        return {}

    graph = StateGraph(WithClient).add_node("ask", ask).add_edge(START, "ask").compile(saver)
    with pytest.raises(InvalidOptionError, match="object cannot be compared"):
        await graph.ainvoke({"log": ["a"], "client": object()}, thread_id="t", key="k")
    assert (asked, await saver.list_threads()) == ([], [])
    await graph.ainvoke({"log": ["a"], "client": object()}, thread_id="t")
    assert asked == ["a"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_request_with_a_key_is_applied_once_in_every_durability(saver: Checkpointer, durability: Any) -> None:
    shop = Shop(saver, fails=1)
    with pytest.raises(RuntimeError):
        await shop.graph.ainvoke({"log": ["order 7"]}, key="order-7", durability=durability)
    for _ in range(2):
        await shop.graph.ainvoke({"log": ["order 7"]}, key="order-7", durability=durability)
    assert shop.charged == ["order 7"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_an_unfinished_earlier_run_does_not_record_the_key_of_the_next_input(
    saver: Checkpointer, durability: Any
) -> None:
    """The earlier run continues and fails again before the input is applied, and the repeated request applies it."""
    failures = ["left", "last", "last"]

    def step(node: str, state: State) -> State:
        if failures and failures[0] == node:
            raise RuntimeError(failures.pop(0))
        return {"log": [f"{node} of {state['log'][-1]}"]}

    async def left(state: State) -> State:
        return step("left", state)

    async def last(state: State) -> State:
        return step("last", state)

    builder = StateGraph(State).add_node("left", left).add_node("last", last)
    graph = builder.add_edge(START, "left").add_edge("left", "last").compile(saver)
    with pytest.raises(RuntimeError, match="left"):
        await graph.ainvoke({"log": ["first"]}, thread_id="t")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="last"):
            await graph.ainvoke(
                {"log": ["second"]}, thread_id="t", key="k", if_unfinished="resume", durability=durability
            )
    results = [
        await graph.ainvoke({"log": ["second"]}, thread_id="t", key="k", if_unfinished="resume", version="v2")
        for _ in range(2)
    ]
    assert [result.was_applied for result in results] == [True, False]
    assert [result.value["log"].count("second") for result in results] == [1, 1]


@pytest.mark.parametrize("earlier", ["shop", None])
async def test_a_renamed_graph_recognises_its_earlier_requests(saver: Checkpointer, earlier: str | None) -> None:
    await Shop(saver, name=earlier).graph.ainvoke({"log": ["order 7"]}, thread_id="t", key="order-7")
    store = Shop(saver, name="store", formerly=("shop",))
    result = await store.graph.ainvoke({"log": ["order 7"]}, thread_id="t", key="order-7", version="v2")
    assert (result.was_applied, store.charged) == (False, [])
    with pytest.raises(KeyReusedError):
        await store.graph.ainvoke({"log": ["order 8"]}, thread_id="t", key="order-7")


async def test_a_fork_with_a_key_is_refused(saver: Checkpointer) -> None:
    shop = Shop(saver)
    await shop.graph.ainvoke({"log": ["order 7"]}, thread_id="t")
    config = (await shop.graph.aget_state(thread_id="t")).config
    with pytest.raises(InvalidOptionError, match="left out with checkpoint_id"):
        await shop.graph.ainvoke({"log": ["order 8"]}, config, key="order-8")


async def test_the_same_update_of_another_checkpoint_is_another_request(saver: Checkpointer) -> None:
    shop = Shop(saver)
    await shop.graph.ainvoke({"log": ["order 7"]}, thread_id="t")
    newest, oldest = [each async for each in shop.graph.aget_state_history(thread_id="t")]
    first = [
        await shop.graph.aupdate_state(newest.config, {"log": ["note"]}, as_node="charge", key="k") for _ in range(2)
    ]
    assert first[0] == first[1]
    with pytest.raises(KeyReusedError):
        await shop.graph.aupdate_state(oldest.config, {"log": ["note"]}, as_node="charge", key="k")


async def test_a_fork_from_the_middle_of_a_run_abandons_the_result_of_its_request(saver: Checkpointer) -> None:
    """The state from which the fork started was never the result of the request."""

    async def first(state: State) -> State:
        return {"log": ["first"]}

    async def second(state: State) -> State:
        return {"log": ["second"]}

    builder = StateGraph(State).add_node("first", first).add_node("second", second)
    graph = builder.add_edge(START, "first").add_edge("first", "second").compile(saver)
    await graph.ainvoke({"log": ["in"]}, thread_id="t", key="k")
    *_, middle, _ = [snapshot.config async for snapshot in graph.aget_state_history(thread_id="t")]
    await graph.ainvoke(None, middle)

    with pytest.raises(NothingToResumeError, match="belongs to a branch that is not the thread's current one"):
        await graph.ainvoke({"log": ["in"]}, thread_id="t", key="k")
