"""`stream_mode="messages"`: the tokens of models, and the messages that nodes return."""

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda

from durable_graph import END, START, Checkpointer, Command, MessageEvent, StateGraph, entrypoint, push_message, task
from tests.langchain.models import HELLO, State, model, one_node, received, streamed

CONFIG = {"configurable": {"thread_id": "t"}}


async def whole(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage("whole"), *state["messages"]]}


async def test_a_model_streams_from_every_kind_of_node() -> None:
    chat = model()

    async def awaits(state: State) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    def in_a_thread(state: State) -> dict[str, Any]:
        return {"messages": [chat.invoke(state["messages"])]}

    async def with_config(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke(state["messages"], config)]}

    async def streams(state: State) -> dict[str, Any]:
        return {"other": "".join([str(chunk.content) async for chunk in chat.astream("x")])}

    chain = RunnableLambda(lambda state: state["messages"]) | chat | (lambda answer: {"messages": [answer]})
    for node in (awaits, in_a_thread, with_config, streams, RunnableLambda(awaits), chain):
        assert await received(one_node(node)) == streamed()


async def test_a_message_is_emitted_once_and_stored_under_its_emitted_id(saver: Checkpointer) -> None:
    chat = model()

    async def node(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("by hand"), await chat.ainvoke("x")]}

    graph = one_node(node, checkpointer=saver)
    parts = [part async for part in graph.astream(HELLO, CONFIG, stream_mode=["messages", "updates"])]
    assert [mode for mode, _ in parts] == ["messages"] * 4 + ["updates"]
    ids = list(dict.fromkeys(chunk[0].id for mode, chunk in parts if mode == "messages"))
    stored = (await graph.aget_state(CONFIG)).values["messages"]
    assert {each.id for each in stored} == {"h", *ids}


async def test_a_message_that_nodes_share_is_not_changed_by_streaming(saver: Checkpointer) -> None:
    constant = AIMessage("again")
    builder = StateGraph(State)
    builder.add_sequence([("one", lambda _: {"messages": [constant]}), ("two", lambda _: {"messages": [constant]})])
    graph = builder.add_edge(START, "one").compile(saver)
    assert await received(graph, config=CONFIG) == [("AIMessage", "again", "one"), ("AIMessage", "again", "two")]
    assert constant.id is None
    assert len((await graph.aget_state(CONFIG)).values["messages"]) == 3


async def test_returned_messages_that_were_not_streamed_are_emitted_whole() -> None:
    results: list[tuple[Any, list[str]]] = [
        ({"messages": [AIMessage("a"), HumanMessage("b")]}, ["a", "b"]),
        ({"messages": HumanMessage("alone")}, ["alone"]),
        ({"other": AIMessage("elsewhere")}, ["elsewhere"]),
        (Command(update={"messages": [AIMessage("by command")]}), ["by command"]),
        ([Command(update={"messages": [AIMessage("one")]}), {"messages": [AIMessage("two")]}], ["one", "two"]),
        # As LangGraph does: values that become messages only in the state are not emitted.
        ({"messages": [("ai", "pair"), {"role": "ai", "content": "dict"}]}, []),
        ({"messages": HELLO["messages"]}, []),
    ]
    for result, contents in results:
        graph = one_node(lambda _, result=result: result)
        assert [content for _, content, _ in await received(graph)] == contents


async def test_a_model_tagged_nostream_does_not_stream_and_messages_of_its_node_are_emitted() -> None:
    silent = model("hidden").with_config(tags=["nostream"])

    async def keeps(state: State) -> dict[str, Any]:
        return {"other": (await silent.ainvoke("x")).content}

    async def returns(state: State) -> dict[str, Any]:
        return {"messages": [await silent.ainvoke("x")]}

    assert await received(one_node(keeps)) == []
    # As LangGraph does.
    assert await received(one_node(returns)) == [("AIMessage", "hidden", "node")]


async def test_metadata_names_the_source_of_a_message() -> None:
    async def node(state: State) -> dict[str, Any]:
        return {"messages": [await model(tags=["model"]).ainvoke("x", {"tags": ["call"], "metadata": {"m": 1}})]}

    graph = one_node(node)
    config = {"tags": ["run"], "metadata": {"who": "me"}, "configurable": {"thread_id": "t"}}
    parts = [part async for part in graph.astream(HELLO, config, stream_mode="messages")]
    metadata = parts[0][1]
    assert metadata["langgraph_node"] == "node"
    assert metadata["langgraph_step"] == 1
    assert metadata["ls_provider"] == "genericfakechatmodel"
    assert (metadata["who"], metadata["m"], metadata["thread_id"]) == ("me", 1, "t")
    assert metadata["tags"] == ["run", "call", "model"]


async def test_messages_of_routers_tasks_and_entrypoints_are_emitted() -> None:
    chat = model()

    async def route(state: State) -> str:
        await chat.ainvoke("x")
        return END

    def plain_route(state: State) -> str:
        chat.invoke("x")
        return END

    for router in (route, plain_route):
        builder = StateGraph(State).add_node("node", whole).add_edge(START, "node")
        graph = builder.add_conditional_edges("node", router).compile()
        assert await received(graph) == [*streamed(), ("AIMessage", "whole", "node")]

    @task
    async def asks(question: str) -> Any:
        return await chat.ainvoke(question)

    @task
    def asks_in_a_thread(question: str) -> Any:
        return chat.invoke(question)

    @task
    async def answers(question: str) -> Any:
        return AIMessage("at once")

    @entrypoint()
    async def flow(question: str) -> Any:
        await asks(question)
        await asks_in_a_thread(question)
        await answers(question)
        return [await chat.ainvoke(question), AIMessage("the end")]

    assert await received(flow, "why?") == [
        *streamed("asks"),
        *streamed("asks_in_a_thread"),
        ("AIMessage", "at once", "answers"),
        *streamed("flow"),
        ("AIMessage", "the end", "flow"),
    ]


async def test_messages_of_nested_graphs_are_emitted_with_subgraphs_and_to_their_own_readers(
    saver: Checkpointer,
) -> None:
    chat = model()

    async def asks(state: State) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke("x")]}

    inner = one_node(asks, "asks")

    async def calls(state: State) -> dict[str, Any]:
        return {"messages": (await inner.ainvoke({"messages": state["messages"]}))["messages"]}

    for number, node in enumerate((inner, calls)):
        outer = one_node(node, "outer", checkpointer=saver)
        # Without subgraphs, the outer node emits the messages of the inner graph whole, as under LangGraph.
        config = {"configurable": {"thread_id": f"{number}"}}
        assert await received(outer, config=config) == [("AIMessage", "good day", "outer")]
        config = {"configurable": {"thread_id": f"{number} with subgraphs"}}
        parts = [part async for part in outer.astream(HELLO, config, stream_mode="messages", subgraphs=True)]
        assert [(ns[0].split(":")[0], message.content) for ns, (message, _) in parts] == [
            ("outer", word) for word in ("good", " ", "day")
        ]

    heard: list[Any] = []

    async def reads(state: State) -> None:
        heard.extend(await received(inner, {"messages": state["messages"]}))

    assert await received(one_node(reads)) == []
    assert heard == streamed("asks")


async def test_typed_events_name_the_origin_of_a_message() -> None:
    chat = model("hi")

    async def node(state: State) -> dict[str, Any]:
        await push_message(AIMessage("pushed", id="p"))
        return {"messages": [await chat.ainvoke("x"), AIMessage("returned")]}

    async with one_node(node).stream(HELLO) as events:
        found = [(each.origin, each.message.content) async for each in events if isinstance(each, MessageEvent)]
    assert found == [("pushed", "pushed"), ("streamed", "hi"), ("returned", "hi"), ("returned", "returned")]


async def test_models_do_not_stream_without_a_reader_of_messages() -> None:
    pieces: list[str] = []

    class Counting(type(model())):  # type: ignore[misc]
        def _stream(self, *given: Any, **options: Any) -> Any:
            for chunk in super()._stream(*given, **options):
                pieces.append(chunk.text)
                yield chunk

    chat = Counting(messages=iter([AIMessage("good day")] * 3))

    async def node(state: State) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke("x")]}

    graph = one_node(node)
    await graph.ainvoke(HELLO)
    assert [mode async for mode, _ in graph.astream(HELLO, stream_mode=["values", "updates"])]
    assert pieces == []
    await received(graph)
    assert pieces == ["good", " ", "day"]


async def test_a_model_that_fails_in_mid_stream_fails_its_node_after_its_emitted_tokens(
    saver: Checkpointer,
) -> None:
    class Breaking(type(model())):  # type: ignore[misc]
        def _stream(self, *given: Any, **options: Any) -> Any:
            yield next(super()._stream(*given, **options))
            raise ConnectionError("lost")

    chat: Any = Breaking(messages=iter([AIMessage("good day")] * 2))

    async def node(state: State) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke("x")]}

    graph = one_node(node, checkpointer=saver)
    heard = []
    try:
        async for message, _ in graph.astream(HELLO, CONFIG, stream_mode="messages"):
            heard.append(message.content)
    except ConnectionError:
        heard.append("lost")
    assert heard == ["good", "lost"]
    chat = model()
    assert (await graph.ainvoke(None, CONFIG))["messages"][-1].content == "good day"
