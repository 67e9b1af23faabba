"""Code that a type checker has to reject, at each line marked `# E`. Never run: `test_checkers` checks it."""

from dataclasses import dataclass
from typing import Any, TypedDict

from durable_graph import END, CompiledGraph, RetryPolicy, Runtime, StateGraph, TimeoutPolicy, entrypoint, task


class State(TypedDict):
    topic: str


class Other(TypedDict):
    number: int


@dataclass
class Data:
    topic: str


@dataclass
class OtherData:
    topic: str


async def of_other(state: Other) -> dict[str, Any]:
    return {}


def plain_of_other(state: Other) -> dict[str, Any]:
    return {}


async def of_other_with_runtime(state: Other, runtime: Any) -> dict[str, Any]:
    return {}


def of_other_with_both(state: Other, config: Any, runtime: Any) -> dict[str, Any]:
    return {}


async def of_state(state: State) -> dict[str, Any]:
    return {}


async def needs_more(state: State, model: str) -> None: ...


async def returns_number(state: State) -> int:
    return 1


def returns_text(state: State) -> list[str]:
    return []


def takes_nothing() -> None: ...


async def of_other_data(state: OtherData) -> None: ...


async def returns_other_data(state: Data) -> OtherData:
    return OtherData("tea")


def routes_other(state: Other) -> str:
    return END


def routes_by_more(state: State, model: str) -> str:
    return END


async def needs_more_beside_all(state: State, runtime: Any, config: Any, writer: Any, model: str) -> None: ...


def of_other_with_writer(state: Other, writer: Any) -> dict[str, Any]:
    return {}


@dataclass
class Settings:
    model: str


async def takes_other_settings(state: State, runtime: Runtime[Data]) -> None: ...


async def takes_other_settings_otherwise_named(state: State, rt: Runtime[Data]) -> None: ...


def takes_other_settings_and_all(state: State, config: Any, writer: Any, runtime: Runtime[Data]) -> None: ...


def routes_by_other_settings(state: State, runtime: Runtime[Data]) -> str:
    return END


async def returns_numbers(state: State) -> list[int]:
    return []


builder = StateGraph(State)
builder.add_node(of_other)  # E: add_node
builder.add_node("named", of_other)  # E: add_node
builder.add_node(plain_of_other)  # E: add_node
builder.add_node(of_other_with_runtime)  # E: add_node
builder.add_node("both", of_other_with_both)  # E: add_node
builder.add_node(needs_more)  # E: add_node
builder.add_node(returns_number)  # E: add_node
builder.add_node(returns_text)  # E: add_node
builder.add_node(takes_nothing)  # E: add_node
builder.add_node("no_function", 3)  # E: add_node
builder.add_node(of_state, input_schema=Other)  # E: add_node
builder.add_node("works", of_state, input_schema=Other)  # E: add_node
builder.add_sequence([of_other])  # E: TakesState
builder.add_conditional_edges("a", routes_other)  # E: add_conditional_edges
builder.set_conditional_entry_point(routes_other)  # E: set_conditional_entry_point
builder.add_conditional_edges("a", routes_by_more)  # E: add_conditional_edges
builder.add_node(needs_more_beside_all)  # E: add_node
builder.add_node(of_other_with_writer)  # E: add_node
builder.add_node(of_state, retries=3)  # E: add_node
builder.add_node(of_state, timeout="3")  # E: add_node
builder.add_node(of_state, destinations=3)  # E: add_node
builder.add_node(of_state, executor="processes")  # E: add_node
builder.add_node(of_state, executor=dict)  # E: add_node
builder.add_node(of_state, cache_policy=60)  # E: add_node
RetryPolicy(retry_on=int)  # E: retry_on
TimeoutPolicy(refresh_on="sometimes")  # E: refresh_on
builder.add_edge(of_state, "a")  # E: add_edge
StateGraph(Data).add_node(of_other_data)  # E: add_node
StateGraph(Data).add_node(of_state)  # E: add_node
StateGraph(Data).add_node(returns_other_data)  # E: add_node
builder.add_node(returns_numbers)  # E: add_node
builder.add_node(of_state, error_handler=3)  # E: add_node
in_settings = StateGraph(State, Settings)
in_settings.add_node(takes_other_settings)  # E: add_node
in_settings.add_node("named", takes_other_settings_otherwise_named)  # E: add_node
in_settings.add_node(takes_other_settings_and_all)  # E: add_node
in_settings.add_conditional_edges("a", routes_by_other_settings)  # E: add_conditional_edges
in_settings.set_conditional_entry_point(routes_by_other_settings)  # E: set_conditional_entry_point
graph = builder.compile()
StateGraph(State, config_schema=Settings)  # E: No overload
graph.invoke({})  # E: invoke
not_the_same: CompiledGraph[Other] = graph  # E: CompiledGraph[State


@task
async def weigh(word: str) -> float:
    return 1.0


@entrypoint()
async def writes(word: str) -> str:
    return word


async def runs() -> None:
    result = await graph.ainvoke({"topic": "tea"})
    result["title"]  # E: title
    await graph.ainvoke({}, retries=3)  # E: ainvoke
    await graph.ainvoke({}, durability="never")  # E: ainvoke
    await graph.ainvoke(3)  # E: ainvoke
    await StateGraph(Data).compile().ainvoke(OtherData("tea"))  # E: ainvoke
    await writes.ainvoke(3)  # E: ainvoke
    (await writes.ainvoke("tea")).conjugate()  # E: conjugate
    weigh(3)  # E: __call__
    weigh("tea", unit="g")  # E: unit
    (await weigh("tea")).upper()  # E: upper
