"""A state that is a pydantic model is validated before an update is recorded."""

import operator
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypedDict

import pydantic
import pytest

from durable_graph import (
    Checkpointer,
    Command,
    Durability,
    InvalidStateValueError,
    InvalidUpdateError,
    UnstorableValueError,
)
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, chain_of, fan_out_of
from tests.language.state.conftest import Reopen


class User(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1)


class State(pydantic.BaseModel):
    topic: str
    score: int = pydantic.Field(default=0, ge=0)
    user: User | None = None
    since: datetime | None = None
    log: Annotated[list[str], operator.add, pydantic.Field(max_length=3)] = []
    users: Annotated[list[User], operator.add] = []

    @pydantic.model_validator(mode="after")
    def check(self) -> Self:
        if self.topic == "none" and self.score:
            problem = "no score without a topic"
            raise ValueError(problem)
        return self


INVALID: list[tuple[dict[str, Any], str, str]] = [
    ({"score": -1}, "score", "greater than or equal to 0"),
    ({"score": "many"}, "score", "valid integer"),
    ({"user": {"name": ""}}, "user", "at least 1 character"),
    ({"log": ["a", "b", "c"]}, "log", "at most 3 items"),
    ({"topic": "none", "score": 1}, "", "no score without a topic"),
]


@pytest.mark.parametrize(("update", "key", "message"), INVALID)
async def test_an_update_that_the_model_refuses_fails_its_node_and_is_not_recorded(
    saver: Checkpointer, durability: Durability, update: dict[str, Any], key: str, message: str
) -> None:
    results = iter([update, {"score": 1}])
    graph = chain_of(State, Inputs(), ("a", lambda _: next(results))).compile(saver)

    with pytest.raises(
        InvalidStateValueError, check=of_kind("model"), match=rf"the result of node 'a' makes.*State.*{message}"
    ) as raised:
        await graph.ainvoke({"topic": "tea", "log": ["in"]}, thread_id="t", durability=durability)

    assert (raised.value.key, raised.value.schema) == (key, "State")
    assert isinstance(raised.value, InvalidUpdateError)
    assert (await graph.aget_state(thread_id="t")).next == ("a",)
    result = await graph.ainvoke(None, thread_id="t", durability=durability)
    assert (result["topic"], result["score"], result["log"]) == ("tea", 1, ["in"])


@pytest.mark.parametrize(("update", "key", "message"), INVALID)
async def test_an_input_that_makes_the_model_invalid_is_refused(
    saver: Checkpointer, update: dict[str, Any], key: str, message: str
) -> None:
    graph = chain_of(State, Inputs(), ("a", {})).compile(saver)
    before = await graph.ainvoke({"topic": "tea", "log": ["in"]}, thread_id="t")

    with pytest.raises(InvalidStateValueError, check=of_kind("model"), match=f"the input makes.*{message}") as raised:
        await graph.ainvoke(update, thread_id="t")

    assert raised.value.key == key
    assert (await graph.aget_state(thread_id="t")).values == before


async def test_an_update_that_the_model_refuses_is_an_error_without_a_checkpointer(saver: Checkpointer) -> None:
    with pytest.raises(InvalidStateValueError, check=of_kind("model"), match="score"):
        await chain_of(State, Inputs(), ("a", {"score": -1})).compile().ainvoke({"topic": "tea"})


async def test_an_update_may_leave_a_required_key_without_a_value(saver: Checkpointer) -> None:
    class Needs(pydantic.BaseModel):
        topic: str
        score: int

    class Nothing(TypedDict, total=False):
        """The input of the first node, which has no keys."""

    async def first(state: Nothing) -> dict[str, Any]:
        return {"score": 3}

    builder = chain_of(Needs, Inputs())
    builder.add_node("a", first, input_schema=Nothing).add_edge("__start__", "a")

    assert await builder.compile(saver).ainvoke({"topic": "tea"}, thread_id="t") == {"topic": "tea", "score": 3}


async def test_a_missing_field_inside_a_written_value_is_an_error(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {"user": {}})).compile(saver)

    with pytest.raises(InvalidStateValueError, check=of_kind("model"), match=r"user\.name: Field required"):
        await graph.ainvoke({"topic": "tea"}, thread_id="t")


async def test_all_parts_of_a_result_are_validated_together(saver: Checkpointer) -> None:
    parts = [Command(update={"topic": "none"}), Command(update={"score": 3})]
    graph = chain_of(State, Inputs(), ("a", parts)).compile(saver)

    with pytest.raises(InvalidStateValueError, check=of_kind("model"), match="no score without a topic"):
        await graph.ainvoke({"topic": "tea"}, thread_id="t")


async def test_a_command_as_an_input_and_an_edit_are_validated(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {})).compile(saver)
    await graph.ainvoke({"topic": "tea"}, thread_id="t")

    with pytest.raises(InvalidStateValueError, check=of_kind("model")):
        await graph.ainvoke(Command(update={"score": -1}, goto="a"), thread_id="t")
    with pytest.raises(InvalidStateValueError, check=of_kind("model")):
        await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"score": -1}, as_node="a")

    assert (await graph.aget_state(thread_id="t")).values == {"topic": "tea", "log": [], "users": []}


async def test_a_state_that_siblings_make_invalid_together_fails_the_node_that_reads_it(saver: Checkpointer) -> None:
    graph = fan_out_of(State, Inputs(), ("a", {"topic": "none"}), ("b", {"score": 1}), then=("end", {})).compile(saver)

    with pytest.raises(pydantic.ValidationError, match="no score without a topic"):
        await graph.ainvoke({"topic": "tea"}, thread_id="t")

    await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"score": 0}, as_node="a")
    assert (await graph.aget_state(thread_id="t")).values["score"] == 0


async def test_a_value_of_the_declared_type_is_stored_as_it_was_written(saver: Checkpointer) -> None:
    class Named(pydantic.BaseModel):
        name: str

        @pydantic.field_validator("name")
        @classmethod
        def greet(cls, name: str) -> str:
            return f"Hello {name}"

    seen = Inputs()

    result = await chain_of(Named, seen, ("a", {"name": "Ann"})).compile(saver).ainvoke({"name": "Bob"}, thread_id="t")

    assert [given.name for given in seen.of("a")] == ["Hello Bob"]
    assert result == {"name": "Ann"}


async def test_a_value_of_another_type_is_stored_as_the_model_converts_it(saver: Checkpointer, reopen: Reopen) -> None:
    written = {"score": "3", "user": {"name": "Ann"}, "since": "2024-05-01T00:00:00Z"}
    made = {"score": 3, "user": User(name="Ann"), "since": datetime(2024, 5, 1, tzinfo=UTC)}
    graph = chain_of(State, Inputs(), ("a", written), ("b", {}))

    by_input = await graph.compile(saver).ainvoke({"topic": "tea", **written}, thread_id="t")
    after = (await graph.compile(await reopen()).aget_state(thread_id="t")).values

    assert {key: by_input[key] for key in written} == {key: after[key] for key in written} == made


async def test_an_update_for_a_reducer_is_not_converted_by_the_model(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {"users": [{"name": "Ann"}]})).compile(saver)

    with pytest.raises(UnstorableValueError, match="return User"):
        await graph.ainvoke({"topic": "tea"}, thread_id="t")


class Narrow(pydantic.BaseModel):
    score: int = pydantic.Field(ge=10)


class Plain(TypedDict, total=False):
    score: int


async def test_an_input_schema_that_is_a_model_validates_the_input_only(saver: Checkpointer) -> None:
    graph = chain_of(Plain, Inputs(), ("a", {"score": 1}), input_schema=Narrow).compile(saver)

    with pytest.raises(
        InvalidStateValueError, check=of_kind("model"), match="the input makes the state an invalid Narrow: score"
    ):
        await graph.ainvoke({"score": 9}, thread_id="t")

    assert await graph.ainvoke({"score": 10}, thread_id="t") == {"score": 1}


async def test_a_field_with_an_alias_is_validated_by_the_name_of_the_field(saver: Checkpointer) -> None:
    class Aliased(pydantic.BaseModel):
        first_topic: str = pydantic.Field(alias="firstTopic", max_length=3)

    graph = chain_of(Aliased, Inputs(), ("a", {"first_topic": "long"})).compile(saver)

    with pytest.raises(InvalidStateValueError, check=of_kind("model"), match="at most 3 characters"):
        await graph.ainvoke({"first_topic": "tea"}, thread_id="t")


class Draft(pydantic.BaseModel):
    words: list[str] = []
    user: User = User(name="nobody")
    notes: dict[str, str] = pydantic.Field(default_factory=dict)
    copied: list[str] = pydantic.Field(default_factory=lambda data: list(data["words"]))
    id: str = pydantic.Field(default_factory=lambda: uuid.uuid4().hex)
    score: int = 0


async def test_a_default_that_a_node_changes_in_place_is_written(saver: Checkpointer) -> None:
    def change(state: Draft) -> Draft:
        state.words.append("tea")
        state.user.name = "ann"
        state.notes["a"] = "b"
        state.copied.append("c")
        return state

    graph = chain_of(Draft, Inputs(), ("a", change)).compile(saver)

    assert await graph.ainvoke({"score": 1}, thread_id="t") == {
        "words": ["tea"],
        "user": User(name="ann"),
        "notes": {"a": "b"},
        "copied": ["c"],
        "score": 1,
    }


async def test_unchanged_defaults_are_not_written(saver: Checkpointer) -> None:
    graph = chain_of(Draft, Inputs(), ("a", lambda _: Draft(score=2))).compile(saver)

    assert await graph.ainvoke({"id": "mine", "notes": {"a": "b"}}, thread_id="t") == {
        "notes": {"a": "b"},
        "id": "mine",
        "score": 2,
    }


async def test_a_result_has_the_values_that_the_model_converted_with_and_without_a_checkpointer(
    saver: Checkpointer,
) -> None:
    class Price(pydantic.BaseModel):
        amount: float

    class Priced(pydantic.BaseModel):
        total: float = 0
        price: Price | None = None

    written = {"total": "1.5", "price": {"amount": 2}}
    for checkpointer in (saver, None):
        graph = chain_of(Priced, Inputs(), ("a", written)).compile(checkpointer, debug=False)
        result = await graph.ainvoke({}, thread_id="t" if checkpointer else None)
        assert result == {"total": 1.5, "price": Price(amount=2)}
