"""LangGraph's names that are not here say what takes their place, where they are met."""

import dataclasses
import pickle
from copy import deepcopy
from typing import Any, TypedDict

import pytest

import durable_graph
from durable_graph import (
    START,
    DurableGraphError,
    Runtime,
    StateGraph,
    UnknownConfigKeyError,
    UnknownOptionError,
    entrypoint,
    task,
)
from durable_graph.errors.elsewhere import DRAWING, GRAPH, MODULE, RUNTIME
from tests.repository.test_migration_guide import names_of, rows


class State(TypedDict, total=False):
    k: str


def graph() -> Any:
    return StateGraph(State).add_node("a", lambda _: {"k": "a"}).add_edge(START, "a").compile()


# Names of modules


@pytest.mark.parametrize("name", MODULE)
def test_a_name_to_import_says_what_takes_its_place(name: str) -> None:
    with pytest.raises(ImportError) as raised:
        exec(f"from durable_graph import {name}", {})  # noqa: S102  # each name of a table
    with pytest.raises(AttributeError) as looked_up:
        getattr(durable_graph, name)

    assert str(raised.value) == str(looked_up.value)
    assert str(raised.value).endswith(f"{name!r}, which is LangGraph's; {MODULE[name]}")
    assert len(str(raised.value)) <= 400
    assert not hasattr(durable_graph, name)


def test_a_name_that_nobody_has_is_missing_as_in_any_module() -> None:
    with pytest.raises(ImportError, match="cannot import name 'StateGraf'"):
        exec("from durable_graph import StateGraf", {})  # noqa: S102
    with pytest.raises(AttributeError, match="module 'durable_graph' has no attribute 'StateGraf'"):
        getattr(durable_graph, "StateGraf")  # noqa: B009  # a checker would find it


def test_the_submodules_can_be_imported_still() -> None:
    exec("from durable_graph import records, testing", {})  # noqa: S102


def test_every_class_and_function_that_the_guide_calls_gone_has_an_answer() -> None:
    gone = {
        name
        for row in rows()
        if row["here"].startswith(("not there", "renamed"))
        # "internal" is said of what no program imports.
        and "internal" not in row["here"]
        and "as above" not in row["here"]
        for name in names_of(row)
        if name[0].isupper() and not hasattr(durable_graph, name)
    }

    assert len(gone) > 80
    # Names that no program of users needs.
    assert gone - MODULE.keys() == {"InvalidModuleError", "SerializerCompat", "UntypedSerializerProtocol"}


# Attributes


@pytest.mark.parametrize("name", GRAPH)
def test_an_attribute_of_a_graph_says_what_takes_its_place(name: str) -> None:
    with pytest.raises(AttributeError) as raised:
        getattr(graph(), name)

    assert str(raised.value) == f"'CompiledGraph' object has no attribute {name!r}, which is LangGraph's; {GRAPH[name]}"
    assert not hasattr(graph(), name)


@pytest.mark.parametrize("name", DRAWING)
def test_an_attribute_of_a_drawing_says_what_takes_its_place(name: str) -> None:
    drawing = graph().get_graph()

    with pytest.raises(AttributeError) as raised:
        getattr(drawing, name)

    assert DRAWING[name] in str(raised.value)
    assert pickle.loads(pickle.dumps(drawing)) == deepcopy(drawing) == drawing  # noqa: S301  # made here


@pytest.mark.parametrize("name", RUNTIME)
async def test_an_attribute_of_a_runtime_says_what_takes_its_place(name: str) -> None:
    async def node(state: State, runtime: Runtime) -> State:
        with pytest.raises(AttributeError) as raised:
            getattr(runtime, name)
        return {"k": str(raised.value)}

    built = StateGraph(State).add_node(node).add_edge(START, "node").compile()

    assert RUNTIME[name] in (await built.ainvoke({}))["k"]


def test_an_attribute_that_nobody_has_is_missing_as_in_any_object() -> None:
    with pytest.raises(AttributeError, match=r"'CompiledGraph' object has no attribute 'ainvok'$") as raised:
        graph().ainvok({})
    assert raised.value.name == "ainvok"


def test_what_the_tables_call_gone_is_gone() -> None:
    assert not {*MODULE} & {*durable_graph.__all__}
    assert not {*GRAPH} & {*dir(graph())}
    assert not {*DRAWING} & {*dir(graph().get_graph())}
    assert not {*RUNTIME} & {field.name for field in dataclasses.fields(Runtime)}


# Keyword arguments


def describe(**options: Any) -> Any:
    state_graph: Any = StateGraph
    return state_graph(State, **options)


def compiled(**options: Any) -> Any:
    return describe().compile(**options)


def with_node(**options: Any) -> Any:
    return describe().add_node("a", lambda _: {}, **options)


def as_task(**options: Any) -> Any:
    decorator: Any = task
    return decorator(**options)


def as_entrypoint(**options: Any) -> Any:
    decorator: Any = entrypoint
    return decorator(**options)


@pytest.mark.parametrize(
    ("call", "option", "remedy"),
    [
        (describe, "config_schema", "context_schema="),
        (describe, "input", "input_schema="),
        (describe, "output", "output_schema="),
        (compiled, "store", "pass it to nodes as `context`"),
        (compiled, "transformers", "graph.stream()"),
        (with_node, "retry", "retry_policy="),
        (with_node, "trace_policy", "no tracer"),
        (as_task, "retry", "retry_policy="),
        (as_entrypoint, "store", "as `context`"),
        (as_entrypoint, "config_schema", "context_schema="),
        (compiled, "stores", "leave it out"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_keyword_of_langgraph_says_what_takes_its_place(call: Any, option: str, remedy: str) -> None:
    with pytest.raises(UnknownOptionError, match="unexpected keyword argument") as raised:
        call(**{option: None})

    assert remedy in str(raised.value)
    assert raised.value.option == option
    assert option not in raised.value.known
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, DurableGraphError)


@pytest.mark.parametrize("option", ["print_mode", "checkpoint_during", "callbacks", "retries"])
async def test_a_keyword_of_a_run_says_what_takes_its_place(option: str) -> None:
    with pytest.raises(UnknownOptionError, match="unexpected keyword argument"):
        await graph().ainvoke({}, **{option: None})


async def test_callbacks_that_call_nobody_are_taken() -> None:
    nobody: list[Any] = [[], (), None]
    for empty in nobody:
        assert await graph().ainvoke({}, {"callbacks": empty}) == {"k": "a"}
    with pytest.raises(UnknownConfigKeyError, match=r"read the typed events of graph\.stream\(\)"):
        await graph().ainvoke({}, {"callbacks": [print]})
