"""Code that a type checker has to accept. Never run: `test_checkers` checks it with mypy and with pyright."""

import operator
from asyncio import gather
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Literal, TypedDict, assert_type

import msgspec
import pydantic

from durable_graph import (
    END,
    START,
    CachePolicy,
    ChildRun,
    Command,
    CompiledGraph,
    ContinueAsNew,
    GraphOutput,
    Interrupt,
    MemorySaver,
    NodeError,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    StreamWriter,
    TimeoutPolicy,
    Workflow,
    entrypoint,
    start_child,
    task,
)


class State(TypedDict):
    topic: str
    drafts: Annotated[list[str], operator.add]


class Part(TypedDict):
    topic: str


class Update(TypedDict, total=False):
    drafts: list[str]


class Job(TypedDict):
    subject: str


async def returns_dict(state: State) -> dict[str, Any]:
    return {"topic": "tea"}


async def returns_narrow_dict(state: State) -> dict[str, list[str]]:
    return {"drafts": []}


async def returns_typed_update(state: State) -> Update:
    return {"drafts": []}


async def returns_state(state: State) -> State:
    return state


async def returns_none(state: State) -> None: ...


async def may_return_none(state: State) -> State | None:
    return None


def is_plain(state: State) -> dict[str, str]:
    return {}


def returns_awaitable(state: State) -> Awaitable[Update]:
    return returns_typed_update(state)


async def takes_part(state: Part) -> None: ...


async def takes_runtime(state: State, runtime: Runtime) -> None: ...


async def takes_config(state: State, config: dict[str, Any]) -> None: ...


def takes_both(state: State, config: dict[str, Any], runtime: Runtime) -> None: ...


async def takes_keywords(state: State, *, runtime: Runtime, config: dict[str, Any] | None = None) -> None: ...


async def takes_writer(state: State, writer: StreamWriter) -> None: ...


def takes_runtime_and_writer(state: State, writer: StreamWriter, runtime: Runtime) -> None: ...


async def takes_config_and_writer(state: State, config: dict[str, Any], *, writer: StreamWriter) -> None: ...


async def takes_everything(state: State, runtime: Runtime, config: Any, writer: StreamWriter) -> Update:
    return {}


@dataclass
class Settings:
    model: str


@dataclass
class MoreSettings(Settings):
    limit: int


async def takes_settings(state: State, runtime: Runtime[Settings]) -> Update:
    return {"drafts": [runtime.context.model]}


def takes_settings_otherwise_named(state: State, rt: Runtime[Settings]) -> None: ...


async def takes_settings_last(state: State, *, writer: StreamWriter, runtime: Runtime[Settings]) -> None: ...


def takes_settings_and_all(state: State, config: Any, runtime: Runtime[Settings], writer: StreamWriter) -> None: ...


def routes_by_settings(state: State, runtime: Runtime[Settings]) -> str:
    return runtime.context.model


async def goes(state: State) -> Command[Literal["a", "b"]]:
    command: Command[Literal["a", "b"]] = Command(goto="a")
    return replace(command, update={"topic": "tea"})


async def goes_or_writes(state: State) -> Command[Literal["a"]] | Update:
    return {}


async def writes_often(state: State) -> list[Update]:
    return [{}, {}]


def goes_and_writes(state: State) -> list[Command[Literal["a"]] | Update]:
    return [Command(goto="a"), {}]


def goes_to_the_parent_graph(state: State) -> Command[str]:
    return Command(graph=Command.PARENT, goto=[Send("a", {"topic": "tea"}), "b"])


async def goes_often(state: State) -> list[Command[Literal["a"]]]:
    return []


async def handle(state: State, error: NodeError) -> Command[Literal["a"]]:
    return Command(goto="a", update={"topic": str(error.error)})


def handles_all(state: State, error: NodeError, runtime: Runtime[Settings], writer: StreamWriter) -> Update:
    return {}


async def has_option(state: State, limit: int = 3) -> None: ...


async def names_it_otherwise(s: State) -> None: ...


async def needs_more(state: State, model: str) -> None: ...


async def works(job: Job) -> dict[str, list[str]]:
    return {"drafts": [job["subject"]]}


class Worker:
    async def __call__(self, state: State) -> None: ...

    def run(self, state: State) -> Update:
        return {}


def of_anything(state: Any) -> Any: ...


unknown: Callable[..., Any] = of_anything

builder = assert_type(StateGraph(State), StateGraph[State])
builder.add_node(returns_dict)
builder.add_node(returns_narrow_dict)
builder.add_node(returns_typed_update)
builder.add_node(returns_state)
builder.add_node(returns_none)
builder.add_node(may_return_none)
builder.add_node(is_plain)
builder.add_node(returns_awaitable)
builder.add_node(takes_part)
builder.add_node(takes_runtime)
builder.add_node(takes_config)
builder.add_node(takes_both)
builder.add_node(takes_keywords)
builder.add_node(takes_writer)
builder.add_node(takes_runtime_and_writer)
builder.add_node(takes_config_and_writer)
builder.add_node(takes_everything)
builder.add_node(goes)
builder.add_node(goes_or_writes)
builder.add_node(goes_often, destinations=["b"])
builder.add_node(writes_often)
builder.add_node(goes_and_writes)
builder.add_node(goes_to_the_parent_graph)
builder.add_node(takes_settings)
builder.add_node("inner", StateGraph(State).add_node(goes).compile())
builder.add_node(has_option)
builder.add_node(names_it_otherwise)
builder.add_node(unknown)
builder.add_node("named", returns_dict)
builder.add_node("by_keyword", action=returns_dict)
builder.add_node("partial", partial(needs_more, model="small"))
builder.add_node("lambda", lambda state: {"topic": state["topic"]})
builder.add_node("instance", Worker())
builder.add_node("method", Worker().run)
builder.add_node(works, input_schema=Job)
builder.add_node("works", works, input_schema=Job)
builder.add_node(
    "options",
    returns_dict,
    defer=True,
    metadata={"team": "blue"},
    retry_policy=[RetryPolicy(retry_on=KeyError), RetryPolicy(retry_on=(ValueError, OSError), max_attempts=5)],
    cache_policy=CachePolicy(key_func=lambda state: str(state["topic"]), ttl=timedelta(minutes=1)),
    error_handler=handle,
    destinations={"a": "if long"},
    timeout=timedelta(seconds=3),
)
builder.add_node(takes_runtime, retry_policy=RetryPolicy(retry_on=lambda error: "busy" in str(error)), timeout=3)
builder.add_node("pooled", returns_dict, executor=ProcessPoolExecutor, timeout=3)
builder.add_node("threaded", returns_dict, executor=ThreadPoolExecutor(1))
builder.add_node("made", returns_dict, executor=lambda: ThreadPoolExecutor(1))
builder.set_node_defaults(
    timeout=TimeoutPolicy(idle_timeout=timedelta(seconds=3), run_timeout=60.5), error_handler=handle
)
builder.add_sequence([returns_dict, ("last", is_plain)])
builder.add_node(returns_dict, error_handler=handles_all)

in_settings = assert_type(StateGraph(State, Settings), StateGraph[State, Settings])
in_settings.add_node(takes_settings)
in_settings.add_node(takes_settings_otherwise_named)
in_settings.add_node(takes_settings_last)
in_settings.add_node(takes_settings_and_all)
in_settings.add_node(takes_runtime)
in_settings.add_node(returns_dict)
in_settings.add_conditional_edges("a", routes_by_settings)
in_settings.set_conditional_entry_point(routes_by_settings)
StateGraph(State, MoreSettings).add_node(takes_settings)


async def route(state: State) -> Literal["a", "b"]:
    return "a"


def fan_out(state: State) -> list[Send]:
    return [Send("works", {"subject": state["topic"]})]


def mixed(state: State) -> list[str | Send]:
    return [END, Send("works", {"subject": state["topic"]})]


async def route_by_runtime(state: State, runtime: Runtime) -> str:
    return "a"


def route_by_both(state: State, config: dict[str, Any], runtime: Runtime) -> str:
    return "a"


def is_long(state: State) -> bool:
    return len(state["drafts"]) > 3


builder.add_conditional_edges("a", route)
builder.add_conditional_edges("a", route_by_runtime)
builder.add_conditional_edges("a", route_by_both)
builder.add_conditional_edges("a", fan_out, ["works"])
builder.add_conditional_edges("a", mixed)
builder.add_conditional_edges("a", is_long, {True: "b", False: END})
builder.add_conditional_edges("a", lambda state: state["topic"])
builder.set_conditional_entry_point(route)
builder.add_edge(START, "a").add_edge(["a", "b"], "c").add_edge(("a", "b"), END).set_entry_point("a").set_finish_point(
    "b"
)


class Extended(StateGraph[State]):
    def more(self) -> None: ...


Extended(State).add_node(returns_dict).add_edge(START, "a").more()


@dataclass
class Data:
    topic: str


class Struct(msgspec.Struct):
    topic: str


class Model(pydantic.BaseModel):
    topic: str


async def of_data(state: Data) -> Data:
    return state


def of_struct(state: Struct) -> Struct | None:
    return state


async def of_model(state: Model, runtime: Runtime) -> Model | dict[str, str]:
    return state


assert_type(StateGraph(Data).add_node(of_data).compile(), CompiledGraph[Data])
StateGraph(Struct).add_node(of_struct)
StateGraph(Model).add_node(of_model)


class Question(TypedDict):
    text: str


class Answer(TypedDict):
    draft: str


async def runs() -> None:
    of_dicts = assert_type(StateGraph(State).compile(), CompiledGraph[State])
    assert_type(await of_dicts.ainvoke({"topic": "tea"}), State)
    assert_type(await of_dicts.ainvoke(None, {"configurable": {"thread_id": "t"}}), State)
    assert_type(await of_dicts.ainvoke(Command(resume=True), thread_id="t", durability="async"), State)
    assert_type(await of_dicts.ainvoke({}, version="v2"), GraphOutput[State])
    assert_type((await of_dicts.ainvoke({}, version="v2")).interrupts, tuple[Interrupt, ...])
    assert_type((await of_dicts.ainvoke({}, version="v2"))["topic"], Any)
    assert_type("topic" in await of_dicts.ainvoke({}, version="v2"), bool)
    assert_type(await of_dicts.ainvoke({}, stream_mode="updates", subgraphs=True), Any)
    of_dicts.checkpointer = MemorySaver()
    assert_type(await of_dicts.ainvoke({}, stream_mode="updates"), Any)
    assert_type(await of_dicts.ainvoke({}, output_keys="topic"), Any)

    # A result of version 1 is a dict, whatever the class of the output.
    assert_type(await StateGraph(Data).compile().ainvoke(Data("tea")), dict[str, Any])
    assert_type(await StateGraph(Struct).compile().ainvoke(Struct("tea")), dict[str, Any])
    assert_type(await StateGraph(Model).compile().ainvoke({"topic": "tea"}), dict[str, Any])
    assert_type(await StateGraph(Data).compile().ainvoke(Data("tea"), version="v2"), GraphOutput[Data])
    assert_type(await StateGraph(Model).compile().ainvoke(None, version="v2"), GraphOutput[Model])
    assert_type(await StateGraph(list[str]).compile().ainvoke(["tea"]), list[str])

    both = StateGraph(State, input_schema=Question, output_schema=Answer).compile()
    assert_type(both, CompiledGraph[State, Any, Question, Answer])
    assert_type(await both.ainvoke({"text": "tea?"}), Answer)
    assert_type(await both.ainvoke({"text": "tea?"}, version="v2"), GraphOutput[Answer])
    assert_type(await StateGraph(State, Settings, output_schema=Data).compile().ainvoke({}), dict[str, Any])
    assert_type(await StateGraph(State, Settings).compile().ainvoke({}, context=Settings("small")), State)

    untyped: CompiledGraph[Any] = of_dicts
    assert_type(await untyped.ainvoke({}), Any)
    async with of_dicts.stream({"topic": "tea"}) as events:
        async for _ in events:
            pass
    assert_type((await of_dicts.aget_state(thread_id="t")).interrupts, tuple[Interrupt, ...])


@task
async def translate(word: str, *, language: str = "no") -> str:
    return word


@task(name="measure", retry_policy=RetryPolicy(), timeout=3)
async def weigh(word: str) -> float:
    return 1.0


@task
def count(word: str) -> int:
    return len(word)


@task(executor=ProcessPoolExecutor, timeout=3)
def count_elsewhere(word: str) -> int:
    return len(word)


@entrypoint()
async def writes(words: list[str]) -> dict[str, str]:
    assert_type(await translate("tea", language="en"), str)
    assert_type(await weigh("tea"), float)
    assert_type(await count("tea"), int)
    assert_type(await gather(translate("tea"), count("tea")), tuple[str, int])
    return {}


@entrypoint(context_schema=Settings)
def gives_data(word: str, *, previous: Data | None = None, runtime: Runtime[Settings]) -> Data:
    return Data(word)


@entrypoint()
async def saves_another(word: str, writer: StreamWriter) -> entrypoint.final[int, list[str]]:
    return entrypoint.final(value=1, save=["a"])


@entrypoint()
def saves_plainly(word: str) -> entrypoint.final[int, list[str]]:
    return entrypoint.final(value=1, save=["a"])


@entrypoint()
async def goes_on(day: int) -> str | ContinueAsNew:
    child = await start_child("writes", ["tea"], key="k", on_parent="abandon", priority="high")
    assert_type(child, ChildRun)
    assert_type(child.run_id, str)
    await child.result(timeout=3)
    return ContinueAsNew(day + 1) if day else "end"


@entrypoint()
async def of_all(given: Any, *, previous: Any, config: Any) -> Any: ...


async def runs_workflows() -> None:
    assert_type(writes, Workflow[list[str], dict[str, str]])
    assert_type(await writes.ainvoke(["tea"]), dict[str, str])
    assert_type(await writes.ainvoke(["tea"], version="v2"), GraphOutput[dict[str, str]])
    assert_type(await writes.ainvoke(Command(resume=True), thread_id="t"), dict[str, str])
    assert_type(await writes.with_config({}).ainvoke(None, thread_id="t"), dict[str, str])
    # The result of a function is returned unchanged.
    assert_type(await gives_data.ainvoke("tea", context=Settings("small")), Data)
    assert_type(await saves_another.ainvoke("tea"), int)
    assert_type(await saves_plainly.ainvoke("tea"), int)
    assert_type(await goes_on.ainvoke(1), str)
    assert_type(await of_all.ainvoke({"any": "thing"}), Any)
    around: CompiledGraph[Any] = writes
    await around.ainvoke(["tea"])
    StateGraph(State).add_node("writes", writes)
