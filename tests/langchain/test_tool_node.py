"""`ToolNode`: the arguments of tools, their results and errors, and their durability."""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, ToolException, tool
from pydantic import BaseModel

from durable_graph import (
    END,
    REMOVE_ALL_MESSAGES,
    START,
    Checkpointer,
    Command,
    InvalidUpdateError,
    MemorySaver,
    MessagesState,
    MissingCheckpointerError,
    Overwrite,
    RetryPolicy,
    Send,
    StateGraph,
    UnstorableValueError,
    add_messages,
    entrypoint,
    get_config,
    get_store,
    interrupt,
    task,
)
from durable_graph.codec import Codec
from durable_graph.testing.crash import CrashingSaver, SimulatedCrashError, crash_points
from durable_graph_langchain import (
    InjectedState,
    InjectedStore,
    InvalidToolError,
    InvalidToolInputError,
    InvalidToolOutputError,
    ToolCallRequest,
    ToolInjectionError,
    ToolInvocationError,
    ToolNode,
    ToolRuntime,
    tools_condition,
)
from durable_graph_langchain.commands import TYPES
from tests.langchain.agents import answers, asking_for, call, calling, graph_of, last
from tests.langchain.conftest import Reopen


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
async def shout(text: str) -> str:
    """Say it louder."""
    await asyncio.sleep(0)
    return text.upper()


@tool
def fail(text: str = "boom") -> str:
    """Never works."""
    raise RuntimeError(text)


class Ran:
    """Tools that record their calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def tools(self) -> list[BaseTool]:
        """`note` is async, `jot` plain, `ask` interrupts, `break_once` fails the first time."""

        @tool
        async def note(text: str) -> str:
            """Note it."""
            self.calls.append(text)
            return f"noted {text}"

        @tool
        def jot(text: str) -> str:
            """Jot it down."""
            self.calls.append(text)
            return f"jotted {text}"

        @tool
        async def ask(text: str) -> str:
            """Ask a person."""
            self.calls.append(f"ask {text}")
            return f"answered {interrupt(text)}"

        @tool
        def ask_plainly(text: str) -> str:
            """Ask a person, in a thread."""
            return f"answered {interrupt(text)}"

        @tool
        async def break_once(text: str) -> str:
            """Fail the first time."""
            self.calls.append(text)
            if self.calls.count(text) == 1:
                raise ConnectionError(text)
            return f"worked {text}"

        return [note, jot, ask, ask_plainly, break_once]


# Calls and answers


async def test_each_call_is_answered_in_the_order_of_the_calls() -> None:
    graph = graph_of(ToolNode([add, shout]))

    state = await graph.ainvoke(asking_for(call("shout", "1", text="hi"), call("add", "2", a=1, b=2)))

    assert answers(state) == [("shout", "HI", "1"), ("add", "3", "2")]


async def test_calls_run_in_parallel() -> None:
    meeting = asyncio.Barrier(2)
    threads = threading.Barrier(2, timeout=10)

    @tool
    async def meet() -> str:
        """Wait for the other one."""
        await meeting.wait()
        return "met"

    @tool
    def meet_in_threads() -> str:
        """Wait for the other one."""
        threads.wait()
        return "met"

    calls = [call("meet", "1"), call("meet", "2"), call("meet_in_threads", "3"), call("meet_in_threads", "4")]
    state = await graph_of(ToolNode([meet, meet_in_threads])).ainvoke(asking_for(*calls))

    assert [content for _, content, _ in answers(state)] == ["met"] * 4


async def test_a_function_becomes_a_tool() -> None:
    def double(x: int) -> int:
        """Double it."""
        return 2 * x

    node = ToolNode([double])

    assert list(node.tools_by_name) == ["double"]
    assert answers(await graph_of(node).ainvoke(asking_for(call("double", x=4)))) == [("double", "8", "1")]


async def test_an_instance_of_a_subclass_of_base_tool_is_a_tool() -> None:
    class Reverse(BaseTool):
        name: str = "reverse"
        description: str = "Turn it around."

        def _run(self, text: str) -> str:
            return text[::-1]

    state = await graph_of(ToolNode([Reverse()])).ainvoke(asking_for(call("reverse", text="abc")))

    assert answers(state) == [("reverse", "cba", "1")]


async def test_a_message_without_calls_gets_no_answers() -> None:
    graph = graph_of(ToolNode([add]))

    state = await graph.ainvoke({"messages": [AIMessage("Nothing to do")]})

    assert [each.content for each in state["messages"]] == ["Nothing to do"]


async def test_the_newest_message_of_the_model_is_answered() -> None:
    node = ToolNode([add])
    messages = [calling(call("add", "1", a=1, b=1)), calling(call("add", "2", a=2, b=2)), HumanMessage("Well?")]

    assert answers(await node.ainvoke({"messages": messages})) == [("add", "4", "2")]


async def test_the_messages_may_be_under_another_key_and_the_node_has_a_name() -> None:
    class Chat(TypedDict):
        history: Annotated[list[BaseMessage], add_messages]

    builder = StateGraph(Chat).add_node(ToolNode([add], name="sums", messages_key="history")).add_edge(START, "sums")

    state = await builder.compile().ainvoke({"history": [calling(call("add", a=1, b=2))]})

    assert state["history"][-1].content == "3"


async def test_a_list_of_messages_is_answered_with_a_list() -> None:
    (answer,) = await ToolNode([add]).ainvoke([calling(call("add", a=1, b=2))])

    assert answer.content == "3"


async def test_a_tool_node_works_outside_of_a_run() -> None:
    node = ToolNode([add, shout])

    state = await node.ainvoke(asking_for(call("add", "1", a=1, b=2), call("shout", "2", text="hi")))

    assert answers(state) == [("add", "3", "1"), ("shout", "HI", "2")]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"messages": []}, "key 'messages' of the input has no messages"),
        ({"other": []}, "key 'messages' of the input has no messages"),
        ({"messages": [HumanMessage("hi")]}, "key 'messages' of the input has no AIMessage, only: HumanMessage"),
        (
            {"messages": [AIMessage("", id="m", tool_calls=[{"name": "add", "args": {}, "id": None}])]},
            "the call of tool 'add' of message 'm' has no id",
        ),
    ],
)
async def test_an_input_without_calls_is_refused(given: Any, why: str) -> None:
    with pytest.raises(InvalidToolInputError, match=why):
        await ToolNode([add]).ainvoke(given)


def test_two_tools_with_the_same_name_are_refused() -> None:
    @tool("add")
    def another(a: int) -> int:
        """Not the same."""
        return a

    with pytest.raises(InvalidToolError, match="two tools are called 'add'"):
        ToolNode([add, another])
    assert list(ToolNode([add, add]).tools_by_name) == ["add"]


def test_an_invalid_tool_is_refused() -> None:
    with pytest.raises(InvalidToolError, match="cannot be a tool"):
        ToolNode([lambda x: x])


# Errors


async def test_a_call_of_an_unknown_tool_becomes_an_error_for_the_model() -> None:
    state = await graph_of(ToolNode([add, shout])).ainvoke(asking_for(call("sub", a=1)))

    assert last(state).status == "error"
    assert answers(state) == [("sub", "Error: there is no tool 'sub'. The tools are: add, shout.", "1")]


async def test_invalid_arguments_become_an_error_for_the_model() -> None:
    state = await graph_of(ToolNode([add])).ainvoke(asking_for(call("add", a="many")))

    assert last(state).status == "error"
    assert "a: Input should be a valid integer" in last(state).content
    assert "b: Field required" in last(state).content


async def test_injected_values_are_not_shown_to_the_model() -> None:
    @tool
    def secret(n: int, state: Annotated[dict[str, Any], InjectedState]) -> str:
        """Needs a number."""
        return "never"

    state = await graph_of(ToolNode([secret])).ainvoke(asking_for(call("secret", n="x")))

    assert "n: Input should" in last(state).content
    assert "Do it" not in last(state).content


async def test_a_tool_that_raises_fails_the_node_and_the_thread_continues(saver: Checkpointer) -> None:
    ran = Ran()
    graph = graph_of(ToolNode(ran.tools()), saver)

    with pytest.raises(ConnectionError, match="late") as raised:
        await graph.ainvoke(
            asking_for(call("break_once", "1", text="late"), call("note", "2", text="x")), thread_id="t"
        )
    assert "in tool 'break_once', called as '1'" in raised.value.__notes__
    state = await graph.ainvoke(None, thread_id="t")

    assert answers(state) == [("break_once", "worked late", "1"), ("note", "noted x", "2")]
    assert sorted(ran.calls) == ["late", "late", "x"]


class ImpatientError(Exception):
    """An error of the tests' own."""


def of_runtime_errors(error: RuntimeError) -> str:
    return f"told: {error}"


def of_two_kinds(error: ValueError | RuntimeError) -> str:
    return "one of two"


class Handler:
    def __call__(self, error: RuntimeError) -> str:
        return "by an object"


@pytest.mark.parametrize(
    ("handling", "content"),
    [
        (True, "Error: RuntimeError('boom'). Correct what is wrong and try again."),
        ("sorry", "sorry"),
        (RuntimeError, "Error: RuntimeError('boom'). Correct what is wrong and try again."),
        ((ValueError, RuntimeError), "Error: RuntimeError('boom'). Correct what is wrong and try again."),
        (of_runtime_errors, "told: boom"),
        (of_two_kinds, "one of two"),
        (lambda error: "whatever it is", "whatever it is"),
        (Handler(), "by an object"),
    ],
)
async def test_handled_errors_become_the_answer(handling: Any, content: str) -> None:
    state = await graph_of(ToolNode([fail], handle_tool_errors=handling)).ainvoke(asking_for(call("fail")))

    assert last(state).status == "error"
    assert last(state).content == content


def of_value_errors(error: ValueError) -> str:
    return "never"


@pytest.mark.parametrize("handling", [False, ValueError, (ValueError, KeyError), of_value_errors])
async def test_errors_that_are_not_handled_are_raised(handling: Any) -> None:
    with pytest.raises(RuntimeError, match="boom"):
        await graph_of(ToolNode([fail], handle_tool_errors=handling)).ainvoke(asking_for(call("fail")))


async def test_invalid_arguments_are_raised_if_no_errors_are_handled() -> None:
    with pytest.raises(ToolInvocationError, match="b: Field required") as raised:
        await graph_of(ToolNode([add], handle_tool_errors=False)).ainvoke(asking_for(call("add", a=1)))

    assert (raised.value.tool_name, raised.value.tool_kwargs) == ("add", {"a": 1})


def of_a_number(error: int) -> str:
    return "never"


@pytest.mark.parametrize("handling", [3, int, (ValueError, int), of_a_number])
def test_an_invalid_value_of_handle_tool_errors_is_refused(handling: Any) -> None:
    with pytest.raises(InvalidToolError, match="handle_tool_errors"):
        ToolNode([add], handle_tool_errors=handling)


async def test_errors_of_the_program_never_become_answers_for_the_model() -> None:
    async def around(request: ToolCallRequest, execute: Any) -> Any:
        return await execute(request)

    for node in (
        ToolNode([*Ran().tools(), remember], handle_tool_errors=True),
        ToolNode([*Ran().tools(), remember], handle_tool_errors=True, awrap_tool_call=around),
    ):
        with pytest.raises(MissingCheckpointerError):
            await graph_of(node).ainvoke(asking_for(call("ask", text="Really?")))
        with pytest.raises(ToolInjectionError):
            await graph_of(node).ainvoke(asking_for(call("remember", fact="x")))


async def test_a_retried_node_repeats_no_finished_call_even_without_a_saver() -> None:
    ran = Ran()
    builder = StateGraph(MessagesState)
    builder.add_node("tools", ToolNode(ran.tools()), retry_policy=RetryPolicy(initial_interval=0.001))
    graph = builder.add_edge(START, "tools").compile()

    state = await graph.ainvoke(asking_for(call("note", "1", text="a"), call("break_once", "2", text="b")))

    assert answers(state) == [("note", "noted a", "1"), ("break_once", "worked b", "2")]
    assert sorted(ran.calls) == ["a", "b", "b"]


async def test_a_tool_may_handle_its_own_errors() -> None:
    @tool
    def careful() -> str:
        """Fails with care."""
        raise ToolException("as planned")

    careful.handle_tool_error = True
    state = await graph_of(ToolNode([careful])).ainvoke(asking_for(call("careful")))

    assert (last(state).content, last(state).status) == ("as planned", "error")


# Injected arguments


class Profile(TypedDict):
    messages: Annotated[list[BaseMessage], add_messages]
    user: str


@tool
def who(user: Annotated[str, InjectedState("user")], state: Annotated[dict[str, Any], InjectedState]) -> str:
    """Say who asks."""
    return f"{user} after {len(state['messages'])} messages"


@tool
def who_perhaps(user: Annotated[str, InjectedState("user")] = "nobody") -> str:
    """Say who asks, if somebody does."""
    return user


async def test_the_state_and_parts_of_it_are_injected() -> None:
    graph = graph_of(ToolNode([who]), state=Profile)

    state = await graph.ainvoke({**asking_for(call("who")), "user": "Ada"})

    assert last(state).content == "Ada after 2 messages"
    assert set(who.tool_call_schema.model_json_schema()["properties"]) == set()  # type: ignore[union-attr]


async def test_injected_arguments_override_those_of_the_model() -> None:
    graph = graph_of(ToolNode([who]), state=Profile)

    state = await graph.ainvoke({**asking_for(call("who", user="root", state={"messages": []})), "user": "Ada"})

    assert last(state).content == "Ada after 2 messages"


async def test_a_state_that_is_an_object_is_injected() -> None:
    class Person(BaseModel):
        messages: Annotated[list[Any], add_messages] = []
        user: str = "Grace"

    state = await graph_of(ToolNode([who_perhaps]), state=Person).ainvoke(asking_for(call("who_perhaps")))

    assert last(state).content == "Grace"


async def test_the_error_for_an_injected_key_that_the_state_lacks_names_the_key(saver: Checkpointer) -> None:
    graph = graph_of(ToolNode([who, who_perhaps]), saver, state=Profile)

    state = await graph.ainvoke(asking_for(call("who_perhaps")), thread_id="t")
    assert last(state).content == "nobody"
    with pytest.raises(
        ToolInjectionError, match=r"tool 'who' has the parameter 'user'.*no key 'user'; there is: 'mess"
    ):
        await graph.ainvoke(asking_for(call("who")), thread_id="u")
    await graph.aupdate_state({"configurable": {"thread_id": "u"}}, {"user": "Ada"}, as_node=START)

    assert last(await graph.ainvoke(None, thread_id="u")).content == "Ada after 2 messages"


async def test_a_send_of_a_call_gives_tools_the_state_of_the_superstep() -> None:
    builder: StateGraph[Any, Any] = StateGraph(Profile)
    builder.add_node("tools", ToolNode([who]))
    builder.add_conditional_edges(
        START, lambda state: [Send("tools", [each]) for each in state["messages"][-1].tool_calls], ["tools"]
    )

    state = await builder.compile().ainvoke({**asking_for(call("who", "1"), call("who", "2")), "user": "Ada"})

    assert [content for _, content, _ in answers(state)] == ["Ada after 2 messages"] * 2


async def test_a_send_may_carry_a_state_of_its_own() -> None:
    given = {"__type": "tool_call_with_context", "tool_call": call("who"), "state": {"messages": [], "user": "Eve"}}
    builder: StateGraph[Any, Any] = StateGraph(Profile)
    builder.add_node("tools", ToolNode([who])).add_conditional_edges(START, lambda _: Send("tools", given), ["tools"])

    assert last(await builder.compile().ainvoke({"messages": [], "user": "Ada"})).content == "Eve after 0 messages"


@tool
def remember(fact: str, store: Annotated[Any, InjectedStore()]) -> str:
    """Keep a fact."""
    store.append(fact)
    assert store is get_store()
    return f"{len(store)} facts"


async def test_the_store_is_injected() -> None:
    store: list[str] = []

    state = await graph_of(ToolNode([remember]), store=store).ainvoke(asking_for(call("remember", fact="x")))

    assert (store, last(state).content) == (["x"], "1 facts")
    with pytest.raises(ToolInjectionError, match=r"parameter 'store'.*compile\(store=...\)"):
        await graph_of(ToolNode([remember])).ainvoke(asking_for(call("remember", fact="x")))


@dataclass
class Settings:
    user: str


async def test_a_runtime_describes_the_call_of_its_tool(saver: Checkpointer) -> None:
    seen: list[ToolRuntime[Settings, Any]] = []

    @tool
    async def look(x: int, runtime: ToolRuntime[Settings, Any]) -> str:
        """Look around."""
        seen.append(runtime)
        runtime.stream_writer(f"looking {x}")
        return runtime.context.user

    builder: StateGraph[Any, Any] = StateGraph(Profile, Settings)
    builder.add_node("tools", ToolNode([look, add], tags=["mine"])).add_edge(START, "tools")
    graph = builder.compile(saver, store="the store")
    given = {**asking_for(call("look", "1", x=1), call("look", "2", x=2)), "user": "Ada"}
    written = [
        part
        async for part in graph.astream(
            given, {"tags": ["run"]}, thread_id="t", context=Settings("Grace"), stream_mode="custom"
        )
    ]

    assert sorted(written) == ["looking 1", "looking 2"]
    one, two = sorted(seen, key=lambda each: each.tool_call_id)
    assert (one.tool_call_id, two.tool_call_id) == ("1", "2")
    assert (one.state["user"], one.store, [each.name for each in one.tools]) == ("Ada", "the store", ["look", "add"])
    assert one.config["configurable"]["thread_id"] == "t"
    assert one.config["tags"] == ["run", "mine"]
    assert one.config["metadata"]["langgraph_node"] == "tools"
    assert one.execution_info is not None
    assert two.execution_info is not None
    # An idempotency key for each call.
    assert one.execution_info.task_id != two.execution_info.task_id
    assert answers((await graph.aget_state(thread_id="t")).values) == [("look", "Grace", "1"), ("look", "Grace", "2")]
    assert set(look.tool_call_schema.model_json_schema()["properties"]) == {"x"}  # type: ignore[union-attr]


async def test_a_tool_gets_langchains_config_and_its_call_id() -> None:
    @tool
    def configured(config: RunnableConfig, id_: Annotated[str, InjectedToolCallId]) -> str:
        """Read the config."""
        return f"{config['configurable']['color']} {id_} {get_config()['metadata']['langgraph_node']}"

    graph = graph_of(ToolNode([configured]))
    state = await graph.ainvoke(asking_for(call("configured", "7")), {"configurable": {"color": "red"}})

    assert last(state).content == "red 7 tools"


async def test_a_runtime_outside_of_a_run_has_no_execution_info() -> None:
    @tool
    def look(runtime: ToolRuntime) -> str:
        """Look around."""
        runtime.stream_writer("nobody hears it")
        return f"{runtime.execution_info} {runtime.store} {runtime.context} {runtime.tool_call_id}"

    state = await ToolNode([look]).ainvoke(asking_for(call("look")))

    assert last(state).content == "None None None 1"


async def test_the_model_cannot_set_arguments_that_others_inject() -> None:
    @tool
    def tenant(who: Annotated[str, InjectedToolArg] = "mine", by: Annotated[str, InjectedToolCallId] = "") -> str:
        """Read something of a tenant."""
        return f"{who} {by}"

    state = await graph_of(ToolNode([tenant])).ainvoke(asking_for(call("tenant", who="theirs", by="9")))

    assert last(state).content == "mine 1"


# Commands


@tool
def move(id_: Annotated[str, InjectedToolCallId], to: str = "goal") -> Command[str]:
    """Go somewhere."""
    return Command(goto=to, update={"user": f"moved by {id_}", "messages": [ToolMessage("moved", tool_call_id=id_)]})


def with_goal(node: ToolNode, saver: Checkpointer | None = None) -> Any:
    async def goal(state: Profile) -> Any:
        return {"messages": [AIMessage(f"{state.get('user')} at the goal")]}

    builder: StateGraph[Any, Any] = StateGraph(Profile)
    builder.add_node("tools", node, destinations=("goal",)).add_node("goal", goal).add_edge(START, "tools")
    return builder.compile(saver)


async def test_a_tool_may_update_the_state_and_choose_the_next_node(saver: Checkpointer) -> None:
    graph = with_goal(ToolNode([move, add]), saver)

    state = await graph.ainvoke(asking_for(call("move", "1"), call("add", "2", a=1, b=2)), thread_id="t")

    assert answers(state) == [("move", "moved", "1"), ("add", "3", "2")]
    assert state["messages"][-1].content == "moved by 1 at the goal"


async def test_a_direct_call_of_a_tool_returns_its_command() -> None:
    command = await move.ainvoke(call("move"))

    assert isinstance(command, Command)
    assert command.goto == "goal"


async def test_a_tool_may_return_several_answers() -> None:
    @tool
    def both(id_: Annotated[str, InjectedToolCallId]) -> list[Any]:
        """Answer, and go on."""
        return [ToolMessage("done", tool_call_id=id_, name="both"), Command(update={"user": "Ada"}, goto="goal")]

    state = await with_goal(ToolNode([both])).ainvoke(asking_for(call("both")))

    assert answers(state) == [("both", "done", "1")]
    assert state["messages"][-1].content == "Ada at the goal"


async def test_a_command_for_a_list_state_has_a_list_as_its_update() -> None:
    @tool
    def reply(id_: Annotated[str, InjectedToolCallId]) -> Command[str]:
        """Answer by a Command."""
        return Command(update=[ToolMessage("replied", tool_call_id=id_)])

    ((command),) = await ToolNode([reply]).ainvoke([calling(call("reply"))])

    assert command.update == [ToolMessage("replied", tool_call_id="1", name="reply")]


async def test_a_tool_may_replace_the_history() -> None:
    @tool
    def forget() -> Command[str]:
        """Forget all."""
        return Command(update={"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("Afresh")]})

    @tool
    def overwrite(id_: Annotated[str, InjectedToolCallId]) -> Command[str]:
        """Forget all but the answer."""
        return Command(update={"messages": Overwrite([ToolMessage("only", tool_call_id=id_)])})

    graph = graph_of(ToolNode([forget, overwrite]))

    forgotten = await graph.ainvoke(asking_for(call("forget")))
    assert [each.content for each in forgotten["messages"]] == ["Afresh"]
    assert answers(await graph.ainvoke(asking_for(call("overwrite")))) == [("overwrite", "only", "1")]


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        (Command(update={"messages": []}), r"no answer to the call; put ToolMessage\(..., tool_call_id='1'\)"),
        (Command(update={"messages": [ToolMessage("x", tool_call_id="2")]}), "no answer to the call"),
        (Command(update={"user": "x"}), "no answer to the call"),
        (Command(update=[ToolMessage("x", tool_call_id="1")]), "an update that is a list; write a dict with the key"),
    ],
)
async def test_a_command_that_does_not_answer_its_call_is_refused(returned: Any, why: str) -> None:
    @tool
    def wrong() -> Any:
        """Return something wrong."""
        return returned

    with pytest.raises(
        InvalidToolOutputError, match=f"tool 'wrong', called as '1', returned a Command.*{why}"
    ) as error:
        await graph_of(ToolNode([wrong]), state=Profile).ainvoke(asking_for(call("wrong")))

    assert (error.value.tool_name, error.value.tool_call_id) == ("wrong", "1")


async def test_a_dict_is_refused_where_the_state_is_a_list() -> None:
    with pytest.raises(InvalidToolOutputError, match="an update that is a dict; write a list of messages"):
        await ToolNode([move]).ainvoke([calling(call("move"))])


# To the parent graph


@tool
def hand_over(
    id_: Annotated[str, InjectedToolCallId], state: Annotated[dict[str, Any], InjectedState], to: str = "second"
) -> Command[str]:
    """Hand over."""
    done = ToolMessage("handed over", tool_call_id=id_, name="hand_over")
    return Command(graph=Command.PARENT, goto=to, update={"messages": [*state["messages"], done], "user": to})


def parent_of(node: ToolNode, saver: Checkpointer | None = None) -> Any:
    inner: StateGraph[Any, Any] = StateGraph(Profile)
    inner.add_node("tools", node).add_edge(START, "tools")

    async def second(state: Profile) -> Any:
        return {"messages": [AIMessage(f"Now {state['user']}")]}

    builder: StateGraph[Any, Any] = StateGraph(Profile)
    builder.add_node("first", inner.compile(), destinations=("second", END)).add_node("second", second)
    builder.add_edge(START, "first")
    return builder.compile(saver)


async def test_a_tool_hands_over_to_a_node_of_the_parent_graph(saver: Checkpointer) -> None:
    state = await parent_of(ToolNode([hand_over]), saver).ainvoke(asking_for(call("hand_over")), thread_id="t")

    assert answers(state) == [("hand_over", "handed over", "1")]
    assert state["messages"][-1].content == "Now second"


async def test_the_answers_to_other_calls_go_to_the_parent_with_the_history(saver: Checkpointer) -> None:
    node = ToolNode([hand_over, add, move])
    calls = call("add", "1", a=1, b=2), call("hand_over", "2")

    state = await parent_of(node, saver).ainvoke(asking_for(*calls), thread_id="t")

    assert sorted(answers(state)) == [("add", "3", "1"), ("hand_over", "handed over", "2")]
    assert state["messages"][-1].content == "Now second"


@tool
def hand_over_later(
    id_: Annotated[str, InjectedToolCallId], state: Annotated[dict[str, Any], InjectedState], days: int
) -> Command[str]:
    """Hand over in so many days."""
    done = ToolMessage("handed over", tool_call_id=id_, name="hand_over_later")
    messages = [*state["messages"], done]
    return Command(graph=Command.PARENT, goto="second", update={"messages": messages}, after=timedelta(days=days))


async def test_a_tool_hands_over_to_a_delayed_node(saver: Checkpointer) -> None:
    node = ToolNode([hand_over_later, add])
    calls = call("add", "1", a=1, b=2), call("hand_over_later", "2", days=3)

    stopped = await parent_of(node, saver).ainvoke(asking_for(*calls), thread_id="t")

    assert [each.is_sleep for each in stopped["__interrupt__"]] == [True]


async def test_tools_that_hand_over_at_different_times_are_refused(saver: Checkpointer) -> None:
    graph = parent_of(ToolNode([hand_over_later]), saver)
    calls = [call("hand_over_later", str(days), days=days) for days in (1, 2)]

    with pytest.raises(InvalidUpdateError, match="different values of after") as refused:
        await graph.ainvoke(asking_for(*calls), thread_id="t")
    assert len(str(refused.value)) <= 400


@pytest.mark.parametrize(
    "result",
    [
        Command(goto=["a", Send("b", 1, timeout=2.0, after=3.0)], after=timedelta(days=2)),
        Command(goto=Send("b", [1], after=timedelta(days=1))),
        Command(goto=Send("b", 1, timeout=2.0)),
        Command(update={"a": 1}, goto=("a",)),
    ],
)
def test_a_stored_command_keeps_its_times(result: Command[str]) -> None:
    codec = Codec(TYPES).of(Any, where="a tool's result")

    assert codec.decode(codec.encode(result)) == result
    assert repr(codec.decode(codec.encode(result))) == repr(result)


# Wrappers of calls


async def test_a_wrapper_runs_in_place_of_each_call() -> None:
    async def twice(request: ToolCallRequest, execute: Any) -> Any:
        doubled = {**request.tool_call, "args": {"a": 2 * request.tool_call["args"]["a"], "b": 0}}
        await execute(request)
        return await execute(request.override(tool_call=doubled))

    state = await graph_of(ToolNode([add], awrap_tool_call=twice)).ainvoke(asking_for(call("add", a=5, b=1)))

    assert last(state).content == "10"


async def test_a_plain_wrapper_executes_async_and_plain_tools() -> None:
    threads: list[str] = []

    def wrap(request: ToolCallRequest, execute: Any) -> Any:
        threads.append(threading.current_thread().name)
        return execute(request)

    node = ToolNode([add, shout], wrap_tool_call=wrap)
    state = await graph_of(node).ainvoke(asking_for(call("add", "1", a=1, b=2), call("shout", "2", text="hi")))

    assert answers(state) == [("add", "3", "1"), ("shout", "HI", "2")]
    assert threading.current_thread().name not in threads


async def test_a_wrapper_may_try_again_after_an_error() -> None:
    ran = Ran()

    async def again(request: ToolCallRequest, execute: Any) -> Any:
        try:
            return await execute(request)
        except ConnectionError:
            return await execute(request)

    node = ToolNode(ran.tools(), awrap_tool_call=again)
    state = await graph_of(node).ainvoke(asking_for(call("break_once", text="x")))

    assert last(state).content == "worked x"


async def test_a_wrapper_may_answer_for_an_unknown_tool() -> None:
    async def by_hand(request: ToolCallRequest, execute: Any) -> Any:
        if request.tool is None:
            return ToolMessage("by hand", tool_call_id=request.tool_call["id"])
        return await execute(request)

    node = ToolNode([add], awrap_tool_call=by_hand)

    state = await graph_of(node).ainvoke(asking_for(call("other", "1"), call("add", "2", a=1, b=2)))
    assert [content for _, content, _ in answers(state)] == ["by hand", "3"]


async def test_a_wrapper_may_give_a_tool_another_state() -> None:
    async def disguised(request: ToolCallRequest, execute: Any) -> Any:
        return await execute(request.override(state={**request.state, "user": "Eve"}))

    node = ToolNode([who], awrap_tool_call=disguised)
    state = await graph_of(node, state=Profile).ainvoke({**asking_for(call("who")), "user": "Ada"})

    assert last(state).content == "Eve after 2 messages"


async def test_an_error_of_a_wrapper_is_handled_like_an_error_of_a_tool() -> None:
    def broken(request: ToolCallRequest, execute: Any) -> Any:
        raise ImpatientError("no time")

    node = ToolNode([add], wrap_tool_call=broken, handle_tool_errors=ImpatientError)
    state = await graph_of(node).ainvoke(asking_for(call("add", a=1, b=2)))

    assert last(state).content == "Error: ImpatientError('no time'). Correct what is wrong and try again."


async def test_the_result_of_a_wrapper_is_checked() -> None:
    async def nonsense(request: ToolCallRequest, execute: Any) -> Any:
        return "just text"

    with pytest.raises(InvalidToolOutputError, match="returned str, where a ToolMessage, a Command"):
        await graph_of(ToolNode([add], awrap_tool_call=nonsense)).ainvoke(asking_for(call("add", a=1, b=2)))


# Interrupts


async def test_a_call_that_interrupts_does_not_run_finished_calls_again(saver: Checkpointer, reopen: Reopen) -> None:
    ran = Ran()
    node = ToolNode(ran.tools())
    calls = call("note", "1", text="a"), call("ask", "2", text="Really?"), call("jot", "3", text="b")

    asked = await graph_of(node, saver).ainvoke(asking_for(*calls), thread_id="t")
    assert [each.value for each in asked["__interrupt__"]] == ["Really?"]
    state = await graph_of(node, await reopen()).ainvoke(Command(resume="yes"), thread_id="t")

    assert answers(state) == [("note", "noted a", "1"), ("ask", "answered yes", "2"), ("jot", "jotted b", "3")]
    assert sorted(ran.calls) == ["a", "ask Really?", "ask Really?", "b"]


@pytest.mark.parametrize("name", ["ask", "ask_plainly"])
async def test_two_calls_may_interrupt_together_with_equal_values(saver: Checkpointer, name: str) -> None:
    graph = graph_of(ToolNode(Ran().tools()), saver)
    calls = call(name, "1", text="Same?"), call(name, "2", text="Same?")

    asked = (await graph.ainvoke(asking_for(*calls), thread_id="t"))["__interrupt__"]
    assert [each.value for each in asked] == ["Same?", "Same?"]
    await graph.ainvoke(Command(resume={asked[1].id: "second"}), thread_id="t")
    state = await graph.ainvoke(Command(resume={asked[0].id: "first"}), thread_id="t")

    assert sorted(content for _, content, _ in answers(state)) == ["answered first", "answered second"]


async def test_an_interrupt_never_becomes_an_answer_for_the_model() -> None:
    node = ToolNode(Ran().tools(), handle_tool_errors=True)

    asked = await graph_of(node, MemorySaver()).ainvoke(asking_for(call("ask", text="Really?")), thread_id="t")

    assert [each.value for each in asked["__interrupt__"]] == ["Really?"]


async def test_an_error_in_parallel_with_an_interrupt_is_raised_and_the_next_run_interrupts_again(
    saver: Checkpointer,
) -> None:
    ran = Ran()
    graph = graph_of(ToolNode(ran.tools()), saver)
    calls = call("ask", "1", text="Really?"), call("break_once", "2", text="x"), call("note", "3", text="y")

    with pytest.raises(ConnectionError):
        await graph.ainvoke(asking_for(*calls), thread_id="t")
    await graph.ainvoke(None, thread_id="t")
    state = await graph.ainvoke(Command(resume="yes"), thread_id="t")

    assert [content for _, content, _ in answers(state)] == ["answered yes", "worked x", "noted y"]
    assert ran.calls.count("y") == 1


async def test_a_wrapper_may_interrupt_before_the_call(saver: Checkpointer) -> None:
    def approved(request: ToolCallRequest, execute: Any) -> Any:
        if interrupt({"tool": request.tool_call["name"]}) != "yes":
            return ToolMessage("refused", tool_call_id=request.tool_call["id"], name=request.tool_call["name"])
        return execute(request)

    ran = Ran()
    graph = graph_of(ToolNode(ran.tools(), wrap_tool_call=approved), saver)

    await graph.ainvoke(asking_for(call("note", text="x")), thread_id="t")
    assert ran.calls == []
    state = await graph.ainvoke(Command(resume="yes"), thread_id="t")

    assert (last(state).content, ran.calls) == ("noted x", ["x"])


# Calls in code of the user


async def test_an_async_node_may_call_a_tool_node_and_resumes_without_repeated_calls(saver: Checkpointer) -> None:
    ran = Ran()
    tools = ToolNode(ran.tools())

    async def work(state: MessagesState) -> Any:
        result = await tools.ainvoke(state)
        interrupt("Keep it?")
        return result

    graph = StateGraph(MessagesState).add_node(work).add_edge(START, "work").compile(saver)
    await graph.ainvoke(asking_for(call("note", "1", text="a"), call("jot", "2", text="b")), thread_id="t")
    state = await graph.ainvoke(Command(resume=True), thread_id="t")

    assert answers(state) == [("note", "noted a", "1"), ("jot", "jotted b", "2")]
    assert sorted(ran.calls) == ["a", "b"]


async def test_a_plain_node_may_call_a_tool_node_and_resumes_without_repeated_calls(saver: Checkpointer) -> None:
    ran = Ran()
    tools = ToolNode(ran.tools())

    def work(state: MessagesState) -> Any:
        result = tools.invoke(state)
        interrupt("Keep it?")
        return result

    graph = StateGraph(MessagesState).add_node(work).add_edge(START, "work").compile(saver)
    await graph.ainvoke(asking_for(call("note", "1", text="a"), call("jot", "2", text="b")), thread_id="t")
    state = await graph.ainvoke(Command(resume=True), thread_id="t")

    assert answers(state) == [("note", "noted a", "1"), ("jot", "jotted b", "2")]
    assert sorted(ran.calls) == ["a", "b"]


async def test_invoke_in_the_event_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"use: await tool_node.ainvoke"):
        ToolNode([add]).invoke(asking_for(call("add", a=1, b=2)))


async def test_an_entrypoint_may_repeat_an_equal_call_of_a_tool_node(saver: Checkpointer) -> None:
    ran = Ran()
    tools = ToolNode(ran.tools())

    @entrypoint(saver)
    async def flow(times: int) -> list[str]:
        found = []
        for _ in range(times):
            (answer,) = await tools.ainvoke([calling(call("note", text="same"))])
            found.append(answer.content)
        interrupt("Enough?")
        return found

    await flow.ainvoke(3, thread_id="t")
    assert await flow.ainvoke(Command(resume=True), thread_id="t") == ["noted same"] * 3
    assert ran.calls == ["same"] * 3


async def test_a_call_that_occurs_twice_is_made_twice(saver: Checkpointer) -> None:
    ran = Ran()

    state = await graph_of(ToolNode(ran.tools()), saver).ainvoke(
        asking_for(call("note", "1", text="a"), call("note", "1", text="a")), thread_id="t"
    )

    assert ran.calls == ["a", "a"]
    assert answers(state) == [("note", "noted a", "1")] * 2


async def test_a_tool_may_call_tasks_and_graphs(saver: Checkpointer) -> None:
    ran: list[str] = []

    @task
    async def look_up(what: str) -> str:
        ran.append(what)
        return f"found {what}"

    async def think(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"sure: {interrupt('Sure?')}")]}

    thinker = StateGraph(MessagesState).add_node(think).add_edge(START, "think").compile()

    @tool
    async def research(what: str) -> str:
        """Find out."""
        found = await look_up(what)
        thought = await thinker.ainvoke({"messages": [HumanMessage(found)]})
        return f"{found}, {thought['messages'][-1].content}"

    graph = graph_of(ToolNode([research, add]), saver)
    calls = call("research", "1", what="x"), call("add", "2", a=1, b=2)

    asked = await graph.ainvoke(asking_for(*calls), thread_id="t")
    assert [each.value for each in asked["__interrupt__"]] == ["Sure?"]
    state = await graph.ainvoke(Command(resume="yes"), thread_id="t")

    assert answers(state) == [("research", "found x, sure: yes", "1"), ("add", "3", "2")]
    assert ran == ["x"]


async def test_calls_of_tools_emit_no_events_of_their_own() -> None:
    graph = graph_of(ToolNode([add, shout]))
    given = asking_for(call("add", "1", a=1, b=2), call("shout", "2", text="hi"))

    parts = [part async for part in graph.astream(given, stream_mode=["updates", "tasks"])]

    assert [mode for mode, _ in parts] == ["tasks", "updates", "tasks"]
    assert {part["name"] for mode, part in parts if mode == "tasks"} == {"tools"}


# Crashes


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
async def test_no_recorded_call_is_repeated_after_a_crash_at_any_store_call(mode: Any) -> None:
    calls = call("note", "1", text="a"), call("jot", "2", text="b"), call("move", "3", to=END)

    async def run(saver: Checkpointer, ran: Ran, given: Any) -> Any:
        graph = with_goal(ToolNode([*ran.tools(), move]), saver)
        return await graph.ainvoke(given, thread_id="t", durability=mode)

    counting = CrashingSaver(MemorySaver())
    expected = answers(await run(counting, Ran(), asking_for(*calls)))
    kept = []
    for point in crash_points(counting.calls):
        inner, before, after = MemorySaver(), Ran(), Ran()
        crashing = CrashingSaver(inner, point)
        with suppress(SimulatedCrashError):
            await run(crashing, before, asking_for(*calls))
        assert crashing.crashed
        recorded = await recorded_calls(inner)
        snapshot = await with_goal(ToolNode([*after.tools(), move]), inner).aget_state(thread_id="t")
        if snapshot.next or not snapshot.values:
            await run(inner, after, None if snapshot.values else asking_for(*calls))
        snapshot = await with_goal(ToolNode([*after.tools(), move]), inner).aget_state(thread_id="t")
        assert answers(snapshot.values) == expected
        assert not recorded & {*after.calls}
        assert {*before.calls, *after.calls} == {"a", "b"}
        kept.append(recorded)

    assert {"a", "b"} in kept
    assert any(len(each) == 1 for each in kept)


async def recorded_calls(saver: Checkpointer) -> set[str]:
    """The texts of the calls of `note` and `jot` that the store has records of."""
    found = await saver.load_records("t", "tools:1.0")
    values = [] if found is None else [record.value for record in found.records]
    written = {"a": b"noted a", "b": b"jotted b"}
    return {text for text, result in written.items() if any(result in value for value in values)}


async def test_a_result_that_cannot_be_stored_fails_its_call(saver: Checkpointer) -> None:
    @tool(response_format="content_and_artifact")
    def draw() -> Any:
        """Draw something."""
        return "a drawing", threading.Lock()

    with pytest.raises(UnstorableValueError) as raised:
        await graph_of(ToolNode([draw]), saver).ainvoke(asking_for(call("draw", "9")), thread_id="t")

    assert any("in tool 'draw', called as '9'" in note for note in raised.value.__notes__)


async def test_a_cancelled_run_cancels_its_tools_including_those_in_a_plain_wrapper() -> None:
    started, ended = asyncio.Event(), []

    @tool
    async def wait() -> str:
        """Wait for ever."""
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return "never"

    def wrap(request: ToolCallRequest, execute: Any) -> Any:
        return execute(request)

    for node in (ToolNode([wait]), ToolNode([wait], wrap_tool_call=wrap)):
        started.clear()
        running = asyncio.ensure_future(graph_of(node).ainvoke(asking_for(call("wait"))))
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    assert ended == ["cancelled"] * 2


# The router


def test_tools_condition_leads_to_the_tools_if_the_message_has_calls() -> None:
    assert tools_condition(asking_for(call("add"))) == "tools"
    assert tools_condition({"messages": [AIMessage("done")]}) == END
    assert tools_condition([calling(call("add"))]) == "tools"
    assert tools_condition({"history": [HumanMessage("hi")]}, messages_key="history") == END
    with pytest.raises(InvalidToolInputError, match="key 'messages' of the state has no messages"):
        tools_condition({"messages": []})
