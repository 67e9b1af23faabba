"""Errors without a printable text, and retry policies that raise: the node fails, and nothing else is lost."""

from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Durability,
    NodeError,
    ReducerError,
    RetryPolicy,
    StateGraph,
    entrypoint,
    task,
)
from tests.graphs import Nodes, State, chain, fan_out


class UnshowableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


STRANGE = pytest.mark.parametrize(
    ("error", "shown"),
    [
        pytest.param(UnshowableError(), "UnshowableError, whose text cannot be made (RuntimeError)", id="no text"),
        pytest.param(ValueError("half \ud800"), "ValueError('half \\ud800')", id="lone surrogate"),
    ],
)


class Failing:
    """A node that fails as long as `error` is set."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error

    async def __call__(self, state: State) -> State:
        if self.error is not None:
            raise self.error
        return {"log": ["mended"]}


@STRANGE
async def test_an_unprintable_error_fails_only_its_node(
    error: Exception, shown: str, saver: Checkpointer, durability: Durability
) -> None:
    nodes, bad = Nodes(), Failing(error)
    graph = fan_out(("good", nodes.noting("good")), ("bad", bad)).compile(saver)

    with pytest.raises(type(error)) as raised:
        await graph.ainvoke({"log": []}, thread_id="t", durability=durability)

    assert raised.value is error
    failed = await graph.aget_state(thread_id="t")
    assert {each.name: each.error for each in failed.tasks} == {"good": None, "bad": shown}
    bad.error = None
    result = await graph.ainvoke(None, thread_id="t", durability=durability)
    assert sorted(result["log"]) == ["good", "mended"]
    assert nodes.calls == {"good": 1}


@STRANGE
async def test_a_handler_gets_an_unprintable_error(error: Exception, shown: str) -> None:
    handled = []

    def handler(state: State, failed: NodeError) -> State:
        handled.append(failed.error)
        return {"log": ["handled"]}

    builder = StateGraph(State).add_node("bad", Failing(error), error_handler=handler).add_edge(START, "bad")

    assert await builder.compile().ainvoke({"log": []}) == {"log": ["handled"]}
    assert handled == [error]


@STRANGE
async def test_a_stream_describes_an_unprintable_error(error: Exception, shown: str) -> None:
    parts: list[Any] = []

    async def read() -> None:
        async for part in chain(("bad", Failing(error))).compile().astream({"log": []}, stream_mode="tasks"):
            parts.append(part)

    with pytest.raises(type(error)):
        await read()
    assert [part["error"] for part in parts if "error" in part] == [shown]


@STRANGE
async def test_a_reducer_error_describes_its_unprintable_cause(error: Exception, shown: str) -> None:
    def failing(current: list[str], update: list[str]) -> list[str]:
        raise error

    class Reduced(TypedDict, total=False):
        log: Annotated[list[str], failing]

    builder = StateGraph(Reduced).add_node("a", lambda _: {"log": ["a"]}).add_edge(START, "a")

    with pytest.raises(ReducerError) as raised:
        await builder.compile().ainvoke({"log": ["in"]})
    assert shown in str(raised.value)


def _broken_policy() -> RetryPolicy:
    def judge(error: Exception) -> bool:
        raise LookupError("of the policy")

    return RetryPolicy(retry_on=judge, initial_interval=0)


async def test_a_retry_on_that_raises_fails_only_its_node(saver: Checkpointer, durability: Durability) -> None:
    nodes, error = Nodes(), ValueError("of the node")
    bad = Failing(error)
    builder = fan_out(("good", nodes.noting("good")))
    builder.add_node("bad", bad, retry_policy=_broken_policy()).add_edge(START, "bad")
    graph = builder.compile(saver)

    with pytest.raises(LookupError, match="of the policy") as raised:
        await graph.ainvoke({"log": []}, thread_id="t", durability=durability)

    assert raised.value.__cause__ is error
    failed = await graph.aget_state(thread_id="t")
    assert {each.name: each.error for each in failed.tasks} == {"good": None, "bad": "ValueError('of the node')"}
    bad.error = None
    result = await graph.ainvoke(None, thread_id="t", durability=durability)
    assert sorted(result["log"]) == ["good", "mended"]
    assert nodes.calls == {"good": 1}


async def test_a_retry_on_that_raises_fails_its_task(saver: Checkpointer) -> None:
    error = ValueError("of the task")
    bad = Failing(error)

    @task(retry_policy=_broken_policy())
    async def called() -> State:
        return await bad({})

    @entrypoint(saver)
    async def flow(value: int) -> State:
        return await called()

    with pytest.raises(LookupError, match="of the policy") as raised:
        await flow.ainvoke(1, thread_id="t")
    assert raised.value.__context__ is error
    bad.error = None
    assert await flow.ainvoke(None, thread_id="t") == {"log": ["mended"]}
