"""Habits of LangGraph programs: copies of commands, outputs read by key, late checkpointers, wrong imports."""

import dataclasses
import operator
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    GraphOutput,
    GraphValidationError,
    InvalidInputError,
    InvalidNodeResultError,
    InvalidOptionError,
    InvalidStateValueError,
    InvalidUpdateError,
    MissingCheckpointerError,
    Send,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from tests.errors.kinds import of_kind


class State(TypedDict, total=False):
    k: str
    log: Annotated[list[str], operator.add]


def one_node(node: Any, schema: Any = State) -> StateGraph[Any]:
    return StateGraph(schema).add_node("node", node).add_edge(START, "node")


# Command and Send


def test_a_command_can_be_copied_with_changes() -> None:
    command: Command[str] = Command(goto="a", update={"k": "v"})

    other = dataclasses.replace(command, update={"k": "w"})

    assert (other.goto, other.update, other) == ("a", {"k": "w"}, Command(goto="a", update={"k": "w"}))
    assert command.update == {"k": "v"}


def test_unset_fields_of_a_command_stay_unset_in_a_copy() -> None:
    assert dataclasses.replace(Command(resume=None), goto="a") == Command(resume=None, goto="a")
    assert dataclasses.replace(Command(), goto="a") == Command(goto="a") != Command(resume=None, goto="a")


def test_a_send_can_be_copied_with_changes() -> None:
    send = Send("a", {"n": 1}, timeout=3)

    assert dataclasses.replace(send, node="b") == Send("b", {"n": 1}, timeout=3)
    assert dataclasses.replace(send, node="b").timeout == 3


def test_equal_commands_and_sends_of_hashable_values_have_one_hash() -> None:
    assert len({Send("a", 1), Send("a", 1), Send("b", 1)}) == 2
    assert len({Command(goto="a"), Command(goto="a"), Command(goto=("a", Send("b", 1)))}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        {Send("a", {"n": 1})}


@pytest.mark.parametrize(("value", "name"), [(Command(goto="a"), "goto"), (Send("a", 1), "node")], ids=repr)
def test_commands_and_sends_are_immutable(value: Any, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, "b")


async def test_a_node_may_return_a_changed_copy_of_a_command(saver: Checkpointer) -> None:
    def first(state: State) -> Command[Literal["second"]]:
        command: Command[Literal["second"]] = Command(update={"k": "x"})
        return dataclasses.replace(command, goto="second")

    builder = one_node(first).add_node("second", lambda state: {"log": [state["k"]]})

    assert await builder.compile(saver).ainvoke({}, thread_id="t") == {"k": "x", "log": ["x"]}


# GraphOutput


@dataclasses.dataclass
class Data:
    k: str = ""


@pytest.mark.parametrize("schema", [State, Data])
async def test_an_output_is_read_by_key(schema: type) -> None:
    output: Any = await one_node(lambda _: {"k": "a"}, schema).compile().ainvoke({"k": "x"}, version="v2")

    assert isinstance(output, GraphOutput)
    assert (output["k"], "k" in output, "other" in output, "__interrupt__" in output) == ("a", True, False, False)
    for missing in ("other", "__interrupt__"):
        with pytest.raises(KeyError, match=missing):
            output[missing]
    with pytest.raises(TypeError, match="not iterable"):
        iter(output)  # type: ignore[call-overload]  # mypy refuses it too


async def test_the_interrupts_of_an_output_are_read_by_key(saver: Checkpointer) -> None:
    graph = one_node(lambda _: {"k": interrupt("why?")}).compile(saver)

    output = await graph.ainvoke({}, thread_id="t", version="v2")

    assert "__interrupt__" in output
    assert [each.value for each in output["__interrupt__"]] == ["why?"]


# ainvoke


async def test_ainvoke_takes_subgraphs() -> None:
    inner = one_node(lambda _: {"k": "inner"}).compile()
    graph = one_node(inner).compile()

    assert (await graph.ainvoke({"k": "x"}, subgraphs=True))["k"] == "inner"
    chunks = await graph.ainvoke({"k": "x"}, stream_mode="updates", subgraphs=True)
    assert [(bool(ns), chunk) for ns, chunk in chunks] == [
        (True, {"node": {"k": "inner"}}),
        (False, {"node": {"k": "inner", "log": []}}),
    ]


# A checkpointer that is set only when the service starts


async def test_the_checkpointer_of_a_compiled_graph_can_be_set(saver: Checkpointer) -> None:
    graph = one_node(lambda _: {"k": interrupt("why?")}).compile()
    with pytest.raises(MissingCheckpointerError):
        await graph.aget_state(thread_id="t")

    graph.checkpointer = saver

    await graph.ainvoke({}, thread_id="t")
    assert await graph.ainvoke(Command(resume="so"), thread_id="t") == {"k": "so", "log": []}
    assert graph.checkpointer is saver


async def test_a_graph_whose_checkpointer_is_set_to_none_persists_nothing(saver: Checkpointer) -> None:
    graph = one_node(lambda _: {"k": "a"}).compile(saver)

    graph.checkpointer = None

    assert (await graph.ainvoke({}))["k"] == "a"
    assert (await saver.list_threads()) == []


def test_an_invalid_checkpointer_is_refused_when_it_is_set() -> None:
    graph: Any = one_node(lambda _: {}).compile()

    with pytest.raises(InvalidOptionError, match="a saver"):
        graph.checkpointer = "sqlite:///runs.db"


# LangGraph's own classes, imported by mistake


def of_langgraph(name: str, module: str = "langgraph.types") -> Any:
    """An instance of a class with this name and module. LangGraph itself is not installed."""
    return type(name, (), {"__module__": module})()


async def run(node: Any, router: Any = None) -> Any:
    builder = one_node(node)
    if router is not None:
        builder.add_conditional_edges("node", router)
    return await builder.compile().ainvoke({})


async def test_a_command_of_langgraph_is_distinguished_from_ours() -> None:
    command = of_langgraph("Command")

    with pytest.raises(
        InvalidNodeResultError,
        check=of_kind("update"),
        match=r"a Command of langgraph\.types, not durable_graph's Command",
    ):
        await run(lambda _: command)
    with pytest.raises(InvalidInputError, match=r"a Command of langgraph\.types, not durable_graph's Command"):
        await one_node(lambda _: {}).compile().ainvoke(command)


async def test_a_send_of_langgraph_is_distinguished_from_ours() -> None:
    send = of_langgraph("Send")

    with pytest.raises(
        InvalidNodeResultError, check=of_kind("route"), match=r"a Send of langgraph\.types, not durable_graph's Send"
    ):
        await run(lambda _: {}, lambda _: [send])
    with pytest.raises(InvalidUpdateError, match=r"a Send of langgraph\.types, not durable_graph's Send"):
        await run(lambda _: Command(goto=[send]))
    with pytest.raises(InvalidUpdateError, match=r"a Send of langgraph\.types, not durable_graph's Send"):
        await run(lambda _: Command(goto=send))


async def test_an_overwrite_of_langgraph_is_distinguished_from_ours() -> None:
    overwrite = of_langgraph("Overwrite")

    for key in ("k", "log"):
        with pytest.raises(
            InvalidStateValueError,
            check=of_kind("rule"),
            match=r"an Overwrite of langgraph\.types, not durable_graph's",
        ):
            await run(lambda _, key=key: {key: overwrite})


async def test_a_class_of_the_user_may_be_named_command() -> None:
    class Command:
        """A command to a bot."""

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Command)

    builder = one_node(lambda _: {}).add_node("other", lambda _: {"k": "other"})
    builder.add_conditional_edges("node", lambda _: Command(), {Command(): "other"})

    assert (await builder.compile().ainvoke({}))["k"] == "other"


# Functions


def test_a_generator_is_refused_as_an_entrypoint() -> None:
    def generator(given: str) -> Any:
        yield given

    async def async_generator(given: str) -> Any:
        yield given

    for function in (generator, async_generator):
        with pytest.raises(
            GraphValidationError,
            check=of_kind("argument"),
            match="is a generator; it has to return its result, not yield it",
        ):
            entrypoint()(function)


def test_a_method_is_refused_as_a_task() -> None:
    with pytest.raises(
        GraphValidationError, check=of_kind("argument"), match="is a method; make it a function or a @staticmethod"
    ):

        class Tools:
            @task
            async def fetch(self, url: str) -> str:
                return url


async def test_static_methods_and_bound_methods_may_be_tasks(saver: Checkpointer) -> None:
    class Tools:
        @staticmethod
        @task
        async def fetch(url: str) -> str:
            return f"fetched {url}"

        async def count(self, text: str) -> int:
            return len(text)

    count = task(Tools().count)

    @entrypoint(checkpointer=saver)
    async def flow(url: str) -> tuple[str, int]:
        return await Tools.fetch(url), await count(url)

    workflow: CompiledGraph[Any] = flow
    assert await workflow.ainvoke("here", thread_id="t") == ("fetched here", 4)
