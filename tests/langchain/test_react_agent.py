"""`create_react_agent`: its nodes, the input of its model, and resumed agents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import InjectedToolCallId, tool
from pydantic import BaseModel

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    MessagesState,
    Runtime,
    StateGraph,
    add_messages,
    interrupt,
)
from durable_graph_langchain import (
    AgentState,
    InjectedState,
    InvalidAgentError,
    InvalidModelOutputError,
    InvalidToolError,
    ToolNode,
    UnansweredToolCallsError,
    create_react_agent,
)
from tests.langchain.agents import ToolModel, answers, call, calling, model_saying
from tests.langchain.conftest import Reopen

HELLO = {"messages": [("user", "Hello")]}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
async def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


@tool(return_direct=True)
def report() -> str:
    """Give the final report."""
    return "the report"


def sums(*more: AIMessage | str) -> ToolModel:
    """A model that calls `add` once, and then answers with `more` or "It is 3."."""
    return model_saying(calling(call("add", a=1, b=2)), *(more or ("It is 3.",)))


def kinds(messages: list[BaseMessage]) -> list[str]:
    return [each.type for each in messages]


def texts(messages: list[BaseMessage]) -> list[Any]:
    return [each.content for each in messages]


# The loop


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_the_model_is_called_until_it_calls_no_tools(saver: Checkpointer, version: Any) -> None:
    model = model_saying(
        calling(call("add", "1", a=1, b=2), call("weather", "2", city="Oslo")), "3, and sunny.", "As I said."
    )
    agent = create_react_agent(model, [add, weather], checkpointer=saver, version=version)

    first = await agent.ainvoke(HELLO, thread_id="t")
    second = await agent.ainvoke({"messages": [("user", "Again?")]}, thread_id="t")

    assert answers(first) == [("add", "3", "1"), ("weather", "sunny in Oslo", "2")]
    assert kinds(second["messages"]) == ["human", "ai", "tool", "tool", "ai", "human", "ai"]
    assert [kinds(asked) for asked in model.asked] == [
        ["human"],
        ["human", "ai", "tool", "tool"],
        ["human", "ai", "tool", "tool", "ai", "human"],
    ]
    assert model.bound == ["add", "weather"]


async def test_each_call_is_a_task_in_version_2_and_all_calls_share_a_task_in_version_1() -> None:
    for version, expected in (("v1", 1), ("v2", 2)):
        model = model_saying(calling(call("add", "1", a=1, b=2), call("add", "2", a=3, b=4)), "done")
        agent = create_react_agent(model, [add], version=version)  # type: ignore[arg-type]  # one of the two

        updates = [name async for part in agent.astream(HELLO, stream_mode="updates") for name in part]

        assert updates.count("tools") == expected


async def test_an_agent_without_tools_is_the_model_alone() -> None:
    model = model_saying("Hi")
    agent = create_react_agent(model, [])

    assert texts((await agent.ainvoke(HELLO))["messages"]) == ["Hello", "Hi"]
    assert set(agent.topology.nodes) == {"agent"}
    assert model.bound == []


async def test_the_agents_messages_have_its_name() -> None:
    agent = create_react_agent(sums(), [add], name="calculator")

    state = await agent.ainvoke(HELLO)

    assert agent.name == "calculator"
    assert [each.name for each in state["messages"] if each.type == "ai"] == ["calculator"] * 2


async def test_an_agent_keeps_the_options_of_a_tool_node() -> None:
    node = ToolNode([add], handle_tool_errors="sorry")
    model = model_saying(calling(call("add", a=1)), "oh")

    assert answers(await create_react_agent(model, node).ainvoke(HELLO)) == [("add", "sorry", "1")]


async def test_tools_that_the_provider_runs_are_bound_and_not_run() -> None:
    model = model_saying("searched")
    agent = create_react_agent(model, [{"type": "web_search", "name": "search"}, add])

    await agent.ainvoke(HELLO)

    assert model.bound == ["search", "add"]


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_tool_with_return_direct_ends_the_agent(version: Any) -> None:
    model = model_saying(calling(call("add", "1", a=1, b=2), call("report", "2")), "never")
    agent = create_react_agent(model, [add, report], version=version)

    state = await agent.ainvoke(HELLO)

    assert kinds(state["messages"]) == ["human", "ai", "tool", "tool"]


async def test_an_agent_that_runs_out_of_steps_ends_with_a_message() -> None:
    model = model_saying(*(calling(call("add", str(n), a=1, b=2)) for n in range(9)))

    state = await create_react_agent(model, [add]).ainvoke(HELLO, {"recursion_limit": 4})

    assert kinds(state["messages"]) == ["human", "ai", "tool", "ai"]
    assert state["messages"][-1].content == "There are too few steps left to go on with this."
    assert not state["messages"][-1].tool_calls


# The input of the model


async def test_a_prompt_that_is_a_text_or_a_message_comes_first() -> None:
    for prompt in ("Be brief.", SystemMessage("Be brief.")):
        model = model_saying("Hi")

        state = await create_react_agent(model, [], prompt=prompt).ainvoke(HELLO)

        assert texts(model.asked[0]) == ["Be brief.", "Hello"]
        assert texts(state["messages"]) == ["Hello", "Hi"]


async def plain_prompt(state: Any) -> list[Any]:
    return [SystemMessage("plain"), *state["messages"]]


def prompt_with_all(state: Any, config: Any, store: Any, runtime: Any) -> list[Any]:
    said = f"{config['configurable']['mood']} {store} {runtime.context}"
    return [SystemMessage(said), *state["messages"]]


TEMPLATE = ChatPromptTemplate.from_messages([("system", "template"), ("placeholder", "{messages}")])


@pytest.mark.parametrize(
    ("prompt", "first"), [(plain_prompt, "plain"), (prompt_with_all, "glad a store here"), (TEMPLATE, "template")]
)
async def test_a_prompt_is_computed_from_the_state(prompt: Any, first: str) -> None:
    model = model_saying("Hi")
    agent = create_react_agent(model, [], prompt=prompt, store="a store", context_schema=str)

    await agent.ainvoke(HELLO, {"configurable": {"mood": "glad"}}, context="here")

    assert texts(model.asked[0]) == [first, "Hello"]


async def test_a_function_chooses_the_model() -> None:
    chosen: list[Any] = []

    def choose(state: Any, runtime: Runtime[str]) -> Any:
        chosen.append((len(state["messages"]), runtime.context))
        return model_saying("plainly")

    async def choose_later(state: Any, runtime: Runtime[str]) -> Any:
        return choose(state, runtime)

    for function in (choose, choose_later):
        state = await create_react_agent(function, [add], context_schema=str).ainvoke(HELLO, context="fast")
        assert texts(state["messages"]) == ["Hello", "plainly"]

    assert chosen == [(1, "fast")] * 2


async def test_a_model_that_is_bound_already_is_not_bound_again() -> None:
    model = sums()
    state = await create_react_agent(model.bind(tools=[{"name": "add"}]), [add]).ainvoke(HELLO)

    assert texts(state["messages"])[-1] == "It is 3."
    assert model.bound == []
    with pytest.raises(InvalidAgentError, match="bound to tools already, without 'weather'"):
        create_react_agent(model.bind(tools=[{"function": {"name": "add"}}]), [add, weather])


async def test_a_history_with_unanswered_calls_is_refused_and_can_be_repaired(saver: Checkpointer) -> None:
    agent = create_react_agent(model_saying("Fine"), [add], checkpointer=saver)
    given = {"messages": [HumanMessage("Hi"), calling(call("add", "9", a=1, b=2)), HumanMessage("Well?")]}

    with pytest.raises(UnansweredToolCallsError, match=r"key 'messages': .* call '9' of message 'm9'") as error:
        await agent.ainvoke(given, thread_id="t")
    state = await agent.ainvoke({"messages": [ToolMessage("3", tool_call_id="9")]}, thread_id="t")

    assert error.value.tool_call_ids == ("9",)
    assert texts(state["messages"])[-1] == "Fine"


async def test_a_model_that_fails_leaves_the_thread_usable(saver: Checkpointer) -> None:
    tried = []

    def unsteady(state: Any, runtime: Any) -> Any:
        tried.append(len(state["messages"]))
        if len(tried) == 2:
            raise ConnectionError("the provider is away")
        return sums() if len(tried) == 1 else model_saying("It is 3.")

    agent = create_react_agent(unsteady, [add], checkpointer=saver)
    with pytest.raises(ConnectionError, match="away"):
        await agent.ainvoke(HELLO, thread_id="t")
    state = await agent.ainvoke(None, thread_id="t")

    assert texts(state["messages"]) == ["Hello", "", "3", "It is 3."]
    assert tried == [1, 3, 3]


async def test_an_invalid_output_of_a_model_is_refused() -> None:
    with pytest.raises(InvalidModelOutputError, match="the model returned str, not an AIMessage"):
        await create_react_agent(RunnableLambda(lambda _: "text"), []).ainvoke(HELLO)
    with pytest.raises(InvalidModelOutputError, match="the function for the model returned str, no model"):
        await create_react_agent(lambda state, runtime: "gpt", []).ainvoke(HELLO)


class Wordless(TypedDict):
    user: str


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"model": "openai:gpt"}, "model='openai:gpt': give the object"),
        ({"model": 3}, "model is int"),
        ({"prompt": 3}, "prompt is int"),
        ({"version": "v3"}, "version is 'v3'"),
        ({"state_schema": Wordless}, "state_schema Wordless lacks the key 'messages'"),
        ({"state_schema": MessagesState, "response_format": dict}, "lacks the key 'structured_response'"),
    ],
)
def test_invalid_options_of_an_agent_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidAgentError, match=why):
        create_react_agent(**{"model": model_saying("Hi"), "tools": [], **options})


def test_tools_with_the_same_name_and_unknown_options_are_refused() -> None:
    other = tool("add", description="Another one.")(lambda a: a)

    with pytest.raises(InvalidToolError, match="two tools are called 'add'"):
        create_react_agent(model_saying("Hi"), [add, other])
    with pytest.raises(TypeError, match=r"create_react_agent.* 'propmt'"):
        create_react_agent(model_saying("Hi"), [], propmt="x")


def test_the_option_config_schema_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="config_schema= is deprecated, use context_schema="):
        create_react_agent(model_saying("Hi"), [], config_schema=str)


# The state


class Booking(AgentState):
    city: str


@dataclass
class Trip:
    messages: Annotated[list[AnyMessage], add_messages] = field(default_factory=list)
    city: str = "Oslo"


class Journey(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages] = []
    city: str = "Oslo"


@tool
def book(city: Annotated[str, InjectedState("city")], id_: Annotated[str, InjectedToolCallId]) -> Command[str]:
    """Book a hotel."""
    done = ToolMessage(f"booked in {city}", tool_call_id=id_)
    return Command(update={"city": f"{city}!", "messages": [done]})


@pytest.mark.parametrize("schema", [Booking, Trip, Journey])
@pytest.mark.parametrize("hooked", [False, True])
async def test_tools_read_and_write_keys_of_a_custom_state(schema: Any, hooked: bool, saver: Checkpointer) -> None:
    def hook(state: Any) -> dict[str, Any]:
        messages = state["messages"] if isinstance(state, Mapping) else state.messages
        return {"llm_input_messages": [SystemMessage("hooked"), *messages]}

    model = model_saying(calling(call("book")), "Booked.")
    agent = create_react_agent(
        model, [book], state_schema=schema, pre_model_hook=hook if hooked else None, checkpointer=saver
    )

    state = await agent.ainvoke({**HELLO, "city": "Rome"}, thread_id="t")

    assert answers(state) == [("book", "booked in Rome", "1")]
    assert state["city"] == "Rome!"
    assert kinds(model.asked[1])[:2] == (["system", "human"] if hooked else ["human", "ai"])


async def test_the_llm_input_messages_of_a_hook_are_used_once_and_are_private(saver: Checkpointer) -> None:
    turns = iter([{"llm_input_messages": [HumanMessage("only this")]}, {}])
    model = model_saying("one", "two")
    agent = create_react_agent(model, [add], pre_model_hook=lambda _: next(turns), checkpointer=saver)

    first = await agent.ainvoke(HELLO, thread_id="t")
    await agent.ainvoke({"messages": [("user", "More")]}, thread_id="t")

    assert texts(model.asked[0]) == ["only this"]
    assert texts(model.asked[1]) == ["Hello", "one", "More"]
    assert set(first) == {"messages"}


async def test_hooks_may_be_runnables_and_a_post_model_hook_may_answer_calls() -> None:
    def refuse(state: AgentState) -> dict[str, Any]:
        message = state["messages"][-1]
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        return {"messages": [ToolMessage("refused", tool_call_id=each["id"], name=each["name"]) for each in calls[:1]]}

    model = model_saying(calling(call("add", "1", a=1, b=2), call("add", "2", a=3, b=4)), "done")
    agent = create_react_agent(
        model, [add], pre_model_hook=RunnableLambda(lambda _: {}), post_model_hook=RunnableLambda(refuse)
    )

    state = await agent.ainvoke(HELLO)

    assert answers(state) == [("add", "refused", "1"), ("add", "7", "2")]
    assert state["messages"][-1].content == "done"


async def test_a_hook_that_answers_all_calls_leads_back_to_the_model() -> None:
    def refuse(state: AgentState) -> dict[str, Any]:
        message = state["messages"][-1]
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        return {"messages": [ToolMessage("refused", tool_call_id=each["id"]) for each in calls]}

    state = await create_react_agent(sums("Then not."), [add], post_model_hook=refuse).ainvoke(HELLO)

    assert texts(state["messages"]) == ["Hello", "", "refused", "Then not."]


# Structured answers


class Sum(BaseModel):
    value: int


class SumDict(TypedDict):
    value: int


class Structuring(ToolModel):
    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        def answer(messages: list[BaseMessage]) -> Any:
            self.asked.append(messages)
            return schema(value=3) if isinstance(schema, type) else {"value": 3}

        return RunnableLambda(answer)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [(Sum, Sum(value=3)), (SumDict, {"value": 3}), ({"title": "Sum", "type": "object"}, {"value": 3})],
)
async def test_the_answer_is_given_in_a_response_format(
    schema: Any, expected: Any, saver: Checkpointer, reopen: Reopen
) -> None:
    def agent(model: Any, saver: Checkpointer) -> Any:
        return create_react_agent(
            model, [add], response_format=schema, checkpointer=saver, post_model_hook=lambda _: {}
        )

    model = Structuring(messages=iter([calling(call("add", a=1, b=2)), "It is 3."]))

    state = await agent(model, saver).ainvoke(HELLO, thread_id="t")
    stored = await agent(model, await reopen()).aget_state(thread_id="t")

    assert state["structured_response"] == expected
    assert stored.values["structured_response"] == expected
    assert kinds(model.asked[-1]) == ["human", "ai", "tool", "ai"]


async def test_a_response_format_may_have_a_prompt_and_a_bound_model() -> None:
    model = Structuring(messages=iter(["It is 3."]))
    agent = create_react_agent(
        model.bind(stop=["x"]).bind(tools=[{"name": "add"}]), [add], response_format=("As a number", Sum)
    )

    state = await agent.ainvoke(HELLO)

    assert state["structured_response"] == Sum(value=3)
    assert texts(model.asked[-1]) == ["As a number", "Hello", "It is 3."]


# Interrupts and resuming


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_resumed_approval_inside_a_tool_repeats_no_finished_tool(
    version: Any, saver: Checkpointer, reopen: Reopen
) -> None:
    ran: list[str] = []

    @tool
    async def pay(amount: int) -> str:
        """Pay."""
        if interrupt({"pay": amount}) != "yes":
            return "refused"
        ran.append("pay")
        return f"paid {amount}"

    @tool
    def look_up(what: str) -> str:
        """Look it up."""
        ran.append(what)
        return f"found {what}"

    def agent(model: Any, saver: Checkpointer) -> Any:
        return create_react_agent(model, [pay, look_up], checkpointer=saver, version=version)

    calls = call("look_up", "1", what="price"), call("pay", "2", amount=5), call("look_up", "3", what="shop")
    asked = await agent(model_saying(calling(*calls)), saver).ainvoke(HELLO, thread_id="t")
    assert [each.value for each in asked["__interrupt__"]] == [{"pay": 5}]
    resumed = agent(model_saying("Paid."), await reopen())
    state = await resumed.ainvoke(Command(resume="yes"), thread_id="t")

    assert answers(state) == [("look_up", "found price", "1"), ("pay", "paid 5", "2"), ("look_up", "found shop", "3")]
    assert sorted(ran) == ["pay", "price", "shop"]
    assert texts(state["messages"])[-1] == "Paid."


async def test_an_agent_stops_before_and_after_its_nodes(saver: Checkpointer) -> None:
    agent = create_react_agent(sums(), [add], checkpointer=saver, interrupt_before=["tools"], interrupt_after=["tools"])

    await agent.ainvoke(HELLO, thread_id="t")
    assert (await agent.aget_state(thread_id="t")).next == ("tools",)
    await agent.ainvoke(None, thread_id="t")
    assert (await agent.aget_state(thread_id="t")).next == ("agent",)

    assert texts((await agent.ainvoke(None, thread_id="t"))["messages"])[-1] == "It is 3."


# Several agents


async def test_an_agent_hands_over_to_another_agent(saver: Checkpointer) -> None:
    @tool
    def to_hotels(
        state: Annotated[dict[str, Any], InjectedState], id_: Annotated[str, InjectedToolCallId]
    ) -> Command[str]:
        """Hand over to the hotel agent."""
        done = ToolMessage("Over to hotels", tool_call_id=id_)
        return Command(graph=Command.PARENT, goto="hotels", update={"messages": [*state["messages"], done]})

    flights = create_react_agent(model_saying(calling(call("to_hotels"))), [to_hotels], name="flights")
    hotels = create_react_agent(
        model_saying(calling(call("weather", "2", city="Rome")), "Booked."), [weather], name="hotels"
    )
    builder = StateGraph(MessagesState)
    builder.add_node("flights", flights, destinations=("hotels",)).add_node("hotels", hotels)
    builder.add_edge(START, "flights").add_edge("hotels", END)

    state = await builder.compile(saver).ainvoke(HELLO, thread_id="t")

    assert answers(state) == [("to_hotels", "Over to hotels", "1"), ("weather", "sunny in Rome", "2")]
    assert [each.name for each in state["messages"] if each.type == "ai"] == ["flights", "hotels", "hotels"]


async def test_an_agent_may_be_a_tool_of_another_agent(saver: Checkpointer) -> None:
    expert = create_react_agent(sums(), [add], name="expert")

    @tool
    async def ask_expert(question: str) -> str:
        """Ask the expert."""
        result = await expert.ainvoke({"messages": [HumanMessage(question)]})
        return str(result["messages"][-1].content)

    model = model_saying(calling(call("ask_expert", question="1 + 2?")), "Three.")
    state = await create_react_agent(model, [ask_expert], checkpointer=saver).ainvoke(HELLO, thread_id="t")

    assert answers(state) == [("ask_expert", "It is 3.", "1")]


@pytest.mark.parametrize("model", [FakeListChatModel(responses=["Hi"]), RunnableLambda(lambda messages: "Hi")])
def test_the_error_for_a_model_that_takes_no_tools_names_a_remedy(model: Any) -> None:
    with pytest.raises(InvalidAgentError, match=rf"a {type(model).__name__}, takes no tools: pass a chat model that"):
        create_react_agent(model, [add])
