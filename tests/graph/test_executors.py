"""Nodes on executors, as described: which functions an executor can run, and which options go together."""

import functools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from durable_graph import START, MemorySaver, Runtime, Send, StateGraph, TimeoutPolicy
from durable_graph.errors import ExecutorImportError, GraphValidationError, InvalidOptionError
from tests.errors.kinds import of_kind
from tests.runtime import heavy

State = dict[str, Any]


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as started:
        yield started


def top_level(state: State) -> State:
    return {}


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


@wrapped
def decorated(state: State) -> State:
    return {}


class Called:
    def __call__(self, state: State) -> State:
        return {}


def with_runtime(state: State, runtime: Runtime[None]) -> State:
    return {}


def with_two(state: State, *, config: Any, writer: Any) -> State:
    return {}


def replaced_later(state: State) -> State:
    return {}


def compiled(node: Any, executor: Any, **options: Any) -> Any:
    builder: Any = StateGraph(dict[str, Any])
    return builder.add_node("heavy", node, executor=executor, **options).add_edge(START, "heavy").compile()


@pytest.mark.parametrize("function", [heavy.square, decorated, math.sqrt, heavy.Methods.plain])
def test_a_function_that_its_module_has_under_its_name_can_run_on_an_executor(
    function: Callable[..., Any], pool: Executor
) -> None:
    node = compiled(function, pool).topology.nodes["heavy"]

    assert (node.action, node.executor) == (function, pool)


def local() -> Callable[..., Any]:
    def inner(state: State) -> State:
        return {}

    return inner


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda state: {}, "it is a lambda"),
        (heavy.not_a_lambda, "it is a lambda"),
        (local(), "it is defined inside another function"),
        (heavy.Methods().bound, "it is a bound method"),
        (functools.partial(top_level), "it is a partial"),
        (Called(), "it is an instance of Called and not a function"),
        (heavy.nested, "it is an instance of TaskFunction and not a function"),
        (heavy.asynchronous, "it is async, and an executor runs plain functions"),
    ],
    ids=[
        "a lambda",
        "a lambda in a module",
        "inside a function",
        "a bound method",
        "a partial",
        "a callable object",
        "a task",
        "async",
    ],
)
def test_a_function_that_no_other_process_can_import_is_refused(function: Any, why: str, pool: Executor) -> None:
    with pytest.raises(ExecutorImportError, check=of_kind("graph")) as raised:
        compiled(function, pool)

    error = raised.value
    assert (error.where, error.why) == ("node 'heavy'", why)
    assert str(error).endswith("; pass a plain function from the top level of a module that its processes can import")
    assert error.function in str(error)


def test_a_function_whose_name_in_its_module_is_another_object_is_refused(
    pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = replaced_later
    monkeypatch.setitem(globals(), "replaced_later", top_level)
    with pytest.raises(ExecutorImportError, match="another object under its name"):
        compiled(function, pool)

    monkeypatch.delitem(globals(), "replaced_later")
    with pytest.raises(ExecutorImportError, match="no such name"):
        compiled(function, pool)


def test_all_refused_functions_are_problems_and_so_are_other_problems(pool: Executor) -> None:
    builder: Any = StateGraph(dict[str, Any])
    builder.add_node("a", heavy.asynchronous, executor=pool).add_node("b", local(), executor=pool)
    builder.add_edge(START, "a").add_edge("a", "b")
    with pytest.raises(ExecutorImportError) as refused:
        builder.compile()

    builder.add_edge("b", "nowhere")
    with pytest.raises(GraphValidationError) as raised:
        builder.compile()

    assert [problem.partition(" cannot run ")[0] for problem in refused.value.problems] == ["node 'a'", "node 'b'"]
    assert type(raised.value) is GraphValidationError
    assert "nowhere" in raised.value.problems[0]
    assert raised.value.problems[1:] == refused.value.problems


def test_parameters_that_are_injected_are_refused(pool: Executor) -> None:
    with pytest.raises(GraphValidationError, match="gets its input alone: remove the parameter 'runtime'"):
        compiled(with_runtime, pool)
    with pytest.raises(GraphValidationError, match="remove the parameter 'config', 'writer'"):
        compiled(with_two, pool)


def test_a_graph_is_refused(pool: Executor) -> None:
    inner = compiled(top_level, None)

    with pytest.raises(GraphValidationError, match="is a graph, which cannot run on an executor"):
        compiled(inner, pool)


def needs_a_size(size: int) -> Executor:
    return ThreadPoolExecutor(size)


async def no_factory() -> Executor:
    return ThreadPoolExecutor(1)


@pytest.mark.parametrize("given", [3, "processes", needs_a_size, no_factory])
def test_an_executor_is_an_executor_or_a_function_without_parameters(given: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"executor of node 'heavy'.*concurrent\.futures\.Executor"):
        compiled(top_level, given)


@pytest.mark.parametrize("factory", [ProcessPoolExecutor, functools.partial(ThreadPoolExecutor, 2), lambda: None])
def test_a_factory_is_not_called_before_the_first_task(factory: Any) -> None:
    assert compiled(top_level, factory).topology.nodes["heavy"].executor is factory


def test_a_node_on_an_executor_can_have_only_a_run_timeout(pool: Executor) -> None:
    node = compiled(top_level, pool, timeout=3).topology.nodes["heavy"]

    assert node.timeout == TimeoutPolicy(run_timeout=3)
    with pytest.raises(GraphValidationError, match="sends no heartbeats: give it a run_timeout alone"):
        compiled(top_level, pool, timeout=TimeoutPolicy(idle_timeout=3))


def test_the_default_timeout_of_all_nodes_applies_without_its_idle_time(pool: Executor) -> None:
    def with_default(policy: TimeoutPolicy) -> TimeoutPolicy | None:
        builder: Any = StateGraph(dict[str, Any]).set_node_defaults(timeout=policy)
        builder.add_node("heavy", top_level, executor=pool).add_node("plain", top_level)
        topology = builder.add_edge(START, "heavy").add_edge("heavy", "plain").compile().topology
        assert topology.nodes["plain"].timeout is None
        found: TimeoutPolicy | None = topology.nodes["heavy"].timeout
        return found

    assert with_default(TimeoutPolicy(run_timeout=3)) == TimeoutPolicy(run_timeout=3)
    assert with_default(TimeoutPolicy(run_timeout=3, idle_timeout=1)) == TimeoutPolicy(run_timeout=3)


async def test_a_send_cannot_set_an_idle_timeout_for_a_node_on_an_executor(pool: Executor) -> None:
    builder: Any = StateGraph(dict[str, Any]).add_node("heavy", top_level, executor=pool)
    timeout = TimeoutPolicy(idle_timeout=1)
    builder.add_conditional_edges(START, lambda _: [Send("heavy", {}, timeout=timeout)], ["heavy"])

    with pytest.raises(InvalidOptionError, match="a run_timeout alone: no heartbeat leaves an executor"):
        await builder.compile(MemorySaver()).ainvoke({}, thread_id="t")
