"""`CachePolicy`: a node does not run again for an input that it had before."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import pytest

from durable_graph import (
    START,
    Cache,
    CachePolicy,
    Checkpointer,
    Command,
    Durability,
    InMemoryCache,
    Send,
    StateGraph,
    interrupt,
)
from durable_graph.caching import CacheKey
from durable_graph_sqlite import SqliteCache
from tests.graphs import Nodes, State, questions_of


@pytest.fixture(params=["memory", "sqlite"])
async def cache(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cache]:
    """An open cache of each kind."""
    if request.param == "memory":
        yield InMemoryCache()
        return
    async with SqliteCache(tmp_path / "cache.db") as opened:
        yield opened


class Number(TypedDict, total=False):
    given: int
    doubled: int
    other: int


class Doubling:
    """A node that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.failing = False

    async def __call__(self, state: Number) -> Number:
        self.calls += 1
        if self.failing:
            message = "not yet"
            raise ValueError(message)
        return {"doubled": state["given"] * 2}

    def builder(self, policy: CachePolicy | None = None) -> StateGraph[Number]:
        builder = StateGraph(Number)
        builder.add_node("double", self, cache_policy=policy or CachePolicy())
        builder.add_edge(START, "double")
        return builder


async def test_the_same_input_runs_a_node_once(cache: Cache, saver: Checkpointer, durability: Durability) -> None:
    doubling = Doubling()
    graph = doubling.builder().compile(saver, cache=cache)

    results = [await graph.ainvoke({"given": 4}, thread_id=thread, durability=durability) for thread in ("1", "2", "3")]

    assert results == [{"given": 4, "doubled": 8}] * 3
    assert doubling.calls == 1


async def test_a_different_input_runs_the_node_again(cache: Cache) -> None:
    doubling = Doubling()
    graph = doubling.builder().compile(cache=cache)

    results = [await graph.ainvoke({"given": number}) for number in (4, 5, 4)]

    assert [result["doubled"] for result in results] == [8, 10, 8]
    assert doubling.calls == 2


async def test_a_failure_is_not_cached(cache: Cache) -> None:
    doubling = Doubling()
    doubling.failing = True
    graph = doubling.builder().compile(cache=cache)
    with pytest.raises(ValueError, match="not yet"):
        await graph.ainvoke({"given": 4})
    doubling.failing = False

    assert await graph.ainvoke({"given": 4}) == {"given": 4, "doubled": 8}
    assert doubling.calls == 2


async def test_an_interrupt_is_not_cached_and_the_result_after_its_answer_is(cache: Cache, saver: Checkpointer) -> None:
    calls = 0

    async def ask(state: Number) -> Number:
        nonlocal calls
        calls += 1
        return {"doubled": interrupt("how much?")}

    builder = StateGraph(Number)
    builder.add_node("ask", ask, cache_policy=CachePolicy())
    builder.add_edge(START, "ask")
    graph = builder.compile(saver, cache=cache)

    assert questions_of(await graph.ainvoke({"given": 1}, thread_id="1")) == ["how much?"]
    assert questions_of(await graph.ainvoke({"given": 1}, thread_id="2")) == ["how much?"]
    await graph.ainvoke(Command(resume=7), thread_id="1")
    assert await graph.ainvoke({"given": 1}, thread_id="3") == {"given": 1, "doubled": 7}
    assert calls == 3


async def test_key_func_determines_which_inputs_share_an_entry(cache: Cache) -> None:
    doubling = Doubling()

    def parity(state: Any) -> str:
        return str(state["given"] % 2)

    graph = doubling.builder(CachePolicy(key_func=parity)).compile(cache=cache)

    results = [await graph.ainvoke({"given": number}) for number in (2, 4, 3, 5)]

    assert [result["doubled"] for result in results] == [4, 4, 6, 6]
    assert doubling.calls == 2


async def test_an_entry_expires_after_its_ttl(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    doubling = Doubling()
    graph = doubling.builder(CachePolicy(ttl=60)).compile(cache=cache)
    await graph.ainvoke({"given": 4})
    await graph.ainvoke({"given": 4})
    assert doubling.calls == 1
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 61)

    await graph.ainvoke({"given": 4})

    assert doubling.calls == 2


async def test_the_cache_of_a_graph_can_be_cleared(cache: Cache) -> None:
    doubling = Doubling()
    graph = doubling.builder().compile(cache=cache)
    await graph.ainvoke({"given": 4})

    await graph.aclear_cache()
    await graph.ainvoke({"given": 4})

    assert doubling.calls == 2


async def test_the_cache_can_be_cleared_for_some_nodes_only(cache: Cache) -> None:
    one, two = Doubling(), Doubling()
    builder = one.builder()

    async def other(state: Number) -> Number:
        two.calls += 1
        return {"other": 1}

    builder.add_node("other", other, cache_policy=CachePolicy())
    builder.add_edge(START, "other")
    graph = builder.compile(cache=cache)
    await graph.ainvoke({"given": 4})

    await graph.aclear_cache(nodes=["other"])
    await graph.ainvoke({"given": 4})

    assert (one.calls, two.calls) == (1, 2)


async def test_clearing_the_cache_of_an_unknown_node_is_an_error(cache: Cache) -> None:
    with pytest.raises(LookupError, match="nowhere"):
        await Doubling().builder().compile(cache=cache).aclear_cache(nodes=["nowhere"])


async def test_streamed_updates_from_the_cache_are_marked_as_cached(cache: Cache) -> None:
    graph = Doubling().builder().compile(cache=cache)

    streamed = [[part async for part in graph.astream({"given": 4}, stream_mode="updates")] for _ in range(2)]

    assert streamed == [
        [{"double": {"doubled": 8}}],
        [{"double": {"doubled": 8}, "__metadata__": {"cached": True}}],
    ]


async def test_commands_and_results_of_sends_are_cached(cache: Cache, saver: Checkpointer) -> None:
    nodes = Nodes()

    async def plan(state: State) -> Command[Any]:
        nodes.calls["plan"] += 1
        return Command(update={"log": ["plan"]}, goto=["after", Send("work", "x")])

    async def work(job: Any) -> State:
        nodes.calls["work"] += 1
        return {"log": [job]}

    builder = StateGraph(State)
    builder.add_node("plan", plan, cache_policy=CachePolicy(), destinations=("after", "work"))
    builder.add_node("work", work, cache_policy=CachePolicy())
    builder.add_node("after", nodes.noting("after"))
    builder.add_edge(START, "plan")
    graph = builder.compile(saver, cache=cache)

    results = [await graph.ainvoke({"log": ["in"]}, thread_id=thread) for thread in ("1", "2")]

    assert results == [{"log": ["in", "plan", "after", "x"]}] * 2
    assert nodes.calls == {"plan": 1, "after": 2, "work": 1}


async def test_sends_with_different_arguments_have_different_entries(cache: Cache) -> None:
    nodes = Nodes()

    async def work(job: Any) -> State:
        nodes.calls[job] += 1
        return {"log": [job]}

    builder = StateGraph(State)
    builder.add_node("work", work, cache_policy=CachePolicy())
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in "xy"], ["work"])
    graph = builder.compile(cache=cache)
    await graph.ainvoke({})

    assert await graph.ainvoke({}) == {"log": ["x", "y"]}
    assert nodes.calls == {"x": 1, "y": 1}


async def test_nodes_of_different_names_have_different_entries(cache: Cache) -> None:
    doubling = Doubling()
    builder = doubling.builder()

    async def triple(state: Number) -> Number:
        return {"other": state["given"] * 3}

    builder.add_node("triple", triple, cache_policy=CachePolicy())
    builder.add_edge(START, "triple")
    graph = builder.compile(cache=cache)

    for _ in range(2):
        assert await graph.ainvoke({"given": 4}) == {"given": 4, "doubled": 8, "other": 12}


async def test_a_node_without_a_policy_is_not_cached(cache: Cache) -> None:
    nodes = Nodes()
    builder = StateGraph(State)
    builder.add_node("a", nodes.noting("a"))
    builder.add_edge(START, "a")
    graph = builder.compile(cache=cache)

    for _ in range(2):
        await graph.ainvoke({})

    assert nodes.calls == {"a": 2}


async def test_a_cache_file_keeps_its_entries_over_a_restart(tmp_path: Path) -> None:
    doubling = Doubling()
    for _ in range(2):
        async with SqliteCache(tmp_path / "cache.db") as opened:
            assert (await doubling.builder().compile(cache=opened).ainvoke({"given": 4}))["doubled"] == 8

    assert doubling.calls == 1


class BrokenCache(InMemoryCache):
    """A cache that cannot be reached."""

    async def aget(self, keys: Iterable[CacheKey]) -> dict[CacheKey, bytes]:
        raise ConnectionError

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        raise ConnectionError


async def test_a_failing_cache_does_not_fail_the_run(caplog: pytest.LogCaptureFixture) -> None:
    doubling = Doubling()
    graph = doubling.builder().compile(cache=BrokenCache())

    for _ in range(2):
        assert (await graph.ainvoke({"given": 2}))["doubled"] == 4

    assert doubling.calls == 2
    assert {record.getMessage() for record in caplog.records} == {
        "a cache failed, and the run continues without it: ConnectionError()"
    }


async def test_a_cached_result_with_a_goto_to_a_missing_node_is_ignored(cache: Cache) -> None:
    """Two versions of a graph, or two graphs with a node in common, may share a cache."""
    nodes = Nodes()

    async def goes(state: State) -> Command[Any]:
        nodes.calls["goes"] += 1
        return Command(update={"log": ["goes"]}, goto=there)

    def graph() -> Any:
        builder = StateGraph(State).add_node("goes", goes, cache_policy=CachePolicy(), destinations=(there,))
        return builder.add_node(there, nodes.noting(there)).add_edge(START, "goes").compile(cache=cache)

    there = "before"
    await graph().ainvoke({})
    assert await graph().ainvoke({}) == {"log": ["goes", "before"]}
    assert nodes.calls["goes"] == 1
    there = "after"

    assert await graph().ainvoke({}) == {"log": ["goes", "after"]}


async def test_the_order_of_a_dict_does_not_change_the_entry_and_the_type_of_a_value_does(cache: Cache) -> None:
    class Anything(TypedDict, total=False):
        given: Any
        calls: int

    calls: list[Any] = []

    async def count(state: Anything) -> Anything:
        calls.append(state["given"])
        return {"calls": len(calls)}

    builder = StateGraph(Anything).add_node("count", count, cache_policy=CachePolicy()).add_edge(START, "count")
    graph = builder.compile(cache=cache)

    for given in ({"a": 1, "b": {1, 2}}, {"b": {2, 1}, "a": 1}, {"a": True, "b": {1, 2}}, {"a": 1.0, "b": {1, 2}}):
        await graph.ainvoke({"given": given})

    assert len(calls) == 3


async def test_methods_of_different_objects_have_different_entries(cache: Cache) -> None:
    class Times(NamedTuple):
        factor: int

        async def run(self, state: Number) -> Number:
            return {"doubled": state["given"] * self.factor}

    async def result(factor: int) -> int:
        builder = StateGraph(Number).add_node("times", Times(factor).run, cache_policy=CachePolicy())
        found = await builder.add_edge(START, "times").compile(cache=cache).ainvoke({"given": 1})
        return found["doubled"]

    assert [await result(factor) for factor in (2, 3, 2)] == [2, 3, 2]
