"""`compile(store=...)`: any object, passed unchanged to the code of a graph."""

from typing import Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    GraphValidationError,
    InvalidOptionError,
    OutsideOfRunError,
    Runtime,
    StateGraph,
    entrypoint,
    get_store,
    task,
)
from tests.errors.kinds import of_kind


class State(TypedDict, total=False):
    seen: Any


STORE = {"tea": "green"}
NO_STORE: dict[str, str] = {}


def asks_by_name(state: State, store: dict[str, str]) -> Any:
    return store


def asks_for_the_runtime(state: State, runtime: Runtime) -> Any:
    return runtime.store


def asks_by_function(state: State) -> Any:
    return get_store()


def asks_by_keyword(state: State, *, store: Any = None) -> Any:
    return store


ASKING = [asks_by_name, asks_for_the_runtime, asks_by_function, asks_by_keyword]


def graph_of(asks: Any, *, is_nested: bool = False, **options: Any) -> Any:
    found: list[Any] = []

    def node(state: State) -> State:
        return {"seen": len(found)}

    def router(*args: Any, **kwargs: Any) -> str:
        found.append(asks(*args, **kwargs))
        return "__end__"

    # The library reads the parameters of the wrapped function.
    router.__wrapped__ = asks  # type: ignore[attr-defined]
    described = StateGraph(State).add_node("node", node).add_edge(START, "node").add_conditional_edges("node", router)
    if is_nested:
        inner = described.compile()
        described = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")
    return described.compile(**options), found


@pytest.mark.parametrize("asks", ASKING)
@pytest.mark.parametrize("is_nested", [False, True], ids=["", "nested"])
async def test_a_node_gets_the_store(saver: Checkpointer, asks: Any, is_nested: bool) -> None:
    found = []

    def node(*args: Any, **kwargs: Any) -> State:
        found.append(asks(*args, **kwargs))
        return {}

    node.__wrapped__ = asks  # type: ignore[attr-defined]
    described = StateGraph(State).add_node("node", node).add_edge(START, "node")
    if is_nested:
        described = StateGraph(State).add_node("inner", described.compile()).add_edge(START, "inner")
    await described.compile(saver, store=STORE).ainvoke({}, thread_id="t")

    assert len(found) == 1
    assert found[0] is STORE


@pytest.mark.parametrize("asks", ASKING)
async def test_a_router_gets_the_store(saver: Checkpointer, asks: Any) -> None:
    graph, found = graph_of(asks, checkpointer=saver, store=STORE)
    await graph.ainvoke({}, thread_id="t")
    assert len(found) == 1
    assert found[0] is STORE


async def test_a_nested_graph_keeps_its_own_store() -> None:
    own = {"tea": "black"}
    inner = StateGraph(State).add_node("node", lambda _: {"seen": get_store()}).add_edge(START, "node")
    outer = StateGraph(State).add_node("inner", inner.compile(store=own)).add_edge(START, "inner")
    assert (await outer.compile(store=STORE).ainvoke({}))["seen"] == own


async def test_tasks_and_entrypoints_get_the_store(saver: Checkpointer) -> None:
    @task
    async def recall(key: str, store: dict[str, str] = NO_STORE) -> str:
        return store[key] + str(get_store()[key])

    @entrypoint(saver, store=STORE)
    async def flow(key: str, *, store: dict[str, str]) -> list[str]:
        return [store[key], await recall(key)]

    assert await flow.ainvoke("tea", thread_id="t") == ["green", "greengreen"]


async def test_a_copy_with_another_config_keeps_the_store() -> None:
    graph = StateGraph(State).add_node("node", lambda _: {"seen": get_store()}).add_edge(START, "node")
    assert (await graph.compile(store=STORE).with_config(tags=["a"]).ainvoke({}))["seen"] is STORE


async def test_the_error_of_a_missing_store_says_where_to_pass_it() -> None:
    for asks in (asks_by_name, asks_by_function):
        graph, _ = graph_of(asks)
        with pytest.raises(InvalidOptionError, match=r"compile\(store=\.\.\.\), since 'node' asks for it"):
            await graph.ainvoke({})
    graph, found = graph_of(asks_for_the_runtime)
    await graph.ainvoke({})
    assert found == [None]


async def test_a_store_parameter_keeps_its_default_without_a_store() -> None:
    def asks(state: State, *, store: Any = "mine") -> Any:
        return store

    graph, found = graph_of(asks)
    await graph.ainvoke({})
    assert found == ["mine"]


async def test_an_optional_store_parameter_is_none_without_a_store() -> None:
    def asks(state: State, store: dict[str, str] | None) -> Any:
        return store

    graph, found = graph_of(asks)
    await graph.ainvoke({})
    assert found == [None]


def test_get_store_outside_of_a_run_is_an_error() -> None:
    with pytest.raises(OutsideOfRunError, match=r"get_store\(\)"):
        get_store()


def test_an_entrypoint_that_requires_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(GraphValidationError, check=of_kind("argument"), match="requires the parameter 'stores'"):

        @entrypoint()
        async def flow(key: str, *, stores: Any) -> None: ...
