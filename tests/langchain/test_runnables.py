"""LangChain's runnables as nodes, routers and error handlers."""

from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool

from durable_graph import END, START, Checkpointer, Command, StateGraph, interrupt
from durable_graph.errors import InvalidNodeResultError
from tests.errors.kinds import of_kind
from tests.langchain.models import HELLO, State, model, one_node

CONFIG = {"configurable": {"thread_id": "t", "user": "ada"}}


async def remembers(state: State, config: RunnableConfig) -> dict[str, Any]:
    return {"other": f"{config['configurable']['user']}: {state['messages'][-1].content}"}


def plain(state: State) -> dict[str, Any]:
    return {"other": "plain"}


async def test_a_runnable_is_a_node_under_its_own_name_or_a_given_one(saver: Checkpointer) -> None:
    builder: Any = StateGraph(State)
    builder.add_node(RunnableLambda(remembers)).add_edge(START, "remembers")
    graph = builder.compile(saver)
    assert (await graph.ainvoke(HELLO, CONFIG))["other"] == "ada: hi"
    assert (await one_node(RunnableLambda(plain)).ainvoke(HELLO))["other"] == "plain"


async def test_a_chain_is_a_node_and_its_result_is_stored(saver: Checkpointer) -> None:
    chain: Any = (
        RunnablePassthrough() | (lambda state: state["messages"]) | model() | (lambda said: {"messages": [said]})
    )
    graph = one_node(chain, checkpointer=saver)
    await graph.ainvoke(HELLO, CONFIG)
    assert (await graph.aget_state(CONFIG)).values["messages"][-1].content == "good day"


async def test_the_output_of_a_model_is_refused_as_an_update_of_the_state() -> None:
    with pytest.raises(InvalidNodeResultError, check=of_kind("update")):
        await one_node(RunnableLambda(lambda state: state["messages"]) | model()).ainvoke(HELLO)


async def test_a_runnable_router_takes_its_choices_from_its_annotation() -> None:
    def route(state: State) -> Literal["second", "third"]:
        return "third"

    builder: Any = StateGraph(State).add_node("first", plain)
    builder.add_node("second", lambda _: {"other": "second"}).add_node("third", lambda _: {"other": "third"})
    builder.add_edge(START, "first").add_conditional_edges("first", RunnableLambda(route))
    graph = builder.compile()
    assert (await graph.ainvoke(HELLO))["other"] == "third"
    assert graph.topology.nodes["first"].routers[0].choices == {"second": "second", "third": "third"}


async def test_a_runnable_may_return_a_command_and_handle_errors() -> None:
    def jump(state: State) -> Command[Literal["last"]]:
        return Command(update={"other": "jumped"}, goto="last")

    def fails(state: State) -> None:
        raise ValueError("no")

    builder: Any = StateGraph(State).add_node("jump", RunnableLambda(jump))
    builder.add_node("last", fails, error_handler=RunnableLambda(lambda state: {"other": [state["other"], "handled"]}))
    builder.add_edge(START, "jump").add_edge("last", END)
    graph = builder.compile()
    assert graph.topology.nodes["jump"].destinations == ("last",)
    assert (await graph.ainvoke(HELLO))["other"] == ["jumped", "handled"]


async def test_code_in_a_runnable_may_interrupt_and_call_graphs(saver: Checkpointer) -> None:
    inner = one_node(lambda _: {"messages": [AIMessage("from inside")]})

    async def node(state: State) -> dict[str, Any]:
        said = (await inner.ainvoke({"messages": state["messages"]}))["messages"][-1].content
        return {"other": (said, interrupt("sure?"))}

    graph = one_node(RunnableLambda(node), checkpointer=saver)
    assert (await graph.ainvoke(HELLO, CONFIG))["__interrupt__"][0].value == "sure?"
    assert (await graph.ainvoke(Command(resume="yes"), CONFIG))["other"] == ("from inside", "yes")


async def test_a_tool_may_interrupt(saver: Checkpointer) -> None:
    @tool
    def approve(what: str) -> str:
        """Ask whether it may be done."""
        return f"{what}: {interrupt(what)}"

    async def awaits(state: State) -> dict[str, Any]:
        return {"other": await approve.ainvoke({"what": "pay"})}

    def in_a_thread(state: State) -> dict[str, Any]:
        return {"other": approve.invoke({"what": "pay"})}

    for node in (awaits, in_a_thread):
        config = {"configurable": {"thread_id": node.__name__}}
        graph = one_node(node, checkpointer=saver)
        assert (await graph.ainvoke(HELLO, config))["__interrupt__"][0].value == "pay"
        assert (await graph.ainvoke(Command(resume="yes"), config))["other"] == "pay: yes"
