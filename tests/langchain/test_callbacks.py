"""Callbacks reach models and tools in all code of a graph, and runs nest as under LangGraph."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import tool

from durable_graph import END, START, Checkpointer, Command, StateGraph, entrypoint, get_config, interrupt, task
from durable_graph._runtime.request.callbacks import CallbackLibrary
from durable_graph.errors import UnknownOptionError
from durable_graph_langchain.callbacks import CALLBACKS
from tests.errors.kinds import of_kind
from tests.langchain.models import HELLO, RunLog, State, model, one_node

LIBRARY: CallbackLibrary = CALLBACKS
"""For the type checker: neither side imports the other."""


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return word.upper()


async def asks(state: State) -> dict[str, Any]:
    return {"messages": [await model().ainvoke("x")]}


async def test_runs_of_models_and_tools_nest_in_their_node_and_the_node_in_its_graph() -> None:
    def in_a_thread(state: State) -> dict[str, Any]:
        return {"messages": [model().invoke("x")], "other": look_up.invoke({"word": "a"})}

    async def with_config(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [await model().ainvoke("x", config)], "other": await look_up.ainvoke({"word": "a"}, config)}

    for node in (in_a_thread, with_config):
        heard = RunLog()
        await one_node(node).ainvoke(HELLO, {"callbacks": [heard], "run_name": "run", "tags": ["t"]})
        assert heard.begun == [("run", None), ("node", "run"), ("model", "node"), ("look_up", "node")]
        assert heard.ends == [("node", None), ("run", None)]
        assert "t" in heard.tags["model"]
        assert heard.metadata["model"]["langgraph_node"] == "node"


async def test_runs_of_nested_graphs_and_tasks_nest_in_their_callers(saver: Checkpointer) -> None:
    inner = one_node(asks, "asks", name="inner")

    async def calls(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": (await inner.ainvoke({"messages": state["messages"]}, config))["messages"]}

    expected = [("outer", None), ("node", "outer"), ("inner", "node"), ("asks", "inner"), ("model", "asks")]
    for node in (inner, calls):
        heard = RunLog()
        outer = one_node(node, name="outer", checkpointer=saver)
        await outer.ainvoke(HELLO, {"callbacks": [heard], "configurable": {"thread_id": str(uuid4())}})
        assert heard.begun == expected

    @task
    async def step(word: str) -> Any:
        return (await model().ainvoke(word)).content

    @entrypoint(saver, name="flow")
    async def flow(word: str) -> Any:
        return await step(word)

    heard = RunLog()
    await flow.ainvoke("x", {"callbacks": [heard], "configurable": {"thread_id": "flow"}})
    assert heard.begun == [("flow", None), ("flow", "flow"), ("step", "flow"), ("model", "step")]


async def test_routers_and_error_handlers_have_the_callbacks() -> None:
    async def fails(state: State) -> None:
        raise ValueError("no")

    async def handles(state: State) -> Command[Any]:
        return Command(update=await asks(state), goto="routed")

    async def route(state: State) -> str:
        await model().ainvoke("x")
        return END

    builder = StateGraph(State).add_node("routed", lambda _: None)
    builder.add_node("handled", fails, error_handler=handles, destinations=("routed",))
    builder.add_edge(START, "handled").add_conditional_edges("routed", route)
    heard = RunLog()
    await builder.compile().ainvoke(HELLO, {"callbacks": [heard]})
    assert [parent for name, parent in heard.begun if name == "model"] == ["handled", "routed"]
    assert heard.ends[0] == ("handled", "ValueError")


async def test_an_interrupt_and_a_failure_end_their_runs(saver: Checkpointer) -> None:
    def node(state: State) -> dict[str, Any]:
        return {"other": interrupt("sure?")}

    graph = one_node(node, name="graph", checkpointer=saver)
    config: dict[str, Any] = {"configurable": {"thread_id": "t"}, "callbacks": [heard := RunLog()]}
    await graph.ainvoke(HELLO, config)
    assert heard.ends == [("node", "GraphInterrupt"), ("graph", None)]
    assert (await graph.ainvoke(Command(resume="yes"), config))["other"] == "yes"
    assert heard.ends[2:] == [("node", None), ("graph", None)]

    async def fails(state: State) -> None:
        raise ValueError("no")

    heard = RunLog()
    with pytest.raises(ValueError, match="no"):
        await one_node(fails, name="graph").ainvoke(HELLO, {"callbacks": [heard]})
    assert heard.ends == [("node", "ValueError"), ("graph", "ValueError")]


async def test_models_find_the_config_of_their_node() -> None:
    run_id = UUID(int=7)

    def node(state: State, config: RunnableConfig) -> dict[str, Any]:
        found: Any = var_child_runnable_config.get()
        assert found["callbacks"] is config["callbacks"] is get_config()["callbacks"]
        assert found["configurable"] == config["configurable"]
        # Each call of a model has its own name and id.
        assert "run_id" not in config
        assert "run_name" not in config
        return {"other": (config["tags"], config["metadata"]["langgraph_step"], config["configurable"]["user"])}

    config = {
        "tags": ["t"],
        "run_name": "n",
        "run_id": run_id,
        "configurable": {"user": "ada"},
        "callbacks": [RunLog()],
    }
    assert (await one_node(node).ainvoke(HELLO, config))["other"] == (["t"], 1, "ada")
    assert var_child_runnable_config.get() is None


async def test_callbacks_of_a_bound_config_and_of_an_enclosing_chain_are_called() -> None:
    bound, given, around = RunLog(), RunLog(), RunLog()
    graph = one_node(asks, name="graph").with_config({"callbacks": [bound]})
    await graph.ainvoke(HELLO, {"callbacks": [given]})
    assert bound.begun == given.begun == [("graph", None), ("node", "graph"), ("model", "node")]

    async def run(state: Any) -> Any:
        return await graph.ainvoke(state)

    await RunnableLambda(run).ainvoke(HELLO, {"callbacks": [around]})
    assert around.begun == [("run", None), ("graph", "run"), ("node", "graph"), ("model", "node")]

    chain = RunnableLambda(graph.ainvoke) | (lambda state: state["messages"][-1].content)
    around = RunLog()
    assert await chain.ainvoke(HELLO, {"callbacks": [around]}) == "good day"
    assert [name for name, _ in around.begun] == [
        "RunnableSequence",
        "ainvoke",
        "graph",
        "node",
        "model",
        "RunnableLambda",
    ]


async def test_a_node_may_dispatch_events_of_its_own() -> None:
    class Custom(RunLog):
        def on_custom_event(self, name: str, data: Any, **facts: Any) -> None:
            self.ends.append((name, data))

    async def node(state: State) -> None:
        await adispatch_custom_event("progress", 0.5)

    heard = Custom()
    await one_node(node).ainvoke(HELLO, {"callbacks": [heard]})
    assert ("progress", 0.5) in heard.ends


async def test_callbacks_that_are_no_handlers_are_refused() -> None:
    for callbacks in ([print], print, [RunLog(), "x"]):
        with pytest.raises(UnknownOptionError, check=of_kind("config"), match=r"graph\.stream"):
            await one_node(asks).ainvoke(HELLO, {"callbacks": callbacks})


PROGRAM = """
import asyncio, sys
from typing import TypedDict
from durable_graph import START, StateGraph

class State(TypedDict):
    value: int

graph = StateGraph(State).add_node("node", lambda state: {"value": 1}).add_edge(START, "node").compile()
print(asyncio.run(graph.ainvoke({"value": 0}, {"callbacks": []})))
print([name for name in sys.modules if name.split(".")[0] in ("langchain_core", "durable_graph_langchain")])
"""


def test_a_program_without_langchain_does_not_import_it() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["{'value': 1}", "[]"]


async def test_callbacks_without_handlers_have_the_tags_the_metadata_and_a_parent_run() -> None:
    found: list[Any] = []

    def node(state: State, config: RunnableConfig) -> None:
        found.append(config["callbacks"])

    config: Any = {"tags": ["t"], "metadata": {"user": "ada"}}
    await one_node(node).ainvoke(HELLO, config)
    await one_node(node).ainvoke(HELLO, {**config, "callbacks": [RunLog()]})

    unheard, heard = found
    assert unheard.handlers == []
    assert unheard.parent_run_id is not None
    assert unheard.tags == unheard.inheritable_tags == heard.inheritable_tags == ["t"]
    assert unheard.metadata == unheard.inheritable_metadata == heard.inheritable_metadata
    assert unheard.metadata["user"] == "ada"


async def test_the_input_of_a_node_is_made_fewer_times_without_handlers() -> None:
    made: list[str] = []

    @dataclass
    class Counted:
        word: str

        def __post_init__(self) -> None:
            made.append(self.word)

    builder: Any = StateGraph(Counted)
    builder.add_node("node", lambda state: None).add_edge(START, "node").add_edge("node", END)
    graph = builder.compile()

    await graph.ainvoke({"word": "unheard"})
    await graph.ainvoke({"word": "heard"}, {"callbacks": [RunLog()]})

    assert made.count("unheard") < made.count("heard")
