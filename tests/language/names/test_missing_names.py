"""Names of LangGraph that do not exist here raise errors that name their replacement."""

import dataclasses
import pickle
import re
import sqlite3
from contextlib import closing
from copy import deepcopy
from types import ModuleType
from typing import Any, TypedDict

import pytest

import durable_graph
import durable_graph_langchain
import durable_graph_postgres
import durable_graph_sqlite
from durable_graph import (
    START,
    DurableGraphError,
    InvalidOptionError,
    RetryPolicy,
    Runtime,
    StateGraph,
    UnknownOptionError,
    entrypoint,
    task,
)
from durable_graph.errors.elsewhere import DRAWING, GRAPH, MODULE, RUNTIME
from tests.errors.kinds import of_kind
from tests.repository.test_migration_guide import names_of, rows


class State(TypedDict, total=False):
    k: str


def graph() -> Any:
    return StateGraph(State).add_node("a", lambda _: {"k": "a"}).add_edge(START, "a").compile()


# Names of modules


@pytest.mark.parametrize("name", MODULE)
def test_the_error_of_importing_a_langgraph_name_names_its_replacement(name: str) -> None:
    with pytest.raises(ImportError) as raised:
        exec(f"from durable_graph import {name}", {})  # noqa: S102  # each name of a table
    with pytest.raises(AttributeError) as looked_up:
        getattr(durable_graph, name)

    assert str(raised.value) == str(looked_up.value)
    assert str(raised.value).endswith(f"{name!r}, which is LangGraph's; {MODULE[name]}")
    assert len(str(raised.value)) <= 400
    assert not hasattr(durable_graph, name)


@pytest.mark.parametrize(
    ("package", "name"),
    [
        (durable_graph_sqlite, "AsyncSqliteSaver"),
        (durable_graph_postgres, "AsyncPostgresSaver"),
        (durable_graph_langchain, "ValidationNode"),
    ],
)
def test_import_errors_of_the_other_packages_name_the_replacement(package: ModuleType, name: str) -> None:
    message = f"module {package.__name__!r} has no attribute {name!r}, which is LangGraph's; {MODULE[name]}"

    with pytest.raises(ImportError, match=re.escape(message)):
        exec(f"from {package.__name__} import {name}", {})  # noqa: S102
    with pytest.raises(AttributeError, match=re.escape(message)):
        getattr(package, name)
    with pytest.raises(ImportError, match="cannot import name 'Saver'"):
        exec(f"from {package.__name__} import Saver", {})  # noqa: S102


@pytest.mark.parametrize("saver", [durable_graph_sqlite.SqliteSaver, durable_graph_postgres.PostgresSaver])
def test_langgraph_methods_that_open_a_saver_name_their_replacement(saver: Any) -> None:
    with pytest.raises(AttributeError, match=rf"use `{saver.__name__}\('\w+[.:]"):
        saver.from_conn_string("runs.db")
    with pytest.raises(AttributeError, match="the first use prepares"):
        saver("postgresql://localhost/runs").setup()
    assert not hasattr(saver, "from_conn_string")


@pytest.mark.parametrize("saver", [durable_graph_sqlite.SqliteSaver, durable_graph_postgres.PostgresSaver])
def test_a_connection_is_refused_in_place_of_a_path_or_dsn(saver: Any) -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(InvalidOptionError, match="it takes"):
        saver(connection)


def test_an_unknown_name_raises_the_usual_error_of_a_module() -> None:
    with pytest.raises(ImportError, match="cannot import name 'StateGraf'"):
        exec("from durable_graph import StateGraf", {})  # noqa: S102
    with pytest.raises(AttributeError, match="module 'durable_graph' has no attribute 'StateGraf'"):
        getattr(durable_graph, "StateGraf")  # noqa: B009  # a checker would find it


def test_submodules_can_be_imported() -> None:
    exec("from durable_graph import records, testing", {})  # noqa: S102


def test_every_class_and_function_that_the_guide_calls_gone_has_a_replacement_text() -> None:
    gone = {
        name
        for row in rows()
        if row["here"].startswith(("not there", "renamed"))
        # The guide calls names "internal" that no program imports.
        and "internal" not in row["here"]
        and "as above" not in row["here"]
        for name in names_of(row)
        if name[0].isupper() and not hasattr(durable_graph, name)
    }

    assert len(gone) > 80
    # Names that no user program needs.
    assert gone - MODULE.keys() == {"InvalidModuleError", "SerializerCompat", "UntypedSerializerProtocol"}


# Attributes


@pytest.mark.parametrize("name", GRAPH)
def test_an_attribute_of_a_graph_names_its_replacement(name: str) -> None:
    with pytest.raises(AttributeError) as raised:
        getattr(graph(), name)

    assert str(raised.value) == f"'CompiledGraph' object has no attribute {name!r}, which is LangGraph's; {GRAPH[name]}"
    assert not hasattr(graph(), name)


@pytest.mark.parametrize("name", DRAWING)
def test_an_attribute_of_a_drawing_names_its_replacement(name: str) -> None:
    drawing = graph().get_graph()

    with pytest.raises(AttributeError) as raised:
        getattr(drawing, name)

    assert DRAWING[name] in str(raised.value)
    assert pickle.loads(pickle.dumps(drawing)) == deepcopy(drawing) == drawing  # noqa: S301  # made here


@pytest.mark.parametrize("name", RUNTIME)
async def test_an_attribute_of_a_runtime_names_its_replacement(name: str) -> None:
    async def node(state: State, runtime: Runtime) -> State:
        with pytest.raises(AttributeError) as raised:
            getattr(runtime, name)
        return {"k": str(raised.value)}

    built = StateGraph(State).add_node(node).add_edge(START, "node").compile()

    assert RUNTIME[name] in (await built.ainvoke({}))["k"]


def test_an_unknown_attribute_raises_the_usual_error_of_an_object() -> None:
    with pytest.raises(AttributeError, match=r"'CompiledGraph' object has no attribute 'ainvok'$") as raised:
        graph().ainvok({})
    assert raised.value.name == "ainvok"


def test_the_names_in_the_tables_do_not_exist() -> None:
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
        (compiled, "transformers", "graph.stream()"),
        (with_node, "trace_policy", "no tracer"),
        (as_task, "trace_policy", "no tracer"),
        (as_entrypoint, "transformers", "graph.stream()"),
        (compiled, "stores", "leave it out"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_keyword_of_langgraph_names_its_replacement(call: Any, option: str, remedy: str) -> None:
    with pytest.raises(UnknownOptionError, check=of_kind("argument"), match="unexpected keyword argument") as raised:
        call(**{option: None})

    assert remedy in str(raised.value)
    assert raised.value.option == option
    assert option not in raised.value.known
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, DurableGraphError)


class Settings(TypedDict, total=False):
    size: int


class Part(TypedDict, total=False):
    k: str


def once(**options: Any) -> tuple[str, Any]:
    """The deprecated name of an option and its value."""
    ((name, value),) = options.items()
    return name, value


@pytest.mark.parametrize(
    ("call", "deprecated", "current"),
    [
        (describe, once(config_schema=Settings), "context_schema"),
        (describe, once(input=Part), "input_schema"),
        (describe, once(output=Part), "output_schema"),
        (with_node, once(input=Part), "input_schema"),
        (with_node, once(retry=RetryPolicy()), "retry_policy"),
        (as_task, once(retry=RetryPolicy()), "retry_policy"),
        (as_entrypoint, once(config_schema=Settings), "context_schema"),
        (as_entrypoint, once(retry=RetryPolicy()), "retry_policy"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else getattr(value, "__name__", value),
)
def test_a_deprecated_keyword_is_accepted_with_a_warning(call: Any, deprecated: tuple[str, Any], current: str) -> None:
    name, value = deprecated
    with pytest.warns(DeprecationWarning, match=f"{name}= is deprecated, use {current}=") as caught:
        call(**{name: value})
    assert [warning.filename for warning in caught] == [__file__]

    with pytest.raises(InvalidOptionError, match=f"left out, since {current}= is given"):
        call(**{name: value, current: value})


async def test_a_deprecated_keyword_has_the_same_effect_as_the_current_keyword() -> None:
    class Whole(TypedDict, total=False):
        k: str
        size: int

    state_graph: Any = StateGraph
    with pytest.warns(DeprecationWarning, match="config_schema|input|output"):
        described = state_graph(Whole, config_schema=Settings, input=Part, output=Settings)
    with pytest.warns(DeprecationWarning, match="input|retry"):
        described.add_node("a", lambda part: {"size": len(part)}, input=Part, retry=RetryPolicy(max_attempts=2))
    compiled = described.add_edge(START, "a").compile()

    assert compiled.topology.context is Settings
    assert compiled.topology.nodes["a"].retry == (RetryPolicy(max_attempts=2),)
    assert await compiled.ainvoke({"k": "a"}) == {"size": 1}
    with pytest.raises(DurableGraphError, match="size"):
        await compiled.ainvoke({"size": 1})


@pytest.mark.parametrize("option", ["print_mode", "checkpoint_during", "callbacks", "retries"])
async def test_an_unknown_keyword_of_a_run_is_refused(option: str) -> None:
    with pytest.raises(UnknownOptionError, check=of_kind("argument"), match="unexpected keyword argument"):
        await graph().ainvoke({}, **{option: None})


async def test_empty_callbacks_are_accepted_and_others_are_refused() -> None:
    nobody: list[Any] = [[], (), None]
    for empty in nobody:
        assert await graph().ainvoke({}, {"callbacks": empty}) == {"k": "a"}
    with pytest.raises(
        UnknownOptionError, check=of_kind("config"), match=r"read the typed events of graph\.stream\(\)"
    ):
        await graph().ainvoke({}, {"callbacks": [print]})
