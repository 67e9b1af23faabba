"""A failed node is retried according to its policy."""

import asyncio
import operator
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Durability,
    MemorySaver,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
)
from tests.graphs import Nodes, State, chain
from tests.language.policies.clock import in_no_time, now


def immediate(**given: Any) -> RetryPolicy:
    return RetryPolicy(initial_interval=0, jitter=False, **given)


class Flaky:
    """A node that raises each of its errors once and then returns. It records when each attempt began."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.began: list[float] = []
        self.attempts: list[int] = []
        self.task_ids: set[str] = set()
        self.first_times: set[float | None] = set()

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        self.began.append(now())
        self.attempts.append(runtime.execution_info.node_attempt)
        self.task_ids.add(runtime.execution_info.task_id)
        self.first_times.add(runtime.execution_info.node_first_attempt_time)
        if self.errors:
            raise self.errors.pop(0)
        return {"log": ["flaky"]}


def with_policy(node: Any, policy: Any, **options: Any) -> StateGraph[State]:
    builder = StateGraph(State)
    builder.add_node("flaky", node, retry_policy=policy, **options)
    builder.add_edge(START, "flaky")
    return builder


async def test_a_node_is_retried_until_it_succeeds(saver: Checkpointer, durability: Durability) -> None:
    flaky = Flaky(ConnectionError(), ConnectionError())
    graph = with_policy(flaky, immediate()).compile(saver)

    assert await graph.ainvoke({}, thread_id="t", durability=durability) == {"log": ["flaky"]}
    assert flaky.attempts == [1, 2, 3]


async def test_all_attempts_have_the_same_task_id_and_first_attempt_time(saver: Checkpointer) -> None:
    flaky = Flaky(ConnectionError(), ConnectionError())

    await with_policy(flaky, immediate()).compile(saver).ainvoke({}, thread_id="t")

    assert len(flaky.task_ids) == 1
    assert len(flaky.first_times) == 1
    assert flaky.first_times != {None}


async def test_a_node_is_retried_without_a_checkpointer() -> None:
    flaky = Flaky(ConnectionError())

    assert await with_policy(flaky, immediate()).compile().ainvoke({}) == {"log": ["flaky"]}


async def test_the_last_error_is_raised_after_the_last_attempt(saver: Checkpointer, durability: Durability) -> None:
    flaky = Flaky(*(ConnectionError(f"number {number}") for number in range(1, 5)))
    graph = with_policy(flaky, immediate(max_attempts=3)).compile(saver)

    with pytest.raises(ConnectionError, match="number 3"):
        await graph.ainvoke({}, thread_id="t", durability=durability)

    assert flaky.attempts == [1, 2, 3]
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.next, snapshot.tasks[0].error) == (("flaky",), "ConnectionError('number 3')")


async def test_a_node_without_a_policy_is_not_retried(saver: Checkpointer) -> None:
    flaky = Flaky(ConnectionError())

    with pytest.raises(ConnectionError):
        await chain(("flaky", flaky)).compile(saver).ainvoke({}, thread_id="t")

    assert flaky.attempts == [1]


async def test_a_resume_after_the_last_attempt_restarts_the_count_of_attempts(
    saver: Checkpointer, durability: Durability
) -> None:
    class Sum(TypedDict):
        value: Annotated[int, operator.add]

    calls: Counter[str] = Counter()
    failing = True

    async def one(state: Sum) -> Sum:
        calls["one"] += 1
        return {"value": 2}

    async def two(state: Sum) -> Sum:
        calls["two"] += 1
        await asyncio.sleep(0)
        if failing:
            message = "I'm not good"
            raise ConnectionError(message)
        return {"value": 3}

    builder = StateGraph(Sum)
    builder.add_node("one", one)
    builder.add_node("two", two, retry_policy=immediate(max_attempts=2))
    builder.add_edge(START, "one")
    builder.add_edge(START, "two")
    graph = builder.compile(saver)

    with pytest.raises(ConnectionError, match="I'm not good"):
        await graph.ainvoke({"value": 1}, thread_id="t", durability=durability)
    assert calls == {"one": 1, "two": 2}
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.values, snapshot.next) == ({"value": 3}, ("two",))
    assert (await graph.aget_state(snapshot.config)).values == {"value": 1}
    with pytest.raises(ConnectionError, match="I'm not good"):
        await graph.ainvoke(None, thread_id="t", durability=durability)
    assert calls == {"one": 1, "two": 4}
    failing = False

    assert await graph.ainvoke(None, thread_id="t", durability=durability) == {"value": 6}
    assert calls == {"one": 1, "two": 5}


# Errors that are retried


class OddError(Exception):
    """An error of a class that the library does not know."""


@pytest.mark.parametrize("error", [ConnectionError(), ConnectionResetError(), TimeoutError(), OddError()], ids=repr)
async def test_transient_and_unknown_errors_are_retried_by_default(error: Exception) -> None:
    flaky = Flaky(error)

    await with_policy(flaky, immediate()).compile().ainvoke({})

    assert flaky.attempts == [1, 2]


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        TypeError(),
        ZeroDivisionError(),
        ImportError(),
        KeyError(),
        NameError(),
        SyntaxError(),
        RuntimeError(),
        ReferenceError(),
        FileNotFoundError(),
        ExceptionGroup("several", [ValueError(), ConnectionError()]),
    ],
    ids=repr,
)
async def test_programming_errors_are_not_retried_by_default(error: Exception) -> None:
    flaky = Flaky(error)

    with pytest.raises(type(error)):
        await with_policy(flaky, immediate()).compile().ainvoke({})

    assert flaky.attempts == [1]


def _is_busy(error: Exception) -> bool:
    return "busy" in str(error)


@pytest.mark.parametrize(
    ("retry_on", "retried", "raised"),
    [
        pytest.param(ValueError, ValueError(), KeyError(), id="a class"),
        pytest.param(LookupError, KeyError(), ValueError(), id="a base class"),
        pytest.param((ValueError, KeyError), KeyError(), TypeError(), id="a tuple"),
        pytest.param([ValueError, KeyError], ValueError(), TypeError(), id="a list"),
        pytest.param(_is_busy, ValueError("busy"), ValueError("broken"), id="a function"),
    ],
)
async def test_retry_on_determines_which_errors_are_retried(
    retry_on: Any, retried: Exception, raised: Exception
) -> None:
    flaky = Flaky(retried, raised)

    with pytest.raises(type(raised)):
        await with_policy(flaky, immediate(retry_on=retry_on, max_attempts=9)).compile().ainvoke({})

    assert flaky.attempts == [1, 2]


async def test_an_empty_retry_on_retries_no_error() -> None:
    flaky = Flaky(ConnectionError())

    with pytest.raises(ConnectionError):
        await with_policy(flaky, immediate(retry_on=())).compile().ainvoke({})

    assert flaky.attempts == [1]


@pytest.mark.parametrize("retry_on", [123, "ValueError", [1]])
def test_an_invalid_retry_on_is_refused(retry_on: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="retry_on"):
        RetryPolicy(retry_on=retry_on)


@pytest.mark.parametrize(
    "given",
    [{"max_attempts": 0}, {"max_attempts": -1}, {"initial_interval": -1}, {"max_interval": -1}, {"backoff_factor": -1}],
    ids=str,
)
def test_a_policy_with_an_invalid_number_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        RetryPolicy(**given)


async def test_the_first_matching_policy_of_several_applies() -> None:
    policies = [immediate(max_attempts=2, retry_on=ValueError), immediate(max_attempts=3, retry_on=KeyError)]

    flaky = Flaky(KeyError(), KeyError())
    await with_policy(flaky, policies).compile().ainvoke({})
    assert flaky.attempts == [1, 2, 3]
    flaky = Flaky(ValueError("one"), ValueError("two"))
    with pytest.raises(ValueError, match="two"):
        await with_policy(flaky, policies).compile().ainvoke({})
    assert flaky.attempts == [1, 2]


async def test_several_policies_share_one_count_of_attempts() -> None:
    policies = [immediate(max_attempts=2, retry_on=ValueError), immediate(max_attempts=3, retry_on=KeyError)]
    flaky = Flaky(KeyError(), ValueError("two"))

    with pytest.raises(ValueError, match="two"):
        await with_policy(flaky, policies).compile().ainvoke({})

    assert flaky.attempts == [1, 2]


# Pauses between attempts


def pauses(flaky: Flaky, policy: RetryPolicy, saver: Checkpointer | None = None) -> list[float]:
    """The seconds between one attempt and the next."""
    run: Callable[..., Any] = with_policy(flaky, policy).compile(saver).ainvoke
    in_no_time(run({}, thread_id="t") if saver is not None else run({}))
    return [later - earlier for earlier, later in zip(flaky.began, flaky.began[1:], strict=False)]


@pytest.mark.parametrize("is_stored", [False, True])
def test_pauses_grow_by_the_backoff_factor_up_to_max_interval(is_stored: bool) -> None:
    policy = RetryPolicy(initial_interval=1, backoff_factor=3, max_interval=20, max_attempts=6, jitter=False)
    flaky = Flaky(*(ConnectionError() for _ in range(5)))

    saver = MemorySaver() if is_stored else None

    assert pauses(flaky, policy, saver) == pytest.approx([1, 3, 9, 20, 20], abs=0.1)


def test_the_default_policy_pauses_half_a_second_then_one_with_up_to_one_second_of_jitter() -> None:
    flaky = Flaky(ConnectionError(), ConnectionError())

    first, second = pauses(flaky, RetryPolicy())

    assert 0.5 <= first <= 1.5
    assert 1.0 <= second <= 2.0


def test_jitter_spreads_the_pauses() -> None:
    policy = RetryPolicy(initial_interval=1, backoff_factor=1, max_attempts=21)
    flaky = Flaky(*(ConnectionError() for _ in range(20)))

    waited = pauses(flaky, policy)

    assert len({round(pause, 6) for pause in waited}) > 10
    assert all(1 <= pause <= 2 for pause in waited)


def test_a_sibling_finishes_during_the_pause_of_a_retry_and_is_kept() -> None:
    finished: list[float] = []

    async def quick(state: State) -> State:
        finished.append(now())
        return {"log": ["quick"]}

    policy = RetryPolicy(initial_interval=100, max_attempts=2, jitter=False)
    builder = with_policy(Flaky(ConnectionError()), policy)
    builder.add_node("quick", quick)
    builder.add_edge(START, "quick")

    result = in_no_time(builder.compile(MemorySaver()).ainvoke({}, thread_id="t"))

    assert result == {"log": ["flaky", "quick"]}
    assert finished == [pytest.approx(0, abs=0.1)]


def test_a_node_in_the_pause_of_a_retry_does_not_count_for_max_concurrency() -> None:
    """`max_concurrency` limits running nodes: a node that waits for its next attempt frees its slot."""
    began: list[float] = []

    async def other(state: State) -> State:
        began.append(now())
        return {}

    policy = RetryPolicy(initial_interval=100, max_attempts=2, jitter=False)
    builder = with_policy(Flaky(ConnectionError()), policy)
    builder.add_node("other", other)
    builder.add_edge(START, "other")

    in_no_time(builder.compile(MemorySaver()).ainvoke({}, thread_id="t", max_concurrency=1))

    assert began == [pytest.approx(0, abs=0.1)]


# Retries together with other features


async def test_each_send_is_retried_separately(saver: Checkpointer) -> None:
    calls: Counter[str] = Counter()

    async def work(job: Any) -> State:
        calls[job] += 1
        if calls[job] <= {"x": 0, "y": 1, "z": 2}[job]:
            raise ConnectionError
        return {"log": [job]}

    builder = StateGraph(State)
    builder.add_node("work", work, retry_policy=immediate(max_attempts=3))
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in "xyz"], ["work"])

    result = await builder.compile(saver).ainvoke({}, thread_id="t")

    assert result == {"log": ["x", "y", "z"]}
    assert calls == {"x": 1, "y": 2, "z": 3}


async def test_finished_nodes_of_a_nested_graph_do_not_run_again_when_its_caller_is_retried(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    flaky = Flaky(ConnectionError(), ConnectionError())
    inner = chain(("first", nodes.noting("first")), ("flaky", flaky)).compile()

    async def call(state: State) -> State:
        nodes.calls["call"] += 1
        return {"log": (await inner.ainvoke({}))["log"]}

    builder = with_policy(call, immediate())
    graph = builder.compile(saver)

    assert await graph.ainvoke({}, thread_id="t", durability=durability) == {"log": ["first", "flaky"]}
    assert nodes.calls == {"call": 3, "first": 1}


async def test_an_invalid_node_result_is_not_retried(saver: Checkpointer) -> None:
    nodes = Nodes()

    async def wrong(state: State) -> Any:
        nodes.calls["wrong"] += 1
        return 42

    with pytest.raises(TypeError, match="node 'flaky' returned"):
        await with_policy(wrong, immediate()).compile(saver).ainvoke({}, thread_id="t")

    assert nodes.calls == {"wrong": 1}


async def test_a_failed_sibling_ends_the_pause_of_a_retry(saver: Checkpointer) -> None:
    policy = RetryPolicy(initial_interval=10_000, max_attempts=2, jitter=False)
    builder = with_policy(Flaky(ConnectionError()), policy)

    async def fail(state: State) -> State:
        await asyncio.sleep(0)
        message = "for good"
        raise ValueError(message)

    builder.add_node("fail", fail)
    builder.add_edge(START, "fail")

    with pytest.raises(ValueError, match="for good"):
        await builder.compile(saver).ainvoke({}, thread_id="t")


async def test_a_plain_function_is_retried(saver: Checkpointer) -> None:
    calls: list[int] = []

    def flaky(state: State, runtime: Runtime[None]) -> State:
        calls.append(runtime.execution_info.node_attempt)
        if len(calls) < 3:
            raise ConnectionError
        return {"log": ["flaky"]}

    assert await with_policy(flaky, immediate()).compile(saver).ainvoke({}, thread_id="t") == {"log": ["flaky"]}
    assert calls == [1, 2, 3]
