"""The default of a key with a reducer is its first value: the first node reads it, and writes are merged with it."""

import operator
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest
from pydantic.dataclasses import dataclass as validated_dataclass

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    GraphValidationError,
    Overwrite,
    StateGraph,
    Topic,
    add_messages,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, chain_of
from tests.language.state.conftest import Reopen

CONFIG: Any = {"configurable": {"thread_id": "t"}}


def first(value: list[str], write: list[str]) -> list[str]:
    return [*value, *write]


@dataclass
class AsDataclass:
    total: Annotated[int, operator.add] = 10
    log: Annotated[list[str], operator.add] = field(default_factory=lambda: ["start"])
    own: Annotated[list[str], first] = field(default_factory=lambda: ["start"])
    kept: Annotated[list[str], Topic(accumulate=True)] = field(default_factory=lambda: ["start"])
    maybe: Annotated[list[str], operator.add] | None = None
    text: str = "plain"


class AsStruct(msgspec.Struct):
    total: Annotated[int, operator.add] = 10
    log: Annotated[list[str], operator.add] = msgspec.field(default_factory=lambda: ["start"])
    own: Annotated[list[str], first] = msgspec.field(default_factory=lambda: ["start"])
    kept: Annotated[list[str], Topic(accumulate=True)] = msgspec.field(default_factory=lambda: ["start"])
    maybe: Annotated[list[str], operator.add] | None = None
    text: str = "plain"


class AsModel(pydantic.BaseModel):
    total: Annotated[int, operator.add] = 10
    log: Annotated[list[str], operator.add] = ["start"]
    own: Annotated[list[str], first] = pydantic.Field(default_factory=lambda: ["start"])
    kept: Annotated[list[str], Topic(accumulate=True)] = ["start"]
    maybe: Annotated[list[str], operator.add] | None = None
    text: str = "plain"


@validated_dataclass
class AsValidatedDataclass:
    total: Annotated[int, operator.add] = pydantic.Field(default=10, gt=0)
    log: Annotated[list[str], operator.add] = pydantic.Field(default_factory=lambda: ["start"])
    own: Annotated[list[str], first] = field(default_factory=lambda: ["start"])
    kept: Annotated[list[str], Topic(accumulate=True)] = field(default_factory=lambda: ["start"])
    maybe: Annotated[list[str], operator.add] | None = pydantic.Field(default=None)
    text: str = "plain"


KINDS: list[Any] = [AsDataclass, AsValidatedDataclass, AsStruct, AsModel]
LISTS = ("log", "own", "kept")


def read(state: Any) -> dict[str, Any]:
    return {key: getattr(state, key) for key in ("total", *LISTS, "maybe", "text")}


def expected(total: int, *added: str, maybe: Any = None) -> dict[str, Any]:
    return {"total": total, **{key: ["start", *added] for key in LISTS}, "maybe": maybe, "text": "plain"}


ADDED = {"total": 5, "log": ["a"], "own": ["a"], "kept": ["a"], "maybe": ["a"]}


def asking(schema: Any, seen: Inputs) -> Any:
    return chain_of(schema, seen, ("a", ADDED), ("b", lambda state: {"log": [interrupt("?")]}))


@pytest.mark.parametrize("schema", KINDS)
async def test_the_first_node_reads_the_default_and_writes_are_merged_with_it_also_after_a_restart(
    saver: Checkpointer, reopen: Reopen, schema: Any, durability: Durability
) -> None:
    seen = Inputs()
    await asking(schema, seen).compile(saver).ainvoke({}, thread_id="t", durability=durability)
    assert [read(state) for state in (*seen.of("a"), *seen.of("b"))] == [expected(10), expected(15, "a", maybe=["a"])]

    graph = asking(schema, Inputs()).compile(await reopen())
    result = await graph.ainvoke(Command(resume="b"), thread_id="t", durability=durability)

    assert result == {**ADDED, "total": 15, "log": ["start", "a", "b"], "own": ["start", "a"], "kept": ["start", "a"]}
    history = [each.values async for each in graph.aget_state_history(CONFIG)]
    assert history[0] == result
    assert history[-1]["log"] == ["start"]


@pytest.mark.parametrize("schema", KINDS)
async def test_the_fields_that_are_set_in_an_instance_are_merged_with_their_defaults(
    saver: Checkpointer, schema: Any
) -> None:
    graph = chain_of(schema, Inputs(), ("a", lambda _: schema(total=5)), ("b", lambda _: schema(log=["b"]))).compile(
        saver
    )

    fresh = await graph.ainvoke(schema(), thread_id="fresh")
    given = await graph.ainvoke(schema(total=1, log=["input"]), thread_id="given")

    assert (fresh["total"], fresh["log"], fresh["own"]) == (15, ["start", "b"], ["start"])
    assert (given["total"], given["log"], given["own"]) == (16, ["start", "input", "b"], ["start"])


@pytest.mark.parametrize("schema", KINDS)
async def test_an_overwrite_replaces_the_default(saver: Checkpointer, reopen: Reopen, schema: Any) -> None:
    graph = chain_of(schema, Inputs(), ("a", {"total": Overwrite(1), "log": Overwrite([])}), ("b", ADDED)).compile(
        saver
    )
    await graph.ainvoke({"own": Overwrite(["input"])}, thread_id="t")

    values = (await chain_of(schema, Inputs(), ("a", {})).compile(await reopen()).aget_state(CONFIG)).values

    assert (values["total"], values["log"], values["own"]) == (6, ["a"], ["input", "a"])


async def test_routers_private_inputs_and_edits_start_with_the_default(saver: Checkpointer) -> None:
    seen: list[Any] = []

    class Part(TypedDict):
        log: list[str]

    def router(part: Part) -> str:
        seen.append(part["log"])
        return "node"

    async def node(part: Part) -> None:
        seen.append(part["log"])

    builder: StateGraph[Any] = StateGraph(AsDataclass).add_node("node", node, input_schema=Part)
    graph = builder.add_conditional_edges(START, router, ["node"]).compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.aupdate_state({"configurable": {"thread_id": "edited"}}, {"log": ["edit"]}, as_node="node")

    assert seen == [["start"], ["start"]]
    assert (await graph.aget_state(thread_id="edited")).values["log"] == ["start", "edit"]


# Deployments


def state_with(**fields: Any) -> Any:
    return pydantic.create_model("State", step=(str, ""), **fields)


def step_of(schema: Any, seen: Inputs, **result: Any) -> Any:
    return chain_of(schema, seen, ("a", result))


Log = Annotated[list[str], operator.add]


async def test_the_default_of_a_key_that_a_deployment_adds_applies_to_existing_threads(
    saver: Checkpointer, reopen: Reopen
) -> None:
    await step_of(state_with(), Inputs(), step="a").compile(saver).ainvoke({}, thread_id="t")
    seen, new = Inputs(), state_with(log=(Log, ["start"]))
    graph = step_of(new, seen, log=["a"]).compile(await reopen())

    assert (await graph.ainvoke({}, thread_id="t"))["log"] == ["start", "a"]
    assert seen.of("a")[0].log == ["start"]


@pytest.mark.parametrize(("before", "after"), [([], ["new"]), (["old"], ["new"]), (["old"], [])])
async def test_a_default_that_a_deployment_changes_does_not_change_written_values(
    saver: Checkpointer, reopen: Reopen, before: list[str], after: list[str]
) -> None:
    await step_of(state_with(log=(Log, before)), Inputs(), log=["a"]).compile(saver).ainvoke({}, thread_id="t")
    graph = step_of(state_with(log=(Log, after)), Inputs(), log=["b"]).compile(await reopen())

    assert (await graph.aget_state(CONFIG)).values["log"] == [*before, "a"]
    assert (await graph.ainvoke({}, thread_id="t"))["log"] == [*before, "a", "b"]
    again = step_of(state_with(log=(Log, after)), Inputs()).compile(await reopen())
    assert (await again.aget_state(CONFIG)).values["log"] == [*before, "a", "b"]


# Messages


@pytest.mark.parametrize("system", [{"role": "system", "content": "be kind"}, {"id": "s", "role": "system"}])
async def test_default_messages_get_ids_that_they_keep(
    saver: Checkpointer, reopen: Reopen, system: dict[str, str]
) -> None:
    state = state_with(messages=(Annotated[list[dict[str, str]], add_messages], [system]))
    added = {"id": "a", "role": "user"}
    graph = step_of(state, Inputs(), messages=[added]).compile(saver)
    before = (await graph.ainvoke({}, thread_id="t"))["messages"]

    assert before == [{**system, "id": system.get("id", before[0]["id"])}, added]
    assert len(before[0]["id"]) == len(system.get("id", "0" * 32))
    graph = step_of(state, Inputs(), messages=[{**added, "content": "more"}]).compile(await reopen())
    assert (await graph.ainvoke({}, thread_id="t"))["messages"] == [before[0], {**added, "content": "more"}]


# pydantic


async def test_a_default_that_the_model_validates_has_its_validated_value(saver: Checkpointer) -> None:
    class State(pydantic.BaseModel, frozen=True):
        required: str
        total: Annotated[int, operator.add] = pydantic.Field(default="9", validate_default=True)

        @pydantic.field_validator("total")
        @classmethod
        def one_more(cls, value: int) -> int:
            return value + 1 if value < 10 else value

    graph = step_of(State, Inputs(), total=5).compile(saver)

    assert (await graph.ainvoke({"required": "x"}, thread_id="t"))["total"] == 15


# Defaults that are refused


class Merged(TypedDict):
    log: Log


@dataclass
class Begins:
    log: Log = field(default_factory=lambda: ["begins"])


@dataclass
class BeginsOtherwise:
    log: Log = field(default_factory=lambda: ["otherwise"])


def compiled(state: Any, **schemas: Any) -> Any:
    return chain_of(state, Inputs(), ("a", {}), **schemas).compile(messages="dict")


@pytest.mark.parametrize("option", ["input_schema", "output_schema"])
async def test_a_state_without_a_default_has_that_of_its_input_or_output_schema(option: str) -> None:
    assert (await compiled(Merged, **{option: Begins}).ainvoke({"log": ["a"]}))["log"] == ["begins", "a"]


@pytest.mark.parametrize("option", ["input_schema", "output_schema"])
def test_different_defaults_of_one_key_are_refused(option: str) -> None:
    with pytest.raises(
        GraphValidationError, check=of_kind("graph"), match=r"BeginsOtherwise\.log has another default than Begins\.log"
    ):
        compiled(Begins, **{option: BeginsOtherwise})
    assert compiled(Begins, **{option: Merged})


def failing() -> list[str]:
    message = "no default today"
    raise ValueError(message)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (state_with(log=(Log, 1)), r"the default of 'log': .*list is declared"),
        (state_with(log=(Log, ["a", 1])), r"the default of 'log': .*str is declared"),
        (
            state_with(log=(Log, pydantic.Field(default_factory=failing))),
            r"State\.log: its default .*no default today",
        ),
        (
            state_with(log=(Log, pydantic.Field(default_factory=lambda data: [data["step"]]))),
            r"State\.log: its default",
        ),
        (
            state_with(messages=(Annotated[list[Any], add_messages], [1])),
            r"State\.messages: its default .*a message is",
        ),
    ],
)
def test_an_invalid_default_is_refused(state: Any, words: str) -> None:
    with pytest.raises(GraphValidationError, check=of_kind("graph"), match=words):
        compiled(state)


async def test_a_default_that_differs_at_each_call_is_fixed_at_the_first_write(
    saver: Checkpointer, reopen: Reopen
) -> None:
    state = state_with(log=(Log, pydantic.Field(default_factory=lambda: [uuid.uuid4().hex])))
    before = (await step_of(state, Inputs(), log=["a"]).compile(saver).ainvoke({}, thread_id="t"))["log"]

    assert (await step_of(state, Inputs()).compile(await reopen()).aget_state(CONFIG)).values["log"] == before
