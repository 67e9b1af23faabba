"""The plan of a node has the stages that the node uses, in a fixed order, and is composed once."""

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

from durable_graph import START, CachePolicy, InMemoryCache, RetryPolicy, StateGraph, StateMutatedError
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.task import stages
from durable_graph._runtime.task.plan import StepPlan
from durable_graph.graph import Topology


class State(TypedDict, total=False):
    count: int


class Model(BaseModel):
    count: int = 0


class Observer:
    """A stand-in for the callbacks of another library: a plan only checks whether a run has any."""


async def node(state: Any) -> dict[str, int]:
    return {"count": 1}


def choose(state: Any) -> str:
    return "__end__"


def handle(state: Any) -> dict[str, int]:
    return {"count": -1}


def topology_of(schema: type, *, has_router: bool = False, **options: Any) -> Topology:
    builder = StateGraph(schema)
    builder.add_node("node", node, **options)
    builder.add_edge(START, "node")
    if has_router:
        builder.add_conditional_edges("node", choose)
    return builder.compile(cache=InMemoryCache()).topology


STAGES = {
    "run_observed": "observed",
    "run_routers": "routed",
    "run_cached": "cached",
    "run_checked": "checked",
    "run_compared": "private",
    "run_code": "code",
    "run_handler": "handled",
}


def names_of(stage: Callable[..., Any]) -> Iterator[str]:
    """The names of the stages composed in this one, the outermost first, found by the references between functions."""
    name = getattr(stage, "__name__", "")
    if name in STAGES:
        yield STAGES[name]
    if inspect.isfunction(stage) and stage.__module__ == stages.__name__:
        for value in inspect.getclosurevars(stage).nonlocals.values():
            if inspect.isfunction(value):
                yield from names_of(value)


CACHED: dict[str, Any] = {"cache_policy": CachePolicy()}
OBSERVED = Request(None, observer=Observer())  # type: ignore[arg-type]  # nothing is called on it


@pytest.mark.parametrize(
    ("topology", "request_", "expected"),
    [
        (topology_of(State), Request(None), ["code"]),
        (topology_of(State, retry_policy=RetryPolicy()), Request(None), ["code"]),
        (topology_of(State, timeout=1), Request(None), ["code"]),
        (topology_of(State, has_router=True), Request(None), ["routed", "code"]),
        (topology_of(State, **CACHED), Request(None), ["cached", "code"]),
        (topology_of(Model), Request(None), ["private", "code"]),
        (topology_of(State), Request(None, is_checked=True), ["checked", "code"]),
        (topology_of(State), OBSERVED, ["observed", "code"]),
        (
            topology_of(Model, has_router=True, **CACHED),
            Request(None, is_checked=True, observer=OBSERVED.observer),
            ["observed", "routed", "cached", "checked", "private", "code"],
        ),
    ],
)
def test_the_plan_of_a_node_has_only_the_used_stages_in_a_fixed_order(
    topology: Topology, request_: Request, expected: list[str]
) -> None:
    plan = StepPlan(topology).for_run(request_, has_cache=True)["node"]

    assert list(names_of(plan.run)) == expected


def test_the_plan_of_a_graph_without_a_cache_has_no_cache_stage() -> None:
    plan = StepPlan(topology_of(State, **CACHED)).for_run(Request(None), has_cache=False)["node"]

    assert list(names_of(plan.run)) == ["code"]


def test_the_plan_of_an_error_handler_has_no_stages_of_its_node() -> None:
    topology = topology_of(State, has_router=True, error_handler=handle, **CACHED)

    plan = StepPlan(topology).for_run(Request(None), has_cache=True)["node"]

    assert list(names_of(plan.handle)) == ["handled", "code"]
    assert list(names_of(plan.route)) == ["routed"]


def test_plans_are_cached_by_their_stages_and_not_by_the_values_of_a_call() -> None:
    plan = StepPlan(topology_of(State))
    composed = [
        plan.for_run(
            Request(
                {"count": number},
                thread_id=str(number),
                recursion_limit=number + 1,
                max_concurrency=number + 1,
                step_timeout=number + 1.0,
                is_checked=number % 2 == 0,
                observer=OBSERVED.observer if number % 3 == 0 else None,
            ),
            has_cache=number % 5 == 0,
        )
        for number in range(10_000)
    ]

    combinations = len(list(itertools.product((False, True), repeat=3)))
    assert len({id(each) for each in composed}) == combinations


async def test_stages_depend_on_the_run_and_not_on_the_graph_alone() -> None:
    """One graph, with debug in one call and without it in the next: the second call is not checked."""
    seen: list[list[int]] = []

    class Lists(TypedDict, total=False):
        items: list[int]

    async def change(state: Lists) -> dict[str, Any]:
        state["items"][0] += 1
        seen.append(state["items"])
        return {}

    builder = StateGraph(Lists)
    builder.add_node("change", change)
    builder.add_edge(START, "change")
    graph = builder.compile()

    with pytest.raises(StateMutatedError):
        await graph.ainvoke({"items": [1]}, debug=True)

    assert await graph.ainvoke({"items": [1]}, debug=False) == {"items": [2]}
    assert len(seen) == 2
