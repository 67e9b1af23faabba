"""The context that a call passes to the nodes, as an instance of the declared class or as a dict."""

from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from durable_graph import START, MemorySaver, Runtime, StateGraph, entrypoint


@dataclass
class Tenant:
    name: str
    limit: int = 30


class TenantStruct(msgspec.Struct):
    name: str
    limit: int = 30


class TenantModel(pydantic.BaseModel):
    name: str
    limit: int = 30


class TenantDict(TypedDict):
    name: str


class State(TypedDict, total=False):
    seen: str


class Seen:
    """Graphs whose node records its context."""

    def __init__(self) -> None:
        self.contexts: list[Any] = []

    def graph(self, schema: Any, node: Any = None) -> StateGraph[State, Any]:
        async def look(state: State, runtime: Runtime[Any]) -> State:
            self.contexts.append(runtime.context)
            return {}

        return StateGraph(State, context_schema=schema).add_node("look", node or look).add_edge(START, "look")


@pytest.mark.parametrize("schema", [Tenant, TenantStruct, TenantModel])
async def test_a_dict_becomes_an_instance_of_the_declared_context_class(schema: Any) -> None:
    seen = Seen()
    graph = seen.graph(schema).compile()

    await graph.ainvoke({}, context={"name": "ann", "limit": 7})
    await graph.ainvoke({}, context={"name": "bob"})

    assert seen.contexts == [schema(name="ann", limit=7), schema(name="bob")]


@pytest.mark.parametrize("schema", [Tenant, TenantStruct, TenantModel])
async def test_an_instance_is_passed_on_unchanged(schema: Any) -> None:
    seen = Seen()
    given = schema(name="ann")

    await seen.graph(schema).compile().ainvoke({}, context=given)

    assert seen.contexts[0] is given


@pytest.mark.parametrize("schema", [TenantDict, dict, None])
async def test_a_dict_is_passed_on_unchanged_unless_another_type_is_declared(schema: Any) -> None:
    seen = Seen()
    given = {"name": "ann"}

    await seen.graph(schema).compile().ainvoke({}, context=given)

    assert seen.contexts[0] is given


async def test_an_omitted_context_is_none() -> None:
    seen = Seen()

    await seen.graph(Tenant).compile().ainvoke({})

    assert seen.contexts == [None]


@pytest.mark.parametrize("given", [{"limit": 7}, {"name": "ann", "lim": 7}])
@pytest.mark.parametrize("schema", [Tenant, TenantStruct])
async def test_a_dict_with_wrong_fields_is_refused_before_anything_is_stored(schema: Any, given: Any) -> None:
    seen = Seen()
    saver = MemorySaver()
    graph = seen.graph(schema).compile(saver)

    with pytest.raises(TypeError, match=r"name|lim"):
        await graph.ainvoke({}, thread_id="t", context=given)

    assert seen.contexts == []
    assert (await graph.aget_state(thread_id="t")).created_at is None


async def test_a_pydantic_context_raises_a_validation_error_that_names_the_field() -> None:
    with pytest.raises(pydantic.ValidationError, match="limit"):
        await Seen().graph(TenantModel).compile().ainvoke({}, context={"name": "ann", "limit": "many"})


async def test_streams_and_entrypoints_take_a_context_as_a_dict() -> None:
    seen = Seen()

    @entrypoint(context_schema=Tenant)
    async def flow(given: int, runtime: Runtime[Tenant]) -> str:
        return runtime.context.name

    graph = seen.graph(Tenant).compile()
    assert [chunk async for chunk in graph.astream({}, context={"name": "ann"})] == [{"look": None}]
    async with graph.stream({}, context={"name": "bob"}) as events:
        assert [event async for event in events]

    assert seen.contexts == [Tenant("ann"), Tenant("bob")]
    assert await flow.ainvoke(1, context={"name": "cid"}) == "cid"


async def test_a_nested_graph_gets_its_context_as_its_own_class() -> None:
    """A nested call without a context gets that of the enclosing run, as it is."""
    inner = Seen()
    nested = inner.graph(TenantStruct).compile()

    async def call(state: State, runtime: Runtime[Tenant]) -> State:
        await nested.ainvoke({}, context={"name": runtime.context.name})
        await nested.ainvoke({})
        return {}

    await Seen().graph(Tenant, call).compile().ainvoke({}, context={"name": "ann"})

    assert inner.contexts == [TenantStruct("ann"), Tenant("ann")]
