"""The needs of `langgraph.prebuilt` in a node: a runtime under LangGraph's key, and Commands accepted like ours.

LangGraph itself is not installed here. The tests imitate its parts as far as these look at their surroundings.
"""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from langchain_core.runnables import Runnable, RunnableConfig

from durable_graph import START, Checkpointer, StateGraph
from tests.langchain.models import HELLO, State, one_node

KEY = "__pregel_runtime"


@pytest.fixture(autouse=True)
def langgraph_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langgraph", ModuleType("langgraph"))


class Tools(Runnable[Any, Any]):
    """Like `ToolNode`: takes the runtime out of its config."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Any:  # noqa: A002  # LangChain's name
        from langchain_core.runnables.config import ensure_config

        runtime = ensure_config(config)["configurable"][KEY]
        runtime.stream_writer({"told": "by a tool"})
        return {"other": (runtime.context, runtime.store, runtime.execution_info.node, runtime.server_info)}


async def test_the_runtime_is_found_under_the_key_of_langgraph(saver: Checkpointer) -> None:
    tools = Tools()

    async def awaits(state: State) -> Any:
        return await tools.ainvoke(state)

    async def with_config(state: State, config: RunnableConfig) -> Any:
        return await tools.ainvoke(state, config)

    def in_a_thread(state: State) -> Any:
        return tools.invoke(state)

    for number, node in enumerate((tools, awaits, with_config, in_a_thread)):
        builder: Any = StateGraph(State, context_schema=dict)
        graph = builder.add_node("node", node).add_edge(START, "node").compile(saver, store={"s": 1})
        found = await graph.ainvoke(HELLO, {"configurable": {"thread_id": str(number)}}, context={"u": 1})
        assert found["other"] == ({"u": 1}, {"s": 1}, "node", None)
    assert [part async for part in one_node(tools).astream(HELLO, stream_mode="custom")] == [{"told": "by a tool"}]


async def test_a_nested_graph_accepts_a_config_that_contains_the_runtime(saver: Checkpointer) -> None:
    def inside(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"other": config["configurable"][KEY].execution_info.node}

    inner = one_node(inside, "inside")

    async def outside(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"other": (await inner.ainvoke({"messages": state["messages"]}, config))["other"]}

    graph = one_node(outside, "outside", checkpointer=saver)
    assert (await graph.ainvoke(HELLO, {"configurable": {"thread_id": "t"}}))["other"] == "inside"


@dataclass
class LangGraphRuntime:
    """LangGraph's runtime."""

    context: Any = None
    store: Any = None
    previous: Any = None


async def test_a_runtime_of_langgraph_is_completed_from_the_runtime_of_the_node() -> None:
    merged: list[LangGraphRuntime] = []

    def node(state: State, config: RunnableConfig) -> None:
        mine = config["configurable"][KEY]
        merged.extend([mine.merge(LangGraphRuntime()), mine.merge(LangGraphRuntime(context="its own", previous=1))])

    builder: Any = StateGraph(State, context_schema=dict)
    graph = builder.add_node("node", node).add_edge(START, "node").compile(store="store")
    await graph.ainvoke(HELLO, context={"u": 1})
    assert merged == [LangGraphRuntime({"u": 1}, "store"), LangGraphRuntime("its own", "store", 1)]


async def test_commands_and_sends_of_langgraph_are_accepted() -> None:
    command = type("Command", (), {"__module__": "langgraph.types", "graph": None, "goto": ()})
    send = type("Send", (), {"__module__": "langgraph.types", "node": "last", "arg": {"other": "sent"}})

    def commands(state: State) -> Any:
        first, second = command(), command()
        first.update, second.update, second.goto = {"other": "updated"}, None, [send()]
        return [first, second]

    builder: Any = StateGraph(State).add_node("first", commands, destinations=("last",))
    builder.add_node("last", lambda given: {"other": [given["other"], "last"]}).add_edge(START, "first")
    assert (await builder.compile().ainvoke(HELLO))["other"] == ["sent", "last"]
